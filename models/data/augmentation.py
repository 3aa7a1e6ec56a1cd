"""How a data set's training images may be varied without changing what they show.

It is a property of the data: a mirrored shoe is a shoe, a mirrored 2 is no 2, and a shifted spectrogram is another sound. So
nothing is varied unless the data set or the recipe says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from skipstone.errors import SkipstoneError


@dataclass(frozen=True)
class Augmentation:
    """What training does to images at random.

    Attributes:
        shift: Up to so many pixels in both directions, zeros moving in.
        flip: Mirrored left to right, or not.
    """

    shift: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise SkipstoneError(f"shift must be 0 or more pixels, not {self.shift}")

    def __str__(self) -> str:
        parts = [f"shifted by up to {self.shift} pixel{'s' if self.shift > 1 else ''}"] if self.shift else []
        parts += ["mirrored"] if self.flip else []
        return " and ".join(parts) or "not augmented"


DECLARED = {"fashion-mnist": Augmentation(shift=2, flip=True), "mnist-5k": Augmentation(shift=2)}
"""What the data sets that are known by name allow."""
