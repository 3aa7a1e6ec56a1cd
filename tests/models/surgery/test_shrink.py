"""Shrunk networks compute what the masked ones do; what stays is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.graph import Conv, Graph
from models.surgery.coupling import coupled_channels, is_depthwise
from models.surgery.shrink import remove_filters, remove_zero_channels
from tests.models.surgery.networks import assert_same, networks


def masked(graph: Graph, keep: dict[str, np.ndarray], bias: bool = True) -> Graph:
    """``graph`` with zero weights, and with ``bias`` zero biases, in the filters that are not kept."""
    layers = []
    for layer in graph.layers:
        if isinstance(layer, Conv) and layer.name in keep:
            weights = np.where(keep[layer.name][:, None, None, None], layer.weights, 0)
            layer = replace(
                layer, weights=weights, bias=np.where(keep[layer.name], layer.bias, 0) if bias else layer.bias
            )
        layers.append(layer)
    return replace(graph, layers=tuple(layers))


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(0, 1000))
def test_shrunk_network_computes_what_the_masked_one_does(graph: Graph, seed: int) -> None:
    coupling = coupled_channels(graph)
    # Whole groups go, so the masked filters and the removed ones are the same.
    stay = (np.random.default_rng(seed).random(len(coupling.fixed)) < 0.6) | coupling.fixed
    for groups in coupling.group_of.values():
        stay[groups[0]] = True
    keep = {layer.name: stay[coupling.group_of[layer.name]] for layer in graph.convs if not is_depthwise(layer)}
    result = remove_filters(graph, keep)
    for tensor, groups in coupling.group_of.items():
        assert result.graph.shapes[tensor][0] == stay[groups].sum()
    if not any("border" in note for note in result.notes):
        assert_same(result.graph, masked(graph, keep))
    assert all("border" in note for note in result.notes)


@settings(max_examples=60, deadline=None)
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
