"""The only input of a network: its sizes, and the batch that its file may have fixed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from skipstone.errors import SkipstoneError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A network's input.

    Attributes:
        name: ONNX's name.
        sizes: Its sizes with a batch of one.
        batch: What the file fixes the batch to; 0 where it leaves it open.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int


def fix_input(model: onnx.ModelProto, path: Path, input_shape: tuple[int, ...] | None) -> Entry:
    """Gives the only input fixed sizes and a batch of one, in place.

    Args:
        model: The model as read.
        path: Its file, for messages.
        input_shape: The sizes that were asked for, with or without the batch.

    Raises:
        SkipstoneError: There are several inputs, or its sizes are open or do not fit.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs) or "none"
        raise SkipstoneError(f"{path.name}: a network must have one input, this one has {len(inputs)} ({names})")
    tensor_type = inputs[0].type.tensor_type
    name, rank = inputs[0].name, len(tensor_type.shape.dim)
    if tensor_type.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        kinds = TensorProto.DataType
        kind = kinds.Name(tensor_type.elem_type) if tensor_type.elem_type in kinds.values() else "of no known type"
        raise SkipstoneError(f"{path.name}: input '{name}' is {kind}; export the network with a float input")
    if not rank:
        raise SkipstoneError(f"{path.name}: input '{name}' is a single number")
    # Some exporters write -1 for a dimension that they leave open.
    stated = [max(0, dim.dim_value) for dim in tensor_type.shape.dim]
    sizes = list(stated)
    shown = "x".join(str(dim.dim_value) if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor_type.shape.dim)
    if input_shape is not None:
        fixed = (1, *input_shape) if len(input_shape) == rank - 1 else tuple(input_shape)
        # The leading axis may be made one: then it is a batch.
        free = [0 if axis == 0 and fixed[:1] == (1,) else size for axis, size in enumerate(sizes)]
        if len(fixed) != rank or not all(f > 0 and s in (0, f) for f, s in zip(fixed, free, strict=True)):
            text = "x".join(map(str, input_shape))
            raise SkipstoneError(f"{path.name}: input shape {text} does not fit input '{name}', which is {shown}")
        sizes = list(fixed)
    elif sizes[0] != 1 and rank > 1:
        if sizes[0] > 1:
            _log.warning(
                "%s: input '%s' is %s, taken as a batch of %d; one image is run at a time",
                path.name,
                name,
                shown,
                sizes[0],
            )
        sizes[0] = 1
    if 0 in sizes:
        raise SkipstoneError(
            f"{path.name}: input '{name}' has dynamic dimensions, {shown}; say its shape", parameter="input_shape"
        )
    if rank > 2 and sizes[0] != 1:
        raise SkipstoneError(
            f"{path.name}: input '{name}' has a batch of {sizes[0]}; one image is run at a time, so ask for a batch of 1",
            parameter="input_shape",
        )
    for dim, size in zip(tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = size
    batch = stated[0] if sizes[0] == 1 else 1
    if batch > 1:
        _free_batch(model, batch)
    # Shapes recorded in the file may contradict the ones just fixed; they are inferred anew.
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()
    return Entry(name, tuple(sizes), batch)


def _free_batch(model: onnx.ModelProto, batch: int) -> None:
    """Makes the batch one in the sizes that Reshape and Expand are given, in place."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
    for node in graph.node:
        if node.op_type not in ("Reshape", "Expand") or len(node.input) < 2 or node.input[1] not in constants:
            continue
        sizes = numpy_helper.to_array(constants[node.input[1]])
        if sizes.ndim == 1 and sizes.size and sizes[0] == batch:
            name = f"{node.output[0]}.sizes_of_one"
            graph.initializer.append(numpy_helper.from_array(np.array([1, *sizes[1:]], np.int64), name))
            node.input[1] = name
