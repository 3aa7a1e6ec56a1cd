"""Names that are unique, whatever a file calls its layers and tensors."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """Names that nothing else has.

    Args:
        reserved: Names that are taken already.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = set(reserved)

    def take(self, name: str) -> str:
        """``name``, or where that is taken the first of ``name_2``, ``name_3``, ... that is not."""
        unique, number = name, 1
        while unique in self._taken:
            number += 1
            unique = f"{name}_{number}"
        self._taken.add(unique)
        return unique
