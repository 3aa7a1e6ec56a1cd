"""The ends of an ONNX file: which of our tensors its input is, and how it sees its outputs.

A file may rearrange its input before it computes anything: Keras files have the channels last, others a flat vector that they
reshape into an image. Our input tensor is what the first node sees that needs channels, height and width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.ends import Arrangement, End
from skipstone.models.graph.layers import Shape
from skipstone.models.onnx_io.arrangement import View, image_index, rows_index
from skipstone.models.onnx_io.nodes import Conversion, Converter, OperatorKey, operator_key
from skipstone.models.onnx_io.pointwise import POINTWISE
from skipstone.models.onnx_io.rearrange import REARRANGING

_IMAGE_READERS = {
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "LRN", "MaxPool",
    "Resize", "Upsample",
}  # fmt: skip
"""Operators that need 1 x channels x height x width."""
_ELEMENTWISE = {("", op_type) for op_type in (*POINTWISE, "Cast", "DequantizeLinear", "QuantizeLinear")}
"""Operators that leave every element where it is."""


def input_view(
    model: onnx.ModelProto,
    onnx_name: str,
    sizes: tuple[int, ...],
    tensor: str,
    converters: Mapping[OperatorKey, Converter],
    ours: bool,
) -> View:
    """How the file sees our input tensor, which has the shape that the file's layers need.

    Args:
        model: The model, simplified.
        onnx_name: ONNX's name of the input.
        sizes: Its shape.
        tensor: Our name of the tensor.
        converters: Of all operators; those that rearrange are used.
        ours: Whether the file is a quantized one of ours, where the first QuantizeLinear reads our tensor.
    """
    order = _leading_order(model, onnx_name, sizes, converters, ours)
    if order is not None:
        _, channels, height, width = order.shape
        return View(tensor, (channels, height, width), np.argsort(order.ravel()).reshape(sizes), exclusive=False)
    if len(sizes) == 4:
        shape: Shape = (sizes[1], sizes[2], sizes[3])
        return View(tensor, shape, image_index(shape), exclusive=False)
    if not 2 <= len(sizes) <= 3:
        raise SkipstoneError(
            f"input '{onnx_name}' has {len(sizes)} axes, and no layer says which are channels, height and width; 2 to 4 are "
            "supported then"
        )
    rows, channels = sizes[-2], sizes[-1]
    return View(tensor, (channels, 1, rows), rows_index(sizes[:-1], channels), exclusive=False)


def file_view(name: str, sizes: tuple[int, ...]) -> View:
    """The input in the file's own order, as a flat tensor: what can be said of it before any node is looked at."""
    size = math.prod(sizes)
    return View(name, (size, 1, 1), np.arange(size).reshape(sizes), exclusive=False)


def _leading_order(
    model: onnx.ModelProto,
    onnx_name: str,
    sizes: tuple[int, ...],
    converters: Mapping[OperatorKey, Converter],
    ours: bool,
) -> NDArray[np.int64] | None:
    """The places of the input's elements as the first node has them that needs 1 x channels x height x width; None where no such
    node reads a rearrangement of the whole input."""
    size, start = math.prod(sizes), file_view("input", sizes)
    moving = {key: converter for key, converter in converters.items() if key[0] == "" and key[1] in REARRANGING}
    probe = Conversion(model, onnx_name, start, moving)
    for node in model.graph.node:
        key = operator_key(node)
        if key in moving:
            probe.convert(node)
            continue
        view = next((probe.views[name] for name in node.input if name in probe.views), None)
        if view is None:
            continue
        if key == ("", "QuantizeLinear") if ours else key[1] in _IMAGE_READERS:
            index = view.index[:, :, None] if view.index.ndim == 3 else view.index
            image = index.ndim == 4 and len(index) == 1 and index.size == size
            return index if image and len(np.unique(index)) == size else None
        if key in _ELEMENTWISE:
            probe.views[node.output[0]] = view
    return None


def ends_of_outputs(
    names: Sequence[str], views: Mapping[str, View], file: str
) -> tuple[tuple[str, ...], tuple[End, ...]]:
    """Our tensors that are the outputs, and how the file sees them.

    Args:
        names: The file's names of its outputs.
        views: What ONNX's tensors are.
        file: The file's name, for messages.

    Raises:
        SkipstoneError: An output is a constant.
    """
    tensors, ends = [], []
    for name in names:
        view = views.get(name)
        if view is None:
            raise SkipstoneError(f"{file}: output '{name}' does not depend on the input")
        tensors.append(view.tensor)
        ends.append(End(name, Arrangement.of_index(view.index)))
    return tuple(tensors), tuple(ends)
