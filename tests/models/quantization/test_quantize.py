"""Scales, integers and fusions of the quantizer, each checked by hand or against the float network."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.function import function
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    ClampLayer,
    Conv,
    ConvTranspose,
    Layer,
    MaxPool,
    Pointwise,
    Product,
    Softmax,
    Upsample,
)
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import HostProduct, QuantizedNetwork
from skipstone.models.quantization.quantize import quantize, requantization
from skipstone.models.quantization.ranges import Ranges, calibrate
from skipstone.models.quantization.scales import activation_scale
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, floats, graph_of, quantized, random_images


def single(weights: list[float], bias: float, low: float = -1.0, high: float = 1.0, **bits: int) -> QuantizedNetwork:
    """A 1x1 convolution whose input is -1 to 1 and whose output range is given."""
    array = np.float32(weights).reshape(1, -1, 1, 1)
    layer = Conv(name="c", inputs=("x",), weights=array, bias=np.float32([bias]))
    graph = graph_of(layer, shape=(len(weights), 1, 1))
    return quantize(graph, Ranges({"x": (-1.0, 1.0), "c": (low, high)}, "by hand"), QuantizationScheme(**bits))


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32), st.integers(2, 16))
@example(0.0, 0.0, 8)
@example(3.0, 5.0, 8)
@example(-5.0, -3.0, 8)
def test_activation_range_is_covered_and_zero_exact(a: float, b: float, bits: int) -> None:
    low, high = min(a, b), max(a, b)
    scale, zero_point = activation_scale(low, high, bits)
    qmin, qmax = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    assert qmin <= zero_point <= qmax
    assert scale == np.float32(scale) > 0
    # Rounding the zero point shifts the range by at most half a step, the float32 scale by far less than another.
    assert (qmin - zero_point) * scale <= low + 0.51 * scale
    assert (qmax - zero_point) * scale >= high - 0.51 * scale


def test_range_of_relu_uses_all_integers() -> None:
    scale, zero_point = activation_scale(0.0, 2.55, 8)
    assert (scale, zero_point) == (float(np.float32(0.01)), -128)


def test_weights_are_symmetric_and_the_largest_is_the_limit() -> None:
    layer = single([0.5, -1.0, 0.25, 0.0], 0.0).layers[0]
    # 0.5 * 127 = 63.5 rounds to even, 64 (float32 puts the scale a hair off, either neighbour is within half a step)
    assert layer.weights.ravel().tolist() in ([64, -127, 32, 0], [63, -127, 32, 0])
    assert layer.weight_scale[0] == pytest.approx(1 / 127)
    assert single([0.5, -1.0], 0.0, weight_bits=2).layers[0].weights.ravel().tolist() == [0, -1]
    assert np.abs(single([0.5, -1.0], 0.0, weight_bits=16).layers[0].weights).max() == 32767


def test_bias_contains_the_inputs_zero_point() -> None:
    network = single([1.0, 1.0], 0.5)
    layer, source = network.layers[0], network.tensors["x"]
    # -1 to 1 in 255 steps: zero point round(-128 + 127.5), to even.
    assert source.zero_point in (0, -1)
    expected = round(0.5 / (source.scale * layer.weight_scale[0])) - source.zero_point * 254
    assert layer.bias.tolist() == [expected]


@given(
    st.lists(st.floats(2**-40, 2**14, allow_nan=False), min_size=1, max_size=4), st.none() | st.floats(2**-20, 2**14)
)
def test_requantization_approximates_its_ratios(ratios: list[float], other: float | None) -> None:
    ratio = np.array(ratios)
    multiplier, shift, other_multiplier = requantization(ratio, other, "c")
    assert ((shift >= 1) & (shift <= 47) & (multiplier >= 0) & (multiplier < 1 << 16)).all()
    # Half a unit of the multiplier.
    assert (np.abs(multiplier / 2.0**shift - ratio) <= 0.5 / 2.0**shift).all()
    if other is None:
        assert not other_multiplier.any()
        normal = shift < 47
        assert (multiplier[normal] >= 1 << 15).all()
    else:
        assert (other_multiplier < 1 << 32).all()
        assert (np.abs(other_multiplier / 2.0**shift - other) <= 0.5 / 2.0**shift).all()
        # Shift only stops early where one bit more would overflow the other multiplier.
        early = (multiplier < 1 << 15) & (shift < 47)
        assert (np.rint(np.ldexp(other, shift[early] + 1)) >= 1 << 32).all()


def test_requantization_by_one_is_exact() -> None:
    assert [array.item() for array in requantization(np.array([1.0]), None, "c")] == [1 << 15, 15, 0]


def test_multiplier_that_rounds_up_to_a_power_of_two() -> None:
    multiplier, shift, _ = requantization(np.array([1 - 2**-30]), None, "c")
    assert (multiplier.item(), shift.item()) == (1 << 15, 15)


def test_other_multiplier_that_rounds_up_to_33_bits() -> None:
    # 1 - 2**-40 times 2**32 rounds to 2**32, so the shift must stop at 31.
    assert [array.item() for array in requantization(np.array([2.0**-20]), 1 - 2**-40, "c")] == [1 << 11, 31, 1 << 31]


def test_ratio_beyond_the_requantizer() -> None:
    with pytest.raises(SkipstoneError) as error:
        requantization(np.array([2.0**16]), None, "c")
    assert str(error.value) == (
        "layer 'c': its input is 6.55e+04 times coarser than its output, which the requantizer can't multiply by; "
        "check the calibration ranges"
    )


def chain(*layers: Layer) -> Graph:
    return graph_of(*layers, shape=(3, 6, 6))


def a(**options: object) -> Conv:
    return conv_layer("a", "x", (3, 3, 3, 3), padding=(1, 1, 1, 1), **options)


def b(source: str = "a", **options: object) -> Conv:
    return conv_layer("b", source, (3, 3, 3, 3), padding=(1, 1, 1, 1), **options)


def add(*inputs: str) -> Add:
    return Add(name="s", inputs=inputs, clamp=(0.0, math.inf))


RELU = (0.0, math.inf)


def table(name: str, source: str) -> Pointwise:
    return Pointwise(name=name, inputs=(source,), function=function("Tanh"))


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        # An identity shortcut: b hosts.
        (chain(a(clamp=RELU), b(), add("b", "a")), [("a", None, "a"), ("b", "a", "s")]),
        (chain(a(clamp=RELU), b(), add("a", "b")), [("a", None, "a"), ("b", "a", "s")]),
        # Both operands qualify: the later hosts.
        (chain(a(), b("x"), add("a", "b")), [("a", None, "a"), ("b", "a", "s")]),
        # The later is clamped: the earlier hosts, and runs after it.
        (chain(a(), b("x", clamp=RELU), add("a", "b")), [("b", None, "b"), ("a", "b", "s")]),
        # The later has another reader.
        (
            chain(a(), b("x"), add("a", "b"), Add(name="t", inputs=("b", "s"))),
            [("b", None, "b"), ("a", "b", "s"), ("t", "s", "t")],
        ),
        # Nobody qualifies: the Add is a layer of its own.
        (
            chain(a(clamp=RELU), b("x", clamp=RELU), add("a", "b")),
            [("a", None, "a"), ("b", None, "b"), ("s", "b", "s")],
        ),
        # A tensor added to itself has no other operand left in a drain.
        (chain(a(), add("a", "a")), [("a", None, "a"), ("s", "a", "s")]),
        # Max pooling multiplies nothing, so it can't host; the input itself neither.
        (
            chain(MaxPool(name="m", inputs=("x",), kernel=(1, 1)), add("m", "x")),
            [("m", None, "m"), ("s", "x", "s")],
        ),
    ],
)
def test_which_layer_hosts_an_add(graph: Graph, expected: list[tuple[str, str | None, str]]) -> None:
    network = quantized(graph)
    assert [(layer.name, layer.other, layer.output) for layer in network.layers] == expected
    made = {network.input}
    for layer in network.layers:
        assert {layer.input, *([layer.other] if layer.other else [])} <= made
        made.add(layer.output)
    assert made == set(network.tensors)


def test_an_output_is_not_fused_away() -> None:
    graph = graph_of(a(), b("x"), add("a", "b"), shape=(3, 6, 6), outputs=("s", "b"))
    network = quantized(graph)
    assert network.outputs == ("s", "b")
    assert [layer.name for layer in network.layers] == ["b", "a"]


def everything() -> Graph:
    return graph_of(
        ClampLayer(name="l", inputs=("x",), clamp=(-1.0, 1.25)),
        Affine(name="n", inputs=("l",), scale=floats(4), bias=floats(4, seed=2)),
        MaxPool(name="m", inputs=("n",), kernel=(3, 3), stride=(2, 2), padding=(0, 0, 1, 1)),
        conv_layer("d", "m", (4, 1, 3, 3), groups=4, padding=(1, 1, 1, 1), clamp=(0.0, 6.0)),
        conv_layer("c", "m", (4, 4, 1, 1), clamp=RELU),
        Add(name="s", inputs=("c", "d")),
        AveragePool(name="p", inputs=("s",), kernel=(2, 2), padding=(1, 0, 0, 0)),
        conv_layer("g", "p", (5, 4, 4, 3), gemm=True),
        Softmax(name="o", inputs=("g",)),
        shape=(4, 8, 8),
    )


def test_kinds_and_host_layers() -> None:
    network = quantized(everything())
    kinds = ["clamp", "affine", "max_pool", "depthwise", "conv", "add", "average_pool", "gemm"]
    assert [layer.kind for layer in network.layers] == kinds
    assert network.outputs == ("g",)
    assert [(host.operator, host.inputs, host.elements) for host in network.host_layers] == [("Softmax", ("g",), 5)]
    pool = network.layers[2]
    source, target = network.tensors["n"], network.tensors["m"]
    assert (target.scale, target.zero_point) == (source.scale, source.zero_point)
    assert (pool.operation, pool.pad_value, pool.bias.tolist()) == ("max", -128, [-source.zero_point] * 4)
    assert network.layers[6].weights.shape == (4, 1, 2, 2)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (12, 12), (14, 14)])
def test_real_values_follow_the_float_network(weight_bits: int, activation_bits: int) -> None:
    """Each integer layer gives, in reals, what the float layer gives on the same (dequantized) input."""
    graph = everything()
    images = random_images(graph, 8)
    network = quantize(graph, calibrate(graph, images), QuantizationScheme(weight_bits, activation_bits))
    floating = {"x": images, **run_onnx(to_onnx(graph, all_tensors=True), {"x": images})}
    integers = reference.run(network, reference.quantize_input(network, images))
    for name, tensor in network.tensors.items():
        real = tensor.scale * (integers[name] - tensor.zero_point)
        # Errors of a step a layer add up over eight layers, relative to each tensor's range.
        spread = floating[name].max() - floating[name].min()
        assert np.abs(real - floating[name]).max() < spread * 2.0 ** (4 - min(weight_bits, activation_bits)), name


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        # The table of a convolution, and of the Add that one hosts; a clamp before it stays a clamp.
        (chain(a(), table("t", "a")), [("a", None, "t", "conv", ("a", "t"))]),
        (chain(a(clamp=RELU), table("t", "a")), [("a", None, "t", "conv", ("a", "t"))]),
        (
            chain(a(), Add(name="s", inputs=("a", "x")), table("t", "s")),
            [("a", "x", "t", "conv", ("a", "s", "t"))],
        ),
        (
            chain(Add(name="s", inputs=("x", "x")), table("t", "s")),
            [("s", "x", "t", "add", ("s", "t"))],
        ),
        # Another reader, an output, a maximum or another table before it: a layer of its own.
        (
            chain(a(), table("t", "a"), Add(name="s", inputs=("a", "t"))),
            [("a", None, "a", "conv", ("a",)), ("t", None, "t", "table", ("t",)), ("s", "t", "s", "add", ("s",))],
        ),
        (
            graph_of(a(), table("t", "a"), shape=(3, 6, 6), outputs=("t", "a")),
            [("a", None, "a", "conv", ("a",)), ("t", None, "t", "table", ("t",))],
        ),
        (
            chain(MaxPool(name="m", inputs=("x",), kernel=(2, 2)), table("t", "m"), table("u", "t")),
            [
                ("m", None, "m", "max_pool", ("m",)),
                ("t", None, "t", "table", ("t",)),
                ("u", None, "u", "table", ("u",)),
            ],
        ),
    ],
)
def test_which_layer_looks_up_a_table(
    graph: Graph, expected: list[tuple[str, str | None, str, str, tuple[str, ...]]]
) -> None:
    network = quantized(graph)
    layers = network.array_layers
    assert [(layer.name, layer.other, layer.output, layer.kind, layer.sources) for layer in layers] == expected
    assert {layer.output for layer in layers} | {"x"} == set(network.tensors)
    for layer in layers:
        assert (layer.table is not None) == layer.output.startswith(("t", "u"))


def test_a_table_by_hand() -> None:
    """Tanh of -1 to 1, clamped to at most 0.5: steps of 2/255 before it and 1/128 after it."""
    layer = Pointwise(name="t", inputs=("c",), function=function("Tanh"), clamp=(-math.inf, 0.5))
    conv = Conv(name="c", inputs=("x",), weights=np.ones((1, 1, 1, 1), np.float32), bias=np.zeros(1, np.float32))
    limits = {"x": (-1.0, 1.0), "c": (-1.0, 1.0), "t": (-1.0, 127 / 128)}
    made = quantize(graph_of(conv, layer, shape=(1, 1, 1)), Ranges(limits, "by hand")).array_layers[0]
    assert (made.low, made.high, made.table_scale) == (-128, 127, float(np.float32(2 / 255)))
    assert made.table is not None
    for entry, q in zip(made.table.tolist(), range(-128, 128), strict=True):
        assert entry == min(64, round(math.tanh((q - made.zero_point) * 2 / 255) * 128))


def test_a_product_by_hand() -> None:
    """Steps of 1/100 and 1/50 multiply to 1/5000; the result has steps of 1/40, 125 of those."""
    pool = AveragePool(name="b", inputs=("x",), kernel=(2, 2))
    product = Product(name="p", inputs=("x", "b"), clamp=(0.0, 2.0))
    limits = {"x": (-1.0, 1.55), "b": (0.0, 5.1), "p": (-1.0, 255 / 40 - 1)}
    made = quantize(graph_of(pool, product, shape=(1, 2, 2)), Ranges(limits, "by hand")).layers[1]
    assert isinstance(made, HostProduct)
    assert made.multiplier / 2**made.shift == pytest.approx(1 / 125, rel=2**-16)
    assert (made.inputs, made.zero_points, made.zero_point) == (("x", "b"), (-28, -128), -88)
    assert (made.low, made.high, made.elements) == (-88, -8, 4)


def test_every_pixel_of_a_tensor_has_one_writer() -> None:
    """Lattices of upsamplings, transposed convolutions and border-aware means tile their tensor."""
    layers: list[Layer] = [
        Upsample(name="u", inputs=("x",), factor=(3, 2)),
        ConvTranspose(
            name="d", inputs=("u",), weights=floats(2, 3, 2, 3), bias=floats(2), stride=(3, 2), padding=(1, 0, 0, 1)
        ),
        AveragePool(
            name="p", inputs=("d",), kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1), uncounted=(1, 1, 1, 1)
        ),
    ]
    network = quantized(graph_of(*layers, shape=(3, 4, 5)))
    assert {layer.name.split(".")[0] for layer in network.layers} == {"u", "d", "p"}
    assert len({layer.name for layer in network.layers}) == len(network.layers)
    for name in "udp":
        count = np.zeros(network.tensors[name].shape[1:], int)
        for layer in network.array_layers:
            if layer.output == name:
                assert layer.lattice is not None
                assert network.size_of(layer) == layer.lattice.size
                count[reference.pixels(layer.lattice)] += 1
        assert (count == 1).all()


def test_a_phase_without_taps_is_its_bias() -> None:
    """A 1x1 kernel at stride 2 reaches one pixel of four."""
    layer = ConvTranspose(name="d", inputs=("x",), weights=np.ones((1, 1, 1, 1), np.float32), bias=np.float32([0.5]),
                          stride=(2, 2), output_padding=(1, 1))  # fmt: skip
    network = quantize(graph_of(layer, shape=(1, 1, 1)), Ranges({"x": (-1.0, 1.0), "d": (-2.0, 2.0)}, "by hand"))
    assert [(made.name, made.nnz) for made in network.array_layers] == [
        ("d.phase_0_0", 1), ("d.phase_0_1", 0), ("d.phase_1_0", 0), ("d.phase_1_1", 0),
    ]  # fmt: skip
    target = network.tensors["d"]
    got = reference.run(network, np.full((1, 1, 1, 1), 127))["d"][0, 0]
    real = (got - target.zero_point) * target.scale
    np.testing.assert_allclose(real, [[1.5, 0.5], [0.5, 0.5]], atol=target.scale)


def test_a_window_of_padding_only_has_no_mean() -> None:
    layer = AveragePool(
        name="p", inputs=("x",), kernel=(2, 1), dilation=(3, 1), padding=(1, 0, 1, 0), uncounted=(1, 0, 1, 0)
    )
    ranges = Ranges({"x": (-1.0, 1.0), "p": (-1.0, 1.0)}, "by hand")
    with pytest.raises(SkipstoneError, match=r"^layer 'p': it has windows of padding only, which have no mean$"):
        quantize(graph_of(layer, shape=(1, 2, 1)), ranges)


def test_parts_do_not_host_an_add() -> None:
    """An upsampling, phases and rectangles write parts of a tensor; the Add stays a layer of its own."""
    for layer in (
        Upsample(name="a", inputs=("x",), factor=(1, 1)),
        ConvTranspose(name="a", inputs=("x",), weights=floats(3, 3, 1, 1), bias=floats(3)),
        AveragePool(name="a", inputs=("x",), kernel=(3, 3), padding=(1, 1, 1, 1), uncounted=(1, 1, 1, 1)),
    ):
        network = quantized(chain(layer, add("a", "x")))
        assert network.array_layers[-1].name == "s"
        assert all(made.other is None for made in network.array_layers[:-1])


def test_clamps_become_integer_bounds() -> None:
    weights = np.ones((1, 1, 1, 1), np.float32)
    layer = Conv(name="c", inputs=("x",), weights=weights, bias=floats(1), clamp=(-0.5, 0.25))
    network = quantize(graph_of(layer, shape=(1, 1, 1)), Ranges({"x": (-1.0, 1.0), "c": (-1.0, 1.0)}, ""))
    made, tensor = network.layers[0], network.tensors["c"]
    # 2 / 255 a step: -0.5 is 63.75 steps below zero, 0.25 is 31.875 above.
    assert (made.low, made.high) == (tensor.zero_point - 64, tensor.zero_point + 32)
    free = single([1.0], 0.0).layers[0]
    assert (free.low, free.high) == (-128, 127)


def test_a_fused_add_is_clamped_as_the_add() -> None:
    ranges = Ranges(dict.fromkeys("xas", (-1.0, 1.0)), "")
    fused = quantize(chain(a(), Add(name="s", inputs=("a", "x"), clamp=(-0.5, 0.25))), ranges).layers[0]
    assert (fused.low, fused.high) == (fused.zero_point - 64, fused.zero_point + 32)


def test_a_channel_without_weights_gives_its_bias() -> None:
    network = single([0.0, 0.0], 0.7)
    got = reference.run(network, np.array([5, -90]).reshape(1, 2, 1, 1))["c"].item()
    target = network.tensors["c"]
    assert got == round(0.7 / target.scale) + target.zero_point


def test_a_channel_of_tiny_weights_keeps_its_bias_in_range() -> None:
    network = single([1e-15, 1e-15], 0.7)
    got = reference.run(network, np.array([5, -90]).reshape(1, 2, 1, 1))["c"].item()
    target = network.tensors["c"]
    assert abs(network.layers[0].bias.item()) < 1 << 31
    assert got == round(0.7 / target.scale) + target.zero_point


def test_errors() -> None:
    with pytest.raises(
        SkipstoneError, match=r"^tensor 'a' has no range; calibrate the same network that is quantized$"
    ):
        quantize(chain(a()), Ranges({"x": (0, 1)}, ""))
    with pytest.raises(SkipstoneError, match=r"^network 'test' has no layer that the array computes$"):
        quantized(graph_of(Softmax(name="o", inputs=("x",)), shape=(3, 1, 1)))


def test_wide_bias_is_kept_exactly() -> None:
    """9 weights of 32767 times a zero point of 32768 pass 32 bits; the accumulators' width is the mapper's question."""
    wide = Conv(name="c", inputs=("x",), weights=np.ones((1, 9, 1, 1), np.float32), bias=np.zeros(1, np.float32))
    ranges = Ranges({"x": (0.0, 1.0), "c": (0.0, 9.0)}, "")
    assert quantize(graph_of(wide, shape=(9, 1, 1)), ranges, QuantizationScheme(16, 16)).layers[0].bias.tolist() == [
        9 * 32767 * 32768
    ]


def test_a_channel_that_is_almost_only_bias_needs_no_wider_accumulators() -> None:
    """Weights of 1e-7 beside a bias of 0.3: the scale rises until the bias is at most 2**20 at 8 and 8 bits."""
    weights = np.full((2, 3, 1, 1), 0.5, np.float32)
    weights[1] = 1e-7
    conv = Conv(name="c", inputs=("x",), weights=weights, bias=np.array([0.1, 0.3], np.float32))
    ranges = Ranges({"x": (0.0, 1.0), "c": (0.0, 2.0)}, "")
    layer = quantize(graph_of(conv, shape=(3, 2, 2)), ranges, QuantizationScheme(8, 8)).layers[0]
    assert np.abs(layer.bias).max() <= (1 << 20) + 128 * 3 * 127
    # In real numbers the bias is still 0.3, to less than a thousandth of an output step.
    assert layer.bias[1] * layer.weight_scale[1] / 255 == pytest.approx(0.3, abs=1e-5)
