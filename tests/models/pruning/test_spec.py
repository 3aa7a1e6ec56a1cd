"""Pruning methods by their text: how many zeros, which weights go, what stays, and what a text means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import AveragePool
from skipstone.models.pruning.masks import Pruning, weight_density
from skipstone.models.pruning.spec import METHODS, describe, parse, prune_as
from tests.models.builders import conv_layer, graph_of


def network() -> Graph:
    return graph_of(
        conv_layer("a", "x", (5, 6, 3, 3)),
        conv_layer("b", "a", (5, 1, 3, 3), groups=5),
        AveragePool(name="p", inputs=("b",), kernel=(4, 4)),
        conv_layer("g", "p", (7, 5, 1, 1), gemm=True),
        shape=(6, 8, 8),
    )


def zeros(graph: Graph) -> list[int]:
    return [int((layer.weights == 0).sum()) for layer in graph.convs]


@settings(max_examples=50)
@given(st.floats(0, 1, exclude_max=True))
def test_unstructured_count_is_exact_in_each_layer(amount: float) -> None:
    assert zeros(prune_as(network(), f"unstructured:{amount!r}").graph) == [round(amount * n) for n in (270, 45, 35)]


@settings(max_examples=50)
@given(st.floats(0, 1, exclude_max=True))
def test_global_count_is_exact_with_one_threshold_for_all_layers(amount: float) -> None:
    graph = network()
    pruned = prune_as(graph, f"global:{amount!r}").graph
    assert sum(zeros(pruned)) == round(amount * 350)
    assert weight_density(pruned) == (350 - round(amount * 350)) / 350
    gone = [np.abs(a.weights[b.weights == 0]) for a, b in zip(graph.convs, pruned.convs, strict=True)]
    remaining = [np.abs(b.weights[b.weights != 0]) for b in pruned.convs]
    if any(array.size for array in gone) and any(array.size for array in remaining):
        assert np.concatenate(gone).max() <= np.concatenate(remaining).min()


def test_ties_go_to_the_earlier_weight() -> None:
    ties = np.random.default_rng(0).integers(1, 3, size=(5, 6, 3, 3)).astype(np.float32)
    graph = network().with_weights({"a": ties})
    pruned = prune_as(graph, "unstructured:0.4").graph.convs[0].weights.ravel()
    smallest = np.flatnonzero(ties == 1)
    assert len(smallest) > 108
    assert np.flatnonzero(pruned == 0).tolist() == smallest[:108].tolist()


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (3, 8), (4, 4), (1, 1)])
def test_n_of_m(n: int, m: int) -> None:
    graph = network()
    for before, after in zip(graph.convs, prune_as(graph, f"{n}:{m}").graph.convs, strict=True):
        inputs = before.weights.shape[1]
        for k, i, j in np.ndindex(before.weights.shape[0], *before.weights.shape[2:]):
            for start in range(0, inputs, m):
                old = [abs(w) for w in before.weights[k, start : start + m, i, j].tolist()]
                new = [abs(w) for w in after.weights[k, start : start + m, i, j].tolist() if w]
                assert sorted(new) == sorted(old)[len(old) - -(-n * len(old) // m) :]


def test_pools_and_biases_are_not_pruned() -> None:
    graph = network()
    pruned = prune_as(graph, "unstructured:0.9").graph
    assert pruned.layer("p") is graph.layer("p")
    np.testing.assert_array_equal(pruned.convs[0].bias, graph.convs[0].bias)
    assert zeros(graph) == [0, 0, 0]
    assert prune_as(graph, "none").graph is graph


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", None),
        ("unstructured:0.8", Pruning("weight", 0.8, may_empty=True)),
        ("global:0", Pruning("weight", 0.0, scope="network", may_empty=True)),
        ("2:4", Pruning("nm", n=2, m=4)),
        ("nm:2:4", Pruning("nm", n=2, m=4)),
        ("nm/wanda:2:4", Pruning("nm", n=2, m=4, criterion="wanda")),
        ("filter:0.5", Pruning("filter", 0.5)),
        ("stripe/l2@network:0.3", Pruning("stripe", 0.3, criterion="l2", scope="network")),
        ("weight/wanda@output:0.5", Pruning("weight", 0.5, criterion="wanda", scope="output")),
        ("block4x1:0.5", Pruning("block", 0.5, block=(4, 1))),
    ],
)
def test_parse(text: str, expected: Pruning | None) -> None:
    assert parse(text) == expected
    assert parse(describe(expected)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unstructured:1.5", "pruning 'unstructured:1.5': sparsity must be at least 0 and below 1, not 1.5"),
        ("unstructured:1", "pruning 'unstructured:1': sparsity must be at least 0 and below 1, not 1"),
        ("global:-0.1", "pruning 'global:-0.1': sparsity must be at least 0 and below 1, not -0.1"),
        ("global:nan", "pruning 'global:nan': sparsity must be at least 0 and below 1, not nan"),
        ("global:half", "pruning 'global:half': sparsity must be a number, not 'half'"),
        ("unstructured", f"no pruning method 'unstructured'; the methods are {METHODS}"),
        ("", f"no pruning method ''; the methods are {METHODS}"),
        ("5:4", "pruning '5:4': N:M keeps N of M weights, so N must be from 1 to M"),
        ("filter:1", "pruning 'filter:1': sparsity must be at least 0 and below 1, not 1"),
        ("nm:0.5", f"no pruning method 'nm:0.5'; the methods are {METHODS}"),
        ("block:0.5", f"no pruning method 'block:0.5'; the methods are {METHODS}"),
        ("unstructured/l2:0.5", f"no pruning method 'unstructured/l2:0.5'; the methods are {METHODS}"),
        ("block0x4:0.5", "pruning 'block0x4:0.5': a block needs at least 1x1 channels, not 0x4"),
        (
            "filter@world:0.5",
            "pruning 'filter@world:0.5': no pruning scope 'world'; the scopes are layer, network, output",
        ),
        (
            "kernel/apoz:0.5",
            "pruning 'kernel/apoz:0.5': criterion 'apoz' can't score granularity kernel; it takes filter",
        ),
        (
            "filter@output:0.5",
            "pruning 'filter@output:0.5': scope output compares groups within one filter, so granularity filter can't have "
            "it; it takes weight, kernel, stripe",
        ),
        ("0:4", "pruning '0:4': N:M keeps N of M weights, so N must be from 1 to M"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        parse(text)
    assert str(error.value) == message
