"""Steps that change a network's shape: filters and blocks leave, layers become thinner ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from skipstone.compress.state import Context, State
from skipstone.compress.step_keys import Compact, Factorize, RemoveBlocks, RemoveFilters
from skipstone.compress.steps.pruning import evidence_for
from skipstone.models.graph.graph import Graph
from skipstone.models.pruning.criteria import reduce, saliency
from skipstone.models.pruning.structures import group_ids
from skipstone.models.surgery.result import Surgery


def filter_scores(graph: Graph, criterion: str, context: Context) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """A score for each filter of each layer, per weight so that layers compare.

    Args:
        graph: The float network.
        criterion: A key of ``CRITERIA``.
        context: Has the images that the criterion needs, and the seed.

    Returns:
        K scores by layer, for the layers that the criterion can judge.
    """
    evidence = evidence_for(criterion, graph, context)
    result = {}
    for index, layer in enumerate(graph.convs):
        saliencies = saliency(layer, criterion, evidence, (context.seed, index))
        if saliencies is not None:
            result[layer.name] = reduce(saliencies, group_ids(layer.weights.shape, "filter"), criterion, mean=True)
    return result


def apply_remove_filters(step: RemoveFilters, state: State, context: Context) -> State:
    """Removes whole filters."""

    from skipstone.models.surgery.ranked import shrink_by

    scores = filter_scores(state.graph, step.criterion, context)
    surgery = shrink_by(
        state.graph,
        scores,
        amount=step.amount,
        macs=step.macs,
        scope=step.scope,
        minimum=step.minimum,
        multiple=step.multiple,
    )
    return _after(state, surgery)


def apply_remove_blocks(step: RemoveBlocks, state: State, context: Context) -> State:
    """Removes residual blocks: those named, or those that change the network's answers least."""

    from skipstone.models.surgery.blocks import remove_blocks

    if step.blocks:
        return _after(state, remove_blocks(state.graph, step.blocks))
    return _after(state, remove_blocks(state.graph, amount=step.amount, scores=block_scores(state.graph, context)))


def block_scores(graph: Graph, context: Context) -> dict[str, float]:
    """For each block that can leave: the mean squared change of the network's answers on calibration images without it."""
    from skipstone.models.data.float_execution import float_scores
    from skipstone.models.surgery.blocks import removable_blocks, remove_blocks

    images = context.dataset.calibration()
    expected = float_scores(graph, images).astype(np.float64)
    return {
        block.name: float(
            np.square(
                float_scores(remove_blocks(graph, [block.name]).graph, images).astype(np.float64) - expected
            ).mean()
        )
        for block in removable_blocks(graph).removable
    }


def apply_factorize(step: Factorize, state: State, context: Context) -> State:
    """Replaces layers by products of smaller ones (SVD, Tucker, CP)."""

    from skipstone.models.surgery import factorize

    layers = step.layers or None
    ranks: Mapping[str, Any] | None = None
    if step.ranks:
        ranks = {name: rank if step.method == "tucker" else rank[0] for name, rank in step.ranks.items()}
    methods: Mapping[str, Callable[..., Surgery]] = {
        "svd": factorize.svd,
        "tucker": factorize.tucker,
        "cp": factorize.cp,
    }
    method = methods[step.method]
    return _after(state, method(state.graph, ranks, layers=layers, energy=step.energy))


def apply_compact(step: Compact, state: State, context: Context) -> State:
    """Replaces layers by compact ones: depthwise separable, or with a bottleneck."""

    from skipstone.models.surgery import compact

    layers = step.layers or None
    if step.filter == "depthwise_separable":
        return _after(state, compact.depthwise_separable(state.graph, layers))
    return _after(state, compact.bottleneck(state.graph, layers, share=step.share))


def _after(state: State, surgery: Surgery) -> State:
    changed = {
        change.name: {
            "method": change.method,
            "parts": list(change.parts),
            "ranks": list(change.ranks),
            "energy": change.energy,
            "macs": [change.macs_before, change.macs_after],
            "channels": list(change.channels) if change.channels else None,
        }
        for change in surgery.layers
    }
    return replace(state, graph=surgery.graph, notes=surgery.notes, measured={"layers": changed})
