"""The table of a pointwise function: its result for every integer that the layer before it can make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.function import Function
from skipstone.models.graph.onnx_writer import OnnxWriter
from skipstone.models.quantization.network import QuantizedTensor
from skipstone.models.quantization.reference import quantize_tensor


def evaluate_function(function: Function, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Applies ``function`` to every element of ``x`` by ONNX Runtime."""
    writer = OnnxWriter((), ("x", "y"))
    for node in function.nodes("x", "y", writer.constant, writer.value, "f"):
        writer.add(node)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [x.size]) for name in ("x", "y")]
    model = writer.model("function", ends[:1], ends[1:])
    with np.errstate(all="ignore"):
        return run_onnx(model, {"x": x.ravel()}, optimize=False, batch=x.size)["y"].reshape(x.shape).astype(np.float32)


def lookup_table(
    function: Function, before: QuantizedTensor, after: QuantizedTensor, low: int, high: int, layer: str
) -> NDArray[np.int64]:
    """Makes the table of a pointwise function.

    Args:
        function: The function.
        before: The tensor that it is applied to.
        after: The tensor of its results.
        low: Lower bound of the results.
        high: Upper bound of the results.
        layer: The layer's name, for messages.

    Returns:
        For every integer of ``before``, from the lowest on, the integer of ``after``.

    Raises:
        SkipstoneError: The function is not a number somewhere.
    """
    limit = 1 << (before.bits - 1)
    x = (np.arange(-limit, limit) - before.zero_point).astype(np.float32) * np.float32(before.scale)
    y = evaluate_function(function, x)
    if np.isnan(y).any():
        raise SkipstoneError(
            f"layer '{layer}': {function} is not a number at {x[np.isnan(y)][0]:g}, which its input can be"
        )
    largest = np.float32(after.scale * (1 << after.bits))  # far beyond the ends, and no infinity
    table: NDArray[np.int64] = np.clip(quantize_tensor(after, np.clip(y, -largest, largest)), low, high)
    return table
