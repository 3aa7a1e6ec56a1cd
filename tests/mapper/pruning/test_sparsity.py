"""Sparsity per layer: the returned network keeps within the budget, its cycles are exact, and no uniform amount does better."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.mapper.pruning.losses import output_error, score_loss
from skipstone.mapper.pruning.sparsity import fewest_cycles, least_loss
from skipstone.models.pruning.masks import Pruning, prune
from tests.mapper.pruning.small import DESIGNS, small_graphs, target_of
from tests.models.builders import conv_layer, graph_of, random_images
from tests.sim.designs import POOL

AMOUNTS = (0.0, 0.25, 0.5, 0.75)


@settings(max_examples=4)
@given(st.sampled_from(DESIGNS[:2]), small_graphs(), st.sampled_from([0.01, 0.1, 0.5]))
def test_the_loss_stays_in_its_budget_and_cycles_are_exact(design, graph, budget):
    target, loss = target_of(graph, design), output_error(graph, random_images(graph, 8))
    result = fewest_cycles(graph, target, loss, budget, amounts=AMOUNTS, rounds=2)
    assert loss(result.graph) == result.loss_after <= budget
    assert target.cycles(result.graph) == result.cycles_after == result.cost_after <= result.cycles_before
    for row in result.rows:
        assert row.nnz == np.count_nonzero(result.graph.layer(row.layer).weights)
        assert row.after >= row.before
    for amount in AMOUNTS:
        uniform = prune(graph, Pruning("weight", amount)).graph
        if loss(uniform) <= budget:
            assert result.cycles_after <= target.cycles(uniform)


@settings(max_examples=2)
@given(small_graphs(), st.sampled_from([0.5, 0.75]))
def test_a_target_of_cycles_holds_and_loses_no_more_than_uniform(graph, amount):
    target, loss = target_of(graph, DESIGNS[0]), output_error(graph, random_images(graph, 8))
    uniform = prune(graph, Pruning("weight", amount)).graph
    result = least_loss(graph, target, loss, target.cycles(uniform), amounts=AMOUNTS, rounds=2)
    assert target.cycles(result.graph) == result.cycles_after <= target.cycles(uniform)
    assert loss(result.graph) == result.loss_after <= loss(uniform)


def two_layers():
    """On 2 rows x 12 columns: a 1x1 of 12 weights a row that loads 72 words of 2 channels a tile, and a 3x3 of 108 weights."""
    return graph_of(
        conv_layer("point", "x", (2, 12, 1, 1)),
        conv_layer("wide", "point", (12, 2, 3, 3), padding=(1, 1, 1, 1)),
        shape=(12, 8, 12),
    )


def first_weights(graph, layer, amount):
    """Prunes the first weights in memory, whatever their values."""
    weights = graph.layer(layer).weights.copy()
    weights.ravel()[: round(amount * weights.size)] = 0
    return graph.with_weights({layer: weights})


def test_a_layer_that_waits_for_its_loads_keeps_its_weights():
    """Scores are equal everywhere, so that only cycles tell the layers apart."""
    graph = two_layers()
    scores = {layer.name: np.ones(layer.weights.shape) for layer in graph.convs}
    target = target_of(graph, POOL["broad2x12"])
    assert target.cost(graph).layer_bounds() == {"point": "load", "wide": "compute"}
    result = fewest_cycles(graph, target, score_loss(graph, scores), 115, prune_layer=first_weights, amounts=AMOUNTS)
    assert result.amounts["point"] == 0
    assert result.amounts["wide"] == 0.5
    assert {row.layer: row.bound_before for row in result.rows} == {"point": "load", "wide": "compute"}


def test_the_layer_with_larger_scores_keeps_more():
    graph = graph_of(
        conv_layer("a", "x", (8, 4, 3, 3), padding=(1, 1, 1, 1)),
        conv_layer("b", "a", (8, 8, 3, 3), padding=(1, 1, 1, 1)),
        shape=(4, 8, 8),
    )
    scores = {"a": np.full((8, 4, 3, 3), 5.0), "b": np.full((8, 8, 3, 3), 1.0)}
    target = target_of(graph, POOL["square4"])
    result = fewest_cycles(graph, target, score_loss(graph, scores), 300, prune_layer=first_weights, amounts=AMOUNTS)
    assert result.amounts["a"] < result.amounts["b"]


def test_energy_can_be_minimized():
    graph = two_layers()
    target, loss = target_of(graph, POOL["square4"]), output_error(graph, random_images(graph, 4))
    result = fewest_cycles(graph, target, loss, 0.2, amounts=AMOUNTS, cost=target.energy_pj, rounds=1)
    assert result.cost_after == pytest.approx(target.energy_pj(result.graph))
    assert result.cost_after < result.cost_before


def test_only_the_named_layers_change():
    graph = two_layers()
    target, loss = target_of(graph, POOL["square4"]), output_error(graph, random_images(graph, 4))
    result = fewest_cycles(graph, target, loss, 0.5, amounts=AMOUNTS, layers=["wide"], rounds=1)
    assert result.graph.layer("point").weights is graph.layer("point").weights
    assert list(result.amounts) == ["wide"]


def test_unreachable_budgets_and_bad_arguments_are_refused():
    graph = two_layers()
    target, loss = target_of(graph, POOL["square4"]), output_error(graph, random_images(graph, 4))
    with pytest.raises(SkipstoneError, match=r"the loss before pruning is .*, over the budget of -1"):
        fewest_cycles(graph, target, loss, -1, amounts=AMOUNTS)
    with pytest.raises(SkipstoneError, match="over the target of 10; raise the target or the amounts"):
        least_loss(graph, target, loss, 10, amounts=AMOUNTS)
    with pytest.raises(SkipstoneError, match="no layer 'x' with weights"):
        fewest_cycles(graph, target, loss, 1, layers=["x"])
    with pytest.raises(SkipstoneError, match="amounts must be shares"):
        fewest_cycles(graph, target, loss, 1, amounts=(2.0,))
