"""What compressing each layer alone costs in accuracy: pruned to several sparsities, or with weights of several bits.

Accuracy is that of the float network under ONNX Runtime, with zeros, or with weights rounded to integers and turned
back into floats. Activations stay float. ``skipstone.compress.sensitivity`` adds cycles to the same points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from skipstone.errors import SkipstoneError
from skipstone.mapper.results.sensitivity import SensitivityPoint, What
from skipstone.models.data.float_execution import float_accuracy
from skipstone.models.data.images import Images, Labels
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.quantization.weight_codes import code_weights

PruneLayer = Callable[[Graph, str, float], Graph]
"""``(graph, layer, amount)``: the graph with ``round(amount * size)`` weights of one layer zero."""
Progress = Callable[[str], None]


def magnitude(graph: Graph, layer: str, amount: float) -> Graph:
    """Sets the ``round(amount * size)`` smallest weights of a layer to 0. Of equal weights the earlier ones go first.

    Args:
        graph: The graph.
        layer: The layer's name.
        amount: The share of zeros, 0 to 1.

    Raises:
        SkipstoneError: The layer has no weights.
    """
    weights = _conv(graph, layer).weights
    pruned = weights.copy()
    pruned.ravel()[np.argsort(np.abs(weights), axis=None, kind="stable")[: round(amount * weights.size)]] = 0
    return graph.with_weights({layer: pruned})


def with_bits(graph: Graph, layer: str, bits: int) -> Graph:
    """Rounds the weights of a layer to signed integers with one scale per output channel, and turns them back into
    floats.

    Args:
        graph: The graph.
        layer: The layer's name.
        bits: Bits of the integers, 2 to 16.

    Raises:
        SkipstoneError: The layer has no weights, or ``bits`` is out of range.
    """
    if not 2 <= bits <= 16:
        raise SkipstoneError(f"weight bits must be from 2 to 16, not {bits}")
    weights = _conv(graph, layer).weights
    channels = len(weights)
    integers, scale = code_weights(weights, bits, "linear", 0, np.zeros(channels), np.ones(channels))
    return graph.with_weights({layer: (integers * scale.reshape(-1, 1, 1, 1)).astype(np.float32)})


def compressed_layers(
    graph: Graph, sparsities: Sequence[float], bits: Sequence[int], prune_layer: PruneLayer = magnitude
) -> Iterator[tuple[str, What, float, Graph]]:
    """Yields graphs in which only one layer is compressed: every layer with every sparsity, then with all bits.

    Args:
        graph: The graph.
        sparsities: Shares of zeros, 0 to 1.
        bits: Bits of weights.
        prune_layer: Prunes one layer.

    Yields:
        (layer, what, value, graph).

    Raises:
        SkipstoneError: A value is out of range.
    """
    if not all(0 <= amount <= 1 for amount in sparsities):
        raise SkipstoneError(f"sparsities must be from 0 to 1, not {', '.join(f'{amount:g}' for amount in sparsities)}")
    for layer in graph.convs:
        for amount in sparsities:
            yield layer.name, "sparsity", float(amount), prune_layer(graph, layer.name, amount)
        for width in bits:
            yield layer.name, "bits", float(width), with_bits(graph, layer.name, width)


def measure(
    graph: Graph,
    images: Images,
    labels: Labels,
    sparsities: Sequence[float],
    bits: Sequence[int],
    prune_layer: PruneLayer = magnitude,
    cycles: Callable[[Graph], int] | None = None,
    progress: Progress = lambda _: None,
) -> tuple[float, int | None, tuple[SensitivityPoint, ...]]:
    """Measures the sensitivity of each layer.

    Args:
        graph: The graph.
        images: Test images, N x channels x height x width.
        labels: Their labels.
        sparsities: Shares of zeros, 0 to 1.
        bits: Bits of weights.
        prune_layer: Prunes one layer.
        cycles: Counts the cycles of a graph; None for no cycles.
        progress: Called with a line of text for each point.

    Returns:
        Accuracy and cycles of ``graph``, and a point for each graph of :func:`compressed_layers`. Without ``cycles``,
        all
        cycles are None.

    Raises:
        SkipstoneError: A value is out of range.
    """
    accuracy = float_accuracy(graph, images, labels)
    before = cycles(graph) if cycles is not None else None
    points = []
    for layer, what, value, changed in compressed_layers(graph, sparsities, bits, prune_layer):
        progress(f"sensitivity of {layer}: {what} {value:g}")
        weights = _conv(changed, layer).weights
        after = float_accuracy(changed, images, labels)
        taken = cycles(changed) if cycles is not None else None
        points.append(
            SensitivityPoint(
                layer,
                what,
                value,
                float(np.count_nonzero(weights)) / weights.size,
                after,
                accuracy - after,
                taken,
                before - taken if before is not None and taken is not None else None,
            )
        )
    return accuracy, before, tuple(points)


def _conv(graph: Graph, name: str) -> Conv:
    layer = graph.layer(name)
    if not isinstance(layer, Conv):
        raise SkipstoneError(f"layer '{name}' ({layer.kind}) has no weights to compress")
    return layer
