"""Every pool: a hand-built ONNX file and its graph give the same floats in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from skipstone.models.graph.layers import AveragePool
from tests.models.builders import Array, assert_import_is_faithful, floats, node, onnx_model

IMAGE = (1, 4, 9, 8)


@pytest.mark.parametrize(
    "made",
    [
        node("MaxPool", ["x"], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1]),
        node("MaxPool", ["x"], kernel_shape=[2, 3], dilations=[2, 1]),
        node("MaxPool", ["x"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        # (9 - 3) and (8 - 2) are multiples of the stride, so rounding up changes nothing.
        node("MaxPool", ["x"], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
        node("AveragePool", ["x"], kernel_shape=[3, 2], strides=[2, 1]),
        node("AveragePool", ["x"], kernel_shape=[3, 3], pads=[1, 1, 0, 1], count_include_pad=1),
        node("AveragePool", ["x"], kernel_shape=[3, 3], pads=[1, 1, 0, 1]),
        node("AveragePool", ["x"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        node("GlobalAveragePool", ["x"]),
    ],
)
def test_pools(tmp_path: Path, made: onnx.NodeProto) -> None:
    assert len(assert_import_is_faithful(onnx_model([made], IMAGE), tmp_path, IMAGE).layers) == 1


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("opset", [17, 18])
def test_reduce_mean(tmp_path: Path, keep: int, opset: int) -> None:
    axes: dict[str, object] = {"axes": [2, 3]} if opset < 18 else {}
    constants: dict[str, Array] = {"w": floats(4, 5)} | ({} if opset < 18 else {"axes": np.array([-1, -2])})
    mean = node("ReduceMean", ["x", *(["axes"] if opset > 17 else [])], "m", keepdims=keep, **axes)
    nodes = [mean, node("Flatten", ["m"], "f"), node("Gemm", ["f", "w"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, constants, opset=opset), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["average_pool", "gemm"]


def test_reduce_mean_of_channels_last(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], "t", perm=[0, 2, 3, 1]), node("ReduceMean", ["t"], axes=[1, 2], keepdims=0)]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE), tmp_path, IMAGE)
    assert graph.shapes[graph.outputs[0]] == (4, 1, 1)


@settings(max_examples=150)
@given(
    st.sampled_from(["MaxPool", "AveragePool"]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.booleans(),
    st.booleans(),
)
@example("AveragePool", (3, 2), (3, 3), (1, 1), (1, 0, 1, 1), True, True)
@example("AveragePool", (3, 3), (2, 2), (1, 1), (0, 0, 0, 0), True, False)
def test_padding_and_rounding(
    tmp_path_factory: pytest.TempPathFactory,
    operator: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    ceil: bool,
    counts: bool,
) -> None:
    """Padding, strides, dilations, ``ceil_mode`` and ``count_include_pad`` in all combinations that ONNX allows."""
    assume(all(padding[axis] < kernel[axis % 2] for axis in range(4)))
    options = {"count_include_pad": int(counts)} if operator == "AveragePool" else {}
    made = node(
        operator,
        ["x"],
        kernel_shape=kernel,
        strides=stride,
        dilations=dilation,
        pads=padding,
        ceil_mode=int(ceil),
        **options,
    )
    model = onnx_model([made], (1, 2, 7, 6), opset=19)
    # A window may not reach past the image by as much as its kernel's size, which only dilation could make it.
    assume(not ceil or dilation == (1, 1))
    graph = assert_import_is_faithful(model, tmp_path_factory.mktemp("pool"), (1, 2, 7, 6))
    assert len(graph.layers) == 1


def test_rows_beyond_the_padding_are_not_counted(tmp_path: Path) -> None:
    """Windows of 2 at stride 2 over 9 rows: with ``ceil_mode`` the fifth has one row, and only that row counts."""
    made = node("AveragePool", ["x"], kernel_shape=[2, 1], strides=[2, 1], ceil_mode=1, count_include_pad=1)
    layer = assert_import_is_faithful(onnx_model([made], IMAGE), tmp_path, IMAGE).layers[0]
    assert isinstance(layer, AveragePool)
    assert (layer.padding, layer.uncounted) == ((0, 0, 1, 0), (0, 0, 1, 0))
