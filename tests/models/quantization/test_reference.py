"""The fast integer reference against loops over Python integers: kernels, strides, dilations, groups, padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import Add, AveragePool, Layer, MaxPool
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import HostProduct, Lattice, QuantizedTensor
from tests.models.builders import (
    conv_layer,
    graph_of,
    identity_layer,
    network_of,
    quantized,
    random_images,
    random_integers,
    slow_layer,
)

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


@settings(max_examples=40)
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


@settings(max_examples=20)
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
    layer = replace(layer, multiplier=np.full(6, 32768), shift=np.full(6, 15), other_multiplier=np.zeros(6, np.int64))
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


def test_layers_that_share_a_tensor_write_only_their_own_pixels() -> None:
    """Row 0 and row 1 of every pair, the second times 2; the tensor that is added is read at the same pixels."""
    twice = np.array([1 << 15]), np.array([14])
    network = network_of(
        {"x": (1, 2, 3), "y": (1, 4, 3), "z": (1, 4, 3)},
        identity_layer("even", "x", "y", 1, lattice=Lattice((0, 0), (2, 1), (2, 3))),
        identity_layer(
            "odd", "x", "y", 1, lattice=Lattice((1, 0), (2, 1), (2, 3)), multiplier=twice[0], shift=twice[1]
        ),
        identity_layer("first", "x", "z", 1, lattice=Lattice((0, 0), (2, 1), (2, 3))),
        identity_layer(
            "sum", "x", "z", 1, lattice=Lattice((1, 0), (2, 1), (2, 3)), other="y", other_multiplier=np.array([1 << 15])
        ),
    )
    tensors = reference.run(network, np.array([[1, 2, 3], [4, 5, 6]]).reshape(1, 1, 2, 3))
    assert tensors["y"][0, 0].tolist() == [[1, 2, 3], [2, 4, 6], [4, 5, 6], [8, 10, 12]]
    assert tensors["z"][0, 0].tolist() == [[1, 2, 3], [3, 6, 9], [4, 5, 6], [12, 15, 18]]
    layer = network.array_layers[1]
    assert network.size_of(layer) == reference.run_layer(network, layer, tensors["x"]).shape[2:] == (2, 3)


@settings(max_examples=40)
@given(st.tuples(*[st.integers(-3, 2)] * 4), pair, pair)
def test_negative_padding_crops(
    around: tuple[int, int, int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    network = quantized(graph_of(conv_layer("c", "x", (2, 3, 2, 2)), shape=(3, 11, 11)))
    layer = replace(network.array_layers[0], padding=around, stride=stride, dilation=dilation)
    x = random_integers(network, "x", 1)
    np.testing.assert_array_equal(reference.run_layer(network, layer, x)[0], slow_layer(layer, x[0]))


def test_the_table_is_looked_up_after_the_clamp() -> None:
    table = np.arange(127, -129, -1)  # -1 - q
    network = network_of(
        {"x": (1, 1, 4), "y": (1, 1, 4)}, identity_layer("t", "x", "y", 1, table=table, low=-3, high=100)
    )
    y = reference.run(network, np.array([-128, -3, 5, 127]).reshape(1, 1, 1, 4))["y"]
    assert y.ravel().tolist() == [2, 2, -6, -101]


def test_the_host_multiplies_tensors_in_integers() -> None:
    """(a - 1) * (b + 2) * 3/8 + 10 for each channel, halves up, at most 40."""
    product = HostProduct("p", ("x", "b"), "y", 3, 3, (1, -2), 10, -128, 40, 4)
    network = network_of({"x": (2, 1, 2), "b": (2, 1, 1), "y": (2, 1, 2)}, product)
    a, b = np.array([5, 1, -7, 100]).reshape(1, 2, 1, 2), np.array([0, 3]).reshape(1, 2, 1, 1)
    # 4*2*3/8 = 3, 0, -8*5*3/8 = -15, and 99*5*3/8 far beyond the clamp
    assert reference.run_product(product, a, b).ravel().tolist() == [13, 10, -5, 40]
    same = replace(network, layers=(replace(product, inputs=("x", "x")),))
    # (a-1) * (a+2) * 3/8: 4*7 -> 10.5, up to 11; 0; -8*-5 -> 15
    assert reference.run(same, a)["y"].ravel().tolist() == [21, 10, 25, 40]


def test_tensors_side_by_side() -> None:
    """A whole of a whole: channels x, then y (x times 2), then x again by a copy."""
    network = network_of(
        {
            "x": (1, 1, 2),
            "x2": (1, 1, 2),
            "y": (1, 1, 2),
            "z": (1, 1, 2),
            "a": (2, 1, 2),
            "w": (3, 1, 2),
            "m": (3, 1, 2),
        },
        identity_layer("x2", "x", "x2", 1),
        identity_layer("y", "x", "y", 1, shift=np.array([14])),
        identity_layer("z", "x", "z", 1),
        identity_layer("m", "w", "m", 3),
        concats={"w": ("a", "z"), "a": ("x2", "y")},
    )
    tensors = reference.run(network, np.array([3, 4]).reshape(1, 1, 1, 2))
    assert tensors["w"].ravel().tolist() == tensors["m"].ravel().tolist() == [3, 4, 6, 8, 3, 4]
    assert tensors["a"].ravel().tolist() == [3, 4, 6, 8]


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
    expected = reference.run(network, integers)["c"].reshape(130, -1)
    np.testing.assert_array_equal(reference.class_scores(network, integers), expected)
    np.testing.assert_array_equal(reference.predict(network, images), expected.argmax(axis=1))


def test_errors() -> None:
    network = quantized(graph_of(conv_layer("c", "x", (5, 3, 3, 3)), shape=(3, 6, 6)))
    with pytest.raises(SkipstoneError) as error:
        reference.quantize_input(network, np.zeros((1, 3, 6, 7), np.float32))
    assert str(error.value) == "images of shape 3x6x7 don't fit network 'test', whose input is 3x6x6"
    x = random_integers(network, "x", 1)
    with pytest.raises(SkipstoneError, match=r"layer 'c' adds no tensor"):
        reference.run_layer(network, network.layers[0], x, x)
