"""What ``skipstone sensitivity`` measures unless told otherwise, for the command line and the library alike. Imports nothing."""

SPARSITIES = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Shares of zeros, each from 0 to below 1."""
BITS = (8, 6, 4, 3, 2)
"""Bits of weights, each from 2 to 16."""
