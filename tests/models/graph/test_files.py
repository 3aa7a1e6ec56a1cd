"""Graphs as bytes: every layer kind comes back bit for bit, equal graphs give equal bytes, other bytes are refused."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.data.zoo import carried_networks
from skipstone.models.graph import layers as layers_module
from skipstone.models.graph.ends import Arrangement, End, Ends
from skipstone.models.graph.files import graph_fingerprint, pack_graph, unpack_graph
from skipstone.models.graph.function import Function, Step, function
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid, WeightGrid
from skipstone.models.graph.layers import (
    Add,
    Affine,
    ArgMax,
    AveragePool,
    ClampLayer,
    Concat,
    Conv,
    ConvTranspose,
    Copy,
    Join,
    Layer,
    MaxPool,
    Pointwise,
    Product,
    Select,
    Softmax,
    Upsample,
)
from skipstone.models.onnx_io.reader import load
from tests.models.builders import conv_layer, graph_of

KINDS = (
    "conv", "quantized", "transposed", "average", "max", "add", "product", "concat", "upsample", "table", "copy", "affine",
    "quantized affine", "clamp", "softmax", "arg_max", "join", "select",
)  # fmt: skip
ODD_FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45])


def assert_same(a: object, b: object) -> None:
    """Equal in type and in every bit."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, tuple):
        assert isinstance(b, tuple)
        assert len(a) == len(b)
        for first, second in zip(a, b, strict=True):
            assert_same(first, second)
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert repr(a) == repr(b)


@st.composite
def arrays(draw: st.DrawFn, *shape: int) -> np.ndarray:
    values = draw(st.lists(ODD_FLOATS, min_size=1, max_size=4))
    array = np.resize(np.array(values, np.float32), shape)
    return np.asfortranarray(array) if draw(st.booleans()) else array


@st.composite
def layers(draw: st.DrawFn, name: str, tensors: dict[str, layers_module.Shape]) -> Layer:
    """A layer of any kind that can read some of ``tensors``."""
    source = draw(st.sampled_from(sorted(tensors)))
    channels, height, width = tensors[source]
    low = draw(st.sampled_from([0.0, -math.inf, -1.5, 0.1]))
    high = draw(st.sampled_from([math.inf, 6.0, 1 / 3]))
    shared = {"name": name, "inputs": (source,), "clamp": draw(st.sampled_from([None, (low, high)]))}
    kind = draw(st.sampled_from(KINDS))
    if kind in ("conv", "transposed", "quantized"):
        groups = draw(st.sampled_from([1, channels]))
        outputs = groups * draw(st.integers(1, 2))
        kernel = draw(st.integers(1, 2))
        shape = (outputs, channels // groups, kernel, kernel)
        options = {"groups": groups, "padding": (1, 0, 1, 1), "stride": draw(st.sampled_from([(1, 1), (2, 1)]))}
        bias = draw(arrays(outputs))
        if kind == "transposed":
            return ConvTranspose(**shared, **options, weights=draw(arrays(*shape)), bias=bias, output_padding=(1, 1))
        if kind == "conv":
            return Conv(**shared, **options, weights=draw(arrays(*shape)), bias=bias, gemm=draw(st.booleans()))
        integers = np.resize(np.array(draw(st.lists(st.integers(-8, 7), min_size=1, max_size=5))), shape)
        scale = np.resize(np.array(draw(st.lists(st.floats(0.125, 4, width=32), min_size=1))), outputs).astype(
            np.float64
        )
        grid = WeightGrid(integers, scale, bits=4)
        return Conv(**shared, **options, weights=grid.weights, bias=bias, grid=grid)
    if kind in ("average", "max"):
        pool = {**shared, "kernel": (2, 1), "stride": (1, 2), "padding": (1, 0, 0, 0)}
        return AveragePool(**pool, uncounted=(1, 0, 0, 0)) if kind == "average" else MaxPool(**pool)
    if kind in ("add", "product"):
        return (Add if kind == "add" else Product)(**{**shared, "inputs": (source, source)})
    if kind == "concat":
        alike = sorted(other for other, shape in tensors.items() if shape[1:] == (height, width))
        return Concat(**{**shared, "inputs": (source, draw(st.sampled_from(alike)))})
    if kind == "upsample":
        return Upsample(**shared, factor=(draw(st.integers(1, 2)), 1))
    if kind == "table":
        steps = draw(st.sampled_from([
            function("Gelu", approximate=b"tanh").steps,
            (Step("Sigmoid"), Step("Mul", (0, 1), (("axis", 1),))),
            (Step("Pow", (0, 1.0)), Step("Clip", (1, None, 6.5), (("alpha", 0.1), ("mode", "x")))),
        ]))  # fmt: skip
        return Pointwise(**shared, function=Function(steps))
    if kind == "affine":
        return Affine(**shared, scale=draw(arrays(channels)), bias=draw(arrays(channels)))
    if kind == "quantized affine":
        grid = WeightGrid(np.arange(channels).reshape(-1, 1, 1, 1), np.full(channels, 0.5), bits=4)
        return Affine(**shared, scale=grid.weights.ravel(), bias=draw(arrays(channels)), grid=grid)
    if kind in ("arg_max", "join"):
        index = draw(st.sampled_from([None, np.arange(channels * height * width)[::-1].copy()]))
        view = Arrangement((1, width, channels * height), index)
        if kind == "arg_max":
            return ArgMax(**shared, views=(view,), axis=2, keep=draw(st.booleans()), last=draw(st.booleans()))
        return Join(**{**shared, "inputs": (source, source)}, views=(view, view), axis=1)
    if kind == "select":
        picked = draw(st.permutations(range(channels)).map(lambda order: np.array(order, np.int64)))
        return Select(**shared, channels=picked, offset=(height - 1, 0), stride=(1, 2), size=(1, 1))
    return {"copy": Copy, "clamp": ClampLayer, "softmax": Softmax}[kind](**shared)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    tensors = {"x": (draw(st.integers(1, 3)), draw(st.integers(2, 4)), draw(st.integers(2, 4)))}
    shape, made = tensors["x"], []
    for index in range(draw(st.integers(1, 5))):
        layer = draw(layers(f"layer/{index} é", tensors))
        tensors[layer.name] = layer.output_shape(tuple(tensors[name] for name in layer.inputs))
        made.append(layer)
    names = draw(st.lists(st.sampled_from(sorted(tensors)), unique=True))
    grids = {name: ActivationGrid(draw(st.floats(1e-6, 10)), draw(st.integers(-8, 7)), 4) for name in names}
    order = draw(st.permutations(made))
    ends = Ends(
        End("in put", Arrangement((*reversed(shape), 1), np.arange(math.prod(shape))[::-1].copy())),
        (End("out/1", Arrangement((1, 1), np.zeros(1, np.int64))), End("é", Arrangement((1,), np.zeros(1, np.int64)))),
    )
    file_ends = draw(st.sampled_from([None, ends]))
    return Graph("net", "x", shape, tuple(order), (made[-1].name, made[0].name), grids, draw(st.text()), file_ends)


@given(graphs())
@settings(max_examples=50)
def test_round_trip(graph: Graph) -> None:
    packed = pack_graph(graph)
    back = unpack_graph(packed)
    assert_same(graph, back)
    assert pack_graph(back) == packed
    assert graph_fingerprint(back) == graph_fingerprint(graph)
    assert back.shapes == graph.shapes


def test_every_kind_of_layer_is_tried() -> None:
    """A new kind belongs into ``layers`` above."""
    kinds = {
        kind.__name__ for kind in vars(layers_module).values() if isinstance(kind, type) and issubclass(kind, Layer)
    }
    assert kinds == {
        "Layer", "_Pool", "Conv", "ConvTranspose", "AveragePool", "MaxPool", "Add", "Product", "Concat", "Upsample",
        "Pointwise", "Copy", "Affine", "ClampLayer", "OnHost", "Softmax", "ArgMax", "Join",
        "Select",
    }  # fmt: skip


@pytest.mark.parametrize("name", carried_networks())
def test_carried(name: str) -> None:
    graph = load(name)
    assert_same(graph, unpack_graph(pack_graph(graph)))


def test_fingerprints_tell_the_smallest_change() -> None:
    graph = graph_of(conv_layer("c", "x", (2, 3, 1, 1)), shape=(3, 4, 4))
    conv = graph.convs[0]
    weights = conv.weights.copy()
    weights[0, 0, 0, 0] = np.nextafter(weights[0, 0, 0, 0], np.float32(9))
    zero = conv.weights * np.float32(0)
    others = [
        graph.with_weights({"c": weights}),
        graph.with_weights({"c": zero}),
        graph.with_weights({"c": -zero}),
        replace(graph, layers=(replace(conv, stride=(1, 2)),)),
        replace(graph, layers=(replace(conv, clamp=(0.0, math.inf)),)),
        replace(graph, name="other"),
        replace(graph, grids={"c": ActivationGrid(0.5, 0)}),
    ]
    assert len({graph_fingerprint(changed) for changed in (graph, *others)}) == len(others) + 1


def test_bytes_do_not_depend_on_the_run_or_on_memory_order() -> None:
    graph = graph_of(conv_layer("c", "x", (2, 3, 2, 1)), shape=(3, 4, 4))
    fortran = graph.with_weights({"c": np.asfortranarray(graph.convs[0].weights)})
    sliced = graph.with_weights({"c": np.repeat(graph.convs[0].weights, 2, axis=0)[::2]})
    assert pack_graph(graph) == pack_graph(fortran) == pack_graph(sliced)
    code = (
        "from tests.models.builders import conv_layer, graph_of; from skipstone.models.graph.files import graph_fingerprint;"
        "print(graph_fingerprint(graph_of(conv_layer('c', 'x', (2, 3, 2, 1)), shape=(3, 4, 4))))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == graph_fingerprint(graph)


def archive(description: object, **members: np.ndarray) -> bytes:
    packed = io.BytesIO()
    text = np.frombuffer(json.dumps(description).encode(), np.uint8)
    np.savez(packed, graph=text, **members)  # type: ignore[arg-type]
    return packed.getvalue()


class Exploit:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        pickle.dumps(Exploit()),
        archive({}),
        archive([]),
        archive({"version": 2}),
        archive({"version": 2, "graph": {"class": "Popen", "args": "ls"}}),
        archive({"version": 2, "graph": {"class": "Graph"}}),
        archive({"version": 2, "graph": {"class": "Copy", "name": "c", "inputs": ["x"]}}),
        archive({"version": 2, "graph": {"array": "7"}}),
        archive({"version": 2, "graph": {"array": "0"}}, **{"0": np.array([Exploit()], object)}),
        archive({"version": 2, "graph": {"function": "os.system"}}),
        archive({"version": 2, "graph": {"array": "0", "float": "1"}}),
        archive({"version": 2, "graph": json.loads("[" * 900 + "]" * 900)}),
    ],
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(SkipstoneError, match=r"^can't read the stored network"):
        unpack_graph(content)


def test_versions() -> None:
    with pytest.raises(SkipstoneError) as error:
        unpack_graph(archive({"version": 3, "graph": None}))
    assert str(error.value) == (
        "can't read the stored network: its format is version 3, this Skipstone reads version 2"
    )


@given(st.data())
@settings(max_examples=100)
def test_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    graph = graph_of(conv_layer("c", "x", (2, 1, 1, 1)), shape=(1, 2, 2))
    packed = bytearray(pack_graph(graph))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        restored = unpack_graph(bytes(packed[: data.draw(st.sampled_from([len(packed), len(packed) // 2]))]))
    except SkipstoneError:
        return
    assert_same(graph, restored)


def test_values_of_unknown_types_are_refused() -> None:
    graph = graph_of(Copy(name="c", inputs=("x",), clamp={1, 2}), shape=(1, 2, 2))  # type: ignore[arg-type]
    with pytest.raises(SkipstoneError, match=r"^can't store a network that holds \{1, 2\} \(set\)$"):
        pack_graph(graph)
