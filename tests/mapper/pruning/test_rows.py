"""Balancing rows: cycles never rise, as many weights stay, and restored weights are those of the dense network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.mapper.pruning.rows import balance_rows
from skipstone.models.pruning.masks import Pruning, prune
from tests.mapper.pruning.small import DESIGNS, masked, small_graphs, target_of
from tests.models.builders import conv_layer, graph_of
from tests.sim.designs import POOL


@settings(max_examples=6)
@given(st.sampled_from(DESIGNS), small_graphs(), st.sampled_from([0.2, 0.5]), st.integers(0, 2**32 - 1))
def test_cycles_never_rise_and_nothing_else_changes(design, graph, density, seed):
    target, pruned = target_of(graph, design), masked(graph, density, seed)
    result = balance_rows(pruned, graph, target, rounds=1)
    assert result.cycles_before == target.cycles(pruned)
    assert result.cycles_after == target.cycles(result.graph) <= result.cycles_before
    for row in result.rows:
        names = row.layer.split("+")
        nonzeros = [sum(np.count_nonzero(g.layer(name).weights) for name in names) for g in (pruned, result.graph)]
        assert nonzeros[0] == nonzeros[1]
    for layer in result.graph.convs:
        original = graph.layer(layer.name).weights
        assert ((layer.weights == 0) | (layer.weights == original)).all()
        assert (layer.bias == graph.layer(layer.name).bias).all()


def uneven():
    """Four filters on four rows, of which the first keeps all its 27 weights and the others 9 each."""
    graph = graph_of(conv_layer("a", "x", (4, 3, 3, 3), padding=(1, 1, 1, 1)), shape=(3, 16, 16))
    weights = graph.layer("a").weights.copy()
    weights[1:, 1:] = 0
    return graph, graph.with_weights({"a": weights})


def test_the_slowest_row_gives_what_others_get_back():
    """54 weights on 4 rows: 27, 9, 9 and 9 become 14, 14, 13 and 13, so that the fullest row takes 14 cycles a tile."""
    graph, pruned = uneven()
    result = balance_rows(pruned, graph, target_of(graph, POOL["square4"]))
    nonzeros = [int(np.count_nonzero(each)) for each in result.graph.layer("a").weights]
    assert sum(nonzeros) == 54
    assert max(nonzeros) == 14
    assert result.cycles_after < 0.7 * result.cycles_before
    (row,) = result.rows
    assert row.moved == result.moved == 13
    assert row.unevenness_before == 2
    assert row.unevenness_after == pytest.approx(14 / 13.5)
    before, after = pruned.layer("a").weights, result.graph.layer("a").weights
    assert row.score_lost == pytest.approx(np.abs(before).sum() - np.abs(after).sum(), rel=1e-5)


def test_the_smallest_weights_go_and_the_largest_come_back():
    graph, pruned = uneven()
    result = balance_rows(pruned, graph, target_of(graph, POOL["square4"]))
    dense, after = np.abs(graph.layer("a").weights), result.graph.layer("a").weights
    gone = dense[0][after[0] == 0]
    assert gone.max() <= dense[0][after[0] != 0].min()
    was = pruned.layer("a").weights == 0
    restored, still_pruned = dense[was & (after != 0)], dense[was & (after == 0)]
    assert np.median(restored) > np.median(still_pruned)


def test_weights_worth_more_than_the_cycles_they_save_stay():
    graph, pruned = uneven()
    target = target_of(graph, POOL["square4"])
    result = balance_rows(pruned, graph, target, score_per_cycle=-1e9)
    assert result.moved == 0
    assert result.graph is pruned
    assert result.cycles_after == result.cycles_before


def test_a_balanced_layer_stays_as_it_is():
    graph, _ = uneven()
    even = prune(graph, Pruning("nm", n=1, m=3)).graph
    result = balance_rows(even, graph, target_of(graph, POOL["square4"]))
    assert (result.moved, result.score_lost) == (0, 0)


def test_after_training_the_trained_weights_count():
    """Training made the weights small and changed their order: the smallest trained weights leave, and restored weights are the
    dense ones times the layer's change in size."""
    graph, pruned = uneven()
    mine = pruned.layer("a").weights
    trained = np.where(mine != 0, np.sign(mine) * 0.1 / np.where(mine != 0, np.abs(mine), 1), 0).astype(np.float32)
    result = balance_rows(graph.with_weights({"a": trained}), graph, target_of(graph, POOL["square4"]))
    after = result.graph.layer("a").weights
    gone = np.abs(trained[0][after[0] == 0])
    assert len(gone) == 13
    assert gone.max() <= np.abs(trained[0][after[0] != 0]).min()
    factor = np.abs(trained[mine != 0]).mean(dtype=np.float64) / np.abs(mine[mine != 0]).mean(dtype=np.float64)
    restored = (trained == 0) & (after != 0)
    assert after[restored] == pytest.approx(graph.layer("a").weights[restored] * factor)
    assert result.notes == (
        "weights differ from those before pruning: what comes back has the value it had, times the layer's growth: "
        f"a ({factor:.3g})",
    )
    assert not balance_rows(pruned, graph, target_of(graph, POOL["square4"])).notes


def test_a_network_of_other_shapes_is_refused():
    graph, pruned = uneven()
    other = graph_of(conv_layer("a", "x", (5, 3, 3, 3), padding=(1, 1, 1, 1)), shape=(3, 16, 16))
    with pytest.raises(SkipstoneError, match="layer 'a': the network before pruning has no such layer"):
        balance_rows(pruned, other, target_of(graph, POOL["square4"]))
