"""The ONNX operators that pool, and how an operator with windows states them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skipstone.models.graph.layers import AveragePool, MaxPool, Padding, Pair, Shape
from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import ArrangementError, Attributes, OnnxNode, UnsupportedError
from skipstone.models.onnx_io.registry import register_operator


def pair(values: Any, default: int) -> Pair:
    """An attribute of the two spatial axes."""
    values = list(values) if values is not None else [default, default]
    if len(values) != 2:
        raise UnsupportedError(f"only two spatial axes are supported, it has {len(values)}")
    return (int(values[0]), int(values[1]))


def pads_of(attributes: Attributes, shape: Shape, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    """ONNX's ``pads`` or ``auto_pad`` as (top, left, bottom, right)."""
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto == "NOTSET":
        pads = [int(value) for value in attributes.get("pads", (0, 0, 0, 0))]
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


@register_operator("AveragePool", "MaxPool")
def pool(node: OnnxNode) -> View:
    """A MaxPool or AveragePool."""
    view, attributes = node.image(), node.attributes
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
    return node.add(layer)


def _ceiled_end(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Padding at the end of an axis with which rounding down gives as many windows as ``ceil_mode``: it adds one that
    begins inside the image or the padding before it, however far it reaches."""
    reach = dilation * (kernel - 1) + 1
    windows = -(-(size + before + after - reach) // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return max(after, (windows - 1) * stride + reach - size - before)


def _global_mean(node: OnnxNode, view: View, axes: tuple[int, ...], keep: bool) -> View:
    index = view.spatial_mean_index(axes, keep)
    if index is None:
        raise ArrangementError("a mean over other axes than height and width")
    return node.add(AveragePool(name=node.name, inputs=(view.tensor,), kernel=(view.shape[1], view.shape[2])), index)


@register_operator("GlobalAveragePool")
def _global_average_pool(node: OnnxNode) -> View:
    return _global_mean(node, node.image(), (2, 3), True)


@register_operator("ReduceMean")
def _reduce_mean(node: OnnxNode) -> View:
    constant, view = node.optional_constant(1), node.view()
    listed = np.asarray(node.attributes.get("axes", ()) if constant is None else constant, dtype=np.int64).ravel()
    axes = tuple(int(axis) % view.index.ndim for axis in listed)
    if not axes:
        raise UnsupportedError("a mean over all axes")
    return _global_mean(node, view, axes, bool(node.attributes.get("keepdims", 1)))
