"""Weights in the codes of other multipliers, layer by layer: powers of two, ternary, binary or codebooks, as grids.

The quantizer uses grids as they are, so layers may differ in code and bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightCode, WeightGrid
from skipstone.models.ptq.chosen import Bits, bits_of, chosen_layers
from skipstone.models.ptq.weight_range import weight_scales
from skipstone.models.quantization.weight_codes import check_code, code_weights


def coded(
    graph: Graph, code: WeightCode, bits: Bits = 8, entries: int = 16, layers: Iterable[str] | None = None
) -> Graph:
    """``graph`` with the weights of ``layers`` (default: all that have some and no grid) in ``code`` of ``bits``.

    Scales and integers are those of :func:`skipstone.models.quantization.weight_codes.code_weights`; ``entries``
    counts a codebook's nonzero
    values. Pruned weights stay 0. A channel without weights has the median of the others' scales.
    """
    check_code(code, entries)
    grids = {}
    for layer in chosen_layers(graph, layers):
        own = bits_of(layer.name, bits)
        nothing = np.zeros(len(layer.weights))
        empty = weight_scales(layer.weights, own)
        integers, scale = code_weights(layer.weights, own, code, entries, nothing, empty)
        grids[layer.name] = WeightGrid(integers=integers, scale=scale, code=code, bits=own)
    return graph.with_grids(grids)
