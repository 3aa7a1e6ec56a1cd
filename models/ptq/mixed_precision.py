"""Bits for each layer: how much the network's scores suffer from each layer's rounding, and the best way to spend bits.

The sensitivities are measured one layer at a time, in floats. The choice takes their sum for the whole network's loss,
which makes it a knapsack problem. Sources: Dong et al., "HAWQ: Hessian AWare Quantization", 2019, and Yao et al.,
"HAWQ-V3", 2021, for bits by sensitivity under a budget; the measure here is the output's change itself, not a Hessian.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_scores
from skipstone.models.data.images import Images, Labels, check_images, check_labels
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Softmax
from skipstone.models.ptq.chosen import chosen_layers
from skipstone.models.ptq.weight_range import WeightRange, nearest_grid

Measure = Literal["mse", "kl", "loss"]
Sensitivities = Mapping[str, Mapping[int, float]]
"""By layer name, by bits: what rounding this layer alone costs."""

MOST_STATES = 1 << 18
"""Undominated choices that the exact search keeps, before it hands over to the greedy one."""


@dataclass(frozen=True)
class BitChoice:
    """The bits of each layer.

    Attributes:
        bits: Bits by layer.
        cost: The sum of the layers' sensitivities.
        used: Bits of all weights together.
        exact: No other choice within the budget costs less.
    """

    bits: Mapping[str, int]
    cost: float
    used: int
    exact: bool


def sensitivities(
    graph: Graph,
    images: Images,
    bits: Iterable[int] = (2, 3, 4, 6, 8),
    *,
    measure: Measure = "mse",
    labels: Labels | None = None,
    weight_range: WeightRange = "mse",
    layers: Iterable[str] | None = None,
) -> dict[str, dict[int, float]]:
    """Measures how much the scores suffer when one layer's weights alone are rounded.

    ``measure`` is one of:

    - ``mse``: the mean squared change of the scores.
    - ``kl``: the mean divergence ``KL(softmax of the float scores || softmax of the others)`` in nats.
    - ``loss``: the rise of the mean cross entropy with ``labels``, which may be negative.

    A network that ends in Softmax gives probabilities, whose logarithms are taken as scores.

    Args:
        graph: The float graph.
        images: N x C x H x W.
        bits: The bits that are tried.
        measure: See above.
        labels: Labels of the images, for ``loss``.
        weight_range: How scales are chosen (:func:`skipstone.models.ptq.weight_range.weight_scales`).
        layers: Names of the layers; None for all that have weights and no grid.

    Returns:
        For each layer, the measure by bits.

    Raises:
        SkipstoneError: There is no such measure, or labels do not go with it.
    """
    if measure not in get_args(Measure):
        raise SkipstoneError(f"no sensitivity measure '{measure}'; the measures are {', '.join(get_args(Measure))}")
    images = check_images(graph, images)
    original = _scores(graph, images)
    if (measure == "loss") != (labels is not None):
        raise SkipstoneError("the measure 'loss' needs labels, and the others take none")
    if labels is not None:
        check_labels(labels, len(images), original.shape[1])
    chosen, widths = chosen_layers(graph, layers), sorted(set(bits))
    result: dict[str, dict[int, float]] = {}
    for layer in chosen:
        result[layer.name] = {}
        for width in widths:
            rounded = graph.with_grids({layer.name: nearest_grid(layer, width, weight_range)})
            result[layer.name][width] = _degradation(original, _scores(rounded, images), measure, labels)
    return result


def choose_bits(
    costs: Sensitivities, sizes: Mapping[str, int], *, mean_bits: float | None = None, budget: int | None = None
) -> BitChoice:
    """Chooses the bits of each layer with the least sum of costs within a budget.

    Layer by layer, the search stores every choice that no other beats in both bits and cost, which gives the optimum.
    Where these become more than 2**18, a greedy choice is made: from the fewest bits up, each time the step that saves
    the most cost for its bits. Of equal costs the fewer bits win.

    Args:
        costs: For each layer, the cost by bits.
        sizes: For at least these layers, the number of weights.
        mean_bits: The budget as bits for each weight.
        budget: The budget as bits of all weights.

    Raises:
        SkipstoneError: There is not exactly one budget, a size is missing, or even the fewest bits exceed the budget.
    """
    if (mean_bits is None) == (budget is None):
        raise SkipstoneError("choosing bits needs either mean_bits or a budget")
    if not costs:
        raise SkipstoneError("choosing bits needs the costs of at least one layer")
    missing = sorted(name for name in costs if name not in sizes)
    if missing:
        raise SkipstoneError(f"layer '{missing[0]}': no size for it")
    total = sum(sizes[name] for name in costs)
    most = budget if budget is not None else int(np.floor((mean_bits or 0) * total + 1e-9))
    least = sum(sizes[name] * min(costs[name]) for name in costs)
    if least > most:
        raise SkipstoneError(f"a budget of {most} bits is less than the {least} that {total} weights need at least")
    bits = _optimal(costs, sizes, most)
    exact = bits is not None
    bits = bits or _greedy(costs, sizes, most)
    used = sum(sizes[name] * bits[name] for name in costs)
    return BitChoice(bits, float(sum(costs[name][bits[name]] for name in costs)), used, exact)


def _optimal(costs: Sensitivities, sizes: Mapping[str, int], budget: int) -> dict[str, int] | None:
    """The best choice, or None where there are too many choices to store."""
    room = budget - sum(sizes[name] * min(costs[name]) for name in costs)
    used, cost = np.zeros(1, np.int64), np.zeros(1)
    parents_of: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for name, options in costs.items():
        widths = sorted(options)
        # Bits beyond the fewest, so that what is left over is the same for every choice.
        more = np.array([(width - widths[0]) * sizes[name] for width in widths], np.int64)
        paid = np.array([options[width] for width in widths])
        all_used, all_cost = (used[:, None] + more).ravel(), (cost[:, None] + paid).ravel()
        order = np.lexsort((all_cost, all_used))
        order = order[all_used[order] <= room]
        lowest = np.minimum.accumulate(all_cost[order])
        better = np.concatenate([[True], lowest[1:] < lowest[:-1]])
        order = order[better]
        if len(order) > MOST_STATES:
            return None
        used, cost = all_used[order], all_cost[order]
        parents_of.append((order // len(widths), np.array(widths, np.int64)[order % len(widths)]))
    at, bits = len(cost) - 1, {}
    for name, (parents, widths_of) in zip(reversed(list(costs)), reversed(parents_of), strict=True):
        bits[name] = int(widths_of[at])
        at = int(parents[at])
    return {name: bits[name] for name in costs}


def _greedy(costs: Sensitivities, sizes: Mapping[str, int], budget: int) -> dict[str, int]:
    bits = {name: min(options) for name, options in costs.items()}
    used = sum(sizes[name] * width for name, width in bits.items())
    while True:
        steps = [
            ((costs[name][now] - costs[name][width]) / max(1, (width - now) * sizes[name]), name, width)
            for name, now in bits.items()
            for width in costs[name]
            if width > now and used + (width - now) * sizes[name] <= budget and costs[name][width] < costs[name][now]
        ]
        if not steps:
            return bits
        _, name, width = max(steps, key=lambda step: step[0])
        used += (width - bits[name]) * sizes[name]
        bits[name] = width


def _scores(graph: Graph, images: Images) -> NDArray[np.float64]:
    """The first output, N x elements; of a Softmax, its logarithms."""
    scores = float_scores(graph, images).astype(np.float64)
    layer = graph.layer(graph.scores[0])
    if isinstance(layer, Softmax) and not layer.log:
        return np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    return scores


def _degradation(
    original: NDArray[np.float64], changed: NDArray[np.float64], measure: Measure, labels: Labels | None
) -> float:
    if measure == "mse":
        return float(np.square(changed - original).mean())
    before, after = _log_softmax(original), _log_softmax(changed)
    if labels is not None:
        rows = np.arange(len(labels))
        return float((before[rows, labels] - after[rows, labels]).mean())
    return float((np.exp(before) * (before - after)).sum(axis=1).mean())


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
