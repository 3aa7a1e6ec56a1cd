"""Compression of a network as a whole: what steps it takes, and what each of them costs and gains."""
