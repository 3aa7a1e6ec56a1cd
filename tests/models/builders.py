"""Small ONNX files, float graphs and quantized networks for these tests, and a layer computed the slow, obvious way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv, Layer, Shape
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization.network import HostProduct, QuantizedLayer, QuantizedNetwork, QuantizedTensor
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme

Array = NDArray[np.generic]


def node(operator: str, inputs: list[str], output: str = "y", name: str = "", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=name, **attributes)


def onnx_model(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str, ...],
    constants: dict[str, Array] | None = None,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 17,
) -> onnx.ModelProto:
    """A model with the input ``x`` of ``shape``; output shapes are left open."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def run_ort(model: onnx.ModelProto, x: Array) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def assert_import_is_faithful(model: onnx.ModelProto, folder: Path, shape: tuple[int, ...]) -> Graph:
    """Loads ``model`` and checks that the graph, written back, has its ends and gives the same floats; returns the graph.

    ``shape`` is the input's.
    """
    graph = load(save(model, folder), shape)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    back = to_onnx(graph)
    assert [value.name for value in (*back.graph.input, *back.graph.output)] == [
        value.name for value in (*model.graph.input, *model.graph.output)
    ]
    expected, got = run_ort(model, x), run_ort(back, x)
    assert got.shape == expected.shape
    # Float sums in another order; values are around 1.
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    return graph


def floats(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def conv_layer(name: str, source: str, shape: tuple[int, int, int, int], **options: object) -> Conv:
    """A Conv with random weights of ``shape`` and random bias."""
    seed = sum(map(ord, name))
    options.setdefault("bias", floats(shape[0], seed=seed + 1))
    return Conv(name=name, inputs=(source,), weights=floats(*shape, seed=seed), **options)  # type: ignore[arg-type]


def graph_of(*layers: Layer, shape: Shape, outputs: tuple[str, ...] | None = None) -> Graph:
    return Graph("test", "x", shape, layers, outputs or (layers[-1].name,))


def random_images(graph: Graph, count: int, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, *graph.input_shape)).astype(np.float32)


def quantized(graph: Graph, weight_bits: int = 8, activation_bits: int = 8, images: int = 4) -> QuantizedNetwork:
    return quantize(
        graph, calibrate(graph, random_images(graph, images)), QuantizationScheme(weight_bits, activation_bits)
    )


def random_integers(network: QuantizedNetwork, name: str, count: int, seed: int = 5) -> NDArray[np.int64]:
    tensor = network.tensors[name]
    limit = 1 << (tensor.bits - 1)
    return np.random.default_rng(seed).integers(-limit, limit, size=(count, *tensor.shape))


def slow_layer(
    layer: QuantizedLayer, x: NDArray[np.int64], other: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """One image (C x H x W) through a layer in Python integers, with a loop for every index, as the docstring of QuantizedLayer
    defines it."""
    outputs, inputs, kh, kw = layer.weights.shape
    top, left, bottom, right = layer.padding
    height = (x.shape[1] + top + bottom - layer.dilation[0] * (kh - 1) - 1) // layer.stride[0] + 1
    width = (x.shape[2] + left + right - layer.dilation[1] * (kw - 1) - 1) // layer.stride[1] + 1
    result = np.zeros((outputs, height, width), dtype=np.int64)
    for k, y, column in np.ndindex(outputs, height, width):
        seen: list[int] = []
        for c, i, j in np.ndindex(inputs, kh, kw):
            channel = k // (outputs // layer.groups) * inputs + c
            v = y * layer.stride[0] + i * layer.dilation[0] - top
            h = column * layer.stride[1] + j * layer.dilation[1] - left
            inside = 0 <= v < x.shape[1] and 0 <= h < x.shape[2]
            value = int(x[channel, v, h]) if inside else layer.pad_value
            weight = int(layer.weights[k, c, i, j])
            if weight:
                seen.append(value if layer.operation == "max" else value * weight)
        accumulator = (max(seen) if layer.operation == "max" else sum(seen)) if seen else 0
        total = (accumulator + int(layer.bias[k])) * int(layer.multiplier[k]) + (1 << (int(layer.shift[k]) - 1))
        if other is not None:
            total += (int(other[k, y, column]) - layer.other_zero_point) * int(layer.other_multiplier[k])
        value = min(max(layer.zero_point + (total >> int(layer.shift[k])), layer.low), layer.high)
        result[k, y, column] = value if layer.table is None else int(layer.table[value + len(layer.table) // 2])
    return result


def identity_layer(name: str, source: str, target: str, channels: int, **options: Any) -> QuantizedLayer:
    """A layer that copies its input: 1x1, weight 1, times 2**15 >> 15."""
    layer = QuantizedLayer(
        name=name,
        kind="copy",
        operation="multiply_add",
        input=source,
        output=target,
        weights=np.ones((channels, 1, 1, 1), np.int64),
        groups=channels,
        stride=(1, 1),
        padding=(0, 0, 0, 0),
        dilation=(1, 1),
        pad_value=0,
        bias=np.zeros(channels, np.int64),
        multiplier=np.full(channels, 1 << 15),
        shift=np.full(channels, 15),
        zero_point=0,
        low=-128,
        high=127,
        other=None,
        other_zero_point=0,
        other_multiplier=np.zeros(channels, np.int64),
        weight_scale=np.ones(channels),
        sources=(name,),
    )
    return replace(layer, **options)


def network_of(tensors: dict[str, Shape], *layers: QuantizedLayer | HostProduct, **options: Any) -> QuantizedNetwork:
    """A network of 8 bits whose input is the first of ``tensors``, all of scale 1 and zero point 0."""
    quantized_tensors = {name: QuantizedTensor(name, shape, 1.0, 0, 8) for name, shape in tensors.items()}
    network = QuantizedNetwork(
        "test", next(iter(tensors)), (layers[-1].output,), quantized_tensors, layers, (), 8, 8, "by hand"
    )
    return replace(network, **options)
