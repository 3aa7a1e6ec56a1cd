"""The QDQ file: a valid ONNX network of standard operators, in types that hold its bits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, Softmax
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.quantization import reference
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, graph_of, quantized, random_images, random_integers
from tests.models.quantization.onnx_runtime import layer_to_qdq
from tests.models.quantization.test_onnx_runtime import branches


def residual() -> Graph:
    return graph_of(
        conv_layer("a", "x", (3, 3, 3, 3), padding=(1, 1, 1, 1), clamp=(0.0, 1.0)),
        conv_layer("b", "a", (3, 3, 3, 3), padding=(1, 1, 1, 1)),
        Add(name="s", inputs=("b", "a")),
        conv_layer("g", "s", (4, 3, 5, 5), gemm=True),
        Softmax(name="o", inputs=("g",)),
        shape=(3, 5, 5),
    )


@pytest.mark.parametrize(
    ("bits", "kind"), [(2, TensorProto.INT8), (8, TensorProto.INT8), (9, TensorProto.INT16), (12, TensorProto.INT16)]
)
def test_types(bits: int, kind: int) -> None:
    network = quantized(residual(), bits, bits)
    model = to_qdq(network)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (10, 20 if kind == TensorProto.INT8 else 21)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    assert constants["a.weights.integers"].data_type == kind
    np.testing.assert_array_equal(numpy_helper.to_array(constants["a.weights.integers"]), network.layers[0].weights)
    assert constants["x.zero_point"].data_type == kind
    assert {node.op_type for node in model.graph.node} <= {
        "QuantizeLinear", "DequantizeLinear", "Conv", "Add", "Clip", "Softmax",
    }  # fmt: skip


def test_fused_operators_are_written_once() -> None:
    """Operators that one of our layers does together are written as in the float network, once each."""
    network = quantized(branches())
    operators = Counter(node.op_type for node in to_qdq(network).graph.node)
    once = ["Resize", "ConvTranspose", "HardSwish", "Tanh", "Sigmoid", "Gelu", "HardSigmoid", "MaxPool", "Softmax"]
    assert {name: operators[name] for name in once} == dict.fromkeys(once, 1)
    # p and g; the convolutions a, b, q and o; w, z; k, w2 and the Mul of swish.
    assert [operators[name] for name in ("AveragePool", "Conv", "Concat", "Mul")] == [2, 4, 2, 3]


def test_without_its_float_network() -> None:
    network = replace(quantized(branches()), graph=None)
    with pytest.raises(SkipstoneError) as error:
        to_qdq(network)
    assert str(error.value) == "layer 'a': its operator is known to the float network only, which is not here"


def test_wide_values_of_narrow_codes() -> None:
    """Powers of two of 8 bits reach 2**14, which takes 16."""
    graph = residual()
    network = quantize(graph, calibrate(graph, random_images(graph, 4)), QuantizationScheme(8, 8, "power_of_two"))
    assert max(np.abs(layer.weights).max() for layer in network.array_layers) == 1 << 14
    kinds = {tensor.name: tensor.data_type for tensor in to_qdq(network).graph.initializer}
    assert kinds["a.weights.integers"] == TensorProto.INT16


def test_float_in_float_out_any_batch() -> None:
    graph = residual()
    images = random_images(graph, 5)
    network = quantize(graph, calibrate(graph, images))
    got = run_onnx(to_qdq(network), {"x": images}, optimize=False)["o"]
    scores = reference.class_scores(network, reference.quantize_input(network, images))
    real = (scores - network.tensors["g"].zero_point) * network.tensors["g"].scale
    expected = np.exp(real) / np.exp(real).sum(axis=1, keepdims=True)
    # Scores may differ by a step at each of three roundings.
    assert np.abs(got.reshape(5, 4) - expected).max() < 3 * network.tensors["g"].scale


def test_scores_and_softmax_are_both_kept_where_both_are_outputs() -> None:
    """The network's outputs are its scores and their softmax; the file's are the same, in the same order."""
    graph = residual()
    both = Graph(graph.name, graph.input, graph.input_shape, graph.layers, ("o", "g"))
    images = random_images(both, 4)
    network = quantize(both, calibrate(both, images))
    assert network.outputs == ("g",)
    results = run_onnx(to_qdq(network), {"x": images})
    assert list(results) == ["o", "g"]
    exponentials = np.exp(results["g"] - results["g"].max(axis=1, keepdims=True))
    np.testing.assert_allclose(results["o"], exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-5)


def test_one_layer_is_integers_in_and_out() -> None:
    network = quantized(residual(), 8, 5)
    layer = network.layers[1]
    model = layer_to_qdq(network, layer)
    assert [value.name for value in model.graph.input] == ["a.integers"]  # the two operands are one tensor
    x = random_integers(network, "a", 3)
    got = run_onnx(model, {"a.integers": x.astype(np.int8)}, optimize=False)["s.integers"]
    assert got.dtype == np.int8
    assert -16 <= got.min() < 0 < got.max() <= 15
    assert np.abs(got - reference.run_layer(network, layer, x, x)).max() <= 1


def test_bias_beyond_int32_without_its_zero_point() -> None:
    network = quantized(residual())
    layer = network.layers[0]
    wide = replace(network, layers=(replace(layer, bias=layer.bias + (1 << 33)),))
    with pytest.raises(SkipstoneError, match=r"^layer 'a': its bias needs more than the 32 bits of a QDQ file$"):
        to_qdq(wide)
