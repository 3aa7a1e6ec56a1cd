"""Weights and tensors whose quantization is fixed: the quantizer uses their grids, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.function import function
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid, WeightCode, WeightGrid
from skipstone.models.graph.layers import Add, Affine, Concat, Conv, MaxPool, Pointwise
from skipstone.models.quantization.network import HostLayer, QuantizedNetwork
from skipstone.models.quantization.quantize import materialized, quantize
from skipstone.models.quantization.ranges import Ranges, calibrate
from skipstone.models.quantization.scales import activation_scale
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, graph_of, random_images
from tests.models.onnx_io.test_qdq_export import residual
from tests.models.quantization.test_onnx_runtime import branches


def on_its_grids(graph: Graph, network: QuantizedNetwork) -> Graph:
    """``graph`` with the grids of the weights and tensors of ``network``, which was quantized from it."""
    weights: dict[str, WeightGrid] = {}
    for layer in network.array_layers:
        name = layer.sources[0]
        base = graph.layer(name) if name in {layer.name for layer in graph.layers} else None
        if isinstance(base, Conv) and layer.lattice is None and layer.weight_bits is not None:
            assert layer.weight_code is not None
            weights[name] = WeightGrid(layer.weights, layer.weight_scale, layer.weight_code, layer.weight_bits)
    grids = {
        name: ActivationGrid(tensor.scale, tensor.zero_point, tensor.bits) for name, tensor in network.tensors.items()
    }
    for layer in network.array_layers:
        if layer.table is not None and layer.kind != "table":
            grids[layer.sources[-2]] = ActivationGrid(layer.table_scale, layer.zero_point, network.activation_bits)
    assert grids.keys() == materialized(graph)
    return replace(graph.with_grids(weights), grids=grids, grids_from="by hand")


def described(host: HostLayer) -> tuple[object, ...]:
    views = [(view.shape, view.order.tolist()) for view in host.layer.views]
    return host.name, host.operator, host.inputs, host.layer.attributes, views, host.elements


def assert_same(first: QuantizedNetwork, second: QuantizedNetwork) -> None:
    """All integers of two networks are the same."""
    assert first.tensors == second.tensors
    assert list(first.tensors) == list(second.tensors)
    assert (first.concats, first.outputs, first.results) == (second.concats, second.outputs, second.results)
    assert [described(host) for host in first.host_layers] == [described(host) for host in second.host_layers]
    for end, other in zip(
        (first.ends.input, *first.ends.outputs), (second.ends.input, *second.ends.outputs), strict=True
    ):
        assert (end.name, end.shape, end.arrangement.order.tolist()) == (
            other.name, other.shape, other.arrangement.order.tolist(),
        )  # fmt: skip
    assert (first.weight_bits, first.weight_code, first.activation_bits) == (
        second.weight_bits, second.weight_code, second.activation_bits,
    )  # fmt: skip
    assert len(first.layers) == len(second.layers)
    for a, b in zip(first.layers, second.layers, strict=True):
        assert type(a) is type(b)
        for name, value in vars(a).items():
            other = getattr(b, name)
            if isinstance(value, np.ndarray):
                assert value.dtype == other.dtype, (a.name, name)
                np.testing.assert_array_equal(value, other, err_msg=f"{a.name} {name}")
            else:
                assert value == other, (a.name, name)


@pytest.mark.parametrize("code", ["linear", "power_of_two", "ternary", "binary", "codebook"])
def test_quantizing_again_changes_nothing(code: WeightCode) -> None:
    graph = residual()
    network = quantize(graph, calibrate(graph, random_images(graph, 4)), QuantizationScheme(4, 8, code, 5))
    fixed = on_its_grids(graph, network)
    assert fixed.quantized
    again = quantize(fixed, None, QuantizationScheme(9))
    assert_same(network, again)
    assert again.calibration == "by hand"


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 8]), st.sampled_from(["linear", "power_of_two", "codebook"]))
def test_a_bias_that_raised_a_scale_raises_it_once(seed: int, bits: int, code: WeightCode) -> None:
    """The integers and scale of the channel are those of its grid, and the bias stays within its limit."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 10.0 ** rng.uniform(-6, 0, (3, 1, 1, 1)), (3, 2, 1, 1)).astype(np.float32)
    bias = rng.normal(0, 1000, 3).astype(np.float32)
    graph = graph_of(Conv(name="c", inputs=("x",), weights=weights, bias=bias), shape=(2, 1, 1))
    ranges = Ranges({"x": (-1.0, 1.0), "c": (-9000.0, 9000.0)}, "by hand")
    first = quantize(graph, ranges, QuantizationScheme(bits, 8, code, 3))
    again = quantize(on_its_grids(graph, first), ranges, QuantizationScheme(bits, 8, code, 3))
    assert_same(first, again)


def test_a_grid_too_fine_for_its_bias_is_rounded_within_its_code() -> None:
    """512 units of the grid's scale are one of the scale that the bias asks for: 8 + 8 + 4 bits of it."""
    bias = np.array([2.0**29, 0.0], np.float32)
    integers = np.array([120 << 9, 200], np.int64).reshape(2, 1, 1, 1)
    for code, expected in (("linear", 120), ("codebook", 200)):
        grid = WeightGrid(integers, np.ones(2), code, 8)  # type: ignore[arg-type]
        conv = Conv(name="c", inputs=("x",), weights=grid.weights, bias=bias, grid=grid)
        graph = replace(
            graph_of(conv, shape=(1, 1, 1)), grids={"x": ActivationGrid(1.0, 0), "c": ActivationGrid(2.0**24, 0)}
        )
        layer = quantize(graph, None).array_layers[0]
        assert layer.weight_scale.tolist() == [512.0, 1.0]
        assert layer.weights.ravel().tolist() == [expected, 200]
        assert layer.bias.tolist() == [1 << 20, 0]


def test_single_layers_have_bits_and_codes_of_their_own() -> None:
    graph = residual()
    ranges = calibrate(graph, random_images(graph, 4))
    network = quantize(graph, ranges, QuantizationScheme(6, layer_bits={"a": 3, "g": 8}))
    assert [(layer.weight_bits, int(np.abs(layer.weights).max())) for layer in network.array_layers] == [
        (3, 3), (6, 31), (8, 127),
    ]  # fmt: skip
    assert (network.weight_bits, network.weight_code) == (8, "linear")
    mixed = quantize(graph, ranges, QuantizationScheme(4, layer_codes={"b": "power_of_two"}))
    assert [layer.weight_code for layer in mixed.array_layers] == ["linear", "power_of_two", "linear"]
    # 2**7, the largest power of 4 bits, takes 9.
    assert (mixed.weight_bits, mixed.weight_code) == (9, "linear")
    for option in ("layer_bits", "layer_codes"):
        with pytest.raises(SkipstoneError) as error:
            quantize(graph, ranges, QuantizationScheme(**{option: {"s": 4 if option == "layer_bits" else "ternary"}}))  # type: ignore[arg-type]
        assert str(error.value) == f"{option} names layers without trained weights, s; those with are a, b, g"
    fixed = on_its_grids(graph, network)
    with pytest.raises(
        SkipstoneError, match=r"^layer 'a': its weights are quantized already, linear of 3 bits; leave it"
    ):
        quantize(fixed, None, QuantizationScheme(layer_bits={"a": 4}))


def test_one_scale_for_all_channels() -> None:
    """The layer's largest weight is 127 steps, so the scale of every channel is a 127th of it."""
    graph = residual()
    network = quantize(graph, calibrate(graph, random_images(graph, 4)), QuantizationScheme(per_tensor=True))
    for layer in network.array_layers:
        conv = graph.layer(layer.name)
        assert isinstance(conv, Conv)
        scale = np.float32(np.abs(conv.weights).max() / 127)
        assert set(layer.weight_scale.tolist()) == {float(scale)}
        np.testing.assert_array_equal(layer.weights, np.rint(conv.weights.astype(np.float64) / float(scale)))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from([2, 4, 8, 16]))
def test_symmetric_activations(low: float, high: float, bits: int) -> None:
    low, high = min(low, high), max(low, high)
    scale, zero_point = activation_scale(low, high, bits, symmetric=True)
    assert zero_point == 0
    reach = scale * ((1 << (bits - 1)) - 1)
    assert reach >= max(-low, high) * (1 - 1e-6)


def test_symmetric_network() -> None:
    graph = residual()
    network = quantize(graph, calibrate(graph, random_images(graph, 4)), QuantizationScheme(symmetric=True))
    assert {tensor.zero_point for tensor in network.tensors.values()} == {0}


def test_materialized_tensors() -> None:
    """What the layer that hosts an Add computes before the addition is never rounded; nor is the host's Softmax."""
    assert materialized(residual()) == {"x", "a", "s", "g"}
    graph = graph_of(
        conv_layer("a", "x", (3, 3, 1, 1)),
        conv_layer("b", "a", (3, 3, 1, 1)),
        Add(name="s", inputs=("a", "b")),
        Pointwise(name="t", inputs=("s",), function=function("Tanh")),
        shape=(3, 5, 5),
    )
    assert materialized(graph) == {"x", "a", "s", "t"}


def test_only_tensors_without_a_grid_need_a_range() -> None:
    graph = residual()
    ranges = calibrate(graph, random_images(graph, 4))
    network = quantize(graph, ranges)
    fixed = on_its_grids(graph, network)
    some = replace(fixed, grids={name: grid for name, grid in fixed.grids.items() if name != "s"})
    assert_same(network, quantize(some, ranges))
    with pytest.raises(SkipstoneError, match=r"^tensor 's' has no range"):
        quantize(some, None)


def test_a_tensor_with_a_grid_is_rounded() -> None:
    """Therefore the layer that makes it cannot do an Add as well."""
    graph = residual()
    ranges = calibrate(graph, random_images(graph, 4))
    assert [layer.name for layer in quantize(graph, ranges).layers] == ["a", "b", "g"]
    fixed = replace(graph, grids={"b": ActivationGrid(0.5, 3)})
    network = quantize(fixed, ranges)
    assert [layer.name for layer in network.layers] == ["a", "b", "s", "g"]
    assert (network.tensors["b"].scale, network.tensors["b"].zero_point) == (0.5, 3)


def test_concatenated_tensors_share_a_grid() -> None:
    """The widest grid, if it contains the others; otherwise the grid of all ranges together. A maximum has the grid of its
    input."""
    graph = graph_of(
        conv_layer("a", "x", (2, 3, 1, 1)),
        MaxPool(name="m", inputs=("a",), kernel=(2, 2)),
        conv_layer("b", "x", (2, 3, 2, 2)),
        Concat(name="w", inputs=("m", "b")),
        shape=(3, 5, 5),
    )
    narrow, wide, aside = ActivationGrid(0.5, 0), ActivationGrid(1.0, 0), ActivationGrid(0.75, -128)
    x = ActivationGrid(1.0, 0)
    tensors = quantize(replace(graph, grids={"x": x, "a": narrow, "w": wide}), None).tensors
    assert {(tensors[name].scale, tensors[name].zero_point) for name in "ambw"} == {(1.0, 0)}
    tensors = quantize(replace(graph, grids={"x": x, "a": narrow, "b": aside}), None).tensors
    # -64 to 191.25, of which 0 must be a step.
    assert {(tensors[name].scale, tensors[name].zero_point) for name in "ambw"} == {activation_scale(-64.0, 191.25, 8)}


def test_all_tensors_have_the_same_bits() -> None:
    graph = replace(residual(), grids={"a": ActivationGrid(0.5, 0, 5)})
    with pytest.raises(SkipstoneError) as error:
        quantize(graph, calibrate(graph, random_images(graph, 4)))
    assert str(error.value) == (
        "network 'test': tensors of 5 and 8 bits; the array has one width of activations, so give activation_bits that of "
        "the grids"
    )
    assert quantize(graph, calibrate(graph, random_images(graph, 4)), QuantizationScheme(8, 5)).activation_bits == 5


def test_grids_stay_with_the_graph() -> None:
    graph = residual()
    grid = WeightGrid(np.ones((3, 3, 3, 3), np.int64), np.array([0.5, 1.0, 2.0]), "binary", 8)
    made = replace(graph.with_grids({"a": grid}), grids={"a": ActivationGrid(1.0, 0)})
    conv = made.layer("a")
    assert isinstance(conv, Conv)
    assert conv.grid is grid
    assert conv.weights[:, 0, 0, 0].tolist() == [0.5, 1.0, 2.0]
    other = made.with_weights({"a": np.zeros((3, 3, 3, 3), np.float32), "b": conv.weights})
    assert other.grids == made.grids
    assert [conv.grid for conv in other.convs] == [None, None, None]
    assert made.with_weights({"b": conv.weights}).layer("a") is conv


def test_grids_that_do_not_fit() -> None:
    graph = residual()
    integers = np.ones((3, 3, 3, 3), np.int64)
    with pytest.raises(SkipstoneError) as error:
        replace(graph.convs[0], grid=WeightGrid(integers, np.ones(3)))
    assert str(error.value) == (
        "layer 'a': 81 of its 81 weights do not lie on its grid; change weights with Graph.with_weights or with_grids"
    )
    with pytest.raises(SkipstoneError, match=r"^layer 'a': a grid of \(3, 3, 3, 3\) with \(2,\) scales does not fit"):
        replace(graph.convs[0], grid=WeightGrid(integers, np.ones(2)))
    with pytest.raises(SkipstoneError, match=r"^layer 'a': a grid of shape \(1, 3, 3, 3\) can't replace weights of"):
        graph.with_grids({"a": WeightGrid(integers[:1], np.ones(1))})
    with pytest.raises(SkipstoneError, match=r"^layer 's' \(add\) has no weights to replace$"):
        graph.with_grids({"s": WeightGrid(integers, np.ones(3))})
    with pytest.raises(SkipstoneError, match=r"^layer 'a': its grid must have 2 to 16 bits, not 1$"):
        replace(graph.convs[0], grid=WeightGrid(integers, np.ones(3), "binary", 1))
    with pytest.raises(SkipstoneError, match=r"^network 'test': grids for tensors that it does not have, z$"):
        replace(graph, grids={"z": ActivationGrid(1.0, 0)})
    for values, text in (
        ((1.0, 0, 1), "a tensor's grid must have 2 to 16 bits, not 1"),
        ((0.0, 0, 8), "a tensor's grid must have a positive scale, not 0"),
        ((1.0, 128, 8), "a zero point of 8 bits lies from -128 to 127, not at 128"),
    ):
        with pytest.raises(SkipstoneError) as error:
            ActivationGrid(*values)
        assert str(error.value) == text


def test_an_affine_layer_has_a_grid_too() -> None:
    affine = Affine(name="f", inputs=("x",), scale=np.array([0.5, -3.0], np.float32), bias=np.zeros(2, np.float32))
    grid = WeightGrid(np.array([1, -3]).reshape(2, 1, 1, 1), np.array([0.5, 1.0]), "linear", 3)
    graph = graph_of(replace(affine, grid=grid), shape=(2, 3, 3))
    made = quantize(graph, Ranges({"x": (-1.0, 1.0), "f": (-3.0, 3.0)}, "by hand"), QuantizationScheme(8)).array_layers[
        0
    ]
    assert (made.weights.ravel().tolist(), made.weight_bits) == ([1, -3], 3)
    with pytest.raises(SkipstoneError, match="of its 2 weights do not lie on its grid"):
        replace(affine, grid=WeightGrid(np.zeros((2, 1, 1, 1), np.int64), np.ones(2)))


def test_every_kind_of_layer_is_quantized_to_the_same_integers() -> None:
    graph = branches()
    network = quantize(graph, calibrate(graph, random_images(graph, 4)), QuantizationScheme(5, 6))
    assert network.graph is not None
    assert_same(network, quantize(on_its_grids(network.graph, network), None, QuantizationScheme(5)))
