"""Criteria of pruning: how much each weight matters, and how the weights of a group add up. The smallest scores go first.

:func:`saliency` scores the weights of one layer, :func:`reduce` makes of them one score a group (``structures``), which
``masks`` ranks. What a criterion needs beside the weights comes in an :class:`Evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.statistics import LayerStatistics, Real, statistics_of
from skipstone.models.pruning.structures import Granularity, Integers

Reduction = Literal["sum", "root_of_sum", "first", "distances"]
_DISTANCES = 1 << 22
"""Differences of two groups' weights that are held at a time."""


@dataclass(frozen=True)
class Criterion:
    """``needs`` what of the evidence; ``reduction`` from weights to a group; ``granularities`` it is defined for (None:
    all); ``source`` is the paper."""

    needs: Literal["nothing", "gradients", "statistics"]
    reduction: Reduction
    source: str
    granularities: tuple[Granularity, ...] | None = None


CRITERIA: Mapping[str, Criterion] = {
    "l1": Criterion("nothing", "sum", "Li et al., Pruning Filters for Efficient ConvNets, 2017"),
    "l2": Criterion("nothing", "root_of_sum", "Han et al., Learning both Weights and Connections, 2015"),
    "batch_norm_scale": Criterion("statistics", "first", "Liu et al., Network Slimming, 2017", ("filter",)),
    "taylor": Criterion("gradients", "sum", "Molchanov et al., Importance Estimation for Neural Network Pruning, 2019"),
    "snip": Criterion("gradients", "sum", "Lee et al., SNIP, 2019"),
    "geometric_median": Criterion(
        "nothing",
        "distances",
        "He et al., Filter Pruning via Geometric Median, 2019",
        ("kernel", "stripe", "shape", "input_channel", "filter"),
    ),
    "apoz": Criterion("statistics", "first", "Hu et al., Network Trimming, 2016", ("filter",)),
    "wanda": Criterion("statistics", "sum", "Sun et al., A Simple and Effective Pruning Approach for LLMs, 2023"),
    "lamp": Criterion(
        "nothing",
        "sum",
        "Lee et al., Layer-Adaptive Sparsity for the Magnitude-Based Pruning, 2021",
        ("weight", "nm"),
    ),
    "random": Criterion("nothing", "first", "the baseline of all of them"),
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What criteria may need beside the weights. ``gradients``: of the loss for each layer's weights, in their shape, or with
    an axis of batches before it. ``statistics``: from :func:`skipstone.models.pruning.statistics.measure`."""

    gradients: Mapping[str, NDArray[np.floating]] | None = None
    statistics: Mapping[str, LayerStatistics] | None = None


def scores(graph: Graph, criterion: str, evidence: Evidence | None = None, seed: int = 0) -> dict[str, Real]:
    """:func:`saliency` of every layer with trained weights, but for those that the criterion can't score."""
    result = {}
    for index, layer in enumerate(graph.convs):
        layer_scores = saliency(layer, criterion, evidence, (seed, index))
        if layer_scores is not None:
            result[layer.name] = layer_scores
    return result


def saliency(
    layer: Conv, criterion: str, evidence: Evidence | None = None, seed: int | tuple[int, ...] = 0
) -> Real | None:
    """Scores each weight w of a layer.

    - ``l1``: ``|w|``; ``l2``: ``w^2``.
    - ``batch_norm_scale``: the standard deviation of the channel before its clamp. Where batch normalization is folded
      into the weights that is its ``|gamma|``.
    - ``taylor``: ``(w * gradient)^2``, mean over batches; ``snip``: ``|w * gradient|`` of the mean gradient.
    - ``geometric_median``: w itself, since the distances are between groups.
    - ``apoz``: 1 less the share of zeros of the channel after its ReLU.
    - ``wanda``: ``|w|`` times the root mean square of what its input channel and tap sees.
    - ``lamp``: ``w^2`` over the sum of ``w^2`` of the layer's weights that are not smaller, so that layers compare (for
      ``scope`` network: each keeps its share of what matters to it).
    - ``random``: uniform from 0 to 1.

    Args:
        layer: The layer.
        criterion: One of the above.
        evidence: The gradients or statistics that the criterion needs.
        seed: Of ``random``.

    Returns:
        Scores in the weights' shape; None where the layer has nothing to score (``apoz`` without a ReLU).

    Raises:
        SkipstoneError: The criterion does not exist, or lacks its evidence.
    """
    rule = check_criterion(criterion)
    weights = layer.weights.astype(np.float64)
    if rule.needs == "gradients":
        contribution = weights * _gradients(layer, criterion, evidence)
        if criterion == "snip":
            return np.asarray(np.abs(contribution.mean(axis=0)))
        return np.asarray(np.square(contribution).mean(axis=0))
    if rule.needs == "statistics":
        if evidence is None or evidence.statistics is None:
            raise SkipstoneError(f"criterion '{criterion}' needs activation statistics; give calibration images")
        statistics = statistics_of(evidence.statistics, layer)
        if criterion == "wanda":
            return np.abs(weights) * np.sqrt(by_weight(layer, statistics.input_square))
        channel = statistics.output_std
        if criterion == "apoz":
            if statistics.zeros is None:
                return None
            channel = 1 - statistics.zeros
        return np.broadcast_to(channel.reshape(-1, 1, 1, 1), weights.shape).copy()
    match criterion:
        case "l1":
            return np.abs(weights)
        case "l2":
            return np.square(weights)
        case "lamp":
            return _lamp(np.square(weights))
        case "random":
            return np.random.default_rng(seed).random(weights.shape)
        case _:
            return weights


def reduce(saliencies: Real, ids: Integers, criterion: str, mean: bool = False) -> Real:
    """Makes one score for each group of a layer's weights.

    A group's score is the sum of its saliencies (``l2``: its root). ``geometric_median``: the sum of Euclidean distances to the
    layer's other groups. ``random`` and criteria that score whole channels: the score of the group's first weight.

    Args:
        saliencies: From :func:`saliency`, in the weights' shape.
        ids: The group of each weight, in the weights' shape.
        criterion: The criterion of the saliencies.
        mean: To compare groups of several layers: sums become means over the group's weights, and distances become means over
            groups and root mean squares over weights.
    """
    flat, values = ids.ravel(), saliencies.ravel()
    sizes = np.bincount(flat)
    total: Real
    match CRITERIA[criterion].reduction:
        case "sum":
            total = np.bincount(flat, weights=values).astype(np.float64)
            return total / sizes if mean else total
        case "root_of_sum":
            total = np.bincount(flat, weights=values).astype(np.float64)
            return np.asarray(np.sqrt(total / sizes if mean else total))
        case "first":
            return values[np.unique(flat, return_index=True)[1]]
        case "distances":
            vectors = values[np.argsort(flat, kind="stable")].reshape(len(sizes), -1)
            total = _distance_sums(vectors)
            return total / (max(len(sizes) - 1, 1) * np.sqrt(vectors.shape[1])) if mean else total


def by_weight(layer: Conv, inputs: Real) -> Real:
    """Values of the layer's input channels and taps (C x kh x kw) at each weight that reads them: K x C/groups x kh x kw."""
    outputs, channels, kh, kw = layer.weights.shape
    return inputs.reshape(layer.groups, channels, kh, kw).repeat(outputs // layer.groups, axis=0)


def check_criterion(criterion: str, granularity: Granularity | None = None) -> Criterion:
    """The criterion, refused where it does not exist or is not defined for ``granularity``."""
    rule = CRITERIA.get(criterion)
    if rule is None:
        raise SkipstoneError(f"no pruning criterion '{criterion}'; the criteria are {', '.join(CRITERIA)}")
    if granularity is not None and rule.granularities is not None and granularity not in rule.granularities:
        raise SkipstoneError(
            f"criterion '{criterion}' can't score granularity {granularity}; it takes {', '.join(rule.granularities)}"
        )
    return rule


def _lamp(squares: Real) -> Real:
    """Each square over the sum of itself and all that are not smaller; of equal ones the later counts as larger."""
    order = np.argsort(squares, axis=None, kind="stable")
    ranked = squares.ravel()[order]
    remaining = np.cumsum(ranked[::-1])[::-1]
    scores = np.empty(ranked.size)
    scores[order] = ranked / np.maximum(remaining, np.finfo(np.float64).tiny)
    return scores.reshape(squares.shape)


def _gradients(layer: Conv, criterion: str, evidence: Evidence | None) -> Real:
    """Batches x the weights' shape."""
    if evidence is None or evidence.gradients is None:
        raise SkipstoneError(f"criterion '{criterion}' needs gradients of the loss; make them with labelled images")
    gradients = evidence.gradients.get(layer.name)
    if gradients is None:
        raise SkipstoneError(f"layer '{layer.name}': no gradients for criterion '{criterion}'")
    if gradients.shape == layer.weights.shape:
        gradients = gradients[None]
    if gradients.shape[1:] != layer.weights.shape:
        raise SkipstoneError(
            f"layer '{layer.name}': gradients of shape {gradients.shape} don't fit weights {layer.weights.shape}"
        )
    return gradients.astype(np.float64)


def _distance_sums(vectors: Real) -> Real:
    """For each row the sum of its Euclidean distances to all rows; the cost is quadratic in the rows."""
    step = max(1, _DISTANCES // max(vectors.size, 1))
    sums = np.empty(len(vectors))
    for start in range(0, len(vectors), step):
        some = vectors[start : start + step]
        sums[start : start + step] = np.linalg.norm(some[:, None] - vectors[None], axis=2).sum(axis=1)
    return sums
