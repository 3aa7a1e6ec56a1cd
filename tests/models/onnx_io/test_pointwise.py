"""Pointwise functions, as operators and in every spelling that exporters use, give the same floats as one node each."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import Affine, ClampLayer, Conv, Pointwise, Product
from skipstone.models.onnx_io.reader import load
from tests.models.builders import Array, assert_import_is_faithful, floats, node, onnx_model, save

IMAGE = (1, 4, 9, 8)


def scalar(value: float) -> Array:
    return np.array(value, np.float32)


CONSTANTS: dict[str, Array] = {
    "w": floats(4, 4, 1, 1), "half": scalar(0.5), "one": scalar(1), "two": scalar(2), "three": scalar(3), "six": scalar(6),
    "zero": scalar(0), "sixth": scalar(1 / 6), "root2": scalar(math.sqrt(2)), "slope": np.full((4, 1, 1), 0.3, np.float32),
    "slope1": scalar(0.2).reshape(1), "cubic": scalar(0.044715), "rootpi": scalar(math.sqrt(2 / math.pi)),
    "quick": scalar(1.702),
}  # fmt: skip


def model_of(nodes: list[onnx.NodeProto], opset: int) -> onnx.ModelProto:
    """A convolution before ``nodes``, which read it as ``c``."""
    nodes = [node("Conv", ["x", "w"], "c"), *nodes]
    used = {name: array for name, array in CONSTANTS.items() if any(name in made.input for made in nodes)}
    return onnx_model(nodes, IMAGE, used, opset=opset)


@pytest.mark.parametrize(
    ("made", "opset"),
    [
        (node("HardSwish", ["c"]), 14),
        (node("HardSigmoid", ["c"], alpha=0.3, beta=0.4), 11),
        (node("HardSigmoid", ["c"]), 17),
        (node("Sigmoid", ["c"]), 9),
        (node("Tanh", ["c"]), 17),
        (node("LeakyRelu", ["c"]), 17),
        (node("LeakyRelu", ["c"], alpha=0.3), 17),
        (node("PRelu", ["c", "slope1"]), 17),
        (node("PRelu", ["c", "slope"]), 17),
        (node("Gelu", ["c"]), 20),
        (node("Gelu", ["c"], approximate="tanh"), 20),
        (node("Elu", ["c"], alpha=0.5), 17),
        (node("Selu", ["c"]), 17),
        (node("Softplus", ["c"]), 17),
        (node("Softsign", ["c"]), 17),
        (node("Mish", ["c"]), 18),
        (node("Erf", ["c"]), 17),
        (node("Exp", ["c"]), 17),
        (node("Abs", ["c"]), 17),
        (node("Pow", ["c", "two"]), 17),
        (node("Max", ["c", "half"]), 17),
        (node("Mul", ["c", "c"]), 17),
        (node("ThresholdedRelu", ["c"], alpha=0.5), 17),
    ],
)
def test_operators(tmp_path: Path, made: onnx.NodeProto, opset: int) -> None:
    graph = assert_import_is_faithful(model_of([made], opset), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Conv, Pointwise]


SPELLINGS = {
    "hard sigmoid": [node("Add", ["c", "three"], "a"), node("Clip", ["a", "zero", "six"], "b"), node("Div", ["b", "six"])],
    "hard sigmoid by its sixth": [
        node("Add", ["c", "three"], "a"), node("Clip", ["a", "zero", "six"], "b"), node("Mul", ["sixth", "b"]),
    ],
    "hard swish": [
        node("Add", ["c", "three"], "a"), node("Clip", ["a", "zero", "six"], "b"), node("Mul", ["c", "b"], "d"),
        node("Div", ["d", "six"]),
    ],
    "hard swish, divided first": [
        node("Add", ["three", "c"], "a"), node("Clip", ["a", "zero", "six"], "b"), node("Div", ["b", "six"], "d"),
        node("Mul", ["d", "c"]),
    ],
    "hard swish by HardSigmoid": [node("HardSigmoid", ["c"], "a", alpha=1 / 6), node("Mul", ["c", "a"])],
    "swish": [node("Sigmoid", ["c"], "a"), node("Mul", ["c", "a"])],
    "quick gelu": [node("Mul", ["c", "quick"], "a"), node("Sigmoid", ["a"], "b"), node("Mul", ["b", "c"])],
    "gelu": [
        node("Div", ["c", "root2"], "a"), node("Erf", ["a"], "b"), node("Add", ["b", "one"], "d"),
        node("Mul", ["c", "d"], "e"), node("Mul", ["e", "half"]),
    ],
    "gelu, halved first": [
        node("Mul", ["c", "half"], "h"), node("Div", ["c", "root2"], "a"), node("Erf", ["a"], "b"),
        node("Add", ["one", "b"], "d"), node("Mul", ["h", "d"]),
    ],
    "gelu by tanh": [
        node("Pow", ["c", "three"], "a"), node("Mul", ["a", "cubic"], "b"), node("Add", ["c", "b"], "d"),
        node("Mul", ["d", "rootpi"], "e"), node("Tanh", ["e"], "f"), node("Add", ["f", "one"], "g"),
        node("Mul", ["c", "half"], "h"), node("Mul", ["h", "g"]),
    ],
    "mish": [node("Softplus", ["c"], "a"), node("Tanh", ["a"], "b"), node("Mul", ["c", "b"])],
    "sigmoid by Exp": [
        node("Neg", ["c"], "a"), node("Exp", ["a"], "b"), node("Add", ["b", "one"], "d"), node("Div", ["one", "d"]),
    ],
    "clamped, then halved": [node("Relu", ["c"], "a"), node("Mul", ["a", "half"])],
    "two in a row, and a clamp": [node("Tanh", ["c"], "a"), node("Sin", ["a"], "b"), node("Relu", ["b"])],
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_are_one_layer_after_the_convolution(tmp_path: Path, spelling: str) -> None:
    graph = assert_import_is_faithful(model_of(SPELLINGS[spelling], 17), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Conv, Pointwise]


def test_old_clip_inside_a_function(tmp_path: Path) -> None:
    nodes = [node("Add", ["c", "three"], "a"), node("Clip", ["a"], "b", min=0.0, max=6.0), node("Mul", ["c", "b"])]
    graph = assert_import_is_faithful(model_of(nodes, 10), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Conv, Pointwise]


def test_the_convolution_absorbs_bias_and_clamp(tmp_path: Path) -> None:
    """A bias and a ReLU before a Sigmoid belong to the convolution; only the Sigmoid is a table."""
    nodes = [node("Add", ["c", "half"], "a"), node("Relu", ["a"], "b"), node("Sigmoid", ["b"])]
    graph = assert_import_is_faithful(model_of(nodes, 17), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Conv, Pointwise]
    assert graph.layers[0].clamp == (0.0, math.inf)
    assert isinstance(graph.layers[1], Pointwise)
    assert str(graph.layers[1].function) == "Sigmoid"


def test_linear_nodes_and_clamps_need_no_table(tmp_path: Path) -> None:
    nodes = [node("Add", ["c", "half"], "a"), node("Mul", ["a", "two"], "b"), node("Clip", ["b", "zero", "six"])]
    graph = assert_import_is_faithful(model_of(nodes, 17), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Conv]


def test_a_tensor_that_others_read_stays(tmp_path: Path) -> None:
    """The sigmoid of x has another reader, so x * Sigmoid(x) does not become one function."""
    nodes = [
        node("Sigmoid", ["c"], "a"),
        node("Mul", ["c", "a"], "b"),
        node("Conv", ["a", "w"], "d"),
        node("Add", ["b", "d"]),
    ]
    graph = assert_import_is_faithful(model_of(nodes, 17), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv", "table", "product", "conv", "add"]
    nodes = [node("Sigmoid", ["c"], "a"), node("Mul", ["c", "a"])]
    path = save(onnx_model([node("Conv", ["x", "w"], "c"), *nodes], IMAGE, {"w": CONSTANTS["w"]}, ("y", "a")), tmp_path)
    assert [type(layer) for layer in load(path).layers] == [Conv, Pointwise, Product]


def test_functions_of_two_tensors_are_products(tmp_path: Path) -> None:
    nodes = [node("Relu", ["c"], "a"), node("GlobalAveragePool", ["a"], "g"), node("Conv", ["g", "w"], "d")]
    nodes += [node("HardSigmoid", ["d"], "s"), node("Mul", ["a", "s"])]
    graph = assert_import_is_faithful(model_of(nodes, 17), tmp_path, IMAGE)
    assert [layer.kind for layer in graph.layers] == ["conv", "average_pool", "conv", "table", "product"]
    assert graph.layers[0].clamp == (0.0, math.inf)


def test_a_function_of_the_input_or_of_a_clamp_with_readers(tmp_path: Path) -> None:
    graph = assert_import_is_faithful(onnx_model([node("Tanh", ["x"])], IMAGE), tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Pointwise]
    nodes = [node("Relu", ["x"], "a"), node("Tanh", ["a"], "b"), node("Add", ["a", "b"])]
    graph = assert_import_is_faithful(onnx_model(nodes, IMAGE), tmp_path, IMAGE)
    # The sum is linear in the two, but of one tensor: a function of the ReLU's input.
    assert [type(layer) for layer in graph.layers] == [ClampLayer, Pointwise]


def test_a_constant_for_each_channel_is_no_pointwise_function(tmp_path: Path) -> None:
    """It stands before the function, as a layer."""
    model = onnx_model([node("Mul", ["x", "k"], "a"), node("Sigmoid", ["a"])], IMAGE, {"k": floats(4, 1, 1)})
    graph = assert_import_is_faithful(model, tmp_path, IMAGE)
    assert [type(layer) for layer in graph.layers] == [Affine, Pointwise]


OPERATORS = ["Sigmoid", "Tanh", "Relu", "Abs", "Softplus", "Add", "Mul", "Sub", "Max", "Square"]


@settings(max_examples=40)
@given(st.data())
def test_random_expressions(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any tree of pointwise nodes over one or two tensors keeps its values, whichever parts become tables."""
    nodes, names = [node("Conv", ["x", "w"], "c")], ["x", "c"]
    for number in range(data.draw(st.integers(1, 6))):
        operator = data.draw(st.sampled_from(OPERATORS))
        first, made = data.draw(st.sampled_from(names)), f"t{number}"
        if operator == "Square":
            nodes.append(node("Mul", [first, first], made))
        elif operator in ("Add", "Mul"):
            nodes.append(node(operator, [first, data.draw(st.sampled_from([*names, "half", "two"]))], made))
        elif operator in ("Sub", "Max"):
            nodes.append(node(operator, [first, data.draw(st.sampled_from(["half", "two"]))], made))
        else:
            nodes.append(node(operator, [first], made))
        names.append(made)
    used = {name: CONSTANTS[name] for name in ("w", "half", "two") if any(name in made.input for made in nodes)}
    outputs = tuple(dict.fromkeys([names[-1], *data.draw(st.lists(st.sampled_from(names[2:]), max_size=1))]))
    model = onnx_model(nodes, IMAGE, used, outputs)
    assert_import_is_faithful(model, tmp_path_factory.mktemp("expression"), IMAGE)


def test_slopes_within_a_channel_are_refused(tmp_path: Path) -> None:
    _, _, height, width = IMAGE
    slopes = floats(height, width)
    path = save(onnx_model([node("PRelu", ["x", "k"], name="p")], IMAGE, {"k": slopes}), tmp_path)
    with pytest.raises(SkipstoneError) as error:
        load(path)
    assert str(error.value) == (
        f"network.onnx: the array can't do PRelu (node 'p': its slopes of shape {slopes.shape} differ within a channel or do not "
        "fit; give it one slope for each channel, as (channels, 1, 1)); cut the network before them, replace them by supported "
        "operators, or say what they become (see 'Add an operator' in the manual)"
    )
