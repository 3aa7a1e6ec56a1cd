"""Networks before training: fresh weights for pruning at initialization, dynamic sparse training, and lottery tickets."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv


def reinitialized(graph: Graph, seed: int) -> Graph:
    """A network with biases 0 and random weights: normal of variance ``2 / fan in``.

    He et al., "Delving Deep into Rectifiers", 2015. Weights that are 0 are drawn anew, too.
    """
    rng = np.random.default_rng(seed)
    layers = []
    for layer in graph.layers:
        if isinstance(layer, Conv):
            deviation = math.sqrt(2 / max(1, math.prod(layer.weights.shape[1:])))
            weights = rng.normal(0.0, deviation, layer.weights.shape).astype(np.float32)
            layer = replace(layer, weights=weights, bias=np.zeros_like(layer.bias), grid=None)
        layers.append(layer)
    return replace(graph, layers=tuple(layers))
