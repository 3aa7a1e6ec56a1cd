"""The ONNX operators that only rearrange: each is done to the index array of what it reads. Constants, too."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import ArrangementError, Constant, OnnxNode, UnsupportedError
from skipstone.models.onnx_io.registry import register_operator

REARRANGING = frozenset({
    "Constant", "DepthToSpace", "Dropout", "Flatten", "Gather", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""The operators of this module."""


@register_operator("Identity", "Dropout")
def _same(node: OnnxNode) -> View:
    return node.any_view()


@register_operator("Flatten")
def _flatten(node: OnnxNode) -> View:
    view = node.any_view()
    axis = int(node.attributes.get("axis", 1))
    rows = math.prod(view.index.shape[: axis + view.index.ndim if axis < 0 else axis])
    return view.rearranged(view.index.reshape(rows, -1))


@register_operator("Reshape")
def _reshape(node: OnnxNode) -> View:
    view = node.any_view()
    index = view.index
    sizes = [int(size) for size in node.constant(1).ravel()]
    if not node.attributes.get("allowzero", 0):
        sizes = [index.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    try:
        return view.rearranged(index.reshape(sizes))
    except ValueError:
        raise ArrangementError(f"can't reshape {index.shape} to {tuple(sizes)}") from None


@register_operator("Transpose")
def _transpose(node: OnnxNode) -> View:
    view = node.any_view()
    return view.rearranged(view.index.transpose(node.attributes.get("perm")))


@register_operator("Squeeze")
def _squeeze(node: OnnxNode) -> View:
    view = node.any_view()
    return view.rearranged(view.index.squeeze(_axes(node) or None))


@register_operator("Unsqueeze")
def _unsqueeze(node: OnnxNode) -> View:
    view = node.any_view()
    return view.rearranged(np.expand_dims(view.index, _axes(node)))


def _axes(node: OnnxNode) -> tuple[int, ...]:
    axes = node.optional_constant(1)
    return tuple(int(axis) for axis in (node.attributes.get("axes", ()) if axes is None else axes.ravel()))


@register_operator("Gather")
def _gather(node: OnnxNode) -> View:
    """A Gather that reorders, drops or repeats; exporters write channels-last networks' flattening so, and channel shuffles."""
    view = node.any_view()
    axis = int(node.attributes.get("axis", 0))
    order = node.constant(1).astype(np.int64)
    if not ((order >= -view.index.shape[axis]) & (order < view.index.shape[axis])).all():
        raise UnsupportedError(f"indices beyond axis {axis}, which has {view.index.shape[axis]} elements")
    index = np.take(view.index, order, axis=axis)
    return replace(
        view, index=index, exclusive=view.exclusive and len(np.unique(index)) == index.size == view.index.size
    )


@register_operator("DepthToSpace")
def _depth_to_space(node: OnnxNode) -> View:
    view, block = node.any_view(), int(node.attributes["blocksize"])
    batch, channels, height, width = view.index.shape
    if node.attributes.get("mode", b"DCR") == b"CRD":
        split = view.index.reshape(batch, -1, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        split = view.index.reshape(batch, block, block, -1, height, width).transpose(0, 3, 4, 1, 5, 2)
    return view.rearranged(split.reshape(batch, channels // block**2, height * block, width * block))


@register_operator("SpaceToDepth")
def _space_to_depth(node: OnnxNode) -> View:
    view, block = node.any_view(), int(node.attributes["blocksize"])
    batch, channels, height, width = view.index.shape
    split = view.index.reshape(batch, channels, height // block, block, width // block, block)
    deep = split.transpose(0, 3, 5, 1, 2, 4)
    return view.rearranged(deep.reshape(batch, channels * block**2, height // block, width // block))


@register_operator("Constant")
def _constant(node: OnnxNode) -> Constant:
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in node.attributes:
            value = node.attributes[key]
            return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    raise UnsupportedError("its value is not a tensor or number")
