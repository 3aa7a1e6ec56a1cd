"""The fast integer reference against loops over Python integers: kernels, strides, dilations, groups, padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import reference
from models.errors import SkipstoneError
from models.graph import Add, AveragePool, Layer, MaxPool
from models.quantized import QuantizedTensor
from tests.models.builders import conv_layer, graph_of, quantized, random_images, random_integers, slow_layer

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
padding = st.tuples(*[st.integers(0, 2)] * 4)
groups = st.sampled_from([(1, 3, 4), (2, 2, 1), (3, 1, 1), (2, 1, 3), (1, 1, 1)])
"""(groups, input channels of a group, output channels of a group)"""


def agree_with_loops(layer: Layer, channels: int, density: float = 1.0, bits: int = 8, count: int = 2) -> None:
    graph = graph_of(layer, shape=(channels, 8, 7))
    network = quantized(graph, bits, bits)
    for made in network.layers:
        if density < 1:
            keep = np.random.default_rng(7).random(made.weights.shape) < density
            made = replace(made, weights=made.weights * keep)
        x = random_integers(network, made.input, count)
        got = reference.run_layer(network, made, x)
        for image in range(count):
            np.testing.assert_array_equal(got[image], slow_layer(made, x[image]))


@settings(max_examples=40, deadline=None)
@given(groups, pair, pair, pair, padding, st.sampled_from([0.0, 0.3, 1.0]))
@example((1, 3, 4), (3, 3), (2, 2), (1, 1), (0, 0, 1, 1), 1.0)
def test_convolution(
    sizes: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
    density: float,
) -> None:
    count, inputs, outputs = sizes
    layer = conv_layer(
        "c", "x", (count * outputs, inputs, *kernel), groups=count, stride=stride, dilation=dilation, padding=pads
    )
    agree_with_loops(layer, count * inputs, density)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([MaxPool, AveragePool]), st.tuples(st.integers(2, 3), st.integers(2, 3)), pair, pair, st.data())
def test_pools(
    kind: type[MaxPool] | type[AveragePool],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    data: st.DataObject,
) -> None:
    # ONNX Runtime, which calibrates, refuses padding as large as the kernel.
    pads = data.draw(st.tuples(*[st.integers(0, 1)] * 4))
    agree_with_loops(
        kind(name="p", inputs=("x",), kernel=kernel, stride=stride, dilation=dilation, padding=pads), channels=3
    )


def test_maximum_over_chosen_taps_of_grouped_channels() -> None:
    network = quantized(graph_of(MaxPool(name="m", inputs=("x",), kernel=(2, 2)), shape=(4, 5, 5)))
    weights = np.random.default_rng(1).integers(0, 2, size=(6, 2, 2, 2))
    weights[3] = 0
    layer = replace(network.layers[0], groups=2, weights=weights, bias=np.zeros(6, np.int64))
    ones = np.ones(6, np.int64)
    layer = replace(layer, multiplier=ones * 32768, shift=ones * 15, other_multiplier=ones * 0)
    x = random_integers(network, "x", 1)
    np.testing.assert_array_equal(reference.run_layer(network, layer, x)[0], slow_layer(layer, x[0]))
    assert not reference.accumulate(layer, x)[:, 3].any()


@pytest.mark.parametrize("bits", [2, 4, 12, 14])
def test_bit_widths(bits: int) -> None:
    agree_with_loops(conv_layer("c", "x", (4, 3, 3, 3), padding=(1, 1, 1, 1)), 3, bits=bits)


def test_float64_takes_over_where_float32_is_inexact() -> None:
    """One more than 2**24 is no float32: 32767 * 16384 + 1 must survive."""
    network = quantized(graph_of(conv_layer("c", "x", (1, 2, 1, 1)), shape=(2, 1, 1)))
    layer = replace(network.layers[0], weights=np.array([32767, 1]).reshape(1, 2, 1, 1))
    x = np.array([16384, 1]).reshape(1, 2, 1, 1)
    assert reference.accumulate(layer, x).item() == 32767 * 16384 + 1


def test_fused_add() -> None:
    graph = graph_of(
        conv_layer("a", "x", (3, 3, 1, 1)),
        conv_layer("b", "x", (3, 3, 3, 3), padding=(1, 1, 1, 1)),
        Add(name="s", inputs=("a", "b"), clamp=(0.0, 1.5)),
        shape=(3, 5, 5),
    )
    network = quantized(graph)
    tensors = reference.run(network, random_integers(network, "x", 1))
    last = network.layers[-1]
    assert (last.name, last.other, last.output) == ("b", "a", "s")
    np.testing.assert_array_equal(tensors["s"][0], slow_layer(last, tensors["x"][0], tensors["a"][0]))


def test_quantize_input_rounds_to_even_and_clips() -> None:
    tensor = QuantizedTensor("x", (1, 1, 1), 0.5, -10, 8)
    values = np.array([0.0, 0.25, 0.75, -0.25, 1000.0, -1000.0])
    # 0.5 steps -> 0, 1.5 -> 2, -0.5 -> 0
    assert reference.quantize_tensor(tensor, values).tolist() == [-10, -10, -8, -10, 127, -128]


def test_batches_do_not_change_results() -> None:
    graph = graph_of(conv_layer("c", "x", (5, 3, 3, 3)), shape=(3, 6, 6))
    network = quantized(graph)
    images = random_images(graph, 130)
    integers = reference.quantize_input(network, images)
    whole = reference.run(network, integers)["c"].reshape(130, -1)
    np.testing.assert_array_equal(reference.scores(network, integers), whole)
    np.testing.assert_array_equal(reference.predict(network, images), whole.argmax(axis=1))


def test_errors() -> None:
    network = quantized(graph_of(conv_layer("c", "x", (5, 3, 3, 3)), shape=(3, 6, 6)))
    with pytest.raises(SkipstoneError) as error:
        reference.quantize_input(network, np.zeros((1, 3, 6, 7), np.float32))
    assert str(error.value) == "images of shape 3x6x7 don't fit network 'test', whose input is 3x6x6"
    x = random_integers(network, "x", 1)
    with pytest.raises(SkipstoneError, match=r"layer 'c' adds no tensor"):
        reference.run_layer(network, network.layers[0], x, x)
