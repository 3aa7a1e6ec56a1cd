"""Operators in forms that files have: one spatial axis, slopes for each channel, sums of several, global maxima, matrices on
either side. Reading proves each against ONNX Runtime; the integers are within one step of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from tests.models.builders import (
    Array,
    assert_import_is_faithful,
    floats,
    node,
    onnx_model,
    quantized,
    random_images,
    save,
)
from tests.models.quantization.onnx_runtime import compare_layers

small = st.integers(1, 4)


def check(model: onnx.ModelProto, factory: pytest.TempPathFactory, shape: tuple[int, ...]) -> Graph:
    graph = assert_import_is_faithful(model, factory.mktemp("variants"), shape)
    network = quantized(graph)
    integers = reference.quantize_input(network, random_images(graph, 2))
    assert max(layer.max_steps for layer in compare_layers(network, integers)) <= 1
    return graph


@settings(max_examples=25)
@given(
    small,
    small,
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(7, 12),
    st.data(),
)
def test_one_spatial_axis(
    tmp_path_factory: pytest.TempPathFactory,
    channels: int,
    outputs: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    length: int,
    data: st.DataObject,
) -> None:
    """A convolution or a transposed one along one axis, a pool, and a global one."""
    transposed, grouped, average = (data.draw(st.booleans()) for _ in range(3))
    groups = channels if grouped else 1
    shape = (channels, outputs, kernel) if transposed else (outputs * groups, channels // groups, kernel)
    operator = "ConvTranspose" if transposed else "Conv"
    attributes = {"strides": [stride], "dilations": [dilation], "pads": [min(before, kernel - 1)] * 2, "group": groups}
    pool = "AveragePool" if average else "MaxPool"
    nodes = [node(operator, ["x", "w"], "c", **attributes), node("Relu", ["c"], "r")]
    nodes += [node(pool, ["r"], "p", kernel_shape=[2], strides=[2]), node(f"Global{pool}", ["p"])]
    check(onnx_model(nodes, (1, channels, length), {"w": floats(*shape)}), tmp_path_factory, (1, channels, length))


@settings(max_examples=15)
@given(st.integers(1, 5), small, small, st.sampled_from([0.3, 0.9, 2.0]), st.booleans())
def test_slopes_for_each_channel(
    tmp_path_factory: pytest.TempPathFactory, channels: int, height: int, width: int, steepest: float, conv: bool
) -> None:
    slopes = np.linspace(-0.2, steepest, channels, dtype=np.float32).reshape(-1, 1, 1)
    nodes = [node("Conv", ["x", "w"], "c")] if conv else []
    nodes += [node("PRelu", ["c" if conv else "x", "s"])]
    constants = {"w": floats(channels, channels, 1, 1), "s": slopes}
    shape = (1, channels, height, width)
    check(
        onnx_model(nodes, shape, {name: constants[name] for name in constants if conv or name == "s"}),
        tmp_path_factory,
        shape,
    )


@pytest.mark.parametrize("equal", [False, True])
def test_slopes_without_pixel_axes_are_refused(tmp_path_factory: pytest.TempPathFactory, equal: bool) -> None:
    """ONNX would spread them along the width."""
    slopes = np.full(3, 0.1, np.float32) if equal else np.array([0.1, 0.2, 0.3], np.float32)
    model = onnx_model([node("PRelu", ["x", "s"], name="p")], (1, 3, 4, 5), {"s": slopes})
    with pytest.raises(SkipstoneError, match=r"PRelu \(node 'p': .*\(3,\).*\(channels, 1, 1\)"):
        load(save(model, tmp_path_factory.mktemp("slopes")))


@settings(max_examples=15)
@given(st.integers(1, 4), small, small, small, st.booleans())
def test_sums(
    tmp_path_factory: pytest.TempPathFactory, operands: int, channels: int, height: int, width: int, constant: bool
) -> None:
    constants: dict[str, Array] = {f"w{n}": floats(channels, channels, 1, 1, seed=n) for n in range(operands)}
    nodes = [node("Conv", ["x", f"w{n}"], f"t{n}") for n in range(operands)]
    inputs = [f"t{n}" for n in range(operands)]
    if constant:
        constants["b"] = floats(channels, 1, 1)
        inputs.insert(len(inputs) // 2, "b")
    shape = (1, channels, height, width)
    check(onnx_model([*nodes, node("Sum", inputs)], shape, constants), tmp_path_factory, shape)


@settings(max_examples=15)
@given(small, small, small, st.sampled_from(["GlobalMaxPool", "ReduceMax"]), st.booleans())
def test_global_maxima(
    tmp_path_factory: pytest.TempPathFactory, channels: int, height: int, width: int, operator: str, keep: bool
) -> None:
    attributes = {"axes": [2, 3], "keepdims": int(keep)} if operator == "ReduceMax" else {}
    nodes = [node("Conv", ["x", "w"], "c"), node(operator, ["c"], **attributes)]
    shape = (1, channels, height, width)
    check(onnx_model(nodes, shape, {"w": floats(channels, channels, 1, 1)}), tmp_path_factory, shape)


@settings(max_examples=15)
@given(st.integers(2, 5), st.integers(2, 5), small, st.sampled_from(["left", "right", "batched", "transA"]))
def test_matrices(tmp_path_factory: pytest.TempPathFactory, inputs: int, rows: int, outputs: int, form: str) -> None:
    """A constant matrix on the left or right of rows of pixels, with an axis of 1, and Gemm of the transposed input."""
    shape: tuple[int, ...] = (1, inputs, rows) if form == "left" else (1, rows, inputs)
    match form:
        case "left":
            # What the array sums over are channels: those of a convolution along one axis.
            nodes = [node("Conv", ["x", "k"], "c"), node("MatMul", ["w", "c"])]
            constants = {"k": floats(inputs, inputs, 1), "w": floats(outputs, inputs)}
        case "transA":
            constants = {"k": floats(inputs, inputs, 1), "w": floats(inputs, outputs), "two": np.array([inputs, rows])}
            nodes = [node("Conv", ["x", "k"], "c"), node("Reshape", ["c", "two"], "r")]
            nodes.append(node("Gemm", ["r", "w"], transA=1))
            shape = (1, inputs, rows)
        case _:
            nodes = [node("MatMul", ["x", "w"])]
            constants = {"w": floats(*((1,) if form == "batched" else ()), inputs, outputs)}
    check(onnx_model(nodes, shape, constants), tmp_path_factory, shape)


def test_casts_between_floats_are_nothing_to_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    nodes = [node("Cast", ["x"], "h", to=half), node("Relu", ["h"], "r"), node("Cast", ["r"], "s", to=single)]
    nodes.append(node("Conv", ["s", "w"]))
    model = onnx_model(nodes, (1, 3, 4, 4), {"w": floats(2, 3, 1, 1)})
    graph = load(save(model, tmp_path_factory.mktemp("casts")))
    assert [layer.kind for layer in graph.layers] == ["clamp", "conv"]


def test_a_cast_to_integers_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    nodes = [node("Cast", ["x"], "i", name="round", to=onnx.TensorProto.INT64), node("Cast", ["i"], to=1)]
    with pytest.raises(SkipstoneError, match=r"Cast \(node 'round': to INT64\)"):
        load(save(onnx_model(nodes, (1, 3, 4, 4)), tmp_path_factory.mktemp("casts")))
