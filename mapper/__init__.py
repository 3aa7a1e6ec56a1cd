"""From a quantized network to a program for the array, and from the program to exact cycles and energy."""
