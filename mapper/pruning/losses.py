"""What pruning costs in accuracy, as a number that a search can compare: measured on images, or added up from scores.

Each function here makes a ``Loss``: a function of a graph that is 0 for the reference and higher for worse graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_scores
from skipstone.models.data.images import Images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv

Loss = Callable[[Graph], float]
Scores = Mapping[str, NDArray[np.floating]]
"""For each layer, what losing each weight costs, in the shape of the layer's weights."""


def output_error(reference: Graph, images: Images) -> Loss:
    """Makes a loss of the first output's mean squared error, over the reference's mean square.

    Args:
        reference: The graph whose output is compared with.
        images: Images that the graphs run on, N x channels x height x width.
    """
    expected = float_scores(reference, images).astype(np.float64)
    norm = float(np.square(expected).mean()) or 1.0

    def loss(graph: Graph) -> float:
        return float(np.square(float_scores(graph, images).astype(np.float64) - expected).mean()) / norm

    return loss


def divergence(reference: Graph, images: Images) -> Loss:
    """Makes a loss of the mean Kullback-Leibler divergence (nats) of the first output's softmax from the reference's.

    It measures how much the class probabilities change, and needs no labels (Hinton, Vinyals, Dean, 2015, distil by
    it).

    Args:
        reference: The graph whose output is compared with.
        images: Images that the graphs run on, N x channels x height x width.
    """
    expected = _log_softmax(float_scores(reference, images))

    def loss(graph: Graph) -> float:
        got = _log_softmax(float_scores(graph, images))
        return float((np.exp(expected) * (expected - got)).sum(axis=1).mean())

    return loss


def score_loss(reference: Graph, scores: Scores) -> Loss:
    """Makes a loss of the sum of the scores of all weights that are zero in a graph and were not in the reference.

    It serves where measuring a network right after pruning says nothing, because it will be trained again. First- or
    second-order Taylor terms, ``|w g|`` (Molchanov et al., 2017) or ``w^2 F / 2`` with the Fisher information (LeCun et
    al., 1990; Theis et al., 2018), are in units of the training loss, so that layers compare.

    Args:
        reference: The graph before pruning.
        scores: For each layer, what losing each weight costs.

    Raises:
        SkipstoneError: A layer of ``scores`` has no weights or weights of another shape, or a score is not finite.
    """
    _check(reference, scores)
    before = {layer.name: layer.weights != 0 for layer in reference.convs}

    def loss(graph: Graph) -> float:
        return sum(
            float(scores[layer.name][before[layer.name] & (layer.weights == 0)].sum())
            for layer in graph.convs
            if layer.name in scores
        )

    return loss


def _conv(graph: Graph, name: str) -> Conv:
    layer = graph.layer(name)
    if not isinstance(layer, Conv):
        raise SkipstoneError(f"layer '{name}' ({layer.kind}) has no weights to prune")
    return layer


def _check(graph: Graph, scores: Scores) -> None:
    for name, values in scores.items():
        layer = _conv(graph, name)
        if np.shape(values) != layer.weights.shape:
            raise SkipstoneError(
                f"layer '{name}': scores of shape {np.shape(values)} don't fit weights {layer.weights.shape}"
            )
        if not np.isfinite(values).all():
            raise SkipstoneError(f"layer '{name}': scores contain NaN or infinity")


def _log_softmax(scores: NDArray[np.generic]) -> NDArray[np.float64]:
    shifted = scores.astype(np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
