"""The ONNX operators that pool, and how an operator with windows states them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skipstone.models.graph.layers import AveragePool, MaxPool, Padding, Pair, Shape
from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import ArrangementError, Attributes, Constant, OnnxNode, UnsupportedError
from skipstone.models.onnx_io.registry import register_operator
from skipstone.models.onnx_io.selection import selection


def pair(values: Any, default: int) -> Pair:
    """An attribute of the spatial axes; ``default`` for the height where there is only a width."""
    values = list(values) if values is not None else [default, default]
    values = [default, *values] if len(values) == 1 else values
    if len(values) != 2:
        raise UnsupportedError(f"one or two spatial axes are supported, it has {len(values)}")
    return (int(values[0]), int(values[1]))


def pads_of(attributes: Attributes, shape: Shape, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    """ONNX's ``pads`` or ``auto_pad`` as (top, left, bottom, right)."""
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto == "NOTSET":
        pads = [int(value) for value in attributes.get("pads", (0, 0, 0, 0))]
        pads = [0, pads[0], 0, pads[1]] if len(pads) == 2 else pads
        if len(pads) != 4 or min(pads) < 0:
            raise UnsupportedError(f"padding {pads}")
        return (pads[0], pads[1], pads[2], pads[3])
    if auto == "VALID":
        return (0, 0, 0, 0)
    before, after = [0, 0], [0, 0]
    for axis in range(2):
        size = shape[axis + 1]
        total = max(0, (-(-size // stride[axis]) - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        before[axis], after[axis] = (small, large) if auto == "SAME_UPPER" else (large, small)
    return (before[0], before[1], after[0], after[1])


def kernel_of(weights: Constant) -> tuple[Constant, bool]:
    """Weights with a height and a width, and whether they had only a width."""
    if weights.ndim not in (3, 4):
        raise UnsupportedError(f"one or two spatial axes are supported, it has {weights.ndim - 2}")
    return (weights[:, :, None], True) if weights.ndim == 3 else (weights, False)


@register_operator("AveragePool", "MaxPool")
def pool(node: OnnxNode) -> View:
    """A MaxPool or AveragePool."""
    attributes = node.attributes
    line = len(attributes["kernel_shape"]) == 1
    view = node.image(line=line)
    kernel = pair(attributes["kernel_shape"], 1)
    stride, dilation = pair(attributes.get("strides"), 1), pair(attributes.get("dilations"), 1)
    pads = pads_of(attributes, view.shape, kernel, stride, dilation)
    ends = [pads[2], pads[3]]
    if attributes.get("ceil_mode", 0) and attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID"):
        ends = [
            _ceiled_end(view.shape[axis + 1], kernel[axis], stride[axis], dilation[axis], pads[axis], pads[axis + 2])
            for axis in range(2)
        ]
    padding = (pads[0], pads[1], ends[0], ends[1])
    if any(end >= kernel[axis] for axis, end in enumerate(ends)):
        raise UnsupportedError(f"windows that reach {max(ends)} pixels past the image, as far as the kernel's size")
    if node.op_type == "MaxPool":
        layer: MaxPool | AveragePool = MaxPool(
            name=node.name, inputs=(view.tensor,), kernel=kernel, stride=stride, padding=padding, dilation=dilation
        )
    else:
        added = (0, 0, ends[0] - pads[2], ends[1] - pads[3])
        layer = AveragePool(
            name=node.name,
            inputs=(view.tensor,),
            kernel=kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            uncounted=added if attributes.get("count_include_pad", 0) else padding,
        )
    return node.add_image(layer, line)


def _ceiled_end(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Padding at the end of an axis with which rounding down gives as many windows as ``ceil_mode``: it adds one that
    begins inside the image or the padding before it, however far it reaches."""
    reach = dilation * (kernel - 1) + 1
    windows = -(-(size + before + after - reach) // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return max(after, (windows - 1) * stride + reach - size - before)


def _global(node: OnnxNode, axes: tuple[int, ...], keep: bool, maximum: bool) -> View:
    """The mean or the maximum of every channel's pixels, which ``axes`` must be."""
    view, what = node.view(), "maximum" if maximum else "mean"
    axes = tuple(axis % view.index.ndim for axis in axes)
    if not axes:
        raise UnsupportedError(f"a {what} over all axes")
    index = view.spatial_mean_index(axes, keep)
    if index is None and selection(view) is not None:
        view = node.selected(view)
        index = view.spatial_mean_index(axes, keep)
    if index is None:
        raise ArrangementError(f"a {what} over other axes than height and width")
    kind = MaxPool if maximum else AveragePool
    return node.add(kind(name=node.name, inputs=(view.tensor,), kernel=(view.shape[1], view.shape[2])), index)


@register_operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: OnnxNode) -> View:
    axes = tuple(range(2, node.any_view().index.ndim))
    return _global(node, axes, True, node.op_type == "GlobalMaxPool")


@register_operator("ReduceMax", "ReduceMean")
def _reduce(node: OnnxNode) -> View:
    constant = node.optional_constant(1)
    axes = np.asarray(node.attributes.get("axes", ()) if constant is None else constant, dtype=np.int64).ravel()
    keep = bool(node.attributes.get("keepdims", 1))
    return _global(node, tuple(axes.tolist()), keep, node.op_type == "ReduceMax")
