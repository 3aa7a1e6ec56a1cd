"""Skipstone's exceptions: one root, so that ``except SkipstoneError`` catches everything that a user can put right.

A message says what is wrong, where, and what to do about it. Anything else that is raised is a fault of Skipstone's own.
"""


class SkipstoneError(ValueError):
    """What a user can put right: a file, a shape, a number, an option. The root of all errors raised on purpose.

    Args:
        message: What is wrong, where, and what to do.
        parameter: The parameter to change, by its Python name; the command line adds its option of that name.
    """

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class DesignError(SkipstoneError):
    """A design's parameter is out of range, unknown, or does not go with another parameter."""


class MappingError(SkipstoneError):
    """A network does not fit the design; the text names the layer, the parameter and the smallest value that would do.

    Attributes:
        layer: The layer that does not fit, or the one that takes the most where all of them together do not.
        parameter: The design's parameter to change.
        need: The smallest value of ``parameter`` that would do.
        have: The design's value of ``parameter``.

    Each attribute is None where it does not apply.
    """

    def __init__(
        self,
        message: str,
        *,
        layer: str | None = None,
        parameter: str | None = None,
        need: int | None = None,
        have: int | None = None,
    ) -> None:
        super().__init__(message)
        self.layer = layer
        self.parameter = parameter
        self.need = need
        self.have = have


class TechnologyError(SkipstoneError):
    """A technology file, a node, a memory, a device or a frequency that cannot be had; the text says what can."""


class ResultError(SkipstoneError):
    """A file that should hold a result of this version holds something else, or is damaged."""


class SimulationError(SkipstoneError):
    """The simulator could not be built or run, or it died; the text names the log file."""
