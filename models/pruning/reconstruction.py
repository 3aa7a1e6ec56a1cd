"""Input channels that a layer's output can do without, found by reconstruction on calibration images, as masks of zeros.

A channel that goes leaves zeros in all weights that read it; taking it out of the layer before is surgery.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.layerwise import Problem, layer_by_layer
from skipstone.models.pruning.masks import Pruned, Pruning, check_names
from skipstone.models.pruning.solvers import refit
from skipstone.models.pruning.statistics import Real

Refit = Literal["none", "scale", "weights"]


def reconstruct(
    graph: Graph,
    pruning: Pruning,
    images: Images,
    refit_by: Refit = "scale",
    damping: float = 1e-3,
    correction: float = 0.0,
    bias_correction: bool = True,
) -> Pruned:
    """Prunes input channels by reconstruction (ThiNet, Luo et al., 2017).

    ``round(amount * channels)`` input channels of each layer become zeros, greedily those without which the layer's output
    changes least. Layers go in execution order, each on the outputs of the pruned layers before it. A layer keeps one channel,
    with a note.

    Args:
        graph: The network.
        pruning: Of granularity input_channel and scope layer.
        images: Calibration images.
        refit_by: How the remaining weights make up for the removed channels: ``none``; ``scale``, a factor for each input
            channel by least squares as in ThiNet; ``weights``, all by least squares (He et al., Channel Pruning, 2017).
        damping: In units of the mean square input.
        correction: The share (0 to 1) of the error of the layers before that a layer makes up for.
        bias_correction: Whether the bias takes over the mean of what goes.
    """
    if pruning.granularity != "input_channel" or pruning.scope != "layer" or pruning.criterion != "l1":
        raise SkipstoneError(
            "reconstruction takes granularity input_channel, scope layer, and no criterion but its own; "
            f"not {pruning.granularity}, {pruning.scope}, {pruning.criterion}"
        )
    if refit_by not in get_args(Refit):
        raise SkipstoneError(f"no refit '{refit_by}'; it is one of {', '.join(get_args(Refit))}")
    check_names(graph, pruning)
    notes: list[str] = []

    def solve(layer: Conv, problem: Problem) -> Real | None:
        channels = layer.weights.shape[1] * layer.groups
        count = round(pruning.amounts.get(layer.name, pruning.amount) * channels)
        if count == channels and not pruning.may_empty:
            count -= 1
            notes.append(f"layer '{layer.name}': keeps one input channel, lest it be empty")
        old = layer.weights.reshape(problem.target.shape).astype(np.float64)
        gram, pull = channel_errors(layer, problem)
        unused = ~np.any(
            old.reshape(layer.groups, -1, channels // layer.groups, *layer.weights.shape[2:]), axis=(1, 3, 4)
        )
        gone = least_reconstruction_error(gram, count, unused.ravel())
        remaining = ~gone.reshape(layer.groups, -1)
        mask = np.repeat(remaining, layer.weights[0, 0].size, axis=1).repeat(len(old) // layer.groups, axis=0)
        if refit_by == "weights":
            return refit(problem.target, problem.hessians, mask & (old != 0))
        if refit_by == "none":
            return old * mask
        factors = np.zeros(channels)
        alive = ~gone & ~unused.ravel()
        factors[alive] = np.linalg.lstsq(gram[np.ix_(alive, alive)], pull[alive], rcond=None)[0]
        spread = factors.reshape(layer.groups, -1).repeat(layer.weights[0, 0].size, axis=1)
        return old * mask * spread.repeat(len(old) // layer.groups, axis=0)

    pruned = layer_by_layer(graph, images, solve, pruning.skip, damping, correction, bias_correction)
    return Pruned(pruned, tuple(notes))


def channel_errors(layer: Conv, problem: Problem) -> tuple[Real, Real]:
    """What each input channel contributes to a layer's outputs.

    Returns:
        With y_c as the contribution of input channel c: E[y_c . y_d] (channels x channels), and E[y_c . y] with the target
        outputs y.
    """
    groups, inputs = layer.groups, layer.weights.shape[1]
    rows = len(layer.weights) // groups
    old = layer.weights.reshape(groups, rows, inputs, -1).astype(np.float64)
    target = problem.target.reshape(groups, rows, inputs, -1)
    taps = old.shape[3]
    hessians = problem.hessians.reshape(groups, inputs, taps, inputs, taps)
    gram = np.zeros((groups * inputs, groups * inputs))
    pull = np.zeros(groups * inputs)
    for group in range(groups):
        here = slice(group * inputs, (group + 1) * inputs)
        seen = np.einsum("kci,cidj->kcdj", old[group], hessians[group], optimize=True)
        gram[here, here] = np.einsum("kcdj,kdj->cd", seen, old[group], optimize=True)
        pull[here] = np.einsum("kcdj,kdj->c", seen, target[group], optimize=True)
    return gram, pull


def least_reconstruction_error(gram: Real, count: int, first: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Chooses input channels to remove, each time the one that makes the error E|sum of the removed y_c|^2 least.

    Args:
        gram: E[y_c . y_d], channels x channels.
        count: How many to remove.
        first: Channels that go before all others.

    Returns:
        Which channels go; of equals the earlier.
    """
    gone = np.zeros(len(gram), bool)
    free = gone if first is None else first
    for _ in range(count):
        error = np.diag(gram) + 2 * gram[:, gone].sum(axis=1)
        error = np.where(free, -np.inf, error)
        gone[np.where(gone, np.inf, error).argmin()] = True
    return gone
