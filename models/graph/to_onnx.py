"""Writes a float graph back to ONNX, so that ONNX Runtime can run it: the source of every float number we report.

A pruned graph is measured this way too.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from numpy.typing import NDArray

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    ClampLayer,
    Concat,
    Conv,
    ConvTranspose,
    Copy,
    Layer,
    MaxPool,
    OnHost,
    Pointwise,
    Product,
    Select,
    Upsample,
)
from skipstone.models.graph.onnx_writer import (
    Attributes,
    OnnxWriter,
    average_pool,
    end_info,
    has_any_batch,
    select,
    transposed_attributes,
    transposed_weights,
    window,
)

RESIZE: Attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""Attributes of a Resize that repeats pixels."""


def to_onnx(graph: Graph, all_tensors: bool = False) -> onnx.ModelProto:
    """Writes a float network as ONNX (opset 21), with the input and the outputs that its file has.

    The batch is dynamic where every end has one. An end that is a tensor of ours as it is has no node of its own.

    Args:
        graph: The network.
        all_tensors: The ends are instead the input and every layer's output, in execution order, under our names, N x channels x
            height x width (what the host computes as ONNX has it, without what mixes the images of a batch).
    """
    if all_tensors:
        graph = graph.with_outputs(layer.name for layer in graph.order if not graph.mixes_batch(layer.name))
    ends, shape = graph.ends, graph.file_shape
    needed = graph.needed(graph.outputs)
    hosts = [layer for layer in graph.layers if isinstance(layer, OnHost) and layer.name in needed]
    any_batch = has_any_batch(ends, hosts)
    writer = OnnxWriter(graph.shapes, {ends.input.name, *(end.name for end in ends.outputs)}, any_batch)
    values = {graph.input: ends.input.name}
    if not ends.input.is_plain(shape(graph.input)):
        values[graph.input] = writer.value(graph.input)
        inverse = ends.input.arrangement.inverse(shape(graph.input))
        writer.arrange(ends.input.name, ends.input.shape, inverse, values[graph.input])
    for tensor, end in zip(graph.outputs, ends.outputs, strict=True):
        if tensor not in values and end.is_plain(shape(tensor)):
            values[tensor] = end.name
    for layer in graph.order:
        if isinstance(layer, OnHost) and layer.name not in needed:
            continue
        if layer.name not in values:
            values[layer.name] = writer.value(layer.name)
        if isinstance(layer, OnHost):
            shapes = layer.seen(tuple(graph.shapes[name] for name in layer.inputs))
            result = _before_clamp(writer, layer, values[layer.name])
            writer.host_layer(layer, [(values[name], shape(name)) for name in layer.inputs], shapes, result)
        else:
            result = _write(writer, layer, [values[name] for name in layer.inputs], values[layer.name])
        _clamp(writer, layer, result, values[layer.name])
    for tensor, end in zip(graph.outputs, ends.outputs, strict=True):
        if values[tensor] != end.name:
            writer.arrange(values[tensor], shape(tensor), end.arrangement, end.name)
    outputs = [
        end_info(end, writer.any_batch, graph.is_integer(tensor))
        for tensor, end in zip(graph.outputs, ends.outputs, strict=True)
    ]
    return writer.model(graph.name, [end_info(ends.input, writer.any_batch)], outputs)


def _before_clamp(writer: OnnxWriter, layer: Layer, value: str) -> str:
    """The name of what ``layer`` makes before its clamp, which makes ``value``."""
    return value if layer.clamp is None else writer.value(f"{layer.name}.unclamped")


def _write(writer: OnnxWriter, layer: Layer, inputs: list[str], value: str) -> str:
    """Writes what ``layer`` computes of ``inputs``, without its clamp; the name of the result, which is ``value`` where there is
    no clamp."""

    def constant(what: str, array: NDArray[np.float32]) -> str:
        return writer.constant(f"{layer.name}.{what}", array.astype(np.float32))

    if isinstance(layer, ClampLayer):
        return inputs[0]
    result = _before_clamp(writer, layer, value)
    match layer:
        case ConvTranspose():
            weights = constant("weights", transposed_weights(layer.weights, layer.groups))
            parameters = [inputs[0], weights, constant("bias", layer.bias)]
            return writer.node("ConvTranspose", parameters, result, layer.name, transposed_attributes(layer))
        case Conv():
            parameters = [inputs[0], constant("weights", layer.weights), constant("bias", layer.bias)]
            kernel = (layer.weights.shape[2], layer.weights.shape[3])
            attributes = window(kernel, layer.stride, layer.padding, layer.dilation, group=layer.groups)
            return writer.node("Conv", parameters, result, layer.name, attributes)
        case AveragePool():
            average_pool(writer, layer, inputs[0], result)
        case MaxPool():
            attributes = window(layer.kernel, layer.stride, layer.padding, layer.dilation)
            writer.node("MaxPool", inputs, result, layer.name, attributes)
        case Add():
            writer.node("Add", inputs, result, layer.name)
        case Product():
            writer.node("Mul", inputs, result, layer.name)
        case Concat():
            writer.node("Concat", inputs, result, layer.name, {"axis": 1})
        case Upsample():
            factors = constant("factors", np.array((1, 1, *layer.factor), np.float32))
            writer.node("Resize", [inputs[0], "", factors], result, layer.name, RESIZE)
        case Pointwise():
            nodes = layer.function.nodes(inputs[0], result, writer.constant, writer.value, layer.name)
            for node in nodes[:-1]:
                writer.add(node)
            writer.add(nodes[-1], layer.name)
        case Affine():
            scaled = writer.value(f"{layer.name}.scaled")
            scale = constant("scale", layer.scale.reshape(-1, 1, 1))
            bias = constant("bias", layer.bias.reshape(-1, 1, 1))
            writer.node("Mul", [inputs[0], scale], scaled)
            writer.node("Add", [scaled, bias], result, layer.name)
        case Copy():
            writer.node("Identity", inputs, result, layer.name)
        case Select():
            select(writer, layer, inputs[0], result, layer.name)
        case _:
            raise AssertionError(f"no ONNX for {layer.kind}")
    return result


def _clamp(writer: OnnxWriter, layer: Layer, result: str, value: str) -> None:
    """Writes the clamp of ``layer``, if it has one: ``result`` within its bounds is ``value``."""
    if layer.clamp is None:
        return
    low, high = layer.clamp
    name = layer.name if isinstance(layer, ClampLayer) else ""
    if (low, high) == (0.0, math.inf):
        writer.node("Relu", [result], value, name)
        return
    bounds = [
        "" if math.isinf(bound) else writer.constant(f"{layer.name}.{what}", np.array(bound, np.float32))
        for what, bound in (("low", low), ("high", high))
    ]
    writer.node("Clip", [result, *bounds], value, name)
