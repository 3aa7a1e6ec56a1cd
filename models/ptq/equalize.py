"""Cross-layer equalization: a channel between two layers is scaled so that both use their weight range equally.

It runs before rounding and does not change what the network computes: ReLU, pools and upsampling commute with positive
scales. Source: Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019, section 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import AveragePool, ClampLayer, Conv, Copy, Layer, MaxPool, Upsample

_ITERATIONS = 100
_TOLERANCE = 1e-3
"""Scales that differ from 1 by less than this have converged."""


@dataclass(frozen=True, eq=False)
class Equalized:
    """An equalized graph.

    Attributes:
        graph: The graph.
        pairs: The pairs of layers whose channels were scaled.
        notes: Why other layers were not.
    """

    graph: Graph
    pairs: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def equalize(graph: Graph, powers_of_two: bool = False) -> Equalized:
    """Equalizes the layers of a graph, which lose their grids.

    For channel i between layers 1 and 2, with the largest magnitudes r1 (of the output channel) and r2 (of the input
    channel), layer 1 is divided by ``s = sqrt(r1 * r2) / r2`` and layer 2 is multiplied by it, over all pairs until no
    scale changes. Where r1 or r2 is 0, s is 1.

    A pair is two layers with weights, where the second is the only reader of the first, directly or through pools,
    upsampling and ReLU. A layer with another clamp (a ReLU6), or with other operations in between, is left and noted.

    Args:
        graph: The float graph.
        powers_of_two: Round the scales to powers of two, so that the floats that the network computes stay the same to
            the bit, and not only up to rounding.
    """
    pairs, notes = _pairs(graph)
    convs = {layer.name: layer for layer in graph.convs}
    weights = {name: layer.weights.astype(np.float64) for name, layer in convs.items()}
    scales = {first: np.ones(len(weights[first])) for first, _ in pairs}
    for _ in range(_ITERATIONS):
        moved = 0.0
        for first, second in pairs:
            groups = convs[second].groups
            r1 = np.abs(weights[first]).max(axis=(1, 2, 3))
            r2 = np.abs(_by_input(weights[second], groups)).max(axis=(1, 2))
            usable = (r1 > 0) & (r2 > 0)
            scale = np.where(usable, np.sqrt(np.where(usable, r1, 1.0) / np.where(usable, r2, 1.0)), 1.0)
            weights[first] = weights[first] / scale.reshape(-1, 1, 1, 1)
            weights[second] = _scaled_inputs(weights[second], scale, groups)
            scales[first] = scales[first] * scale
            moved = max(moved, float(np.abs(np.log(scale)).max()))
        if moved < _TOLERANCE:
            break
    if powers_of_two:
        scales = {name: 2.0 ** np.rint(np.log2(scale)) for name, scale in scales.items()}
    changed = dict(convs)
    for first, second in pairs:
        scale = scales[first]
        before, after = changed[first], changed[second]
        divided = (before.weights / scale.reshape(-1, 1, 1, 1)).astype(np.float32)
        changed[first] = replace(before, weights=divided, bias=(before.bias / scale).astype(np.float32), grid=None)
        multiplied = _scaled_inputs(after.weights.astype(np.float64), scale, after.groups)
        changed[second] = replace(after, weights=multiplied.astype(np.float32), grid=None)
    layers = tuple(changed.get(layer.name, layer) for layer in graph.layers)
    return Equalized(replace(graph, layers=layers), pairs, notes)


def _pairs(graph: Graph) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Pairs of layers, in execution order, and why the other layers with weights have no partner behind them."""
    pairs, notes = [], []
    for layer in graph.convs:
        name, reason = _partner(graph, layer)
        if name:
            pairs.append((layer.name, name))
        else:
            notes.append(f"layer '{layer.name}': not equalized, {reason}")
    return tuple(pairs), tuple(notes)


def _partner(graph: Graph, layer: Layer) -> tuple[str, str]:
    """The layer with weights that alone reads ``layer``; empty, with the reason, where there is none."""
    while True:
        if layer.clamp is not None and not all(bound == 0 or math.isinf(bound) for bound in layer.clamp):
            return "", f"its output is clamped to {layer.clamp[0]:g},{layer.clamp[1]:g}, which scales can't pass"
        if layer.name in graph.outputs:
            return "", f"'{layer.name}' is an output of the network"
        readers = graph.readers(layer.name)
        if len(readers) != 1:
            return "", f"'{layer.name}' has {len(readers)} readers"
        following = graph.layer(readers[0])
        if isinstance(following, Conv):
            return following.name, ""
        if not isinstance(following, AveragePool | MaxPool | Upsample | ClampLayer | Copy):
            return "", f"'{following.name}' ({following.kind}) reads it"
        layer = following


def _by_input(weights: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """``weights`` (K x C/groups x kh x kw) as C x K/groups x taps: what each input channel is multiplied by."""
    outputs, inputs = weights.shape[:2]
    grouped = weights.reshape(groups, outputs // groups, inputs, -1)
    return grouped.swapaxes(1, 2).reshape(groups * inputs, outputs // groups, -1)


def _scaled_inputs(weights: NDArray[np.float64], scale: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """``weights`` with each input channel multiplied by its ``scale``."""
    outputs, inputs = weights.shape[:2]
    grouped = weights.reshape(groups, outputs // groups, inputs, -1) * scale.reshape(groups, 1, inputs, 1)
    return grouped.reshape(weights.shape)
