"""Bits of a nonzero weight in a row's weight memory: with absolute indices, with deltas of several widths, and the
entropy bound.

Masks are random and really encoded, fillers and escapes included. Only the bound is computed by a formula.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.lowering.encode import encode_pass

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
DELTA_BITS = (2, 3, 4, 5, 6, 8)
WINDOWS = 8
"""Windows of the encoded list: enough for the means to settle."""


@dataclass(frozen=True)
class EntryBits:
    """Bits for each nonzero at one density: with absolute indices, with deltas of each width, and the entropy bound."""

    density: float
    absolute: float
    delta: dict[int, float]
    bound: float


def entry_bits(
    design: Design, densities: Iterable[float] = DENSITIES, delta_bits: Iterable[int] = DELTA_BITS, seed: int = 0
) -> tuple[EntryBits, ...]:
    """Random masks of each density over all windows, slots, lanes, rows and accumulators of ``design``."""
    rng = np.random.default_rng(seed)
    widths = tuple(delta_bits)
    result = []
    for density in densities:
        shape = (design.rows, WINDOWS, design.accumulators, design.slots, design.load_width)
        mask = rng.random(shape) < density
        result.append(
            EntryBits(
                density,
                bits_per_nonzero(design.replace(index_coding="absolute"), mask),
                {
                    bits: bits_per_nonzero(design.replace(index_coding="delta", delta_bits=bits), mask)
                    for bits in widths
                },
                bound(density, design.products.code_bits),
            )
        )
    return tuple(result)


def bits_per_nonzero(design: Design, mask: NDArray[np.bool_]) -> float:
    """``mask`` (rows x windows x accumulators x slots x lanes), encoded for ``design``; NaN without a nonzero."""
    row, window, accumulator, slot, lane = np.nonzero(mask)
    encoded = encode_pass(design, mask.shape[1], row, window, slot, lane, accumulator, np.ones_like(row))
    entries = sum(len(words) for words in encoded.weights)
    return entries * design.weight_entry.width / len(row) if len(row) else float("nan")


def bound(density: float, code_bits: int) -> float:
    """``H(density) / density + code_bits``: no code of positions chosen at random takes fewer bits for each nonzero."""
    if not 0 < density < 1:
        return float(code_bits)
    entropy = -density * np.log2(density) - (1 - density) * np.log2(1 - density)
    return float(entropy / density + code_bits)
