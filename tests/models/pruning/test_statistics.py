"""The unfolded input against ONNX Runtime's convolutions, and its moments against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.layers import AveragePool, Conv, ConvTranspose
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.pruning.statistics import BATCH, columns_of, input_moments, measure
from tests.models.builders import conv_layer, floats, graph_of, random_images

pairs = st.tuples(st.integers(1, 3), st.integers(1, 2))


@st.composite
def any_layer(draw: st.DrawFn) -> Conv:
    groups = draw(st.integers(1, 3))
    shape = (groups * draw(st.integers(1, 2)), draw(st.integers(1, 2)), *draw(pairs))
    options: dict[str, Any] = {
        "name": "a",
        "inputs": ("x",),
        "weights": floats(*shape),
        "bias": floats(shape[0]),
        "groups": groups,
        "stride": draw(pairs),
        "dilation": draw(pairs),
        "padding": draw(st.tuples(*[st.integers(0, 2)] * 4)),
    }
    if draw(st.booleans()):
        # ONNX Runtime takes output padding only where the stride leaves room for it.
        return ConvTranspose(**options, output_padding=(draw(st.integers(0, options["stride"][0] - 1)), 0))
    return Conv(**options)


@settings(max_examples=60)
@given(any_layer())
def test_weights_times_columns_is_the_layer(layer: Conv) -> None:
    try:
        graph = graph_of(layer, shape=(layer.weights.shape[1] * layer.groups, 7, 6))
    except ValueError:
        return  # its padding leaves nothing
    x = random_images(graph, 2)
    expected = run_onnx(to_onnx(graph), {"x": x})["a"]
    columns = columns_of(layer, x, expected.shape[2:])
    weights = layer.weights.reshape(layer.groups, -1, columns.shape[1])
    got = (weights @ columns).reshape(len(layer.weights), 2, *expected.shape[2:]).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(got + layer.bias.reshape(-1, 1, 1), expected, rtol=1e-4, atol=1e-4)  # float32 sums


def test_moments_over_batches_with_a_reference() -> None:
    first, layer = (
        conv_layer("a", "x", (4, 2, 1, 1)),
        conv_layer("b", "a", (2, 2, 3, 3), groups=2, padding=(1, 1, 1, 1)),
    )
    graph = graph_of(first, layer, shape=(2, 4, 5))
    other = graph.with_weights({"a": floats(4, 2, 1, 1, seed=9)})
    images = random_images(graph, BATCH + 3)
    x, z = (columns_of(layer, run_onnx(to_onnx(g, True), {"x": images})["a"], (4, 5)) for g in (graph, other))  # type: ignore[arg-type]
    moments = input_moments(graph, layer, images, other)
    np.testing.assert_allclose(moments.mean, x.mean(axis=2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments.second, x @ x.swapaxes(1, 2) / x.shape[2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments.reference_mean, z.mean(axis=2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments.cross, z @ x.swapaxes(1, 2) / x.shape[2], rtol=1e-5, atol=1e-6)
    alone = input_moments(graph, layer, images)
    np.testing.assert_array_equal(alone.cross, alone.second)
    np.testing.assert_array_equal(alone.second, moments.second)
    square = measure(graph, images)["b"].input_square
    np.testing.assert_allclose(np.diagonal(moments.second, axis1=1, axis2=2).reshape(4, 3, 3), square, rtol=1e-6)


def test_zeros_only_where_a_relu_follows() -> None:
    graph = graph_of(
        conv_layer("a", "x", (3, 2, 1, 1), clamp=(0.0, 6.0)),
        AveragePool(name="p", inputs=("a",), kernel=(4, 4)),
        conv_layer("g", "p", (2, 3, 1, 1), gemm=True, clamp=(-1.0, 1.0)),
        conv_layer("h", "g", (2, 2, 1, 1)),
        shape=(2, 4, 4),
    )
    images = random_images(graph, 3)
    statistics = measure(graph, images)
    tensors = run_onnx(to_onnx(graph, True), {"x": images})
    assert statistics["a"].zeros == pytest.approx((tensors["a"] == 0).mean(axis=(0, 2, 3)))
    assert statistics["g"].zeros is None
    assert statistics["h"].zeros is None
