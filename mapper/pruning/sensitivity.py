"""How much accuracy each layer alone costs: pruned to several sparsities, or with its weights in several bits.

Accuracy is the float network's under ONNX Runtime, with zeros, or with weights rounded to the integers of so many bits and turned
back into floats; activations stay float. The same points carry cycles, which ``skipstone.compress.sensitivity`` adds.
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
    """The ``round(amount * size)`` smallest weights of ``layer`` become 0, ties to the earlier one."""
    weights = _conv(graph, layer).weights
    pruned = weights.copy()
    pruned.ravel()[np.argsort(np.abs(weights), axis=None, kind="stable")[: round(amount * weights.size)]] = 0
    return graph.with_weights({layer: pruned})


def with_bits(graph: Graph, layer: str, bits: int) -> Graph:
    """The weights of ``layer`` rounded to signed integers of ``bits`` with one scale per output channel, as floats again."""
    if not 2 <= bits <= 16:
        raise SkipstoneError(f"weight bits must be from 2 to 16, not {bits}")
    weights = _conv(graph, layer).weights
    channels = len(weights)
    integers, scale = code_weights(weights, bits, "linear", 0, np.zeros(channels), np.ones(channels))
    return graph.with_weights({layer: (integers * scale.reshape(-1, 1, 1, 1)).astype(np.float32)})


def compressed_layers(
    graph: Graph, sparsities: Sequence[float], bits: Sequence[int], prune_layer: PruneLayer = magnitude
) -> Iterator[tuple[str, What, float, Graph]]:
    """Every layer with every sparsity, then with all bits: (layer, what, value, graph in which only that layer has changed)."""
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
    """Accuracy and cycles of ``graph`` as it is, and a point for each of ``compressed_layers``; without ``cycles``, None."""
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
