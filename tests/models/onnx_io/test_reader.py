"""One clear message for everything that can be wrong with a file; shapes that are fixed or asked for; the two ResNet-8s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from skipstone.errors import SkipstoneError
from skipstone.models.data.zoo import find
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.reader import load, read_network
from tests.models.builders import floats, node, onnx_model, run_ort, save
from tests.real_networks import RESNETS

IMAGE = (1, 4, 9, 8)
WEIGHTS = {"w": floats(4, 4, 1, 1)}
CONV = node("Conv", ["x", "w"])


def refusal(path: Path | str, input_shape: tuple[int, ...] | None = None) -> str:
    with pytest.raises(SkipstoneError) as error:
        load(path, input_shape)
    return str(error.value)


def test_missing_file() -> None:
    assert refusal("nowhere.onnx") == (
        "no file 'nowhere.onnx', and no carried network of that name (carried: resnet8_fashion, "
        "resnet8_fashion_ternary, resnet8_fashion_unstructured_80, resnet8_fashion_unstructured_90, resnet8_fashion_w4a8)"
    )


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"'{tmp_path}' is a folder, not an ONNX file"


@pytest.mark.parametrize("content", [b"", b"hello, this is no network\n" * 20, bytes(range(256))])
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} is not an ONNX file, or it is truncated (")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, part: float) -> None:
    content = find("resnet8_fashion").read_bytes()
    path = tmp_path / "a.onnx"
    path.write_bytes(content[: int(part * len(content))])
    assert refusal(path).startswith(f"{path} is not an ONNX file, or it is truncated (")


def test_two_inputs(tmp_path: Path) -> None:
    model = onnx_model([node("Add", ["x", "z"])], IMAGE)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, IMAGE))
    assert refusal(save(model, tmp_path)) == ("network.onnx: a network must have one input, this one has 2 ('x', 'z')")


def test_integer_input(tmp_path: Path) -> None:
    model = onnx_model([CONV], IMAGE, WEIGHTS)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert refusal(save(model, tmp_path)) == "network.onnx: input 'x' is UINT8; export the network with a float input"


def test_weights_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = onnx_model([CONV], IMAGE, WEIGHTS)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (4, 4, 1, 1)))
    assert len(load(save(model, tmp_path)).layers) == 1


def test_a_dynamic_batch_becomes_1(tmp_path: Path) -> None:
    assert load(save(onnx_model([CONV], ("N", 4, 9, 8), WEIGHTS), tmp_path)).input_shape == (4, 9, 8)


def test_other_dynamic_sizes_must_be_given(tmp_path: Path) -> None:
    path = save(onnx_model([CONV], ("N", 4, "height", "width"), WEIGHTS), tmp_path)
    assert refusal(path) == ("network.onnx: input 'x' has dynamic dimensions, Nx4xheightxwidth; say its shape")
    assert load(path, (1, 4, 5, 6)).input_shape == (4, 5, 6)
    assert load(path, (4, 5, 6)).input_shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("asked", "shown"), [((1, 3, 5, 6), "1x3x5x6"), ((5, 6), "5x6"), ((2, 4, 5, 6), "2x4x5x6"), ((4, 0, 6), "4x0x6")]
)
def test_input_shape_that_does_not_fit(tmp_path: Path, asked: tuple[int, ...], shown: str) -> None:
    path = save(onnx_model([CONV], (1, 4, "height", "width"), WEIGHTS), tmp_path)
    assert refusal(path, asked) == (
        f"network.onnx: input shape {shown} does not fit input 'x', which is 1x4xheightxwidth"
    )


@pytest.mark.parametrize("input_shape", [None, (1, 4, 9, 8), (4, 9, 8)])
def test_a_fixed_batch_becomes_one(tmp_path: Path, input_shape: tuple[int, ...] | None) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Reshape", ["c", "sizes"])]
    constants = {**WEIGHTS, "sizes": np.array([8, -1], np.int64)}
    network = read_network(save(onnx_model(nodes, (8, 4, 9, 8), constants), tmp_path), input_shape)
    assert network.graph.input_shape == (4, 9, 8)
    assert network.source.batch == 8
    with pytest.raises(SkipstoneError, match="has a batch of 8"):
        load(tmp_path / "network.onnx", (8, 4, 9, 8))


def test_two_axes_are_a_batch_of_vectors_unless_their_shape_is_asked_for(tmp_path: Path) -> None:
    path = save(onnx_model([node("MatMul", ["x", "v"])], (32, 8), {"v": floats(8, 3)}), tmp_path)
    assert load(path).input_shape == (8, 1, 1)
    assert load(path, (1, 8)).input_shape == (8, 1, 1)
    assert load(path, (32, 8)).input_shape == (8, 1, 32)


def test_rows_that_are_mixed_are_no_batch(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "v"], "m"), node("Transpose", ["m"], "t"), node("Flatten", ["t"], axis=0)]
    path = save(onnx_model(nodes, (6, 8), {"v": floats(8, 3)}), tmp_path)
    assert "taken as a batch of 6" in refusal(path)
    assert load(path, (6, 8)).input_shape == (8, 1, 6)


def test_shapes_that_contradict_each_other(tmp_path: Path) -> None:
    text = refusal(save(onnx_model([CONV], (1, 5, 9, 8), WEIGHTS), tmp_path))
    assert "5" in text
    assert "4" in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_weights_name_their_layer(tmp_path: Path, value: float) -> None:
    weights = floats(4, 4, 1, 1)
    weights[1, 2] = value
    model = onnx_model([node("Conv", ["x", "w"], name="first")], IMAGE, {"w": weights})
    assert refusal(save(model, tmp_path)) == (
        "layer 'first': 1 of its 16 weights values are NaN or infinite; the file is damaged or training diverged"
    )


def test_operator_that_no_onnx_has(tmp_path: Path) -> None:
    nodes = [node("Fancy", ["x"], "a", name="n"), node("Conv", ["a", "w"])]
    assert refusal(save(onnx_model(nodes, IMAGE, WEIGHTS), tmp_path)) == (
        "network.onnx: the array can't do Fancy (node 'n'); cut the network before them, replace them by supported "
        "operators, or say what they become (see 'Add an operator' in the manual)"
    )


def test_operators_that_no_onnx_has_and_that_we_lack(tmp_path: Path) -> None:
    """Operators of ONNX's own domain and of one that the file does not declare, with those that ONNX has and we lack."""
    foreign = node("Odd", ["a"], "b", name="o", domain="Foreign")
    nodes = [node("Fancy", ["x"], "a", name="n"), foreign, node("LRN", ["b"], name="l", size=3)]
    assert refusal(save(onnx_model(nodes, IMAGE, WEIGHTS), tmp_path)).startswith(
        "network.onnx: the array can't do Fancy (node 'n'), Foreign.Odd (node 'o'), LRN (node 'l'); cut the network"
    )


def external(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    model = onnx_model([CONV], IMAGE, WEIGHTS)
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_external_data(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load(external(tmp_path)).convs[0].weights, WEIGHTS["w"])


def test_external_data_missing(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert refusal(path) == f"{path}: the weights 'w' are in the file 'weights.bin', which is missing beside it"


def test_external_data_truncated(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"1234")
    assert refusal(path).startswith(f"{path}: can't read its weights (")


@pytest.mark.parametrize(("path", "high", "macs"), RESNETS)
def test_resnet8(path: Callable[[], Path], high: float, macs: int) -> None:
    """12,501,632 is the published count of the CIFAR ResNet-8's multiplications; the other is the same at 1x28x28:
    16*784*9 + 2*16*784*144 + 32*196*(144+288+16) + 64*49*(288+576+32) + 640."""
    graph = load(path())
    assert sum(graph.macs.values()) == macs
    kinds = [layer.kind for layer in graph.order if layer.kind != "softmax"]
    assert sorted(kinds) == ["add"] * 3 + ["average_pool"] + ["conv"] * 9 + ["gemm"]
    image = np.random.default_rng(0).uniform(0, high, (1, *graph.input_shape)).astype(np.float32)
    expected = run_ort(onnx.load(path()), image).ravel()
    np.testing.assert_allclose(run_ort(to_onnx(graph), image).ravel(), expected, atol=1e-4)
