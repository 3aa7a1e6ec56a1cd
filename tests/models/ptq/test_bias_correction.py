"""Corrected biases restore the float network's means at every layer, after any rounding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_accuracy, float_scores
from skipstone.models.data.images import load_images
from skipstone.models.data.zoo import carried_networks
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, ConvTranspose
from skipstone.models.onnx_io.reader import load
from skipstone.models.ptq.activations import QuantizedInputs, float_tensors
from skipstone.models.ptq.bias_correction import correct_biases, mean_outputs, unclamped
from skipstone.models.ptq.weight_range import with_weight_range
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, floats, graph_of, random_images

RELU = (0.0, math.inf)


def network() -> Graph:
    return graph_of(
        conv_layer("a", "x", (4, 3, 3, 3), padding=(1, 0, 1, 1), clamp=RELU),
        conv_layer("d", "a", (4, 1, 2, 3), groups=4, stride=(2, 1), clamp=(-1.0, 2.0)),
        conv_layer("s", "d", (6, 2, 1, 1), groups=2),
        conv_layer("e", "d", (6, 4, 1, 1), dilation=(2, 2)),
        Add(name="m", inputs=("s", "e"), clamp=RELU),
        ConvTranspose(
            name="t",
            inputs=("m",),
            weights=floats(2, 6, 3, 2),
            bias=floats(2),
            stride=(2, 3),
            padding=(1, 0, 0, 1),
            output_padding=(1, 0),
            dilation=(1, 2),
        ),
        conv_layer("g", "t", (5, 2, 9, 11), gemm=True),
        shape=(3, 8, 7),
    )


def test_means_by_tap_are_those_of_onnxruntime() -> None:
    graph = network()
    images = random_images(graph, 5)
    for layer in graph.convs:
        x = float_tensors(graph, images, layer.inputs)[layer.inputs[0]]
        expected = unclamped(layer, x).mean(axis=(0, 2, 3), dtype=np.float64)
        assert mean_outputs(layer, x) == pytest.approx(expected, rel=1e-4, abs=1e-4), layer.name


@pytest.mark.parametrize("after_clamp", [False, True])
def test_means_are_the_float_networks(after_clamp: bool) -> None:
    graph = network()
    images = random_images(graph, 6)
    rounded = with_weight_range(graph, 3)
    result = correct_biases(rounded, graph, images, after_clamp=after_clamp)
    names = [layer.name for layer in graph.convs if layer.clamp is None]
    expected, got = (float_tensors(candidate, images, names) for candidate in (graph, result.graph))
    for name in names:
        assert got[name].mean(axis=(0, 2, 3)) == pytest.approx(expected[name].mean(axis=(0, 2, 3)), rel=1e-4, abs=1e-4)
    for old, new in zip(rounded.convs, result.graph.convs, strict=True):
        assert new.grid is old.grid
        assert new.bias == pytest.approx(old.bias - result.shifts[new.name], abs=1e-5)


def test_after_a_clamp_the_error_never_grows() -> None:
    graph = graph_of(conv_layer("a", "x", (8, 3, 3, 3), clamp=RELU), shape=(3, 9, 8))
    images = random_images(graph, 6)
    rounded = with_weight_range(graph, 2)
    corrected = correct_biases(rounded, graph, images).graph
    expected, before, after = (
        float_tensors(candidate, images, ["a"])["a"] for candidate in (graph, rounded, corrected)
    )
    errors = [np.square(tensor - expected).mean(axis=(0, 2, 3)) for tensor in (before, after)]
    assert (errors[1] <= errors[0] + 1e-6).all()
    assert errors[1].sum() < errors[0].sum()


def test_integer_activations() -> None:
    """In the integer network, each layer's input is within half a step of the floats, and inputs are asked for in order."""
    graph = network()
    images = random_images(graph, 4)
    ranges = calibrate(graph, images)
    inputs = QuantizedInputs(images, ranges, QuantizationScheme(12, 12))
    floating = float_tensors(graph, images, graph.shapes)
    for name in ("x", "a", "d", "m", "t"):
        got = inputs.tensor(graph, name)
        low, high = ranges.limits[name]
        assert np.abs(got - floating[name]).max() < (high - low) / 2**7, name
    result = correct_biases(with_weight_range(graph, 4), graph, images, ranges, QuantizationScheme(8, 6))
    assert all(np.isfinite(shift).all() for shift in result.shifts.values())


def test_a_rounded_float_network_gets_back_its_accuracy() -> None:
    carried = carried_networks()["resnet8_fashion"]
    graph, images = load("resnet8_fashion"), load_images(carried.calibration)[0]
    evaluation, labels = load_images(carried.evaluation)
    assert labels is not None
    rounded = with_weight_range(graph, 4)
    corrected = correct_biases(rounded, graph, images).graph
    expected = float_scores(graph, evaluation)
    errors = [np.square(float_scores(candidate, evaluation) - expected).mean() for candidate in (rounded, corrected)]
    assert errors[1] < errors[0] / 2
    assert float_accuracy(corrected, evaluation, labels) > float_accuracy(rounded, evaluation, labels) + 0.02


def test_other_layers_are_refused() -> None:
    graph = network()
    other = replace(graph.convs[0], name="z")
    with pytest.raises(SkipstoneError, match=r"^layer 'a': the graph to take means from has no such layer$"):
        correct_biases(graph, graph_of(other, shape=(3, 8, 7)), random_images(graph, 1))


def test_symmetric_activations() -> None:
    """Layers read the values of the network whose activations have the zero point 0."""
    graph = network()
    images = random_images(graph, 4)
    scheme = QuantizationScheme(8, 4, symmetric=True)
    ranges = calibrate(graph, images, scheme)
    activations = QuantizedInputs(images, ranges, scheme).tensor(graph, "d")
    integers = quantize(graph, ranges, scheme)
    steps = activations / np.float32(integers.tensors["d"].scale)
    assert integers.tensors["d"].zero_point == 0
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    rounded = with_weight_range(graph, 3)
    asymmetric, symmetric = (
        correct_biases(rounded, graph, images, ranges, each).graph for each in (QuantizationScheme(8, 4), scheme)
    )
    assert any((a.bias != b.bias).any() for a, b in zip(asymmetric.convs, symmetric.convs, strict=True))
