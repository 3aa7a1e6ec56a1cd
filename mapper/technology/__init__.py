"""What an action, a bit and a square millimetre cost at one technology node, each number with its source."""
