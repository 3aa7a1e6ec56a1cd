"""The mapper's errors: a layer that the design cannot run, with the parameter to change and the value that would do;
and
numbers of a technology that are not there."""

from skipstone.errors import SkipstoneError
from skipstone.hw.design import LIMITS


class TechnologyError(SkipstoneError):
    """A technology file, a node, a memory or a frequency that can't be had; the text says what can."""


class MappingError(ValueError):
    """A layer does not fit the design; the text names the layer, the parameter and the smallest value that would do."""

    @classmethod
    def too_small(cls, layer: str, what: str, need: int, parameter: str, have: int) -> "MappingError":
        if need > LIMITS.get(parameter, need):
            return cls(
                f"layer '{layer}': {what} needs {parameter} {need}; no design can have more than {LIMITS[parameter]}"
            )
        return cls(
            f"layer '{layer}': {what} needs {parameter} {need}, the design has {have}; raise {parameter} to {need}"
        )
