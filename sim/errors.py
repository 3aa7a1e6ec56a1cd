"""The simulation's error."""


class SimulationError(RuntimeError):
    """The simulator could not be built or run, or it died; the text names the log file."""
