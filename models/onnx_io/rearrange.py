"""The ONNX operators that only rearrange: each is done to the index array of what it reads. Constants, too."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

from skipstone.models.onnx_io.nodes import Attributes, Converters, NodeConverter, UnsupportedError


def _same(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    c.rearranged(node, c.any_view(node).index)


def _flatten(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    index = c.any_view(node).index
    axis = int(attributes.get("axis", 1))
    c.rearranged(node, index.reshape(math.prod(index.shape[: axis + index.ndim if axis < 0 else axis]), -1))


def _reshape(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    index, target = c.any_view(node).index, c.constant(node, 1)
    assert target is not None
    sizes = [int(size) for size in target.ravel()]
    if not attributes.get("allowzero", 0):
        sizes = [index.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    try:
        c.rearranged(node, index.reshape(sizes))
    except ValueError:
        raise UnsupportedError(f"can't reshape {index.shape} to {tuple(sizes)}") from None


def _transpose(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    c.rearranged(node, c.any_view(node).index.transpose(attributes.get("perm")))


def _axes(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> tuple[int, ...]:
    axes = c.constant(node, 1)
    return tuple(int(axis) for axis in (attributes.get("axes", ()) if axes is None else axes.ravel()))


def _squeeze(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    c.rearranged(node, c.any_view(node).index.squeeze(_axes(c, node, attributes) or None))


def _unsqueeze(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    c.rearranged(node, np.expand_dims(c.any_view(node).index, _axes(c, node, attributes)))


def _gather(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    """A Gather that only reorders; exporters write channels-last networks' flattening so."""
    index, chosen = c.any_view(node).index, c.constant(node, 1)
    assert chosen is not None
    taken = np.take(index, chosen.astype(np.int64), axis=int(attributes.get("axis", 0)))
    if taken.size != index.size or len(np.unique(taken)) != index.size:
        raise UnsupportedError("it drops or repeats elements")
    c.rearranged(node, taken)


def _constant(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    value = next(
        (
            attributes[key]
            for key in ("value", "value_float", "value_int", "value_floats", "value_ints")
            if key in attributes
        ),
        None,
    )
    if value is None:
        raise UnsupportedError("its value is not a tensor or number")
    c.set_constant(
        node.output[0], numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    )


REARRANGING: Converters = {
    "Constant": _constant,
    "Identity": _same,
    "Dropout": _same,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
}
