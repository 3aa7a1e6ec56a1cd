"""Writes a float graph back to ONNX, so that ONNX Runtime can run it: the source of every float number we report.

A pruned graph is measured this way too. The batch is dynamic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Copy,
    Layer,
    MaxPool,
    Pointwise,
    Product,
    Shape,
    Softmax,
    Upsample,
)

Attributes = dict[str, int | str | list[int]]
"""A node's attributes by name."""
Constant = Callable[[str, NDArray[np.generic]], str]
"""Takes a constant's name and value into a model; gives the name."""

OPSET = 21
IR_VERSION = 10
BATCH = "N"
RESIZE: Attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""Attributes of a Resize that repeats pixels."""


def to_onnx(graph: Graph, all_tensors: bool = False) -> onnx.ModelProto:
    """Writes a float network as ONNX (opset 21) for any batch.

    Tensors keep their names and are N x channels x height x width.

    Args:
        graph: The network.
        all_tensors: Every layer's output is an output of the model, in execution order; else the graph's outputs are.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    for layer in graph.order:
        _write(layer, nodes, constants)
    outputs = tuple(layer.name for layer in graph.order) if all_tensors else graph.outputs
    onnx_graph = helper.make_graph(
        nodes,
        graph.name,
        [tensor_info(graph.input, graph.input_shape)],
        [tensor_info(name, graph.shapes[name]) for name in outputs],
        constants,
    )
    return make_model(onnx_graph)


def tensor_info(name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """ONNX's description of a tensor of ``shape`` with a dynamic batch before it."""
    return helper.make_tensor_value_info(name, kind, [BATCH, *shape])


def make_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """A checked model in versions that ONNX Runtime accepts."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "skipstone"
    onnx.checker.check_model(model, full_check=True)
    return model


def add_attributes(node: onnx.NodeProto, attributes: Attributes) -> None:
    """Gives ``node`` its ``attributes``."""
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())


def average_nodes(layer: AveragePool, x: str, result: str, constant: Constant) -> list[onnx.NodeProto]:
    """ONNX's nodes of an average pool.

    Where some padding counts and some does not, the padding that counts becomes zeros of the image. (``ceil_mode`` would need
    no second node, but ONNX and ONNX Runtime do not agree on how many windows that gives.)

    Args:
        layer: The pool.
        x: Name of its input tensor.
        result: Name of its output tensor.
        constant: Takes the sizes of a Pad, if there is one, into the model.
    """
    counted = [padding - outer for padding, outer in zip(layer.padding, layer.uncounted, strict=True)]
    mixed = any(counted) and any(layer.uncounted)
    attributes: Attributes = {
        "kernel_shape": list(layer.kernel),
        "strides": list(layer.stride),
        "pads": list(layer.uncounted if mixed else layer.padding),
        "dilations": list(layer.dilation),
        "count_include_pad": 0 if any(layer.uncounted) else 1,
    }
    nodes = []
    if mixed:
        top, left, bottom, right = counted
        pads = constant(f"{result}.pads", np.array((0, 0, top, left, 0, 0, bottom, right), np.int64))
        nodes.append(helper.make_node("Pad", [x, pads], [f"{result}.padded"], name=f"{result}.padded"))
        x = f"{result}.padded"
    nodes.append(helper.make_node("AveragePool", [x], [result], name=result))
    add_attributes(nodes[-1], attributes)
    return nodes


def transposed_attributes(layer: ConvTranspose) -> Attributes:
    """ONNX's attributes of a transposed convolution."""
    return {
        "kernel_shape": list(layer.weights.shape[2:]),
        "strides": list(layer.stride),
        "pads": list(layer.padding),
        "dilations": list(layer.dilation),
        "output_padding": list(layer.output_padding),
        "group": layer.groups,
    }


def transposed_weights(weights: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """K x C/groups x kh x kw as ONNX's C x K/groups x kh x kw, or back."""
    outputs, inputs, *kernel = weights.shape
    grouped = weights.reshape(groups, outputs // groups, inputs, *kernel).swapaxes(1, 2)
    return grouped.reshape(groups * inputs, outputs // groups, *kernel)


def _write(layer: Layer, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> None:
    def named(name: str, array: NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def constant(what: str, array: NDArray[np.float32]) -> str:
        return named(f"{layer.name}.{what}", array.astype(np.float32))

    result = layer.name if layer.clamp is None else f"{layer.name}.unclamped"
    match layer:
        case ConvTranspose():
            weights = constant("weights", transposed_weights(layer.weights, layer.groups))
            node = helper.make_node("ConvTranspose", [layer.inputs[0], weights], [result], name=layer.name)
            node.input.append(constant("bias", layer.bias))
            add_attributes(node, transposed_attributes(layer))
            nodes.append(node)
        case Conv():
            inputs = [layer.inputs[0], constant("weights", layer.weights), constant("bias", layer.bias)]
            nodes.append(
                helper.make_node(
                    "Conv",
                    inputs,
                    [result],
                    name=layer.name,
                    kernel_shape=list(layer.weights.shape[2:]),
                    strides=list(layer.stride),
                    pads=list(layer.padding),
                    dilations=list(layer.dilation),
                    group=layer.groups,
                )
            )
        case AveragePool():
            nodes.extend(average_nodes(layer, layer.inputs[0], result, named))
        case MaxPool():
            nodes.append(
                helper.make_node(
                    "MaxPool",
                    list(layer.inputs),
                    [result],
                    name=layer.name,
                    kernel_shape=list(layer.kernel),
                    strides=list(layer.stride),
                    pads=list(layer.padding),
                    dilations=list(layer.dilation),
                )
            )
        case Add():
            nodes.append(helper.make_node("Add", list(layer.inputs), [result], name=layer.name))
        case Product():
            nodes.append(helper.make_node("Mul", list(layer.inputs), [result], name=layer.name))
        case Concat():
            nodes.append(helper.make_node("Concat", list(layer.inputs), [result], name=layer.name, axis=1))
        case Upsample():
            inputs = [layer.inputs[0], "", constant("factors", np.array((1, 1, *layer.factor), np.float32))]
            node = helper.make_node("Resize", inputs, [result], name=layer.name)
            add_attributes(node, RESIZE)
            nodes.append(node)
        case Pointwise():
            nodes.extend(layer.function.nodes(layer.inputs[0], result, named, layer.name))
        case Affine():
            scaled = f"{layer.name}.scaled"
            scale = constant("scale", layer.scale.reshape(-1, 1, 1))
            bias = constant("bias", layer.bias.reshape(-1, 1, 1))
            nodes.append(helper.make_node("Mul", [layer.inputs[0], scale], [scaled], name=scaled))
            nodes.append(helper.make_node("Add", [scaled, bias], [result], name=layer.name))
        case Copy():
            nodes.append(helper.make_node("Identity", list(layer.inputs), [result], name=layer.name))
        case Softmax():
            nodes.append(helper.make_node("Softmax", list(layer.inputs), [result], name=layer.name, axis=1))
        case _:
            result = layer.inputs[0]
    if layer.clamp is None:
        return
    low, high = layer.clamp
    name = f"{layer.name}.clamp"
    if (low, high) == (0.0, math.inf):
        nodes.append(helper.make_node("Relu", [result], [layer.name], name=name))
        return
    bounds = [
        "" if math.isinf(bound) else constant(what, np.array(bound, np.float32))
        for what, bound in (("low", low), ("high", high))
    ]
    nodes.append(helper.make_node("Clip", [result, *bounds], [layer.name], name=name))
