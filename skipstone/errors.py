"""Skipstone's exceptions: one root, so that ``except SkipstoneError`` catches everything that a user can put right.

A message says what is wrong, where, and what to do about it. Anything else that is raised is a fault of Skipstone's own.
"""


class SkipstoneError(ValueError):
    """What a user can put right: a file, a shape, a number, an option. The root of all errors raised on purpose."""


class DesignError(SkipstoneError):
    """A design's parameter is out of range, unknown, or does not go with another parameter."""


class MappingError(SkipstoneError):
    """A layer does not fit the design; the text names the layer, the parameter and the smallest value that would do."""


class SimulationError(SkipstoneError):
    """The simulator could not be built or run, or it died; the text names the log file."""
