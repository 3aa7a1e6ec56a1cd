"""Our integers against ONNX Runtime's, on small networks of every layer kind and on both ResNet-8s."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skipstone.models.data.images import load_images
from skipstone.models.data.zoo import carried_networks
from skipstone.models.graph.function import Function, Step, function
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    AveragePool,
    Concat,
    ConvTranspose,
    MaxPool,
    Pointwise,
    Product,
    Softmax,
    Upsample,
)
from skipstone.models.onnx_io.reader import load
from skipstone.models.pruning.spec import prune_as
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedLayer
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, floats, graph_of, quantized, random_images, random_integers
from tests.models.quantization.onnx_runtime import compare_with_onnxruntime
from tests.models.quantization.test_quantize import everything
from tests.real_networks import RESNETS


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, 8), (2, 3), (16, 8), (8, 12)])
def test_every_kind_of_layer_within_one_step(weight_bits: int, activation_bits: int) -> None:
    graph = everything()
    images = random_images(graph, 16)
    network = quantize(graph, calibrate(graph, images), QuantizationScheme(weight_bits, activation_bits))
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images))
    assert result.max_steps <= 1
    assert len(result.layers) == len(network.layers)
    assert result.images == result.agreeing + result.near_ties + result.unexplained == 16


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=20)
@given(st.sampled_from([(1, 3), (3, 1), (2, 2)]), pair, pair, pair, st.tuples(*[st.integers(0, 2)] * 4))
def test_convolutions_within_one_step(
    sizes: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> None:
    groups, inputs = sizes
    layer = conv_layer(
        "c", "x", (4 * groups, inputs, *kernel), groups=groups, stride=stride, dilation=dilation, padding=padding
    )
    network = quantized(graph_of(layer, shape=(groups * inputs, 8, 8)))
    assert compare_with_onnxruntime(network, random_integers(network, "x", 4)).max_steps <= 1


def branches() -> Graph:
    """Every kind of layer that writes parts, tables, products and tensors side by side."""
    swish = Function((Step("Sigmoid"), Step("Mul", (0, 1))))
    return graph_of(
        conv_layer("a", "x", (4, 4, 3, 3), padding=(1, 1, 1, 1)),
        Pointwise(name="h", inputs=("a",), function=function("HardSwish")),
        AveragePool(name="p", inputs=("h",), kernel=(3, 3), padding=(1, 1, 1, 1), uncounted=(1, 1, 1, 1)),
        conv_layer("b", "p", (4, 4, 1, 1)),
        Add(name="s", inputs=("b", "h")),
        Pointwise(name="t", inputs=("s",), function=function("Tanh"), clamp=(-0.5, 0.9)),
        MaxPool(name="m", inputs=("t",), kernel=(2, 2), stride=(2, 2)),
        Upsample(name="u", inputs=("m",), factor=(2, 2), clamp=(-0.25, math.inf)),
        Pointwise(name="v", inputs=("u",), function=swish),
        ConvTranspose(
            name="d",
            inputs=("m",),
            weights=floats(4, 2, 3, 3),
            bias=floats(4),
            stride=(2, 2),
            padding=(0, 1, 1, 0),
            groups=2,
        ),
        Pointwise(name="e", inputs=("d",), function=function("Gelu")),
        AveragePool(name="g", inputs=("e",), kernel=(8, 8)),
        conv_layer("q", "g", (4, 4, 1, 1), clamp=(0.0, math.inf)),
        Pointwise(name="r", inputs=("q",), function=function("HardSigmoid")),
        Product(name="k", inputs=("e", "r"), clamp=(-1.0, 1.5)),
        Concat(name="w", inputs=("v", "k", "x")),
        Product(name="w2", inputs=("w", "w")),
        Concat(name="z", inputs=("w", "u", "w2")),
        conv_layer("o", "z", (5, 28, 8, 8), gemm=True),
        Softmax(name="y", inputs=("o",)),
        shape=(4, 8, 8),
    )


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (3, 4), (8, 10)])
def test_concatenations_tables_and_products_within_one_step(weight_bits: int, activation_bits: int) -> None:
    graph = branches()
    images = random_images(graph, 8)
    network = quantize(graph, calibrate(graph, images), QuantizationScheme(weight_bits, activation_bits))
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images))
    assert result.max_steps <= 1
    assert [layer.layer for layer in result.layers] == [
        "a", "p", "b", "m", "u", "v", "d", "g", "q", "k", "w.copy1", "w2", "o",
    ]  # fmt: skip
    assert result.unexplained == 0


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2]), st.integers(1, 3), pair, pair, pair, st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.booleans(),
)  # fmt: skip
def test_transposed_convolutions_within_one_step(
    groups: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    extra: tuple[int, int],
    table: bool,
) -> None:
    layer = ConvTranspose(
        name="d",
        inputs=("x",),
        weights=floats(outputs * groups, 2, *kernel),
        bias=floats(outputs * groups),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output_padding=(min(extra[0], stride[0] - 1), min(extra[1], stride[1] - 1)),
    )
    assume(min(layer.output_padding[a] + stride[a] * 3 + 1 - padding[a] - padding[a + 2] for a in range(2)) > 0)
    tanh = [Pointwise(name="t", inputs=("d",), function=function("Tanh"))] if table else []
    graph = graph_of(layer, *tanh, shape=(2 * groups, 4, 5))
    network = quantized(graph)
    assert len(network.layers) == math.prod(min(stride[a], graph.shapes["d"][a + 1]) for a in range(2))
    assert all(made.output == graph.outputs[0] for made in network.layers)
    assert compare_with_onnxruntime(network, random_integers(network, "x", 4)).max_steps <= 1


@settings(max_examples=25)
@given(pair, pair, st.tuples(*[st.integers(0, 2)] * 4), st.tuples(*[st.integers(0, 2)] * 4), st.booleans())
def test_average_pools_within_one_step(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    uncounted: tuple[int, int, int, int],
    clamped: bool,
) -> None:
    padding = tuple(min(pad, kernel[axis % 2] - 1) for axis, pad in enumerate(padding))  # type: ignore[assignment]
    outer = tuple(min(pad, limit) for pad, limit in zip(uncounted, padding, strict=True))
    layer = AveragePool(
        name="p",
        inputs=("x",),
        kernel=kernel,
        stride=stride,
        padding=padding,
        uncounted=outer,  # type: ignore[arg-type]
        clamp=(-1.0, 1.0) if clamped else None,
    )
    network = quantized(graph_of(layer, shape=(2, 7, 6)))
    assert compare_with_onnxruntime(network, random_integers(network, "x", 4)).max_steps <= 1


def test_a_wrong_table_is_detected() -> None:
    network = quantized(branches())
    layers = list(network.layers)
    first = layers[0]
    assert isinstance(first, QuantizedLayer)
    assert first.table is not None
    layers[0] = replace(first, table=np.maximum(first.table - 2, -128))
    result = compare_with_onnxruntime(replace(network, layers=tuple(layers)), random_integers(network, "x", 4))
    assert [layer.layer for layer in result.layers if layer.max_steps > 1] == ["a"]


def test_a_wrong_phase_is_detected() -> None:
    """One phase of the transposed convolution is shifted by three steps."""
    network = quantized(branches())
    layers = tuple(
        replace(layer, zero_point=layer.zero_point + 3) if layer.name == "d.phase_1_0" else layer
        for layer in network.array_layers
        if layer.output != "k"
    )
    wrong = {layer.name: layer for layer in layers}
    changed = tuple(wrong.get(layer.name, layer) for layer in network.layers)
    result = compare_with_onnxruntime(replace(network, layers=changed), random_integers(network, "x", 4))
    assert [layer.layer for layer in result.layers if layer.max_steps > 1] == ["d"]


def test_a_wrong_integer_is_detected() -> None:
    """Tests the comparison itself: a multiplier that is 5% off must show as several steps."""
    network = quantized(everything())
    wrong = list(network.layers)
    wrong[4] = replace(wrong[4], multiplier=wrong[4].multiplier * 95 // 100)
    network = replace(network, layers=tuple(wrong))
    result = compare_with_onnxruntime(network, random_integers(network, "x", 4))
    assert [layer.layer for layer in result.layers if layer.max_steps > 1] == ["c"]
    assert result.max_steps == max(layer.max_steps for layer in result.layers) > 1
    assert result.min_equal_fraction == result.layers[4].equal_fraction < 0.9


@pytest.mark.parametrize(("path", "high", "macs"), RESNETS)
@pytest.mark.parametrize("pruning", ["none", "unstructured:0.5"])
def test_resnet8(path: Callable[[], Path], high: float, macs: int, pruning: str) -> None:
    graph = prune_as(load(path()), pruning).graph
    if high == 1.0:
        images = load_images(carried_networks()["resnet8_fashion"].calibration)[0][:64]
    else:
        images = np.random.default_rng(1).uniform(0, high, (32, *graph.input_shape)).astype(np.float32)
    network = quantize(graph, calibrate(graph, images))
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images))
    assert result.max_steps <= 1
    assert result.min_equal_fraction >= 0.99
    assert result.unexplained == 0


def test_int8_keeps_the_carried_networks_accuracy() -> None:
    """Within half a point of float, as int8 should be; the card says 94.1% in float."""
    carried = carried_networks()["resnet8_fashion"]
    graph = load("resnet8_fashion")
    network = quantize(graph, calibrate(graph, load_images(carried.calibration)[0]))
    images, labels = load_images(carried.evaluation)
    assert labels is not None
    assert reference.accuracy(network, images, labels) >= 0.936
