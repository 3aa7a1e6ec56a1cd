"""How weights and tensors are quantized already: the grids that a float network's layers and tensors can carry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError

WeightCode = Literal["linear", "power_of_two", "additive_power_of_two", "ternary", "binary", "codebook"]
"""How a network's weights are coded: any integer, plus or minus a power of two, plus or minus a sum of them, plus or minus one
where small weights are zero, plus or minus one for every weight, or one of a few values per layer. A pruned weight is zero in
all of them. ``weights`` always holds the integers that the code stands for."""


@dataclass(frozen=True, eq=False)
class WeightGrid:
    """Weights that are quantized already: ``integers`` (int64, of the weights' shape) times ``scale`` (K float64 of float32
    values, one for each output channel) are the weights, as float32. ``code`` with ``bits`` is what the integers keep to."""

    integers: NDArray[np.int64]
    scale: NDArray[np.float64]
    code: WeightCode = "linear"
    bits: int = 8

    @property
    def weights(self) -> NDArray[np.float32]:
        """What the integers stand for."""
        scale = self.scale.reshape(-1, *[1] * (self.integers.ndim - 1))
        return (self.integers * scale).astype(np.float32)


@dataclass(frozen=True)
class ActivationGrid:
    """How a tensor is quantized: ``real = scale * (q - zero_point)``, ``q`` being signed integers of ``bits``."""

    scale: float
    zero_point: int
    bits: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise SkipstoneError(f"a tensor's grid must have 2 to 16 bits, not {self.bits}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise SkipstoneError(f"a tensor's grid must have a positive scale, not {self.scale:g}")
        low, high = -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        if not low <= self.zero_point <= high:
            raise SkipstoneError(
                f"a zero point of {self.bits} bits lies from {low} to {high}, not at {self.zero_point}"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest real value."""
        low, high = -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return self.scale * (low - self.zero_point), self.scale * (high - self.zero_point)


def check_grid(layer: str, grid: WeightGrid | None, weights: NDArray[np.float32]) -> None:
    """Refuses a grid that the weights don't lie on."""
    if grid is None:
        return
    if grid.integers.shape != weights.shape or grid.scale.shape != (len(weights),):
        raise SkipstoneError(
            f"layer '{layer}': a grid of {grid.integers.shape} with {grid.scale.shape} scales does not fit weights of "
            f"{weights.shape}"
        )
    if not 2 <= grid.bits <= 16:
        raise SkipstoneError(f"layer '{layer}': its grid must have 2 to 16 bits, not {grid.bits}")
    wrong = int(np.count_nonzero(grid.weights != weights))
    if wrong:
        raise SkipstoneError(
            f"layer '{layer}': {wrong} of its {weights.size} weights do not lie on its grid; "
            "change weights with Graph.with_weights or with_grids"
        )
