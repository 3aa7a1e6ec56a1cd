"""Pruning load words: the loader takes fewer words, cycles fall with them, and the budget of scores holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.mapper.pruning.words import prune_words
from tests.mapper.pruning.small import DESIGNS, mask_of, masked, small_graphs, target_of
from tests.models.builders import conv_layer, graph_of
from tests.sim.designs import POOL


@settings(max_examples=8)
@given(st.sampled_from(DESIGNS), small_graphs(), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5]))
def test_cycles_and_words_fall_together_within_the_budget(design, graph, seed, budget):
    pruned = masked(graph, 0.2, seed)
    target = target_of(graph, design)
    result = prune_words(pruned, target, budget, max_steps=6)
    assert result.cycles_after == target.cycles(result.graph)
    assert result.words_after == target.cost(result.graph).loaded_words
    assert (result.cycles_after < result.cycles_before) == (result.steps > 0)
    before, after = mask_of(pruned), mask_of(result.graph)
    for name in before:
        assert not (after[name] & ~before[name]).any()
    for row in result.rows:
        names = row.layer.split("+")
        total = sum(float(np.abs(pruned.layer(name).weights).sum()) for name in names)
        assert row.score_lost <= budget * total * (1 + 1e-6)
        assert row.pruned == sum(int((before[name] & ~after[name]).sum()) for name in names)


DESIGN = POOL["broad2x12"]
"""2 rows x 12 columns, 2 channels a word: 12 pixels of 6 words take longer to load than 24 weights a row to multiply."""


def point(weak: list[int]):
    """A 1x1 of 12 channels (6 words) for 4 filters on 2 rows, with ``weak`` channels of small weights."""
    graph = graph_of(conv_layer("a", "x", (4, 12, 1, 1)), shape=(12, 8, 12))
    weights = np.sign(graph.layer("a").weights) * (1 + np.abs(graph.layer("a").weights))
    weights[:, weak] *= 0.1
    return graph.with_weights({"a": weights})


def test_all_weights_of_the_weakest_word_go():
    """Channels 4 and 5 share a word: all 8 of their weights go, and with them a sixth of the words."""
    graph = point([4, 5])
    target = target_of(graph, DESIGN)
    result = prune_words(graph, target, 0.05)
    nonzero = result.graph.layer("a").weights != 0
    assert nonzero.sum() == 40
    assert not nonzero[:, 4:6].any()
    assert result.words_after == result.words_before * 5 // 6
    assert result.cycles_after < result.cycles_before


def test_small_weights_of_different_words_stay():
    """As many small weights, but no two in the same word: no word can be skipped within the budget, so none of them is
    pruned."""
    graph = point([0, 4])
    result = prune_words(graph, target_of(graph, DESIGN), 0.05)
    assert result.pruned == 0
    assert result.graph is graph


def test_a_layer_that_computes_keeps_all_its_weights():
    graph = graph_of(conv_layer("a", "x", (16, 3, 3, 3), padding=(1, 1, 1, 1)), shape=(3, 8, 8))
    result = prune_words(graph, target_of(graph, POOL["square4"]), 1.0)
    assert result.pruned == 0
    assert result.notes == ("no layer waits for its loads: nothing to prune",)


def test_a_pool_that_waits_for_its_loads_is_named():
    from skipstone.models.graph.layers import AveragePool

    graph = graph_of(
        conv_layer("a", "x", (3, 3, 1, 1)),
        AveragePool(name="pool", inputs=("a",), kernel=(2, 2), stride=(1, 1)),
        shape=(3, 9, 9),
    )
    target = target_of(graph, POOL["square4"])
    assert (
        "layer 'pool' (average_pool) waits for its loads, but has no trained weights of its own"
        in prune_words(graph, target, 0.1).notes
    )


def test_a_budget_is_a_share():
    graph = point([0])
    with pytest.raises(SkipstoneError, match="score_budget must be a share of the scores, from 0 to 1, not 2"):
        prune_words(graph, target_of(graph, DESIGN), 2)
