"""The storage that a layer's weights take: the measure of compression ratios, the same for every method.

The hardware's own lists, with their indices and fillers, are counted by the mapper (``LayerProgram.encoded_bits``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.grids import WeightCode


def value_code_bits(code: WeightCode, bits: int, entries: int) -> int:
    """Bits of one nonzero weight: the code itself, a place in the codebook, or a sign."""
    match code:
        case "ternary" | "binary":
            return 1
        case "codebook":
            return max(1, (entries - 1).bit_length())
        case _:
            return bits


def encoded_bits(integers: NDArray[np.int64], code: WeightCode, bits: int) -> int:
    """Bits of a layer's weights in the smaller of two forms.

    - dense: every weight takes its code's bits (a value for zero included: one bit more where the code has none);
    - bitmap: one bit for each weight that says whether it is zero, and the code's bits for each nonzero one.

    A 32-bit scale for each output channel and the values of a codebook are added.

    Args:
        integers: The weights, K x C/groups x kh x kw.
        code: Their code.
        bits: Their bits.
    """
    values = np.unique(integers[integers != 0])
    each = value_code_bits(code, bits, len(values))
    says_zero = code in ("linear", "power_of_two", "additive_power_of_two")
    nonzero = int(np.count_nonzero(integers))
    dense = integers.size * (each if says_zero or nonzero == integers.size else each + 1)
    bitmap = integers.size + nonzero * each
    book = len(values) * bits if code == "codebook" else 0
    return min(dense, bitmap) + book + 32 * len(integers)


def encoded_bytes(integers: NDArray[np.int64], code: WeightCode, bits: int) -> int:
    """:func:`encoded_bits` in bytes, rounded up."""
    return -(-encoded_bits(integers, code, bits) // 8)
