"""Steps that make weights zero without training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skipstone.compress.state import Context, State
from skipstone.compress.step_keys import Prune, PruneByReconstruction, PruneSecondOrder
from skipstone.models.graph.graph import Graph
from skipstone.models.pruning.criteria import CRITERIA, Evidence
from skipstone.models.pruning.masks import Pruning, prune

GRADIENT_IMAGES = 2048
"""Training images that gradients are taken over."""


def evidence_for(criterion: str, graph: Graph, context: Context) -> Evidence | None:
    """What a criterion needs to know about a network.

    Args:
        criterion: A key of ``CRITERIA``.
        graph: The float network.
        context: Has the images: gradients are of labelled training images, statistics of calibration images.

    Returns:
        Gradients or statistics; None where weights alone will do.

    Raises:
        SkipstoneError: PyTorch is missing, or there are no such images.
    """
    match CRITERIA[criterion].needs:
        case "gradients":
            from skipstone.compress.steps.extra import training_module

            images, labels = context.dataset.training()
            chosen = slice(0, GRADIENT_IMAGES)
            module = training_module("gradients")
            # Taylor's squares are averaged over mini-batches, SNIP's magnitude is of the gradient over all images.
            take = module.batch_gradients if criterion == "taylor" else module.weight_gradients
            gradients = take(graph, images[chosen], labels[chosen])
            return Evidence(gradients=gradients)
        case "statistics":
            from skipstone.models.pruning.statistics import measure

            return Evidence(statistics=measure(graph, context.dataset.calibration()))
        case _:
            return None


def apply_prune(step: Prune, state: State, context: Context) -> State:
    """Prunes by a criterion."""
    evidence = evidence_for(step.criterion, state.graph, context)
    pruned = prune(state.graph, step.pruning(), evidence, context.seed)
    return replace(state, graph=pruned.graph, notes=pruned.notes)


def apply_second_order(step: PruneSecondOrder, state: State, context: Context) -> State:
    """Prunes by second order: the remaining weights make up for those that go."""

    from skipstone.models.pruning.second_order import second_order

    pruning = step.pruning()
    if step.allocation == "lamp":
        pruning = replace(pruning, amounts=lamp_amounts(state.graph, step.amount, step.skip) | dict(step.amounts))
    images = context.dataset.calibration()[: step.images]
    pruned = second_order(state.graph, pruning, images, damping=step.damping)
    return replace(state, graph=pruned.graph, notes=pruned.notes)


def lamp_amounts(graph: Graph, amount: float, skip: tuple[str, ...] = ()) -> dict[str, float]:
    """The share of zeros of each layer when weights go by LAMP scores.

    Args:
        graph: The float network.
        amount: The share of all weights that goes.
        skip: Layers that are left alone.

    Returns:
        The share, 0 to 1, by layer; none of those in ``skip``.
    """
    pruning = Pruning("weight", amount=amount, criterion="lamp", scope="network", skip=skip)
    return {
        layer.name: 1 - float(np.count_nonzero(layer.weights)) / layer.weights.size
        for layer in prune(graph, pruning).graph.convs
        if layer.name not in skip
    }


def apply_reconstruction(step: PruneByReconstruction, state: State, context: Context) -> State:
    """Removes input channels and fits the remaining weights to the layer's old output (ThiNet)."""

    from skipstone.models.pruning.reconstruction import reconstruct

    images = context.dataset.calibration()[: step.images]
    pruning = Pruning("input_channel", amount=step.amount, skip=step.skip)
    pruned = reconstruct(state.graph, pruning, images)
    graph, notes = pruned.graph, pruned.notes
    if step.shrink:
        from skipstone.models.surgery.shrink import remove_zero_channels

        shrunk = remove_zero_channels(graph)
        graph, notes = shrunk.graph, notes + shrunk.notes
    return replace(state, graph=graph, notes=notes)
