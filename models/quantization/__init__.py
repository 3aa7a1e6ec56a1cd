"""From a float graph to the integers that the array computes, and the integer reference."""
