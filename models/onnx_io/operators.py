"""The ONNX operators that compute: each becomes a layer, or part of the layer whose output it alone reads."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from skipstone.models.graph.ends import Arrangement
from skipstone.models.graph.layers import Add, Affine, ArgMax, ClampLayer, Conv, Pair, Softmax
from skipstone.models.onnx_io.arrangement import View, rows_index
from skipstone.models.onnx_io.joins import product
from skipstone.models.onnx_io.nodes import ArrangementError, OnnxNode, UnsupportedError
from skipstone.models.onnx_io.pools import kernel_of, pads_of, pair
from skipstone.models.onnx_io.registry import register_operator
from skipstone.models.onnx_io.selection import selection, space_to_depth


@register_operator("Conv")
def _conv(node: OnnxNode) -> View:
    weights, bias, attributes = node.constant(1), node.optional_constant(2), node.attributes
    weights, line = kernel_of(weights)
    view, groups = node.array_view(), int(attributes.get("group", 1))
    kernel = (weights.shape[2], weights.shape[3])
    stride, dilation = pair(attributes.get("strides"), 1), pair(attributes.get("dilations"), 1)
    blocks = space_to_depth(view) if groups == 1 and dilation == (1, 1) and not view.is_image() else None
    if blocks is None:
        view = node.image(line=line)
    _, _, height, width = view.index.shape
    padding = pads_of(attributes, (view.index.shape[1], height, width), kernel, stride, dilation)
    weights = weights.astype(np.float32)
    if blocks is not None:
        (down, across), places = blocks
        weights = _of_pixels(weights, view.shape[0], (down, across), places)
        stride = (stride[0] * down, stride[1] * across)
        padding = (padding[0] * down, padding[1] * across, padding[2] * down, padding[3] * across)
    layer = Conv(
        name=node.name,
        inputs=(view.tensor,),
        weights=weights,
        bias=np.zeros(len(weights), np.float32) if bias is None else bias.astype(np.float32),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return node.add_image(layer, line)


def _of_pixels(
    weights: NDArray[np.float32], channels: int, block: Pair, places: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The kernel over pixels that does what ``weights`` does over blocks of them.

    Args:
        weights: Over the channels that are blocks of pixels side by side.
        channels: Of the tensor before.
        block: Height and width of a block.
        places: For each input channel of ``weights``: channel, row and column in the block.
    """
    outputs, inputs, height, width = weights.shape
    if inputs != len(places):
        raise UnsupportedError(f"weights for {inputs} channels, its input has {len(places)}")
    spread = np.zeros((outputs, channels, height, block[0], width, block[1]), np.float32)
    channel, row, column = places.T
    # Axes that are indexed side by side come first.
    spread[:, channel, :, row, :, column] = weights.transpose(1, 0, 2, 3)
    return spread.reshape(outputs, channels, height * block[0], width * block[1])


def _linear(node: OnnxNode, view: View, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> View:
    """``x @ weights.T + bias`` along the last axis of ``view``; ``weights`` is outputs x inputs."""
    outputs, inputs = weights.shape
    if view.is_vector() and view.index.size == inputs:
        ordered = np.empty_like(weights)
        ordered[:, view.index.ravel()] = weights
        kernels = ordered.reshape(outputs, *view.shape)
    elif view.is_rows() and view.shape[0] == inputs:
        kernels = weights.reshape(outputs, inputs, 1, 1)
    else:
        raise ArrangementError("the axis it sums over is neither the channels nor the whole of a tensor")
    layer = Conv(name=node.name, inputs=(view.tensor,), weights=kernels, bias=bias, gemm=True)
    return node.add(layer, rows_index(view.index.shape[:-1], outputs))


def _swapped(view: View) -> View:
    """``view`` with its last two axes in the other order."""
    return view.rearranged(view.index.swapaxes(-1, -2))


@register_operator("Gemm")
def _gemm(node: OnnxNode) -> View:
    attributes = node.attributes
    weights, bias = node.constant(1), node.optional_constant(2)
    weights = weights.astype(np.float32) * np.float32(attributes.get("alpha", 1.0))
    weights = weights if attributes.get("transB", 0) else weights.T
    outputs = len(weights)
    bias = (
        np.zeros(1, np.float32) if bias is None else bias.astype(np.float32) * np.float32(attributes.get("beta", 1.0))
    )
    if bias.size not in (1, outputs) or (bias.ndim == 2 and bias.shape[0] != 1):
        raise UnsupportedError("a bias that differs from row to row")
    bias = np.broadcast_to(bias.ravel(), (outputs,)).copy()
    view = _swapped(node.view()) if attributes.get("transA", 0) else node.view()
    return _linear(node, view, np.ascontiguousarray(weights), bias)


@register_operator("MatMul")
def _matmul(node: OnnxNode) -> View:
    left = node.is_constant(0)
    weights = node.constant(0 if left else 1).astype(np.float32)
    view = node.view(1 if left else 0)
    if weights.ndim > 2 and weights.size == weights.shape[-1] * weights.shape[-2] and weights.ndim <= view.index.ndim:
        weights = weights.reshape(weights.shape[-2:])
    if weights.ndim != 2 or view.index.ndim < 2:
        raise UnsupportedError(f"weights with {weights.ndim} axes")
    bias = np.zeros(len(weights) if left else weights.shape[1], np.float32)
    if left:
        return _swapped(_linear(node, _swapped(view), weights, bias))
    return _linear(node, view, np.ascontiguousarray(weights.T), bias)


@register_operator("BatchNormalization")
def _batch_normalization(node: OnnxNode) -> View:
    attributes = node.attributes
    if attributes.get("training_mode", 0):
        raise UnsupportedError("training_mode")
    view = node.view()
    if view.channel_axis() != 1:
        raise ArrangementError("its axis 1 is not the channels")
    gain, shift, mean, variance = (node.constant(position).astype(np.float64) for position in range(1, 5))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = gain / np.sqrt(variance + float(attributes.get("epsilon", 1e-5)))
        bias = shift - mean * scale
    return node.affine(view, scale.astype(np.float32), bias.astype(np.float32))


@register_operator("Add", "Sub", "Mul", "Div")
def _arithmetic(node: OnnxNode) -> View:
    """Add, Sub, Mul, Div of an activation and a constant for each channel; Add and Mul of two activations."""
    operator = node.op_type
    if not node.is_constant(0) and not node.is_constant(1):
        return product(node) if operator == "Mul" else _add(node)
    if operator in ("Div", "Sub") and node.is_constant(0):
        raise UnsupportedError("a constant divided by, or less, an activation")
    position = 0 if node.is_constant(1) else 1
    view, constant = node.view(position), node.constant(1 - position)
    values = view.per_channel(constant.astype(np.float32))
    if values is None and selection(view) is not None:
        view = node.selected(view)
        values = view.per_channel(constant.astype(np.float32))
    if values is None:
        raise ArrangementError("its constant is not one value for each channel")
    if operator == "Div" and not values.all():
        raise UnsupportedError("it divides by 0")
    ones, zeros = np.ones_like(values), np.zeros_like(values)
    match operator:
        case "Add":
            return node.affine(view, ones, values)
        case "Sub":
            return node.affine(view, ones, -values)
        case "Mul":
            return node.affine(view, values, zeros)
        case _:
            return node.affine(view, ones / values, zeros)


def _add(node: OnnxNode) -> View:
    if node.op_type != "Add":
        raise UnsupportedError("both operands are activations")
    return _sum_of(node, node.view(0), node.view(1))


def _sum_of(node: OnnxNode, first: View, second: View) -> View:
    first, second = node.aligned(first, second)
    if first.shape != second.shape or not np.array_equal(first.index, second.index):
        raise ArrangementError(
            f"its operands have different shapes or arrangements, {first.index.shape} and {second.index.shape}"
        )
    return node.add(Add(name=node.name, inputs=(first.tensor, second.tensor)), first.index)


@register_operator("Sum")
def _sum(node: OnnxNode) -> View:
    """Adds of the activations, then of the constants."""
    places = range(len(node.inputs))
    constants = [node.constant(place).astype(np.float32) for place in places if node.is_constant(place)]
    first, *others = (node.view(place) for place in places if not node.is_constant(place))
    for other in others:
        first = _sum_of(node, first, other)
    for constant in constants:
        values = first.per_channel(constant)
        if values is None:
            raise ArrangementError("its constant is not one value for each channel")
        first = node.affine(first, np.ones_like(values), values)
    return first


@register_operator("Cast")
def _cast(node: OnnxNode) -> View:
    kinds = TensorProto.DataType
    kind = node.attributes["to"]
    if kind not in (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16):
        raise UnsupportedError(f"to {kinds.Name(kind)}")
    return node.any_view()


@register_operator("Relu")
def _relu(node: OnnxNode) -> View:
    return node.clamp(node.view(), (0.0, math.inf))


@register_operator("Clip")
def clip(node: OnnxNode) -> View:
    """A Clip, whose bounds are attributes or constants."""
    bounds = [node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)]
    for position in (1, 2):
        value = node.optional_constant(position)
        if value is not None:
            bounds[position - 1] = value.item()
    low, high = float(bounds[0]), float(bounds[1])
    if not low <= high:
        raise UnsupportedError(f"bounds {low} and {high}")
    # Exporters write "no bound" as the largest float.
    limit = float(np.finfo(np.float32).max)
    return node.clamp(node.view(), (low if low > -limit else -math.inf, high if high < limit else math.inf))


@register_operator("PRelu")
def _prelu(node: OnnxNode) -> View:
    """With slopes up to 1, ``slope * x + max(0, (1 - slope) * x)``; else of ``max(0, x)``."""
    view = node.view()
    slopes = view.per_channel(node.constant(1).astype(np.float32))
    if slopes is None:
        raise UnsupportedError(
            f"its slopes of shape {node.constant(1).shape} differ within a channel or do not fit; give it one slope for each "
            "channel, as (channels, 1, 1)"
        )
    zeros = np.zeros_like(slopes)
    steep = bool((slopes > 1).any())
    read, scale = view, 1 - slopes
    if steep:
        read = node.add(ClampLayer(name=node.name, inputs=(view.tensor,), clamp=(0.0, math.inf)), view.index)
    positive = node.add(
        Affine(
            name=node.name, inputs=(read.tensor,), scale=scale, bias=zeros, clamp=None if steep else (0.0, math.inf)
        ),
        view.index,
    )
    scaled = node.add(Affine(name=node.name, inputs=(view.tensor,), scale=slopes, bias=zeros), view.index)
    return node.add(Add(name=node.name, inputs=(scaled.tensor, positive.tensor)), view.index)


@register_operator("Softmax", "LogSoftmax")
def _softmax(node: OnnxNode) -> View:
    view, log = node.any_view(), node.op_type == "LogSoftmax"
    flattens = node.opset < 13
    axis = int(node.attributes.get("axis", 1 if flattens else -1)) % view.index.ndim
    # Before opset 13, it runs over all axes from ``axis`` on.
    if flattens and math.prod(view.index.shape[axis + 1 :]) > 1:
        raise UnsupportedError(f"it runs over several axes, from axis {axis} on")
    if view.channel_axis() == axis and not node.is_on_host():
        return node.add(Softmax(name=node.name, inputs=(view.tensor,), log=log), view.index)
    views = (Arrangement.of_index(view.index),)
    return node.on_host(Softmax(name=node.name, inputs=(view.tensor,), views=views, axis=axis, log=log))


@register_operator("ArgMax")
def _arg_max(node: OnnxNode) -> View:
    view, attributes = node.any_view(), node.attributes
    return node.on_host(
        ArgMax(
            name=node.name,
            inputs=(view.tensor,),
            views=(Arrangement.of_index(view.index),),
            axis=int(attributes.get("axis", 0)) % view.index.ndim,
            keep=bool(attributes.get("keepdims", 1)),
            last=bool(attributes.get("select_last_index", 0)),
        )
    )
