"""Second-order pruning: what goes is what the layer's outputs on calibration images can do without, once the other weights
have been solved anew. It needs no labels and no training, and keeps far more accuracy than magnitude does.
"""

from __future__ import annotations

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.layerwise import Problem, layer_by_layer
from skipstone.models.pruning.masks import Pruned, Pruning, check_names, remainder
from skipstone.models.pruning.solvers import admm, greedy_obs, refit
from skipstone.models.pruning.statistics import Real
from skipstone.models.pruning.structures import contests, group_ids

EXACT_INPUTS = 600
"""Weights of a filter up to which each weight's removal is solved exactly."""


def second_order(
    graph: Graph,
    pruning: Pruning,
    images: Images,
    damping: float = 0.01,
    correction: float = 0.5,
    bias_correction: bool = True,
    exact_inputs: int = EXACT_INPUTS,
) -> Pruned:
    """Prunes single weights or N:M by Optimal Brain Surgeon: the remaining weights make up for those that go.

    Counts are those of :func:`skipstone.models.pruning.masks.prune`. Layers go in execution order, each on the outputs of the
    pruned layers before it.

    Args:
        graph: The network.
        pruning: Of granularity weight or nm, and of scope layer or output.
        images: Calibration images.
        damping: In units of the mean square input.
        correction: The share (0 to 1) of the error of the layers before that a layer makes up for.
        bias_correction: Whether the bias takes over the mean of what goes.
        exact_inputs: Filters of more weights take ADMM instead (:mod:`skipstone.models.pruning.solvers`), with a note.
    """
    if pruning.granularity not in ("weight", "nm") or pruning.scope == "network" or pruning.criterion != "l1":
        raise SkipstoneError(
            "second-order pruning takes granularity weight or nm, scope layer or output, and no criterion but its own; "
            f"not {pruning.granularity}, {pruning.scope}, {pruning.criterion}"
        )
    check_names(graph, pruning)
    notes: list[str] = []

    def solve(layer: Conv, problem: Problem) -> Real:
        shape = layer.weights.shape
        ids = group_ids(shape, pruning.granularity, layer.groups)
        where = contests(shape, pruning.granularity, ids, pruning.m, pruning.scope == "output")
        counts = pruning.counts(layer.name, where)
        if pruning.granularity == "weight" and not pruning.may_empty and counts.sum() == layer.weights.size:
            counts[-1] -= 1
            notes.append(f"layer '{layer.name}': keeps one weight, lest it be empty")
        flat = problem.target.shape
        exact = flat[1] <= exact_inputs
        if pruning.granularity == "nm" and shape[1] % pruning.m:
            notes.append(f"layer '{layer.name}': {remainder(pruning, shape[1])}")
        if not exact:
            notes.append(f"layer '{layer.name}': {flat[1]} weights a filter are chosen by ADMM, not one by one")
        choose = greedy_obs if exact else admm
        zeros = layer.weights.reshape(flat) == 0
        keep = choose(problem.target, problem.hessians, zeros, where.reshape(flat), counts)
        return refit(problem.target, problem.hessians, keep)

    pruned = layer_by_layer(graph, images, solve, pruning.skip, damping, correction, bias_correction)
    return Pruned(pruned, tuple(notes))
