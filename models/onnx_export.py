"""Writes a float graph back to ONNX, so that ONNX Runtime can run it: the source of every float number we report.

A pruned graph is measured this way too. The batch is dynamic.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.graph import Add, Affine, AveragePool, Conv, Graph, Layer, MaxPool, Shape, Softmax

OPSET = 21
IR_VERSION = 10
BATCH = "N"


def to_onnx(graph: Graph, all_tensors: bool = False) -> onnx.ModelProto:
    """``graph`` as ONNX (opset 21), any batch; tensors keep their names and are N x channels x height x width.

    With ``all_tensors`` every layer's output is an output of the model, in execution order; else the graph's outputs.
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


def _write(layer: Layer, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> None:
    def constant(what: str, array: NDArray[np.float32]) -> str:
        name = f"{layer.name}.{what}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name))
        return name

    result = layer.name if layer.clamp is None else f"{layer.name}.unclamped"
    match layer:
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
        case AveragePool() | MaxPool():
            node = helper.make_node(
                "MaxPool" if isinstance(layer, MaxPool) else "AveragePool",
                list(layer.inputs),
                [result],
                name=layer.name,
                kernel_shape=list(layer.kernel),
                strides=list(layer.stride),
                pads=list(layer.padding),
                dilations=list(layer.dilation),
            )
            if isinstance(layer, AveragePool):
                node.attribute.append(helper.make_attribute("count_include_pad", 1))
            nodes.append(node)
        case Add():
            nodes.append(helper.make_node("Add", list(layer.inputs), [result], name=layer.name))
        case Affine():
            scaled = f"{layer.name}.scaled"
            scale = constant("scale", layer.scale.reshape(-1, 1, 1))
            bias = constant("bias", layer.bias.reshape(-1, 1, 1))
            nodes.append(helper.make_node("Mul", [layer.inputs[0], scale], [scaled], name=scaled))
            nodes.append(helper.make_node("Add", [scaled, bias], [result], name=layer.name))
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
