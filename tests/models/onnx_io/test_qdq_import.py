"""Importing quantized files: our own come back bit for bit, those of ONNX Runtime with their integers and within one step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from benchmarks.workloads import every_operator
from skipstone.errors import SkipstoneError
from skipstone.hw.design import load_design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import with_memories_for
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.function import Function, Step, function
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightCode
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    ClampLayer,
    Concat,
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
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.onnx_io.reader import is_quantized, load
from skipstone.models.pruning.spec import prune_as
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import materialized, quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import floats, node, onnx_model, random_images, save
from tests.models.graph.test_grids import assert_same
from tests.models.onnx_io.test_qdq_export import residual
from tests.models.onnx_runtimes import run_at_all_levels
from tests.models.quantization.test_onnx_runtime import branches
from tests.models.quantization.test_quantize import everything

RELU = (0.0, math.inf)
NO_FIXTURE_CHECK = [HealthCheck.function_scoped_fixture]


def reread(network: QuantizedNetwork, folder: Path) -> QuantizedNetwork:
    path = folder / "quantized.onnx"
    model = to_qdq(network)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    onnx.save(model, path)
    assert is_quantized(path)
    return quantize(load(path), None)


def assert_same_program(first: QuantizedNetwork, second: QuantizedNetwork) -> None:
    """Both compile to the same words in every memory."""
    wide = {"weight_bits": 16, "accumulator_bits": 46, "window_depth": 144}
    kind = load_design("tiny").replace(activation_bits=first.activation_bits, **wide)
    design = with_memories_for(first, kind)
    programs = [compile_network(network, design) for network in (first, second)]
    images = [program.memory_images() for program in programs]
    assert images[0].keys() == images[1].keys()
    for name, words in images[0].items():
        assert list(words) == list(images[1][name]), name
    assert [layer.layers for layer in programs[0].layers] == [layer.layers for layer in programs[1].layers]
    for attribute in ("input", "outputs", "host_steps"):
        assert repr(getattr(programs[0], attribute)) == repr(getattr(programs[1], attribute))


@pytest.mark.parametrize("make", [residual, branches, everything, every_operator])
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (3, 5), (8, 12)])
def test_our_own_files_come_back(
    make: Callable[[], Graph], weight_bits: int, activation_bits: int, tmp_path: Path
) -> None:
    graph = make()
    network = quantize(
        graph, calibrate(graph, random_images(graph, 3)), QuantizationScheme(weight_bits, activation_bits)
    )
    again = reread(network, tmp_path)
    assert_same(network, again)
    assert (again.name, again.calibration) == (network.name, "as stored in the file (min-max on 3 images)")
    assert_same(network, reread(again, tmp_path))


@pytest.mark.parametrize("make", [branches, every_operator])
def test_the_program_is_the_same(make: Callable[[], Graph], tmp_path: Path) -> None:
    graph = prune_as(make(), "unstructured:0.6").graph
    network = quantize(graph, calibrate(graph, random_images(graph, 3)))
    assert_same_program(network, reread(network, tmp_path))


@pytest.mark.parametrize("code", ["power_of_two", "ternary", "binary", "codebook"])
def test_codes_come_back(code: WeightCode, tmp_path: Path) -> None:
    """Also where a bias in units of a fine scale has more digits than a float."""
    graph = branches()
    network = quantize(graph, calibrate(graph, random_images(graph, 3)), QuantizationScheme(8, 8, code, 7))
    assert_same(network, reread(network, tmp_path))


def test_mixed_precision_comes_back(tmp_path: Path) -> None:
    graph = residual()
    ranges = calibrate(graph, random_images(graph, 3))
    codes: dict[str, WeightCode] = {"b": "ternary"}
    network = quantize(
        graph, ranges, QuantizationScheme(layer_bits={"a": 3}, layer_codes=codes, symmetric=True, per_tensor=True)
    )
    again = reread(network, tmp_path)
    assert_same(network, again)
    assert [(layer.weight_bits, layer.weight_code) for layer in again.array_layers] == [
        (3, "linear"), (8, "ternary"), (8, "linear"),
    ]  # fmt: skip


class _Growing:
    """A float network that a Hypothesis draw grows layer by layer."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.shape = (draw(st.integers(1, 4)), draw(st.integers(4, 7)), draw(st.integers(4, 7)))
        self.layers: list[Layer] = []
        self.graph = Graph("random", "x", self.shape, (), ("x",))

    def add(self, kind: type[Layer], *inputs: str, **options: Any) -> str:
        name = f"{kind.__name__.lower()}/{len(self.layers)}"
        clamps = st.sampled_from([None, None, RELU, (-0.25, 0.5), (0.0, 6.0)])
        clamp = options.pop("clamp") if "clamp" in options else self.draw(clamps)
        self.layers.append(kind(name=name, inputs=inputs, clamp=clamp, **options))
        self.graph = Graph("random", "x", self.shape, tuple(self.layers), (name,))
        return name

    def floats(self, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return self.rng.normal(0, 0.5, shape).astype(np.float32)

    def conv(self, source: str, outputs: int, kernel: int = 1, kind: type[Conv] = Conv, **options: Any) -> str:
        inputs = self.graph.shapes[source][0] // options.get("groups", 1)
        weights = self.floats(outputs, inputs, kernel, kernel)
        weights *= self.rng.random(weights.shape) < self.draw(st.sampled_from([0.2, 1.0]))
        return self.add(kind, source, weights=weights, bias=self.floats(outputs), **options)

    def grow(self, at: str) -> str:
        draw, channels = self.draw, self.graph.shapes[at][0]
        border = (1, 1, 1, 1)
        swish = Function((Step("Sigmoid"), Step("Mul", (0, 1))))
        match draw(st.integers(0, 13)):
            case 0:
                return self.conv(at, draw(st.integers(1, 4)), 3, padding=border)
            case 1:
                return self.conv(at, channels, 3, groups=channels, padding=border)
            case 2:
                return self.conv(
                    at, 2 * channels, 2, ConvTranspose, stride=(2, 2), padding=(1, 0, 0, 1), groups=channels
                )
            case 3:
                return self.add(MaxPool, at, kernel=(2, 2), padding=(1, 1, 0, 0))
            case 4:
                uncounted = draw(st.sampled_from([(0, 0, 0, 0), border, (0, 0, 1, 1)]))
                return self.add(AveragePool, at, kernel=(3, 3), padding=border, uncounted=uncounted)
            case 5:
                return self.add(Upsample, at, factor=(1, 2))
            case 6:
                chosen = draw(st.sampled_from([function("Tanh"), function("HardSwish"), swish]))
                return self.add(Pointwise, at, function=chosen)
            case 7:
                return self.add(Affine, at, scale=self.floats(channels), bias=self.floats(channels))
            case 8:
                return self.add(ClampLayer, at, clamp=draw(st.sampled_from([RELU, (-0.5, 0.25)])))
            case 9:
                return self.add(Add, at, at)
            case 10:
                operands = [self.conv(at, channels), at if draw(st.booleans()) else self.conv(at, channels)]
                return self.add(Add, *draw(st.permutations(operands)))
            case 11:
                small = self.add(AveragePool, at, kernel=self.graph.shapes[at][1:])
                return self.add(Product, at, draw(st.sampled_from([at, small])))
            case 12:
                parts = [at, self.conv(at, 2), *([at] if draw(st.booleans()) else [])]
                return self.add(Concat, *draw(st.permutations(parts)), clamp=None)
            case _:
                return self.add(Add, self.add(Affine, at, scale=self.floats(channels), bias=self.floats(channels)), at)


@st.composite
def float_graphs(draw: Any) -> Graph:
    growing = _Growing(draw)
    at = "x"
    for _ in range(draw(st.integers(1, 5))):
        at = growing.grow(at)
    last = growing.conv(at, 3, gemm=True, clamp=None)
    if draw(st.booleans()):
        last = growing.add(Softmax, last, clamp=None)
    graph = growing.graph
    more = draw(st.sampled_from([(), (at,)])) if at != "x" else ()
    return replace(graph, outputs=(last, *more))


@settings(max_examples=15, suppress_health_check=NO_FIXTURE_CHECK)
@given(float_graphs(), st.sampled_from([(8, 8), (4, 8), (8, 6), (5, 9)]))
def test_random_networks_come_back(tmp_path: Path, graph: Graph, bits: tuple[int, int]) -> None:
    assume(max(math.prod(shape) for shape in graph.shapes.values()) < 1 << 14)
    try:
        network = quantize(graph, calibrate(graph, random_images(graph, 2)), QuantizationScheme(*bits))
        again = reread(network, tmp_path)
    except SkipstoneError as error:
        assume("bits of a QDQ file" not in str(error) and "requantizer can't multiply" not in str(error))
        raise
    assert_same(network, again)
    if len(network.layers) < 4:
        assert_same_program(network, again)


@settings(max_examples=25, suppress_health_check=NO_FIXTURE_CHECK)
@given(
    float_graphs(),
    st.sampled_from([
        QuantizationScheme(),
        QuantizationScheme(4, 6),
        QuantizationScheme(12, 8),
        QuantizationScheme(8, 16),
        QuantizationScheme(8, 8, "power_of_two"),
        QuantizationScheme(8, 8, "ternary"),
        QuantizationScheme(8, 8, "codebook", 7),
    ]),
)  # fmt: skip
def test_random_networks_open_at_every_level(graph: Graph, scheme: QuantizationScheme) -> None:
    """So does the float file. Each level gives what the file says, but for a step where ONNX Runtime's kernels round."""
    assume(max(math.prod(shape) for shape in graph.shapes.values()) < 1 << 14)
    x = random_images(graph, 2)
    plain, *optimized = run_at_all_levels(to_onnx(graph), x).values()
    for results in optimized:
        for result, wanted in zip(results, plain, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-3, atol=1e-4)
    try:
        network = quantize(graph, calibrate(graph, x), scheme)
        model = to_qdq(network)
    except SkipstoneError as error:
        assume("bits of a QDQ file" not in str(error) and "requantizer can't multiply" not in str(error))
        raise
    plain, *optimized = run_at_all_levels(model, x).values()
    for results in optimized:
        for name, result, wanted in zip(network.results, results, plain, strict=True):
            if name in network.outputs:
                assert np.abs(result - wanted).max() < 1.01 * network.tensors[name].scale


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("uncounted", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1, 1)])
@pytest.mark.parametrize("padded", [False, True])
def test_average_pools_open_and_come_back(
    tmp_path: Path, dilation: tuple[int, int], uncounted: tuple[int, int, int, int], padded: bool
) -> None:
    """ONNX Runtime has a quantized average pool, but none with dilations."""
    conv = trained().layers[0]
    padding = (1, 1, 1, 1) if padded else (0, 0, 0, 0)
    uncounted = uncounted if padded else padding
    pool = AveragePool(
        name="p", inputs=(conv.name,), kernel=(2, 3), dilation=dilation, padding=padding, uncounted=uncounted
    )
    graph = Graph("pools", "x", (3, 8, 8), (conv, pool), ("p",))
    x = random_images(graph, 2)
    network = quantize(graph, calibrate(graph, x))
    expected = reference.run(network, reference.quantize_input(network, x))["p"]
    tensor = network.tensors["p"]
    for level, (result,) in run_at_all_levels(to_qdq(network), x).items():
        steps = np.abs(np.rint(result / tensor.scale) + tensor.zero_point - expected)
        assert steps.max() <= 1, level
        assert (steps == 0).mean() > 0.97, level
    assert_same(network, reread(network, tmp_path))


def test_parts_of_a_layer_have_names_that_no_layer_has(tmp_path: Path) -> None:
    conv = trained().layers[0]
    first = Upsample(name="u", inputs=(conv.name,), factor=(2, 2))
    plain = Graph("parts", "x", (3, 8, 8), (conv, first), ("u",))
    x = random_images(plain, 2)
    part = quantize(plain, calibrate(plain, x)).array_layers[1].name
    assert part.startswith("u.")
    second = replace(
        conv,
        name=part,
        inputs=("u",),
        weights=np.ones((2, 6, 1, 1), np.float32),
        bias=np.zeros(2, np.float32),
        padding=(0, 0, 0, 0),
    )
    graph = Graph("parts", "x", (3, 8, 8), (conv, first, second), (part,))
    network = quantize(graph, calibrate(graph, x))
    names = [layer.name for layer in network.layers]
    assert len(names) == len(set(names))
    assert len(run_at_all_levels(to_qdq(network), x)) == 4
    assert_same(network, reread(network, tmp_path))


def trained(seed: int = 0) -> Graph:
    """A residual network with everything that ONNX Runtime's quantizer leaves out, moves or adds: clamps, a pool, a
    classifier."""
    rng = np.random.default_rng(seed)

    def conv(name: str, source: str, outputs: int, inputs: int, kernel: int, **options: Any) -> Conv:
        weights = rng.normal(0, 0.3, (outputs, inputs, kernel, kernel)).astype(np.float32)
        bias = rng.normal(0, 0.2, outputs).astype(np.float32)
        return Conv(name=name, inputs=(source,), weights=weights, bias=bias, **options)

    border = (1, 1, 1, 1)
    layers = (
        conv("stem", "x", 6, 3, 3, padding=border, clamp=RELU),
        conv("inner", "stem", 6, 1, 3, padding=border, groups=6),
        Add(name="sum", inputs=("inner", "stem"), clamp=RELU),
        MaxPool(name="pool", inputs=("sum",), kernel=(2, 2), stride=(2, 2)),
        conv("last", "pool", 5, 6, 4, gemm=True),
    )
    return Graph("trained", "x", (3, 8, 8), layers, ("last",))


def quantized_by_onnxruntime(graph: Graph, folder: Path, images: Any, **options: Any) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([{graph.input: image[None]} for image in images])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    source, target = folder / "float.onnx", folder / "network.onnx"
    onnx.save(to_onnx(graph), source)
    quantize_static(source, target, Reader(), quant_format=QuantFormat.QDQ, **options)
    return target


def steps_between(path: Path, graph: Graph, network: QuantizedNetwork, images: Any) -> tuple[float, float]:
    """The largest difference from what ONNX Runtime computes, in steps of the result, and the share of equal classes."""
    expected = run_onnx(onnx.load(path), {graph.input: images}, optimize=False)[graph.outputs[0]]
    scores = reference.class_scores(network, reference.quantize_input(network, images))
    tensor = network.tensors[network.outputs[0]]
    real = (scores - tensor.zero_point) * tensor.scale
    expected = expected.reshape(real.shape)
    return float(np.abs(real - expected).max() / tensor.scale), float((real.argmax(1) == expected.argmax(1)).mean())


KINDS = [
    {"per_channel": per_channel, "activation_type": activation, "weight_type": "QInt8", "symmetric": symmetric}
    for per_channel, activation, symmetric in [
        (True, "QUInt8", False),
        (False, "QInt8", False),
        (True, "QInt8", True),
        (False, "QUInt8", True),
    ]
]


def ort_options(kind: dict[str, Any]) -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

    return {
        "per_channel": kind["per_channel"],
        "activation_type": QuantType[kind["activation_type"]],
        "weight_type": QuantType[kind["weight_type"]],
        "extra_options": {"ActivationSymmetric": kind["symmetric"]},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntimes_files_are_read_with_their_integers(kind: dict[str, Any], tmp_path: Path) -> None:
    graph = trained()
    images = random_images(graph, 40)
    path = quantized_by_onnxruntime(graph, tmp_path, images, **ort_options(kind))
    read = load(path)
    assert read.grids_from == "as stored in the file"
    # What the sum's own layer makes is not rounded, which the file does.
    assert read.grids.keys() == materialized(read) == {"x", "stem", "sum", "pool", "last"}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    network = quantize(read, None)
    assert [layer.name for layer in network.layers] == ["stem", "inner", "pool", "last"]
    for layer in network.array_layers:
        if layer.kind != "max_pool":
            integers = stored[f"{layer.name}.weights_quantized"]
            np.testing.assert_array_equal(layer.weights, integers.astype(np.int64).reshape(layer.weights.shape))
            assert (layer.weight_bits, layer.weight_code) == (8, "linear")
    shift = 128 if kind["activation_type"] == "QUInt8" else 0
    for name in ("x", "last"):
        assert network.tensors[name].scale == float(stored[f"{name}_scale"])
        assert network.tensors[name].zero_point == int(stored[f"{name}_zero_point"]) - shift
    steps, agreement = steps_between(path, graph, network, images)
    # One step of its own, and what the steps of the tensors before add up to.
    assert steps < 2.01
    assert agreement >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_of_onnxruntimes_within_one_step(kind: dict[str, Any], tmp_path: Path) -> None:
    source = trained()
    graph = Graph("stem", "x", source.input_shape, source.layers[:1], ("stem",))
    images = random_images(graph, 40)
    path = quantized_by_onnxruntime(graph, tmp_path, images, **ort_options(kind))
    network = quantize(load(path), None)
    expected = run_onnx(onnx.load(path), {"x": images}, optimize=False)["stem"]
    got = reference.run(network, reference.quantize_input(network, images))["stem"]
    tensor = network.tensors["stem"]
    assert np.abs((got - tensor.zero_point) - np.rint(expected / tensor.scale)).max() <= 1


def test_asymmetric_weights_are_refused(tmp_path: Path) -> None:
    graph = trained()
    kind = {**KINDS[0], "weight_type": "QUInt8", "per_channel": False}
    path = quantized_by_onnxruntime(graph, tmp_path, random_images(graph, 8), **ort_options(kind))
    with pytest.raises(SkipstoneError) as error:
        load(path)
    text = str(error.value)
    assert text.startswith("network.onnx: layer 'stem' has asymmetric weights (zero point ")
    assert text.endswith("); the array multiplies by symmetric ones, so quantize weights symmetrically")


def test_weights_folded_to_floats_are_quantized_again(tmp_path: Path) -> None:
    """The integers are the same: there, too, the largest weight of a channel is 127 steps."""
    graph = trained()
    images = random_images(graph, 8)
    path = quantized_by_onnxruntime(graph, tmp_path, images, **ort_options(KINDS[0]))
    before = quantize(load(path), None)
    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for pair in [pair for pair in model.graph.node if pair.op_type == "DequantizeLinear"]:
        if pair.input[0].endswith("weights_quantized"):
            integers, scale = (numpy_helper.to_array(constants[name]) for name in pair.input[:2])
            real = integers.astype(np.float32) * scale.reshape(-1, 1, 1, 1)
            model.graph.initializer.append(numpy_helper.from_array(real, pair.output[0]))
            model.graph.node.remove(pair)
    onnx.save(model, path)
    read = load(path)
    assert [layer.grid for layer in read.convs] == [None] * 3
    after = quantize(read, None)
    for first, second in zip(before.array_layers, after.array_layers, strict=True):
        np.testing.assert_array_equal(first.weights, second.weights)


def test_integers_without_a_quantizelinear_are_refused(tmp_path: Path) -> None:
    graph = trained()
    path = quantized_by_onnxruntime(graph, tmp_path, random_images(graph, 8), **ort_options(KINDS[1]))
    model = onnx.load(path)
    pool = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    cast = onnx.helper.make_node("Cast", [pool.input[0]], [pool.output[0]], to=onnx.TensorProto.INT8)
    model.graph.node.insert(list(model.graph.node).index(pool), cast)
    model.graph.node.remove(pool)
    onnx.save(model, path)
    with pytest.raises(
        SkipstoneError, match=r"is integers that no QuantizeLinear made; only networks in QDQ form can be"
    ):
        load(path)


def pair_of(nodes: list[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    convolution = [node("Conv", ["d", "w"])]
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    model = onnx_model([*nodes, *convolution], (1, 4, 5, 6), {"w": floats(3, 4, 1, 1), **arrays})
    model.opset_import[0].version = 21
    return model


@pytest.mark.parametrize("other", ["scale", "zero point"])
def test_a_pair_on_two_grids_is_refused(other: str, tmp_path: Path) -> None:
    """Also where a second reader has the right one."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "e"),
        node("DequantizeLinear", ["q", "t" if other == "scale" else "s", "u" if other == "zero point" else "z"], "d"),
    ]
    constants = {"s": np.float32(0.1), "t": np.float32(0.2), "z": np.int8(3), "u": np.int8(4)}
    with pytest.raises(SkipstoneError, match=f"DequantizeLinear .* has another {other}, .* than the QuantizeLinear"):
        load(save(pair_of(nodes, **constants), tmp_path))


@pytest.mark.parametrize(
    ("kind", "zero_point"), [(onnx.TensorProto.INT8, 0), (onnx.TensorProto.UINT8, -128), (0, -128)]
)
def test_the_type_of_a_quantizelinear_without_zero_point(kind: int, zero_point: int, tmp_path: Path) -> None:
    attributes = {"output_dtype": kind} if kind else {}
    nodes = [
        node("QuantizeLinear", ["x", "s"], "q", **attributes),
        node("DequantizeLinear", ["q", "s"], "d"),
    ]
    graph = load(save(pair_of(nodes, s=np.float32(0.01)), tmp_path))
    assert graph.grids[graph.input].zero_point == zero_point


@pytest.mark.parametrize(
    "damage",
    [
        {"skipstone.layers": "{"},
        {"skipstone.layers": "[" * 100_000},
        {"skipstone.layers": '{"a": "conv"}'},
        {"skipstone.layers": '{"a": {"kind": 1}}'},
        {"skipstone.layers": '{"a": {"kind": "conv", "weight_bits": [8]}}'},
        {"skipstone.layers": '{"a": {"kind": "conv", "weight_code": "cubes"}}'},
        {"skipstone.activation_bits": ""},
        {"skipstone.activation_bits": "77"},
        {"skipstone.other": "1"},
    ],
    ids=range(9),
)
def test_damaged_metadata(damage: dict[str, str], tmp_path: Path) -> None:
    graph = residual()
    model = to_qdq(quantize(graph, calibrate(graph, random_images(graph, 3))))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, damage if "skipstone.other" in damage else metadata | damage)
    onnx.save(model, tmp_path / "damaged.onnx")
    with pytest.raises(SkipstoneError) as error:
        load(tmp_path / "damaged.onnx")
    assert str(error.value) == "damaged.onnx: its metadata, 'skipstone....', is damaged; export the network again"


def test_our_files_without_metadata_keep_integers_and_grids(tmp_path: Path) -> None:
    """Only the names are lost."""
    graph = residual()
    network = quantize(graph, calibrate(graph, random_images(graph, 3)))
    model = to_qdq(network)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    again = quantize(load(tmp_path / "bare.onnx"), None)
    assert (again.name, again.calibration) == ("bare", "as stored in the file")
    for first, second in zip(network.array_layers, again.array_layers, strict=True):
        np.testing.assert_array_equal(first.weights, second.weights)
        np.testing.assert_array_equal(first.multiplier, second.multiplier)


def test_biases_of_more_bits_than_a_float_has(tmp_path: Path) -> None:
    """Channels whose bias raised their scale have biases of 28 bits; others have any number of bits."""
    rng = np.random.default_rng(3)
    weights = rng.normal(0, 10.0 ** rng.uniform(-9, -3, (400, 1, 1, 1)), (400, 2, 1, 1)).astype(np.float32)
    conv = Conv(name="c", inputs=("x",), weights=weights, bias=rng.normal(0, 1, 400).astype(np.float32))
    graph = Graph("wide", "x", (2, 1, 1), (conv,), ("c",))
    network = quantize(graph, calibrate(graph, random_images(graph, 3)), QuantizationScheme(8, 8, "power_of_two"))
    assert 1 << 27 < np.abs(network.array_layers[0].bias).max() < 1 << 30
    assert_same(network, reread(network, tmp_path))
