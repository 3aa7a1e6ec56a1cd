"""Widths of the requantization that the quantizer, the integer reference and the gateware share."""

from __future__ import annotations

MULTIPLIER_BITS = 16
"""Bits of the unsigned requantization multiplier; the relative rounding error of a scale is at most 2**-16."""

OTHER_MULTIPLIER_BITS = 32
"""Bits of the unsigned multiplier of the tensor that is added in the drain."""

SHIFT_BITS = 6
"""Bits of the requantization shift."""

MAX_SHIFT = 47
"""The largest legal shift; the smallest is 1."""
