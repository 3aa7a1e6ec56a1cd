"""Scale and zero point of a range of activations: the grid that the quantizer rounds a tensor to."""

from __future__ import annotations

import numpy as np


def activation_scale(low: float, high: float, bits: int, symmetric: bool = False) -> tuple[float, int]:
    """Scale and zero point of an activation tensor.

    Args:
        low: Least value. The range is widened to contain 0.
        high: Greatest value.
        bits: Bits of the integers.
        symmetric: The range reaches equally far on both sides of 0. The zero point is then 0, and the lowest integer is
            not used.

    Returns:
        The scale, a float32 value as ONNX stores it, and the zero point.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    qmin, qmax = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if high - low < np.finfo(np.float32).tiny * (qmax - qmin):
        low, high = 0.0, 1.0
    if symmetric:
        return float(np.float32(max(high, -low) / qmax)), 0
    scale = float(np.float32((high - low) / (qmax - qmin)))
    return scale, int(np.clip(round(qmin - low / scale), qmin, qmax))
