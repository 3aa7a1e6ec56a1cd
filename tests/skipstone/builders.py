"""Small ONNX networks and data files for tests of the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_network(
    path: Path, *, weights: np.ndarray | None = None, extra: str | None = None, batch: int | str = 1
) -> Path:
    """Two convolutions with a residual Add, pool, Gemm, Softmax on a 2x9x7 input; ``extra`` adds an operator at the end."""
    rng = np.random.default_rng(0)
    first = rng.normal(0, 0.3, (5, 2, 3, 3)).astype(np.float32) if weights is None else weights
    constants = {
        "w1": first,
        "b1": rng.normal(0, 0.1, 5).astype(np.float32),
        "w2": rng.normal(0, 0.3, (5, 5, 3, 3)).astype(np.float32),
        "w3": rng.normal(0, 0.3, (4, 5)).astype(np.float32),
        "b3": rng.normal(0, 0.1, 4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=[1, 0, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["s"], name="sum"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["g"], name="dense", transB=1),
        helper.make_node("Softmax", ["g"], ["y"], name="softmax"),
    ]
    output = "y"
    if extra is not None:
        nodes.append(helper.make_node(extra, ["y"], ["z"], name="odd_one"))
        output = "z"
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, 9, 7])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))
    return path


def small_data(path: Path, count: int = 6, shape: tuple[int, ...] = (2, 9, 7), labels: bool = True) -> Path:
    rng = np.random.default_rng(1)
    arrays = {"images": rng.random((count, *shape), dtype=np.float32)}
    if labels:
        arrays["labels"] = rng.integers(0, 4, count)
    np.savez(path, **arrays)
    return path


TINY_DESIGN = """
rows = 2
cols = 3
window_depth = 18
windows = 2
accumulators = 2
load_width = 2
requantizer_lanes = 2
activation_words = 1024
weight_entries = 1024
load_entries = 1024
parameter_words = 32
layers = 8
"""
