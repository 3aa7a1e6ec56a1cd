"""Concat, products, nearest resizing and transposed convolutions: the same floats in ONNX Runtime as the graph gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import Concat, Conv, ConvTranspose, Product, Upsample
from skipstone.models.onnx_io.reader import load
from tests.models.builders import Array, assert_import_is_faithful, floats, node, onnx_model, run_ort, save

IMAGE = (1, 4, 5, 6)
pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=40)
@given(
    st.sampled_from([1, 2, 4]), st.integers(1, 3), pair, pair, pair, st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.booleans(),
)  # fmt: skip
def test_conv_transpose(
    tmp_path_factory: pytest.TempPathFactory,
    groups: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
    extra: tuple[int, int],
    bias: bool,
) -> None:
    # ONNX Runtime wants output padding to be less than the stride.
    assume(all(extra[axis] < stride[axis] for axis in range(2)))
    made = node(
        "ConvTranspose",
        ["x", "w", *(["b"] if bias else [])],
        strides=stride,
        dilations=dilation,
        pads=pads,
        output_padding=extra,
        group=groups,
    )
    constants: dict[str, Array] = {"w": floats(4, outputs, *kernel)} | ({"b": floats(outputs * groups)} if bias else {})
    model = onnx_model([made], IMAGE, constants)
    graph = assert_import_is_faithful(model, tmp_path_factory.mktemp("transposed"), IMAGE)
    layer = graph.layers[0]
    assert isinstance(layer, ConvTranspose)
    # Each of the 5 x 6 input pixels is multiplied by each weight.
    assert graph.macs[layer.name] == layer.weights.size * 30


def test_batch_normalization_and_relu_fold_into_a_transposed_convolution(tmp_path: Path) -> None:
    constants: dict[str, Array] = {"w": floats(4, 3, 2, 2), "k": floats(6, 1, 1), "b": floats(6, 1, 1, seed=5)}
    nodes = [node("ConvTranspose", ["x", "w"], "c", strides=[2, 2], group=2), node("Mul", ["c", "k"], "m")]
    nodes += [node("Add", ["m", "b"], "a"), node("Relu", ["a"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, constants), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [ConvTranspose]


def test_padding_that_leaves_no_output_is_refused(tmp_path: Path) -> None:
    made = node("ConvTranspose", ["x", "w"], pads=[2, 0, 3, 0], name="n")
    with pytest.raises(SkipstoneError):
        load(save(onnx_model([made], IMAGE, {"w": floats(4, 4, 1, 1)}), tmp_path))
    layer = ConvTranspose(name="n", inputs=("x",), weights=floats(4, 4, 1, 1), bias=floats(4), padding=(2, 0, 3, 0))
    with pytest.raises(SkipstoneError, match=r"^layer 'n': padding \(2, 0, 3, 0\) leaves nothing of its output$"):
        layer.output_shape(((4, 5, 6),))


COORDINATES = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (1, 4)])
def test_resize(tmp_path: Path, coordinates: str, rounding: str, factors: tuple[int, int]) -> None:
    """The graph repeats pixels exactly as ONNX Runtime does, or the import refuses the node."""
    made = node(
        "Resize", ["x", "", "s"], mode="nearest", coordinate_transformation_mode=coordinates, nearest_mode=rounding
    )
    model = onnx_model([made], IMAGE, {"s": np.float32([1, 1, *factors])}, opset=19)
    x = floats(*IMAGE)
    repeats = np.array_equal(run_ort(model, x), x.repeat(factors[0], axis=2).repeat(factors[1], axis=3))
    if repeats:
        layer = assert_import_is_faithful(model, tmp_path, IMAGE).layers[0]
        assert isinstance(layer, Upsample)
        assert layer.factor == factors
    else:
        with pytest.raises(SkipstoneError, match=f"coordinates {coordinates} with {rounding} do not repeat each pixel"):
            load(save(model, tmp_path))


def test_other_ways_to_resize(tmp_path: Path) -> None:
    asymmetric = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    cases = [
        onnx_model([node("Resize", ["x", "", "", "n"], **asymmetric)], IMAGE, {"n": np.array([1, 4, 10, 18])}),
        # onnxslim fails on axes in a network's last node.
        onnx_model(
            [node("Resize", ["x", "", "s"], "r", axes=[3, 2]), node("Conv", ["r", "w"])],
            IMAGE,
            {"s": np.float32([3, 2]), "w": floats(4, 4, 1, 1)},
            opset=18,
        ),
        onnx_model([node("Upsample", ["x", "s"])], IMAGE, {"s": np.float32([1, 1, 2, 3])}, opset=9),
        onnx_model([node("Resize", ["x", "s"])], IMAGE, {"s": np.float32([1, 1, 2, 3])}, opset=10),
    ]
    for model in cases:
        layer = assert_import_is_faithful(model, tmp_path, IMAGE).layers[0]
        assert isinstance(layer, Upsample)
        assert layer.factor == (2, 3)


def test_a_resize_by_one_makes_no_layer(tmp_path: Path) -> None:
    nodes = [node("Resize", ["x", "", "s"], "r"), node("Conv", ["r", "w"])]
    model = onnx_model(nodes, IMAGE, {"s": np.float32([1, 1, 1, 1]), "w": floats(2, 4, 1, 1)})
    assert [type(layer) for layer in assert_import_is_faithful(model, tmp_path, IMAGE).layers] == [Conv]


def test_concat(tmp_path: Path) -> None:
    """Also channels last, and vectors; a ReLU after the Concat is a layer of its own."""
    nodes = [node("Conv", ["x", "w"], "c"), node("Concat", ["c", "x", "c"], "j", axis=-3), node("Relu", ["j"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": floats(3, 4, 1, 1)}), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv", "concat", "clamp"]
    assert graph.shapes["concat1"] == (10, 5, 6)
    last = [0, 2, 3, 1]
    nodes = [node("Conv", ["x", "w"], "c"), node("Transpose", ["c"], "d", perm=last)]
    nodes += [node("Transpose", ["x"], "e", perm=last), node("Concat", ["d", "e"], "j", axis=3)]
    nodes.append(node("Transpose", ["j"], perm=[0, 3, 1, 2]))
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": floats(3, 4, 1, 1)}), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv", "concat"]
    nodes = [node("Gemm", ["x", "w"], "g"), node("Concat", ["g", "x"], "j", axis=1), node("Gemm", ["j", "v"])]
    constants: dict[str, Array] = {"w": floats(7, 3), "v": floats(10, 2)}
    graph = assert_import_is_faithful(onnx_model(nodes, (1, 7), constants), tmp_path, (1, 7))
    assert [type(layer) for layer in graph.layers] == [Conv, Concat, Conv]


def test_concat_of_one(tmp_path: Path) -> None:
    model = onnx_model([node("Conv", ["x", "w"], "c"), node("Concat", ["c"], axis=1)], IMAGE, {"w": floats(3, 4, 1, 1)})
    assert [type(layer) for layer in assert_import_is_faithful(model, tmp_path, IMAGE).layers] == [Conv]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_squeeze_and_excitation(tmp_path: Path, swapped: bool, flat: bool) -> None:
    """A gate for each channel: every way to compute its 1 x C x 1 x 1, on either side of the product."""
    constants: dict[str, Array] = {"shape": np.array([1, 4, 1, 1])}
    nodes = [node("GlobalAveragePool", ["x"], "p")]
    if flat:
        nodes += [node("Flatten", ["p"], "f"), node("Gemm", ["f", "w"], "g"), node("Reshape", ["g", "shape"], "r")]
        constants["w"] = floats(4, 4)
    else:
        nodes.append(node("Conv", ["p", "w"], "r"))
        constants["w"] = floats(4, 4, 1, 1)
        del constants["shape"]
    nodes += [node("Sigmoid", ["r"], "s"), node("Mul", ["s", "x"] if swapped else ["x", "s"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, constants), tmp_path, IMAGE)
    product = graph.layers[-1]
    assert isinstance(product, Product)
    assert product.inputs == ("x", graph.layers[-2].name)


def test_product_of_equal_shapes_and_its_clamp(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Mul", ["x", "c"], "m"), node("Relu", ["m"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1)}), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Conv, Product]
    assert graph.layers[1].clamp is not None
