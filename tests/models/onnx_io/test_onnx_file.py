"""The door: whatever is wrong with an ONNX file's structure is one message that says what and where; what can be mended is."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.data.zoo import find
from skipstone.models.onnx_io.onnx_file import MAX_ELEMENTS, read_onnx
from skipstone.models.onnx_io.reader import load
from tests.models.builders import floats, node, onnx_model, save

IMAGE = (1, 4, 9, 8)
CONSTANTS = {"w": floats(4, 4, 3, 3), "v": floats(4, 4, 1, 1)}


def network() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "w"], "c", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], "r"),
        node("Conv", ["r", "v"], "d"),
        node("Add", ["c", "d"]),
    ]
    return onnx_model(nodes, IMAGE, CONSTANTS)


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SkipstoneError) as error:
        load(path)
    return str(error.value)


def text_that_is_none(model: onnx.ModelProto) -> None:
    model.graph.node[1].name = "the_relu"
    damaged = model.SerializeToString().replace(b"the_relu", b"the_\xff\xfelu")
    model.Clear()
    model.MergeFromString(damaged)


def unknown_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 75


def short_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def negative_weights_shape(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -4


def missing_input(model: onnx.ModelProto) -> None:
    model.graph.node[2].input[0] = "nobody"


def missing_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nobody"


def twice(model: onnx.ModelProto) -> None:
    model.graph.node[2].output[0] = "c"


def circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "r"


def no_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = ""


def no_output(model: onnx.ModelProto) -> None:
    model.graph.node[1].ClearField("output")


def reference(model: onnx.ModelProto) -> None:
    attribute = model.graph.node[0].attribute[0]
    attribute.ClearField("ints")
    attribute.ref_attr_name = "outer"


def wrong_attribute(model: onnx.ModelProto) -> None:
    attribute = model.graph.node[0].attribute[0]
    attribute.CopyFrom(helper.make_attribute("pads", "same"))


def few_inputs(model: onnx.ModelProto) -> None:
    del model.graph.node[0].input[1:]


def newest_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def no_opset(model: onnx.ModelProto) -> None:
    model.ClearField("opset_import")


def two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 12))


def huge_tensor(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1 << 40


def empty_tensor(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, node("Slice", ["x", "begin", "end"], "part"))
    model.graph.node[1].input[0] = "part"
    for name in ("begin", "end"):
        model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 9, 0]), name))


def other_types(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(CONSTANTS["v"].astype(np.float64), "v"))


def sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("", TensorProto.INT64, [1], [3])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [144]))


MISTAKES: dict[Callable[[onnx.ModelProto], None], str] = {
    text_that_is_none: "node 1.name is not UTF-8 text",
    unknown_type: "network.onnx is damaged: graph 'network'.initializer 'w'.data_type is 75|can't read its weights 'w'",
    short_weights: "can't read its weights 'w'",
    negative_weights_shape: "the weights 'w' have the shape -4x4x3x3",
    missing_input: "Conv .* reads 'nobody', which nothing makes",
    missing_output: "nothing makes its output 'nobody'",
    twice: "the tensor 'c' is made twice",
    circle: "its nodes read each other in a circle, 'c' -> 'r'|in a circle, 'r' -> 'c'",
    no_operator: "has no operator",
    no_output: "Relu .* has no output",
    reference: "refers to the attribute 'outer' of a function",
    wrong_attribute: "not a valid ONNX network",
    few_inputs: "not a valid ONNX network",
    newest_opset: "it is of opset 99; opsets up to",
    no_opset: "it asks for no version of ONNX's operators",
    two_opsets: "it asks for 12 and",
    huge_tensor: f"at most {MAX_ELEMENTS:,} can be handled",
    empty_tensor: "is empty|not a valid ONNX network",
    other_types: "not a valid ONNX network|ONNX Runtime cannot run",
    sparse: "its weights 'w' are sparse tensors",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_what_is_wrong_is_said(mistake: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    model = network()
    mistake(model)
    message = refusal(model, tmp_path)
    assert re.search(MISTAKES[mistake], message), message
    assert "network.onnx" in message
    assert "\n" not in message


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    model = network()
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes[number] for number in (3, 1, 2, 0))
    assert [node.op_type for node in read_onnx(save(model, tmp_path)).graph.node] == ["Conv", "Relu", "Conv", "Add"]
    assert [layer.kind for layer in load(tmp_path / "network.onnx").layers] == ["conv", "clamp", "conv", "add"]


def test_sorted_nodes_stay_as_they_are() -> None:
    path = find("resnet8_fashion")
    assert [node.name for node in read_onnx(path).graph.node] == [node.name for node in onnx.load(path).graph.node]


def test_an_old_file_is_converted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = onnx_model([node("Conv", ["x", "v"], "c"), node("Relu", ["c"])], IMAGE, CONSTANTS)
    model.opset_import[0].version = 6
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    with caplog.at_level(logging.WARNING):
        assert len(load(save(model, tmp_path)).layers) == 1
    assert "opset 6 is converted to opset 13" in caplog.text


def test_functions_are_put_in_place(tmp_path: Path) -> None:
    body = [helper.make_node("Conv", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "ConvRelu", ["a", "b"], ["d"], body, opsets[:1])
    graph = helper.make_graph(
        [helper.make_node("ConvRelu", ["x", "w"], ["y"], domain="mine")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(CONSTANTS["w"], "w")],
    )
    model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10)
    path = tmp_path / "network.onnx"
    path.write_bytes(model.SerializeToString())
    assert [layer.kind for layer in load(path).layers] == ["conv"]


def test_a_batch_normalization_for_each_pixel_is_named(tmp_path: Path) -> None:
    per_pixel = {name: np.abs(floats(4, 9, 8)) for name in "gsmu"}
    nodes = [node("Conv", ["x", "v"], "c"), node("BatchNormalization", ["c", *"gsmu"], spatial=0)]
    model = onnx_model(nodes, IMAGE, {**CONSTANTS, **per_pixel})
    model.opset_import[0].version = 7
    assert "has spatial=0, values for each pixel" in refusal(model, tmp_path)
