"""Channels that are claimed constant are constant when the network runs, borders included; channels that nothing needs may have
any value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import AveragePool, ConvTranspose, Layer
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.surgery.constants import constants, needed
from tests.models.builders import conv_layer, floats, graph_of, random_images
from tests.models.surgery.networks import networks


def tensors(graph: Graph) -> dict[str, np.ndarray]:
    return run_onnx(to_onnx(graph, all_tensors=True), {graph.input: random_images(graph, 2)})


def without_some(graph: Graph, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    return graph.with_weights({c.name: c.weights * (rng.random((len(c.weights), 1, 1, 1)) < 0.5) for c in graph.convs})


@settings(max_examples=50)
@given(networks(), st.integers(0, 1000))
def test_constant_channels_have_their_value_everywhere(graph: Graph, seed: int) -> None:
    graph = without_some(graph, seed)
    fixed = constants(graph)
    assert not fixed.rough
    for name, values in tensors(graph).items():
        mask = fixed.is_constant[name]
        expected = np.broadcast_to(fixed.value[name][mask, None, None], values[:, mask].shape)
        np.testing.assert_allclose(values[:, mask], expected, rtol=1e-4, atol=1e-4)  # float32 sums


@st.composite
def after_a_constant(draw: st.DrawFn) -> Layer:
    """A layer with a window, whose input is 2 everywhere."""
    kernel, stride, dilation = (draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (3, 2, 2))
    padding = tuple(draw(st.integers(0, min(2, kernel[axis % 2] - 1))) for axis in range(4))
    window: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding}
    match draw(st.sampled_from(["average", "transposed", "conv", "depthwise"])):
        case "average":
            uncounted = draw(st.sampled_from([(0, 0, 0, 0), padding, tuple(min(1, side) for side in padding)]))
            window["dilation"] = (1, 1)
            return AveragePool(name="b", inputs=("a",), kernel=kernel, uncounted=uncounted, **window)
        case "transposed":
            return ConvTranspose(name="b", inputs=("a",), weights=floats(3, 2, *kernel), bias=floats(3), **window)
        case "conv":
            return conv_layer("b", "a", (3, 2, *kernel), **window)
        case _:
            return conv_layer("b", "a", (4, 1, *kernel), groups=2, **window)


@settings(max_examples=100)
@given(after_a_constant())
def test_every_window_over_a_constant(layer: Layer) -> None:
    first = conv_layer("a", "x", (2, 1, 1, 1))
    first = replace(first, weights=first.weights * 0, bias=np.full(2, 2, np.float32))
    graph = graph_of(first, layer, shape=(1, 6, 5))
    values = tensors(graph)["b"][0]
    everything = {name: np.ones(shape[0], bool) for name, shape in graph.shapes.items()}
    exact, assumed = constants(graph), constants(graph, everything)
    even = np.ptp(values, axis=(1, 2)) < 1e-5  # far below what one tap makes
    assert exact.is_constant["b"].tolist() == even.tolist()
    np.testing.assert_allclose(exact.value["b"], np.where(even, values.mean(axis=(1, 2)), 0), atol=1e-5)
    np.testing.assert_allclose(assumed.value["b"], values.mean(axis=(1, 2)), atol=1e-5)
    assert assumed.rough.get("b", ~even & False).tolist() == (~even).tolist()


@settings(max_examples=40)
@given(networks(), st.integers(0, 1000))
def test_channels_that_are_not_needed_change_no_output(graph: Graph, seed: int) -> None:
    graph = without_some(graph, seed)
    rng = np.random.default_rng(seed)
    graph = graph.with_weights(
        {c.name: c.weights * (rng.random((1, c.weights.shape[1], 1, 1)) < 0.5) for c in graph.convs}
    )
    is_constant = constants(graph).is_constant
    used = needed(graph, is_constant)
    free = {c.name: ~used[c.name] & ~is_constant[c.name] for c in graph.convs}
    other = graph.with_weights(
        {c.name: np.where(free[c.name][:, None, None, None], 3 * c.weights, c.weights) for c in graph.convs}
    )
    before, after = tensors(graph), tensors(other)
    for name in graph.outputs:
        np.testing.assert_array_equal(before[name], after[name])
