"""Nodes that cannot be imported are all named, and layers get readable names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.onnx_io.reader import load
from tests.models.builders import Array, floats, node, onnx_model, save

IMAGE = (1, 4, 9, 8)


def test_one_error_names_every_unsupported_node(tmp_path: Path) -> None:
    nodes = [
        node("LpNormalization", ["x"], "a", name="shuffle"),
        node("Conv", ["a", "w"], "b"),
        node("Sub", ["b", "a"], "c", name="difference"),
        node("LRN", ["c"], name="last", size=3),
    ]
    with pytest.raises(SkipstoneError) as error:
        load(save(onnx_model(nodes, IMAGE, {"w": floats(1, 1, 1, 1)}), tmp_path))
    # What follows a refusal is looked at as if its output were there.
    assert str(error.value) == (
        "network.onnx: the array can't do LpNormalization (node 'shuffle'), Sub (node 'difference': both operands are "
        "activations), LRN (node 'last'); "
        "cut the network before them, replace them by supported operators, or say what they become "
        "(see 'Add an operator' in the manual)"
    )


def test_every_node_of_a_kind_is_named(tmp_path: Path) -> None:
    nodes = [
        node("Resize", ["x", "", "s"], "a", name="first", mode="linear"),
        node("Relu", ["a"], "b"),
        node("Resize", ["b", "", "s"], "c", name="second", mode="linear"),
        node("MatMul", ["c", "c"], "m", name="scores"),
        node("Resize", ["m", "", "s"], name="third", mode="linear"),
    ]
    constants = {"s": np.array([1, 1, 2, 2], np.float32)}
    with pytest.raises(SkipstoneError) as error:
        load(save(onnx_model(nodes, (1, 4, 9, 9), constants), tmp_path))
    assert all(f"'{name}'" in str(error.value) for name in ("first", "second", "scores", "third"))


def test_what_follows_a_refusal_is_refused_for_certain_reasons_only(tmp_path: Path) -> None:
    """Behind an operator that we lack, nobody knows how its output would lie: reasons that rest on that are left out."""
    nodes = [
        node("LRN", ["x"], "a", name="norm", size=3),
        node("Transpose", ["a"], "t", perm=[0, 2, 3, 1]),
        node("Conv", ["t", "w"], "c", name="conv"),
        node("Resize", ["c", "", "s"], "r", name="resize", mode="linear"),
        node("MatMul", ["r", "r"], name="scores"),
    ]
    constants = {"w": floats(9, 9, 1, 1), "s": np.array([1, 1, 2, 2], np.float32)}
    with pytest.raises(SkipstoneError) as error:
        load(save(onnx_model(nodes, (1, 4, 9, 4), constants), tmp_path))
    assert "'norm'" in str(error.value)
    assert "'resize': mode linear" in str(error.value)
    assert "'scores': its input 2 is not a constant" in str(error.value)
    assert "'conv'" not in str(error.value)


@pytest.mark.parametrize(
    ("nodes", "shape", "reason"),
    [
        ([node("Sub", ["x", "x"], name="n")], IMAGE, "Sub (node 'n': both operands are activations)"),
        ([node("Conv", ["x", "x"], name="n")], (1, 1, 1, 1), "Conv (node 'n': its input 2 is not a constant)"),
        (
            [node("MaxPool", ["x"], name="n", kernel_shape=[2, 2], strides=[3, 3], dilations=[4, 1], ceil_mode=1)],
            IMAGE,
            "MaxPool (node 'n': windows that reach 2 pixels past the image, as far as the kernel's size)",
        ),
        (
            [node("Transpose", ["x"], "t", perm=[0, 1, 3, 2]), node("Mul", ["x", "t"], name="n")],
            (1, 4, 9, 9),
            "Mul (node 'n': it multiplies activations of shapes (1, 4, 9, 9) and (1, 4, 9, 9); the second must have the "
            "first's shape, or one pixel for each channel)",
        ),
        (
            [node("Concat", ["x", "x"], "c", axis=2), node("Relu", ["c"], name="n")],
            IMAGE,
            "Relu (node 'n': it reads a Concat along axis 2, not the channels, which the host does after the array)",
        ),
        (
            [node("Resize", ["x", "", "twice"], name="n", mode="linear")],
            IMAGE,
            "Resize (node 'n': mode linear; only nearest is supported)",
        ),
        (
            [
                node(
                    "Resize",
                    ["x", "", "twice"],
                    name="n",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="ceil",
                )
            ],
            IMAGE,
            "Resize (node 'n': coordinates asymmetric with ceil do not repeat each pixel 2 times; export it as asymmetric "
            "with floor)",
        ),
        (
            [node("Resize", ["x", "", "more"], name="n", nearest_mode="floor")],
            IMAGE,
            "Resize (node 'n': factors 1x1x1.5x2; only whole ones of height and width are supported)",
        ),
        (
            [node("ConvTranspose", ["x", "kernels"], name="n", auto_pad="SAME_UPPER")],
            IMAGE,
            "ConvTranspose (node 'n': auto_pad SAME_UPPER; export it with pads)",
        ),
        (
            [node("ConvTranspose", ["x", "kernels"], name="n", output_shape=[20, 20])],
            IMAGE,
            "ConvTranspose (node 'n': output_shape; export it with pads)",
        ),
        (
            [node("ReduceMean", ["x"], name="n", axes=[1])],
            IMAGE,
            "ReduceMean (node 'n': a mean over other axes than height and width)",
        ),
        (
            [node("Add", ["x", "k"], name="n")],
            IMAGE,
            "Add (node 'n': its constant is not one value for each channel)",
        ),
        (
            [
                node("MaxPool", ["x"], "max", kernel_shape=[1, 1]),
                node("Transpose", ["max"], "t", perm=[0, 2, 3, 1]),
                node("MaxPool", ["t"], name="n", kernel_shape=[2, 2]),
            ],
            IMAGE,
            "MaxPool (node 'n': it reads a rearranged tensor, (1, 9, 8, 4), not 1 x channels x height x width)",
        ),
        (
            [node("MatMul", ["x", "m"], name="n")],
            IMAGE,
            "MatMul (node 'n': the axis it sums over is neither the channels nor the whole of a tensor)",
        ),
        (
            [node("Softmax", ["x"], "s", axis=1), node("Relu", ["s"], name="n")],
            IMAGE,
            "Relu (node 'n': it reads a Softmax, which the host does after the array)",
        ),
        (
            [node("Softmax", ["x"], "s", axis=1), node("Tanh", ["s"], "t"), node("Sin", ["t"], name="n")],
            IMAGE,
            "Sin (node 'n': it reads a Softmax, which the host does after the array)",
        ),
    ],
)
def test_reasons(tmp_path: Path, nodes: list[onnx.NodeProto], shape: tuple[int, ...], reason: str) -> None:
    constants: dict[str, Array] = {"k": floats(8), "m": floats(8, 3)}
    constants |= {"twice": np.float32([1, 1, 2, 2]), "more": np.float32([1, 1, 1.5, 2]), "kernels": floats(4, 2, 3, 3)}
    used = {name: array for name, array in constants.items() if any(name in made.input for made in nodes)}
    with pytest.raises(SkipstoneError) as error:
        load(save(onnx_model(nodes, shape, used), tmp_path))
    assert str(error.value) == (
        f"network.onnx: the array can't do {reason}; cut the network before them, replace them by supported operators, or "
        "say what they become (see 'Add an operator' in the manual)"
    )


def test_old_softmax_over_a_whole_image_is_refused(tmp_path: Path) -> None:
    """Up to opset 12, axis 1 meant all axes from the channels on."""
    path = save(onnx_model([node("Softmax", ["x"], axis=1)], IMAGE, opset=12), tmp_path)
    with pytest.raises(SkipstoneError, match=r"it runs over several axes, from axis 1 on"):
        load(path)
    assert load(save(onnx_model([node("Softmax", ["x"], axis=1)], IMAGE, opset=13), tmp_path)).layers


@pytest.mark.parametrize(("reader", "absorbed"), [("z", True), ("a", False), ("t", False)])
def test_only_the_single_reader_of_a_tensor_is_absorbed(tmp_path: Path, reader: str, absorbed: bool) -> None:
    """Rearranging nodes lie between: if any of the three tensors has a second reader, the convolution stays unclamped."""
    nodes = [
        node("Conv", ["x", "w"], "a"),
        node("Transpose", ["a"], "t", perm=[0, 2, 3, 1]),
        node("Transpose", ["t"], "b", perm=[0, 3, 1, 2]),
        node("Relu", ["b"], "z"),
        node("GlobalAveragePool", ["z"], "y"),
    ]
    outputs = ("y",) if absorbed else ("y", reader)
    graph = load(save(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1)}, outputs), tmp_path))
    assert (graph.convs[0].clamp is not None) == absorbed


def test_names(tmp_path: Path) -> None:
    """The module name that PyTorch gives a weight, else a short plain node name, else kind and number."""
    nodes = [
        node("Conv", ["x", "stem.weight"], "a", name="node_conv2d"),
        node("Conv", ["a", "w"], "b", name="middle"),
        node("Conv", ["b", "w"], "c", name="model/block;1/Conv"),
        node("Conv", ["c", "w"], "d", name="middle2" * 9),
        node("Conv", ["d", "w"], "e", name="node_conv2d_1"),
        node("Conv", ["e", "w"], "y"),
    ]
    constants: dict[str, Array] = {"stem.weight": floats(4, 4, 1, 1), "w": floats(4, 4, 1, 1)}
    graph = load(save(onnx_model(nodes, IMAGE, constants), tmp_path))
    assert [layer.name for layer in graph.order] == ["stem", "middle", "conv3", "conv4", "conv5", "conv6"]
