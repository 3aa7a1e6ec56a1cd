"""Weights in the codes of other multipliers, layer by layer: powers of two, ternary, binary or codebooks, as grids.

The quantizer uses grids as they are, so layers may have different codes and bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightGrid
from skipstone.models.ptq.chosen import chosen_layers
from skipstone.models.ptq.weight_range import weight_scales
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.models.quantization.weight_codes import code_weights


def coded(graph: Graph, scheme: QuantizationScheme, layers: Iterable[str] | None = None) -> Graph:
    """Rounds the weights of layers in the scheme's code and bits.

    Scales and integers are those of :func:`skipstone.models.quantization.weight_codes.code_weights`. Pruned weights
    stay 0. A channel without weights has the median of the others' scales.

    Args:
        graph: The float graph.
        scheme: Code and bits of weights.
        layers: Names of the layers; None for all that have weights and no grid.
    """
    grids = {}
    for layer in chosen_layers(graph, layers):
        bits, code = scheme.bits_of(layer.name), scheme.code_of(layer.name)
        nothing = np.zeros(len(layer.weights))
        empty = weight_scales(layer.weights, bits)
        integers, scale = code_weights(layer.weights, bits, code, scheme.codebook_entries, nothing, empty)
        grids[layer.name] = WeightGrid(integers=integers, scale=scale, code=code, bits=bits)
    return graph.with_grids(grids)
