"""Shrunk networks compute what the masked ones do, and filters that stay are noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightGrid
from skipstone.models.graph.layers import Conv
from skipstone.models.surgery.coupling import coupled_channels, is_depthwise
from skipstone.models.surgery.result import Surgery
from skipstone.models.surgery.shrink import leave_one, remove_groups, remove_zero_channels
from tests.models.builders import conv_layer, floats, graph_of
from tests.models.surgery.networks import RELU, assert_same, networks


def masked(graph: Graph, keep: dict[str, np.ndarray], bias: bool = True) -> Graph:
    """``graph`` with the weights (and, with ``bias``, the biases) of filters that are not kept set to zero."""
    layers = []
    for layer in graph.layers:
        if isinstance(layer, Conv) and layer.name in keep:
            weights = np.where(keep[layer.name][:, None, None, None], layer.weights, 0)
            layer = replace(
                layer, weights=weights, bias=np.where(keep[layer.name], layer.bias, 0) if bias else layer.bias
            )
        layers.append(layer)
    return replace(graph, layers=tuple(layers))


def without_filters(graph: Graph, keep: Mapping[str, NDArray[np.bool_]]) -> Surgery:
    """``graph`` without the filters whose entry in ``keep`` is false, if all that are coupled with them go as well."""
    coupling = coupled_channels(graph)
    gone = ~coupling.fixed
    for group, members in enumerate(coupling.sources):
        gone[group] &= all(name in keep and not keep[name][channel] for name, channel in members)
    for name, mask in keep.items():
        gone[coupling.group_of[name][mask]] = False
    gone, notes = leave_one(coupling, gone)
    return remove_groups(coupling, gone, notes, "without_filters")


@settings(max_examples=60)
@given(networks(), st.integers(0, 1000))
def test_shrunk_network_computes_what_the_masked_one_does(graph: Graph, seed: int) -> None:
    coupling = coupled_channels(graph)
    # Whole groups go, so the masked filters and the removed ones are the same.
    stay = (np.random.default_rng(seed).random(len(coupling.fixed)) < 0.6) | coupling.fixed
    for groups in coupling.group_of.values():
        stay[groups[0]] = True
    keep = {layer.name: stay[coupling.group_of[layer.name]] for layer in graph.convs if not is_depthwise(layer)}
    result = without_filters(graph, keep)
    for tensor, groups in coupling.group_of.items():
        assert result.graph.shapes[tensor][0] == stay[groups].sum()
    if not any("border" in note for note in result.notes):
        assert_same(result.graph, masked(graph, keep))
    assert all("border" in note for note in result.notes)


@settings(max_examples=60)
@given(networks(), st.integers(0, 1000), st.booleans())
def test_zero_channels_go_and_nothing_changes(graph: Graph, seed: int, inputs: bool) -> None:
    rng = np.random.default_rng(seed)
    keep = {layer.name: rng.random(len(layer.weights)) < 0.6 for layer in graph.convs}
    zeroed = masked(graph, keep, bias=False)
    if inputs:
        zeroed = zeroed.with_weights(
            {c.name: c.weights * (rng.random((1, c.weights.shape[1], 1, 1)) < 0.6) for c in zeroed.convs}
        )
    result = remove_zero_channels(zeroed)
    assert_same(result.graph, zeroed)
    assert not any("border" in note for note in result.notes)


def test_a_dead_filter_moves_its_bias_through_the_clamp_into_the_reader() -> None:
    weights = floats(3, 1, 1, 1)
    weights[1] = 0
    first = replace(conv_layer("a", "x", (3, 1, 1, 1), clamp=RELU), weights=weights, bias=np.float32([1, 2, 3]))
    graph = graph_of(first, conv_layer("b", "a", (2, 3, 1, 1)), shape=(1, 2, 2))
    result = remove_zero_channels(graph)
    b = graph.convs[1]
    np.testing.assert_allclose(result.graph.convs[1].bias, b.bias + 2 * b.weights[:, 1, 0, 0], rtol=1e-6)
    assert result.graph.convs[1].weights.tolist() == b.weights[:, [0, 2]].tolist()
    assert result.notes == ()
    assert [(change.name, change.channels, change.macs_after) for change in result.layers] == [
        ("a", (3, 2), 8),
        ("b", (2, 2), 16),
    ]


def test_a_constant_that_meets_zero_padding_stays_or_is_noted() -> None:
    weights = floats(2, 1, 1, 1)
    weights[1] = 0
    first = replace(conv_layer("a", "x", (2, 1, 1, 1)), weights=weights, bias=np.float32([1, 2]))
    graph = graph_of(first, conv_layer("b", "a", (1, 2, 3, 3), padding=(1, 1, 1, 1)), shape=(1, 4, 4))
    result = remove_zero_channels(graph)
    assert result.graph is graph
    assert result.notes == ("layer 'a': zero filter 1 stays: its constant meets the zero padding of 'b'",)
    forced = without_filters(graph, {"a": np.array([True, False])})
    assert forced.graph.shapes["a"] == (1, 4, 4)
    assert forced.notes == (
        "layer 'b': constants of removed channels met its zero padding, so its border differs a little",
    )
    # Without a bias the constant is 0, and padding is no matter.
    harmless = replace(graph, layers=(replace(first, bias=np.float32([1, 0])), graph.layers[1]))
    exact = remove_zero_channels(harmless)
    assert exact.notes == ()
    assert exact.graph.shapes["a"] == (1, 4, 4)
    assert_same(exact.graph, harmless)


def test_one_channel_stays() -> None:
    graph = graph_of(conv_layer("a", "x", (3, 1, 1, 1)), conv_layer("b", "a", (1, 3, 1, 1)), shape=(1, 2, 2))
    result = without_filters(graph, {"a": np.zeros(3, bool)})
    assert result.graph.shapes["a"] == (1, 2, 2)
    assert result.notes[0] == "tensor 'a': one channel stays, since a tensor can't be empty"


def test_input_channels_that_nothing_reads_take_their_filters_along() -> None:
    graph = graph_of(
        conv_layer("a", "x", (4, 2, 3, 3), clamp=RELU),
        conv_layer("d", "a", (4, 1, 3, 3), groups=4, padding=(1, 1, 1, 1)),
        conv_layer("b", "d", (2, 4, 1, 1)),
        shape=(2, 6, 6),
    )
    weights = graph.convs[2].weights.copy()
    weights[:, [0, 3]] = 0
    unread = graph.with_weights({"b": weights})
    result = remove_zero_channels(unread)
    assert [conv.weights.shape for conv in result.graph.convs] == [(2, 2, 3, 3), (2, 1, 3, 3), (2, 2, 1, 1)]
    assert result.graph.convs[1].groups == 2
    assert_same(result.graph, unread)


def test_zero_input_channels_that_others_read_are_noted() -> None:
    graph = graph_of(
        conv_layer("a", "x", (3, 2, 1, 1)),
        conv_layer("b", "a", (2, 3, 1, 1)),
        conv_layer("c", "a", (2, 3, 1, 1)),
        shape=(2, 2, 2),
        outputs=("b", "c"),
    )
    result = remove_zero_channels(
        graph.with_weights({"b": graph.convs[1].weights * np.float32([[[[1]], [[0]], [[0]]]])})
    )
    assert result.notes == ("layer 'b': zero input channels 1, 2 stay: needed elsewhere",)
    first = remove_zero_channels(graph.with_weights({"a": graph.convs[0].weights * np.float32([[[[1]], [[0]]]])}))
    assert first.notes == ("layer 'a': zero input channel 1 stays: part of the network's input",)


def test_weights_on_a_grid_stay_on_it() -> None:
    graph = graph_of(
        conv_layer("a", "x", (4, 2, 3, 3)),
        conv_layer("d", "a", (4, 1, 1, 1), groups=4),
        conv_layer("b", "d", (2, 4, 1, 1)),
        shape=(2, 6, 6),
    )
    rng = np.random.default_rng(0)
    grids = {
        c.name: WeightGrid(
            rng.integers(-7, 8, c.weights.shape), np.float32(rng.random(len(c.weights))).astype(float), bits=4
        )
        for c in graph.convs
    }
    graph = graph.with_grids(grids)
    smaller = without_filters(graph, {"a": np.array([True, False, True, True])}).graph
    for conv in smaller.convs:
        assert conv.grid is not None
        assert conv.grid.weights.tolist() == conv.weights.tolist()
    assert smaller.convs[2].grid.integers.tolist() == grids["b"].integers[:, [0, 2, 3]].tolist()
