"""Compact filters start at the best fit, and are exact where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.onnx_io.reader import load
from skipstone.models.surgery.compact import bottleneck, depthwise_separable
from tests.models.builders import conv_layer, floats, graph_of
from tests.models.surgery.networks import RELU, assert_same
from tests.models.surgery.test_factorize import single_layers


@settings(max_examples=25)
@given(single_layers())
def test_enough_depthwise_filters_compute_the_same(graph: Graph) -> None:
    result = depthwise_separable(graph, ["b"], multiplier=9, only_savings=False)
    assert_same(result.graph, graph)
    for change in result.layers:
        assert change.energy == pytest.approx(1)
        assert change.macs_after == sum(result.graph.macs[part] for part in change.parts)


@settings(max_examples=25)
@given(single_layers())
def test_a_full_bottleneck_of_equal_sides_computes_the_same(graph: Graph) -> None:
    outputs, inputs = graph.convs[1].weights.shape[:2]
    result = bottleneck(graph, ["b"], share=1.0, only_savings=False)
    for change in result.layers:
        assert change.ranks == (min(outputs, inputs),) * 2
        if outputs == inputs:
            assert_same(result.graph, graph)


def test_the_fit_of_separable_filters_is_the_best_in_squares() -> None:
    graph = graph_of(conv_layer("b", "x", (6, 4, 3, 3)), shape=(4, 6, 6))
    (change,) = depthwise_separable(graph).layers
    weights = graph.convs[0].weights.astype(np.float64)
    # Alternating least squares from elsewhere, input channel by input channel, must end at the same error.
    error = 0.0
    for channel in range(4):
        matrix = weights[:, channel].reshape(6, 9)
        window = np.ones(9)
        for _ in range(500):
            points = matrix @ window / (window @ window)
            window = points @ matrix / (points @ points)
        error += float(((matrix - np.outer(points, window)) ** 2).sum())
    assert change.energy == pytest.approx(1 - error / (weights**2).sum(), rel=1e-6)
    assert (change.macs_before, change.macs_after) == (16 * 216, 16 * (4 * 9 + 6 * 4))


def test_names_shapes_and_the_clamp_between() -> None:
    graph = graph_of(
        conv_layer("b", "x", (8, 6, 3, 3), stride=(2, 2), padding=(1, 1, 0, 0), clamp=(0.0, 6.0)), shape=(6, 8, 8)
    )
    separable = depthwise_separable(graph, between=RELU).graph
    assert [(c.name, c.weights.shape, c.groups, c.stride, c.clamp) for c in separable.convs] == [
        ("b.depthwise", (6, 1, 3, 3), 6, (2, 2), RELU),
        ("b", (8, 6, 1, 1), 1, (1, 1), (0.0, 6.0)),
    ]
    narrow = bottleneck(graph, share=0.25).graph
    assert [(c.name, c.weights.shape, c.stride, c.padding) for c in narrow.convs] == [
        ("b.reduce", (2, 6, 1, 1), (1, 1), (0, 0, 0, 0)),
        ("b.window", (2, 2, 3, 3), (2, 2), (1, 1, 0, 0)),
        ("b", (8, 2, 1, 1), (1, 1), (0, 0, 0, 0)),
    ]
    np.testing.assert_array_equal(narrow.convs[2].bias, graph.convs[0].bias)
    assert not any(conv.bias.any() for conv in narrow.convs[:2])


def test_separable_weights_are_found_again() -> None:
    points, windows = floats(5, 3, seed=1), floats(3, 3, 3, seed=2)
    graph = graph_of(conv_layer("b", "x", (5, 3, 3, 3)), shape=(3, 6, 6))
    graph = graph.with_weights({"b": np.einsum("kc,cij->kcij", points, windows)})
    result = depthwise_separable(graph)
    assert result.layers[0].energy == pytest.approx(1)
    assert_same(result.graph, graph)


def test_resnet8_and_its_notes() -> None:
    graph = load("resnet8_fashion")
    result = depthwise_separable(graph)
    assert len(result.layers) == 7
    assert (
        result.notes[-1]
        == "layer 'classifier': depthwise_separable leaves it as it is: it is fully connected; svd fits it"
    )
    assert result.macs < 0.2 * sum(graph.macs.values())
    assert result.graph.outputs == graph.outputs
    assert all(isinstance(result.graph.layer(conv.name), Conv) for conv in graph.convs)


def test_errors() -> None:
    graph = graph_of(conv_layer("b", "x", (8, 8, 3, 3)), shape=(8, 5, 5))
    with pytest.raises(SkipstoneError, match=r"^the depthwise multiplier must be a positive integer, not 0$"):
        depthwise_separable(graph, multiplier=0)
    with pytest.raises(
        SkipstoneError, match=r"^a bottleneck's share of the channels must be above 0 and at most 1, not 2$"
    ):
        bottleneck(graph, share=2)
    with pytest.raises(SkipstoneError, match=r"^network 'test' has no layer 'z'; it has b$"):
        bottleneck(graph, ["z"])
