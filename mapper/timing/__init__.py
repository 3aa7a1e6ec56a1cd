"""The exact cycle model: cycles, their causes, what zeros save, and the schedule as events."""
