"""Split, Slice, channel shuffles and Focus: ONNX Runtime's floats on import, and integers that come back from a QDQ file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from skipstone.models.graph.layers import Conv
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from skipstone.models.quantization.quantize import quantize
from tests.models.builders import assert_import_is_faithful, floats, node, onnx_model, quantized, random_images, save
from tests.models.partial_networks import partial_networks
from tests.models.quantization.onnx_runtime import compare_with_onnxruntime


@settings(max_examples=40)
@given(partial_networks())
def test_parts_of_tensors(tmp_path_factory: pytest.TempPathFactory, model: onnx.ModelProto) -> None:
    """Reading proves the floats. Each layer of the integers is within one step of ONNX Runtime, and the file that is written
    comes back as the same network."""
    folder = tmp_path_factory.mktemp("parts")
    graph = load(save(model, folder))
    network = quantized(graph)
    integers = reference.quantize_input(network, random_images(graph, 2))
    assert compare_with_onnxruntime(network, integers).max_steps <= 1
    back = quantize(load(save(to_qdq(network), folder)), None)
    assert [layer.name for layer in back.layers] == [layer.name for layer in network.layers]
    ours, theirs = reference.run(network, integers), reference.run(back, integers)
    for result, other in zip(network.results, back.results, strict=True):
        np.testing.assert_array_equal(ours[result], theirs[other])


def c2f() -> onnx.ModelProto:
    """A convolution whose halves go on apart and come together again, as in YOLOv8."""
    constants = {"a": floats(8, 3, 1, 1), "parts": np.array([4, 4]), "b": floats(4, 4, 3, 3), "c": floats(5, 12, 1, 1)}
    split = onnx.helper.make_node("Split", ["t", "parts"], ["left", "right"], axis=1)
    nodes = [node("Conv", ["x", "a"], "t"), split, node("Conv", ["right", "b"], "u", pads=[1] * 4)]
    nodes += [node("Concat", ["left", "right", "u"], "v", axis=1), node("Conv", ["v", "c"])]
    return onnx_model(nodes, (1, 3, 6, 6), constants)


def test_halves_are_read_where_they_lie(tmp_path: Path) -> None:
    """Nothing is copied: the second convolution takes its channels from the first one's tensor."""
    graph = assert_import_is_faithful(c2f(), tmp_path, (1, 3, 6, 6))
    network = quantized(graph)
    assert [layer.kind for layer in network.array_layers] == ["conv"] * 3
    reads = network.array_layers[1].reads
    assert reads is not None
    assert reads.tolist() == [4, 5, 6, 7]
    # The zeros of channels that it does not read are none of its weights.
    assert network.array_layers[1].weights.shape == (4, 4, 3, 3)


def test_a_focus_becomes_a_strided_kernel(tmp_path: Path) -> None:
    parts = []
    constants = {
        "w": floats(5, 12, 3, 3),
        "ends": np.array([8, 6]),
        "axes": np.array([2, 3]),
        "steps": np.array([2, 2]),
    }
    for number, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        constants[f"s{number}"] = np.array([row, column])
        parts.append(node("Slice", ["x", f"s{number}", "ends", "axes", "steps"], f"p{number}"))
    nodes = [*parts, node("Concat", [f"p{n}" for n in range(4)], "f", axis=1), node("Conv", ["f", "w"], pads=[1] * 4)]
    graph = assert_import_is_faithful(onnx_model(nodes, (1, 3, 8, 6), constants), tmp_path, (1, 3, 8, 6))
    (layer,) = graph.layers
    assert isinstance(layer, Conv)
    assert (layer.weights.shape, layer.stride, layer.padding) == ((5, 3, 6, 6), (2, 2), (2, 2, 2, 2))


def test_a_channel_shuffle_before_a_depthwise_convolution_costs_no_layer(tmp_path: Path) -> None:
    constants = {"g": floats(8, 4, 1, 1), "five": np.array([1, 2, 4, 5, 5]), "four": np.array([1, 8, 5, 5])}
    constants |= {"d": floats(8, 1, 3, 3)}
    nodes = [node("Conv", ["x", "g"], "t", group=2), node("Reshape", ["t", "five"], "r")]
    nodes += [node("Transpose", ["r"], "s", perm=[0, 2, 1, 3, 4]), node("Reshape", ["s", "four"], "u")]
    nodes += [node("Conv", ["u", "d"], pads=[1] * 4, group=8)]
    network = quantized(assert_import_is_faithful(onnx_model(nodes, (1, 8, 5, 5), constants), tmp_path, (1, 8, 5, 5)))
    assert [layer.kind for layer in network.array_layers] == ["conv", "depthwise"]
    reads = network.array_layers[1].reads
    assert reads is not None
    assert reads.tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
