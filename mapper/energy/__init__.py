"""Counts of actions and their energy, area, memory use and clock of a program on a design."""
