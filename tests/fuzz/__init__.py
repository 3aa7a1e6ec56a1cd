"""Damaged and hostile files: valid ones mutated by a seed, each read as a command reads it (``python -m tests.fuzz --help``)."""
