"""Steps with the design's exact cycle model in the loop."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.compress.state import Context, State, activation_ranges
from skipstone.compress.step_keys import BalanceRows, CycleAwarePrune, PruneWords
from skipstone.errors import SkipstoneError
from skipstone.hw.design import Design
from skipstone.mapper.pruning.sensitivity import PruneLayer, magnitude
from skipstone.mapper.pruning.target import Target, target_for
from skipstone.models.data.images import Images
from skipstone.models.graph.files import graph_fingerprint
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Affine, Conv
from skipstone.models.pruning.masks import Pruning


def target_of(state: State, context: Context) -> Target:
    """The design as costs are counted on it, for the network as it is now."""
    from skipstone.flow.designs import fit_design

    scheme = state.scheme
    assert context.design is not None
    weighted = [layer.name for layer in state.graph.order if isinstance(layer, Conv | Affine)]
    design: Design = fit_design(context.design, replace(scheme, weight_bits=max(map(scheme.bits_of, weighted))))
    # Cycles depend neither on the ranges nor on zero points.
    counted = replace(scheme, symmetric=False, calibration_method="minmax")
    ranges = activation_ranges(state.graph, counted, context.dataset)
    return target_for(state.graph, design, scheme=counted, ranges=ranges)


def apply_cycle_aware(step: CycleAwarePrune, state: State, context: Context) -> State:
    """Prunes each layer as much as exact cycles (or energy) and the network's loss advise.

    Loss is measured on calibration images without labels; or estimated by the Fisher information, for what trains after.

    By second order the search prunes each layer by what it sees in the whole network; what is returned then makes up for the
    layers before it, too, and is measured anew: its figures may leave the bounds that the search kept, which the notes say.

    Raises:
        SkipstoneError: Even the most zeros everywhere cost more than the same amount for every layer.
    """
    from skipstone.mapper.pruning import losses
    from skipstone.mapper.pruning.sparsity import UnreachableError, fewest_cycles, least_loss, sparsity_rows

    graph = state.graph
    target = target_of(state, context)
    images = context.dataset.calibration()[: step.images]
    if step.loss == "fisher":
        loss = losses.score_loss(graph, fisher_scores(state, context))
    else:
        loss = {"divergence": losses.divergence, "output_error": losses.output_error}[step.loss](graph, images)
    prune_layer = magnitude if step.method == "magnitude" else second_order_of(graph, images, context.memory)
    uniform = graph
    for layer in graph.convs:
        uniform = prune_layer(uniform, layer.name, step.amount)
    cost = target.energy_pj if step.objective == "energy" else target.cycles
    uniform_loss, uniform_cost = loss(uniform), float(cost(uniform))
    search: dict[str, Any] = {
        "cost": cost,
        "prune_layer": prune_layer,
        "amounts": tuple(round(index * step.grid, 4) for index in range(math.ceil(1 / step.grid))),
        "rounds": step.rounds,
        "progress": context.progress,
    }
    if step.match == "loss":
        outcome = fewest_cycles(graph, target, loss, uniform_loss, **search)
    else:
        try:
            outcome = least_loss(graph, target, loss, uniform_cost, **search)
        except UnreachableError:
            raise SkipstoneError(
                f"match = 'cycles': even with {search['amounts'][-1]:g} zeros, the most that grid = {step.grid:g} has, every "
                f"layer together costs more than with amount = {step.amount:g}; lower amount or take a finer grid"
            ) from None
    pruned, rows, notes = outcome.graph, outcome.rows, outcome.notes
    figures = {"loss": outcome.loss_after, "cost": outcome.cost_after, "cycles": outcome.cycles_after}
    measured: dict[str, Any] = {}
    if step.method == "second_order":
        from skipstone.models.pruning.second_order import second_order

        pruned = second_order(graph, Pruning("weight", amounts=dict(outcome.amounts)), images).graph
        measured["search"] = figures
        after = target.cost(pruned)
        figures = {"loss": float(loss(pruned)), "cost": float(cost(pruned)), "cycles": after.cycles}
        rows = sparsity_rows(graph, pruned, target.cost(graph), after)
        bounded = "loss" if step.match == "loss" else "cost"
        bound = {"loss": uniform_loss, "cost": uniform_cost}[bounded]
        if not figures[bounded] <= bound:
            notes += (
                f"with weights that make up for the layers before them, the {bounded} is {figures[bounded]:.6g}, over "
                f"{bound:.6g}, that of the same amount for every layer (in the search {measured['search'][bounded]:.6g})",
            )
    measured |= {
        "uniform_loss": uniform_loss,
        "uniform_cost": uniform_cost,
        **figures,
        "amounts": {row.layer: row.after for row in rows},
        "rows": [asdict(row) for row in rows],
        "evaluations": outcome.evaluations,
    }
    return replace(state, graph=pruned, notes=notes, measured=measured)


def second_order_of(graph: Graph, images: Images, memory: dict[Any, Any]) -> PruneLayer:
    """A function that prunes a layer by second order, each layer and amount computed once.

    Args:
        graph: The float network.
        images: What the layers see (N x C x H x W).
        memory: Keeps the pruned weights, also from one step to the next.
    """
    from skipstone.models.pruning.second_order import second_order

    whose = ("second order", graph_fingerprint(graph), len(images))
    solved: dict[tuple[str, float], NDArray[np.float32]] = memory.setdefault(whose, {})

    def prune_layer(current: Graph, name: str, amount: float) -> Graph:
        if (name, amount) not in solved:
            others = tuple(layer.name for layer in graph.convs if layer.name != name)
            pruned = second_order(graph, Pruning("weight", amount=amount, skip=others), images, bias_correction=False)
            solved[name, amount] = next(layer.weights for layer in pruned.graph.convs if layer.name == name)
        return current.with_weights({name: solved[name, amount]})

    return prune_layer


def fisher_scores(state: State, context: Context) -> dict[str, NDArray[np.float64]]:
    """The score ``w**2 F / 2`` of each weight (K x C x kh x kw), by layer; F from small batches of training images."""
    from skipstone.compress.steps.extra import training_module

    images, labels = context.dataset.training()
    squares = training_module("gradients").squared_gradients(state.graph, images[:4096], labels[:4096])
    return {layer.name: layer.weights.astype(np.float64) ** 2 * squares[layer.name] / 2 for layer in state.graph.convs}


def apply_balance_rows(step: BalanceRows, state: State, context: Context) -> State:
    """Moves zeros so that the rows of the array have equally many weights.

    Weights that come back have the values they had before any pruning, at the layer's scale of now, so layers must still have
    their first shapes.
    """
    from skipstone.mapper.pruning.rows import balance_rows

    outcome = balance_rows(state.graph, context.parent, target_of(state, context), progress=context.progress)
    measured = {
        "cycles": [outcome.cycles_before, outcome.cycles_after],
        "moved": outcome.moved,
        "score_lost": outcome.score_lost,
        "rows": [asdict(row) for row in outcome.rows],
    }
    return replace(state, graph=outcome.graph, notes=outcome.notes, measured=measured)


def apply_prune_words(step: PruneWords, state: State, context: Context) -> State:
    """Prunes whole load words, where the loader bounds a layer."""

    from skipstone.mapper.pruning.words import prune_words

    outcome = prune_words(state.graph, target_of(state, context), step.amount, progress=context.progress)
    measured = {
        "cycles": [outcome.cycles_before, outcome.cycles_after],
        "words": [outcome.words_before, outcome.words_after],
        "pruned": outcome.pruned,
        "score_lost": outcome.score_lost,
        "rows": [asdict(row) for row in outcome.rows],
    }
    return replace(state, graph=outcome.graph, notes=outcome.notes, measured=measured)
