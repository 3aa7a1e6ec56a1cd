"""How many multiply-accumulates of a layer have an activation that says something: one that is not the zero point.

The program alone cannot tell, the data can. Energy of a PE depends on it, since after a ReLU half of the activations and more
are the zero point, and a multiplier whose operand stands still switches little.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models import reference
from models.quantized import QuantizedLayer, QuantizedNetwork


def active_macs(network: QuantizedNetwork, layer: QuantizedLayer, x: NDArray[np.int64]) -> float:
    """Products of nonzero weights with activations of ``x`` (images x channels x height x width, the layer's input) that are not
    its zero point, for one image on average; pixels outside the image count as zero points."""
    zero_point = network.tensors[layer.input].zero_point
    counting = replace(
        layer, operation="multiply_add", weights=(layer.weights != 0).astype(np.int64), pad_value=0, table=None
    )
    active = reference.accumulate(counting, (x != zero_point).astype(np.int64))
    return float(active.sum()) / len(x)
