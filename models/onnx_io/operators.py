"""The ONNX operators that compute: each becomes a layer, or is absorbed by the layer whose output it alone reads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray

from skipstone.models.graph.layers import Add, Affine, Clamp, ClampLayer, Conv, Shape, Softmax
from skipstone.models.onnx_io.arrangement import View, image_index, rows_index
from skipstone.models.onnx_io.joins import product
from skipstone.models.onnx_io.nodes import Attributes, Converters, NodeConverter, UnsupportedError
from skipstone.models.onnx_io.pools import pads_of, pair


def _conv(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    weights, bias = c.constant(node, 1), c.constant(node, 2)
    assert weights is not None
    if weights.ndim != 4:
        raise UnsupportedError(f"only two spatial axes are supported, it has {weights.ndim - 2}")
    view = c.image(node)
    kernel = (weights.shape[2], weights.shape[3])
    stride, dilation = pair(attributes.get("strides"), 1), pair(attributes.get("dilations"), 1)
    layer = Conv(
        name=node.output[0],
        inputs=(view.tensor,),
        weights=weights.astype(np.float32),
        bias=np.zeros(len(weights), np.float32) if bias is None else bias.astype(np.float32),
        stride=stride,
        padding=pads_of(attributes, view.shape, kernel, stride, dilation),
        dilation=dilation,
        groups=int(attributes.get("group", 1)),
    )
    shape = layer.output_shape((view.shape,))
    c.emit(node, layer, shape, image_index(shape))


def _linear(c: NodeConverter, node: onnx.NodeProto, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """``x @ weights.T + bias`` along the last axis; ``weights`` is outputs x inputs."""
    view, outputs = c.view(node), len(weights)
    inputs = weights.shape[1]
    if view.is_vector() and view.index.size == inputs:
        ordered = np.empty_like(weights)
        ordered[:, view.index.ravel()] = weights
        kernels = ordered.reshape(outputs, *view.shape)
        shape: Shape = (outputs, 1, 1)
    elif view.is_rows() and view.shape[0] == inputs:
        kernels = weights.reshape(outputs, inputs, 1, 1)
        shape = (outputs, view.shape[1], view.shape[2])
    else:
        raise UnsupportedError("the axis it sums over is neither the channels nor the whole of a tensor")
    layer = Conv(name=node.output[0], inputs=(view.tensor,), weights=kernels, bias=bias, gemm=True)
    c.emit(node, layer, shape, rows_index(view.index.shape[:-1], outputs))


def _gemm(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    if attributes.get("transA", 0):
        raise UnsupportedError("transA")
    weights, bias = c.constant(node, 1), c.constant(node, 2)
    assert weights is not None
    weights = weights.astype(np.float32) * np.float32(attributes.get("alpha", 1.0))
    weights = weights if attributes.get("transB", 0) else weights.T
    outputs = len(weights)
    bias = (
        np.zeros(1, np.float32) if bias is None else bias.astype(np.float32) * np.float32(attributes.get("beta", 1.0))
    )
    if bias.size not in (1, outputs) or (bias.ndim == 2 and bias.shape[0] != 1):
        raise UnsupportedError("a bias that differs from row to row")
    bias = np.broadcast_to(bias.ravel(), (outputs,)).copy()
    _linear(c, node, np.ascontiguousarray(weights), bias)


def _matmul(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    weights = c.constant(node, 1)
    assert weights is not None
    if weights.ndim != 2:
        raise UnsupportedError(f"weights with {weights.ndim} axes")
    _linear(c, node, np.ascontiguousarray(weights.T.astype(np.float32)), np.zeros(weights.shape[1], np.float32))


def _affine(
    c: NodeConverter, node: onnx.NodeProto, view: View, scale: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    """``x * scale + bias`` for each channel, absorbed where possible."""
    producer = c.producer(view)
    if isinstance(producer, Conv) and producer.clamp is None:
        weights = producer.weights * scale[:, None, None, None]
        c.absorb(node, view, replace(producer, weights=weights, bias=producer.bias * scale + bias))
    elif isinstance(producer, Affine) and producer.clamp is None:
        c.absorb(node, view, replace(producer, scale=producer.scale * scale, bias=producer.bias * scale + bias))
    else:
        layer = Affine(name=node.output[0], inputs=(view.tensor,), scale=scale, bias=bias)
        c.emit(node, layer, view.shape, view.index)


def _batch_normalization(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    if attributes.get("training_mode", 0):
        raise UnsupportedError("training_mode")
    view = c.view(node)
    if view.channel_axis() != 1:
        raise UnsupportedError("its axis 1 is not the channels")
    constants = [c.constant(node, position) for position in range(1, 5)]
    gain, shift, mean, variance = (np.asarray(value, dtype=np.float64) for value in constants)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = gain / np.sqrt(variance + float(attributes.get("epsilon", 1e-5)))
        bias = shift - mean * scale
    _affine(c, node, view, scale.astype(np.float32), bias.astype(np.float32))


def _arithmetic(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    """Add, Sub, Mul, Div of an activation and a constant for each channel; Add and Mul of two activations."""
    operator = node.op_type
    if not c.is_constant(node, 0) and not c.is_constant(node, 1):
        product(c, node) if operator == "Mul" else _add(c, node)
        return
    if operator in ("Div", "Sub") and c.is_constant(node, 0):
        raise UnsupportedError("a constant divided by, or less, an activation")
    position = 0 if c.is_constant(node, 1) else 1
    view, constant = c.view(node, position), c.constant(node, 1 - position)
    assert constant is not None
    values = view.per_channel(constant.astype(np.float32))
    if values is None:
        raise UnsupportedError("its constant is not one value for each channel")
    one, zero = np.ones_like(values), np.zeros_like(values)
    with np.errstate(divide="ignore"):
        scale, bias = {"Add": (one, values), "Sub": (one, -values), "Mul": (values, zero), "Div": (one / values, zero)}[
            operator
        ]
    _affine(c, node, view, scale, bias)


def _add(c: NodeConverter, node: onnx.NodeProto) -> None:
    if node.op_type != "Add":
        raise UnsupportedError("both operands are activations")
    first, second = c.view(node, 0), c.view(node, 1)
    if first.shape != second.shape or not np.array_equal(first.index, second.index):
        raise UnsupportedError(
            f"its operands have different shapes or arrangements, {first.index.shape} and {second.index.shape}"
        )
    c.emit(node, Add(name=node.output[0], inputs=(first.tensor, second.tensor)), first.shape, first.index)


def _clamp(c: NodeConverter, node: onnx.NodeProto, clamp: Clamp) -> None:
    view = c.view(node)
    producer = c.producer(view)
    if producer is None:
        c.emit(node, ClampLayer(name=node.output[0], inputs=(view.tensor,), clamp=clamp), view.shape, view.index)
        return
    before = producer.clamp or (-math.inf, math.inf)
    both = (min(max(before[0], clamp[0]), clamp[1]), min(max(before[1], clamp[0]), clamp[1]))
    c.absorb(node, view, replace(producer, clamp=both))


def _relu(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    _clamp(c, node, (0.0, math.inf))


def _clip(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    bounds = [attributes.get("min", -math.inf), attributes.get("max", math.inf)]
    for position in (1, 2):
        value = c.constant(node, position)
        if value is not None:
            bounds[position - 1] = value.item()
    low, high = float(bounds[0]), float(bounds[1])
    if not low <= high:
        raise UnsupportedError(f"bounds {low} and {high}")
    # Exporters write "no bound" as the largest float.
    limit = float(np.finfo(np.float32).max)
    _clamp(c, node, (low if low > -limit else -math.inf, high if high < limit else math.inf))


def _prelu(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    raise UnsupportedError("its slopes differ from channel to channel")


def _softmax(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    view = c.view(node)
    flattens = c.opset < 13
    axis = int(attributes.get("axis", 1 if flattens else -1)) % view.index.ndim
    # Before opset 13, Softmax runs over all axes from ``axis`` on.
    if view.channel_axis() != axis or (flattens and view.pixels > 1 and axis < view.index.ndim - 1):
        raise UnsupportedError("its axis is not the channels")
    c.emit(node, Softmax(name=node.output[0], inputs=(view.tensor,)), view.shape, view.index)


COMPUTING: Converters = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_normalization,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Relu": _relu,
    "Clip": _clip,
    "PRelu": _prelu,
    "Softmax": _softmax,
}
