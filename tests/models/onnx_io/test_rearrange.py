"""Nodes that only rearrange elements disappear, and the nodes after them get the right elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.onnx_io.reader import load
from tests.models.builders import Array, assert_import_is_faithful, floats, node, onnx_model, save

IMAGE = (1, 4, 3, 2)
POOLED = [node("GlobalAveragePool", ["x"], "p")]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Reshape", ["x", "minus"], "f")],
        [node("Reshape", ["x", "zero"], "f")],
        [node("Flatten", ["x"], "f", axis=-3)],
        [node("Identity", ["x"], "i"), node("Dropout", ["i"], "d"), node("Flatten", ["d"], "f")],
        # Width before height, then flattened: the Gemm's columns must be permuted.
        [node("Transpose", ["x"], "t", perm=[0, 1, 3, 2]), node("Reshape", ["t", "minus"], "f")],
        [
            node("Reshape", ["x", "line"], "l"),
            node("Gather", ["l", "order"], "g"),
            node("Reshape", ["g", "minus"], "f"),
        ],
        [node("Unsqueeze", ["x", "axis"], "u"), node("Squeeze", ["u", "axis"], "s"), node("Flatten", ["s"], "f")],
    ],
)
def test_before_a_gemm(tmp_path: Path, nodes: list[onnx.NodeProto]) -> None:
    constants: dict[str, Array] = {
        "w": floats(24, 5),
        "minus": np.array([1, -1]),
        "zero": np.array([0, 24]),
        "line": np.array([-1]),
        "order": np.random.default_rng(0).permutation(24),
        "axis": np.array([0]),
    }
    used = {name: array for name, array in constants.items() if name == "w" or any(name in n.input for n in nodes)}
    graph = assert_import_is_faithful(onnx_model([*nodes, node("Gemm", ["f", "w"])], IMAGE, used), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["gemm"]


def test_squeeze_without_axes(tmp_path: Path) -> None:
    nodes = [*POOLED, node("Squeeze", ["p"], "s"), node("Unsqueeze", ["s", "axis"], "u"), node("Gemm", ["u", "w"])]
    constants: dict[str, Array] = {"w": floats(4, 5), "axis": np.array([0])}
    assert_import_is_faithful(onnx_model(nodes, IMAGE, constants), tmp_path, IMAGE)


def test_back_to_an_image(tmp_path: Path) -> None:
    nodes = [*POOLED, node("Flatten", ["p"], "f"), node("Reshape", ["f", "shape"], "r"), node("Conv", ["r", "w"])]
    constants: dict[str, Array] = {"shape": np.array([1, 4, 1, 1]), "w": floats(5, 4, 1, 1)}
    assert_import_is_faithful(onnx_model(nodes, IMAGE, constants), tmp_path, IMAGE)


def test_a_clamp_is_absorbed_through_a_flatten(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Flatten", ["c"], "f"), node("Relu", ["f"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1)}), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv"]


def test_a_gather_beyond_its_axis_is_refused(tmp_path: Path) -> None:
    model = onnx_model([node("Gather", ["x", "first"], name="pick", axis=1)], IMAGE, {"first": np.array([0, 4])})
    with pytest.raises(SkipstoneError):
        load(save(model, tmp_path))
