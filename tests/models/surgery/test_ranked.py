"""Which filters go, how many, and how near the result is to a share of the multiplications."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add
from skipstone.models.onnx_io.reader import load
from skipstone.models.surgery.coupling import coupled_channels
from skipstone.models.surgery.ranked import group_scores, macs_left, shrink_by
from skipstone.models.surgery.shrink import remove_groups
from tests.models.builders import conv_layer, graph_of
from tests.models.surgery.networks import networks


def magnitudes(graph: Graph) -> dict[str, NDArray[np.floating]]:
    return {conv.name: np.abs(conv.weights).mean(axis=(1, 2, 3)) for conv in graph.convs}


def chain() -> Graph:
    return graph_of(
        conv_layer("a", "x", (8, 2, 1, 1)),
        conv_layer("b", "a", (4, 8, 1, 1)),
        conv_layer("c", "b", (3, 4, 1, 1)),
        shape=(2, 2, 2),
    )


def test_the_lowest_scores_go_first_and_the_earlier_of_equal_scores() -> None:
    scores = {"a": np.array([5, 1, 7, 1, 8, 9, 1, 6]), "b": np.array([4, 3, 2, 1.5])}
    graph = chain()
    smaller = shrink_by(graph, scores, amount=2 / 12).graph
    assert smaller.convs[0].weights.tolist() == graph.convs[0].weights[[0, 2, 4, 5, 6, 7]].tolist()
    half = shrink_by(graph, scores, amount=0.5, scope="layer").graph
    assert half.convs[0].weights.tolist() == graph.convs[0].weights[[2, 4, 5, 7]].tolist()
    assert half.convs[1].bias.tolist() == graph.convs[1].bias[[0, 1]].tolist()


@settings(max_examples=40)
@given(networks(), st.integers(0, 1000))
def test_multiplications_are_counted_before_the_removal(graph: Graph, seed: int) -> None:
    coupling = coupled_channels(graph)
    gone = (np.random.default_rng(seed).random(len(coupling.fixed)) < 0.4) & ~coupling.fixed
    for groups in coupling.group_of.values():
        gone[groups[0]] = False
    assert macs_left(coupling, gone) == remove_groups(coupling, gone, (), "test").macs


@settings(max_examples=40)
@given(
    networks(kinds=("conv", "add", "concat", "depthwise", "grouped")),
    st.floats(0, 1),
    st.sampled_from(["network", "layer"]),
    st.integers(1, 3),
)
def test_no_prefix_of_the_ranking_is_nearer_to_a_share_of_the_multiplications(
    graph: Graph, share: float, scope: Literal["network", "layer"], minimum: int
) -> None:
    scores = magnitudes(graph)
    options: dict[str, Any] = {"scope": scope, "minimum": minimum}
    got = shrink_by(graph, scores, macs=share, **options).macs
    total = sum(graph.macs.values())
    count = len(coupled_channels(graph).fixed)
    amounts = (np.arange(count + 1) / count).tolist()
    others = [shrink_by(graph, scores, amount=amount, **options) for amount in amounts]
    nearest = min(abs(other.macs - share * total) for other in others)
    assert abs(got - share * total) <= nearest + 1e-6 * total
    for other in others:
        assert all(shape[0] >= min(minimum, graph.shapes[name][0]) for name, shape in other.graph.shapes.items())


def test_half_of_the_multiplications_of_resnet8() -> None:
    graph = load("resnet8_fashion")
    for scope in ("network", "layer"):
        result = shrink_by(graph, magnitudes(graph), macs=0.5, scope=scope)
        assert abs(result.macs / sum(graph.macs.values()) - 0.5) < 0.005
        assert result.graph.shapes["classifier"] == (10, 1, 1)
        assert result.notes == ()


def test_remaining_channels_are_multiples_or_all() -> None:
    graph = load("resnet8_fashion")
    result = shrink_by(graph, magnitudes(graph), amount=0.4, multiple=8)
    free = [conv.name for conv in graph.convs if conv.name != "classifier"]
    assert {result.graph.shapes[name][0] % 8 for name in free} == {0}
    plain = shrink_by(graph, magnitudes(graph), amount=0.4).graph
    for name in free:
        assert plain.shapes[name][0] <= result.graph.shapes[name][0] < plain.shapes[name][0] + 8


def test_coupled_filters_count_together() -> None:
    graph = graph_of(
        conv_layer("a", "x", (2, 2, 1, 1)),
        conv_layer("b", "a", (2, 2, 1, 1)),
        Add(name="s", inputs=("a", "b")),
        conv_layer("c", "s", (1, 2, 1, 1)),
        shape=(2, 2, 2),
    )
    scores = {"a": np.array([1.0, 2.0]), "b": np.array([7.0, 4.0])}
    coupling = coupled_channels(graph)
    of = coupling.group_of["a"]
    assert group_scores(coupling, scores)[of].tolist() == [4, 3]
    assert group_scores(coupling, scores, "sum")[of].tolist() == [8, 6]
    assert group_scores(coupling, scores, "max")[of].tolist() == [7, 4]
    assert group_scores(coupling, {"b": scores["b"]})[of].tolist() == [7, 4]


def test_notes() -> None:
    scores = {"a": np.arange(8.0)}
    result = shrink_by(chain(), scores, amount=1.0, minimum=3)
    assert result.notes == (
        "layer 'b': filters without a score stay",
        "3 of 8 groups of channels stay to leave 3 channels of each tensor",
    )
    far = shrink_by(chain(), scores, macs=0.0)
    # One of a's filters is left: 2 + 4 + 12 of 16 + 32 + 12 weights.
    assert far.notes[1] == "0.3000 of the multiplications remain, not 0: the nearest that channels allow"
    assert far.macs == 4 * (2 + 4 + 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either the amount of channels to remove or the share of multiplications to keep"),
        ({"macs": 1.5}, "the share of multiplications to keep must be from 0 to 1, not 1.5"),
        ({"amount": -1.0}, "the amount of channels to remove must be from 0 to 1, not -1"),
        ({"amount": 0.5, "minimum": 0}, "the minimum of channels must be a positive integer, not 0"),
        ({"amount": 0.5, "scope": "all"}, "channels are ranked by layer or network, not by 'all'"),
        ({"amount": 0.5, "together": "min"}, "scores of coupled filters go together by mean, sum or max, not 'min'"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        shrink_by(chain(), {"a": np.ones(8)}, **options)
    assert str(error.value) == message


def test_scores_must_fit() -> None:
    with pytest.raises(SkipstoneError) as error:
        shrink_by(chain(), {"a": np.ones(7)}, amount=0.5)
    assert str(error.value) == "layer 'a': scores must be 8 numbers, one a filter, not of shape (7,)"
