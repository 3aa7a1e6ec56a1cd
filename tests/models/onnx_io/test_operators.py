"""Every operator that computes: a hand-built ONNX file and its graph give the same floats in ONNX Runtime."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.models.graph.layers import Affine, ClampLayer, Conv
from skipstone.models.onnx_io.reader import load
from tests.models.builders import Array, assert_import_is_faithful, floats, node, onnx_model, save

IMAGE = (1, 4, 9, 8)

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=30)
@given(
    st.sampled_from([1, 2, 4]),
    pair,
    pair,
    pair,
    st.one_of(st.tuples(*[st.integers(0, 2)] * 4), st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"])),
)
def test_conv(
    tmp_path_factory: pytest.TempPathFactory,
    groups: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, ...] | str,
) -> None:
    if isinstance(padding, str):
        dilation = (1, 1)  # ONNX Runtime refuses SAME with dilation.
    where = {"auto_pad": padding} if isinstance(padding, str) else {"pads": list(padding)}
    nodes = [node("Conv", ["x", "w", "b"], strides=stride, dilations=dilation, group=groups, **where)]
    model = onnx_model(nodes, IMAGE, {"w": floats(8, 4 // groups, *kernel), "b": floats(8)})
    graph = assert_import_is_faithful(model, tmp_path_factory.mktemp("conv"), IMAGE)
    assert len(graph.layers) == 1


@pytest.mark.parametrize(("auto", "padding"), [("SAME_UPPER", (0, 1, 1, 1)), ("SAME_LOWER", (1, 1, 0, 1))])
def test_odd_padding_goes_where_auto_pad_says(tmp_path: Path, auto: str, padding: tuple[int, ...]) -> None:
    # 9 rows, stride 2: 5 outputs of a 2-row kernel span 10 rows. 8 columns, stride 1, kernel 3: one each side.
    model = onnx_model([node("Conv", ["x", "w"], strides=[2, 1], auto_pad=auto)], IMAGE, {"w": floats(4, 4, 2, 3)})
    assert assert_import_is_faithful(model, tmp_path, IMAGE).convs[0].padding == padding


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (1,)])
def test_gemm_scales_and_bias(tmp_path: Path, transposed: int, bias: tuple[int, ...] | None) -> None:
    constants: dict[str, Array] = {"w": floats(5, 7) if transposed else floats(7, 5)}
    if bias:
        constants["b"] = floats(*bias)
    nodes = [node("Gemm", ["x", *constants], transB=transposed, alpha=0.5, beta=2.0)]
    graph = assert_import_is_faithful(onnx_model(nodes, (1, 7), constants), tmp_path, (1, 7))
    assert [layer.kind for layer in graph.layers] == ["gemm"]
    assert graph.input_shape == (7, 1, 1)


def test_gemm_over_a_flattened_image_is_a_kernel_that_covers_it(tmp_path: Path) -> None:
    nodes = [node("Flatten", ["x"], "f"), node("Gemm", ["f", "w"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": floats(4 * 9 * 8, 6)}), tmp_path, IMAGE)
    assert graph.convs[0].weights.shape == (6, 4, 9, 8)


def test_gemm_after_a_channels_last_flatten(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], "t", perm=[0, 2, 3, 1]), node("Flatten", ["t"], "f"), node("Gemm", ["f", "w"])]
    weights = floats(4 * 9 * 8, 6)
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": weights}), tmp_path, IMAGE)
    # Channel 2 at pixel (5, 7) is element (5 * 8 + 7) * 4 + 2 of the flattened image.
    assert graph.convs[0].weights[3, 2, 5, 7] == weights[(5 * 8 + 7) * 4 + 2, 3]


@pytest.mark.parametrize("shape", [(6, 7), (1, 6, 7)])
def test_matrix_rows_are_pixels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nodes = [node("MatMul", ["x", "w"], "m"), node("Add", ["m", "b"], "a"), node("Relu", ["a"], "r")]
    last = len(shape) - 1
    nodes += [node("MatMul", ["r", "v"], "n"), node("Transpose", ["n"], perm=[*range(last - 1), last, last - 1])]
    constants: dict[str, Array] = {"w": floats(7, 5), "b": floats(5), "v": floats(5, 3)}
    graph = assert_import_is_faithful(onnx_model(nodes, shape, constants), tmp_path, shape)
    assert graph.input_shape == (7, 1, 6)
    assert [layer.kind for layer in graph.layers] == ["gemm", "gemm"]
    assert graph.layers[0].clamp == (0.0, math.inf)


def normalization(channels: int) -> dict[str, Array]:
    return {"g": floats(channels), "s": floats(channels), "m": floats(channels), "v": np.abs(floats(channels)) + 0.1}


def test_batch_normalization_folds_into_its_convolution(tmp_path: Path) -> None:
    constants = {"w": floats(6, 4, 3, 3), "b": floats(6, seed=9), **normalization(6)}
    # The convolution's output has a second reader in one of the two cases.
    nodes = [node("Conv", ["x", "w", "b"], "c"), node("BatchNormalization", ["c", "g", "s", "m", "v"], epsilon=0.01)]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, constants), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv"]
    nodes = [*nodes[:1], node("BatchNormalization", ["c", "g", "s", "m", "v"], "n"), node("Add", ["c", "n"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, constants), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv", "affine", "add"]


def test_batch_normalization_after_a_clamp_stands_alone(tmp_path: Path) -> None:
    constants = {"w": floats(6, 4, 3, 3), **normalization(6)}
    nodes = [node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "r")]
    nodes.append(node("BatchNormalization", ["r", "g", "s", "m", "v"]))
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, constants), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv", "affine"]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1,), ()])
def test_arithmetic_with_a_constant_a_channel(tmp_path: Path, operator: str, shape: tuple[int, ...]) -> None:
    constant = np.asarray(floats(*shape) + 3, dtype=np.float32)
    graph = assert_import_is_faithful(onnx_model([node(operator, ["x", "k"])], IMAGE, {"k": constant}), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Affine]
    folded = [node("Conv", ["x", "w", "b"], "c"), node(operator, ["c", "k"])]
    model = onnx_model(folded, IMAGE, {"w": floats(4, 4, 1, 1), "b": floats(4), "k": constant})
    assert [type(layer) for layer in assert_import_is_faithful(model, tmp_path, IMAGE).layers] == [Conv]


def test_constant_first(tmp_path: Path) -> None:
    nodes = [node("Mul", ["k", "x"], "a"), node("Add", ["b", "a"])]
    model = onnx_model(nodes, IMAGE, {"k": floats(4, 1, 1), "b": floats(4, 1, 1)})
    assert len(assert_import_is_faithful(model, tmp_path, IMAGE).layers) == 1


def test_add_of_a_tensor_to_itself(tmp_path: Path) -> None:
    graph = assert_import_is_faithful(onnx_model([node("Add", ["x", "x"])], IMAGE), tmp_path, IMAGE)
    assert graph.layers[0].inputs == ("x", "x")


@pytest.mark.parametrize(
    ("nodes", "clamp"),
    [
        ([node("Relu", ["c"])], (0.0, math.inf)),
        ([node("Clip", ["c", "low", "high"])], (-0.5, 0.75)),
        ([node("Clip", ["c", "", "high"])], (-math.inf, 0.75)),
        ([node("Clip", ["c", "low"], "d"), node("Relu", ["d"])], (0.0, math.inf)),
        # Everything is first at least 0.75 and then at most -0.5: the result is constant.
        ([node("Clip", ["c", "high"], "d"), node("Clip", ["d", "", "low"])], (-0.5, -0.5)),
    ],
)
def test_clamps(tmp_path: Path, nodes: list[onnx.NodeProto], clamp: tuple[float, float]) -> None:
    constants: dict[str, Array] = {"w": floats(4, 4, 1, 1), "low": np.float32(-0.5), "high": np.float32(0.75)}
    constants = {name: np.asarray(value, dtype=np.float32) for name, value in constants.items()}
    model = onnx_model([node("Conv", ["x", "w"], "c"), *nodes], IMAGE, constants)
    graph = assert_import_is_faithful(model, tmp_path, IMAGE)
    assert [layer.clamp for layer in graph.layers] == [clamp]


def test_clip_of_old_opsets_has_attributes(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Clip", ["c"], min=-0.25, max=0.5)]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1)}, opset=10), tmp_path, IMAGE)
    assert graph.layers[0].clamp == (-0.25, 0.5)


def test_relu_stands_alone_where_its_input_has_other_readers(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "r"), node("Add", ["c", "r"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1)}), tmp_path, IMAGE)
    assert [type(layer).__name__ for layer in graph.layers] == ["Conv", "ClampLayer", "Add"]
    graph = assert_import_is_faithful(onnx_model([node("Relu", ["x"])], IMAGE), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [ClampLayer]


def test_relu_of_a_network_output_leaves_the_output_alone(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "r"), node("Conv", ["r", "w"], "y")]
    graph = load(save(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1)}, outputs=("y", "c")), tmp_path))
    assert graph.layer(graph.outputs[1]).clamp is None


@pytest.mark.parametrize("opset", [11, 17])
def test_softmax_on_the_way_to_the_output(tmp_path: Path, opset: int) -> None:
    nodes = [node("Gemm", ["x", "w"], "g"), node("Softmax", ["g"])]
    graph = assert_import_is_faithful(onnx_model(nodes, (1, 7), {"w": floats(7, 5)}, opset=opset), tmp_path, (1, 7))
    assert [layer.kind for layer in graph.layers] == ["gemm", "softmax"]
