"""The exported runtime: the integers of every tensor equal the reference's, with nothing but NumPy and the exported files."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from skipstone.errors import MappingError
from skipstone.flow.export import export_files, program_description, write_export
from skipstone.flow.prepare import CompressionOptions, prepare_network, sample_inputs
from skipstone.flow.runtime import Network
from skipstone.hw.design import Design, load_design
from skipstone.mapper.cost import cost
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from tests.sim.designs import POOL
from tests.sim.graphs import graphs
from tests.sim.networks import networks
from tests.sim.test_random_layers import kinds

EXAMPLES = 10


def runtime_of(network: QuantizedNetwork, design: Design) -> tuple[Network, Counter[str]]:
    """The runtime of an export, through JSON as in the file, and what is special about the program."""
    mapped = cost(network, design)
    description = json.loads(json.dumps(program_description(network, mapped).to_dict()))
    return Network(description, mapped.program.memory_images()), Counter(kinds(mapped.program))


def check(network: QuantizedNetwork, runtime: Network, x: np.ndarray) -> None:
    """Every tensor that a layer writes equals the reference's."""
    expected, tensors = reference.run(network, x[None]), runtime.run(x)
    assert set(tensors) >= {*network.outputs, *(layer.output for layer in network.layers)}
    for name, values in tensors.items():
        np.testing.assert_array_equal(values, expected[name][0], err_msg=name)


@pytest.mark.parametrize("several", [False, True], ids=["layers", "graphs"])
@pytest.mark.parametrize("design", sorted(POOL))
def test_random_networks_are_exact(design, several, campaign_factor):
    """Layers of every shape, and graphs with what is easily got wrong: folded, merged, overlapped, paused for the host."""
    array, examples = POOL[design], EXAMPLES * campaign_factor
    first = (None, "block", "product", "siblings", "side by side")
    strategies = [graphs(array, part) for part in first] if several else [networks(array)]
    seen: Counter[str] = Counter()

    def exact(network, seed):
        try:
            runtime, special = runtime_of(network, array)
        except MappingError:
            return
        low, high = -(1 << (array.activation_bits - 1)), 1 << (array.activation_bits - 1)
        x = np.random.default_rng(seed).integers(low, high, network.tensors[network.input].shape)
        check(network, runtime, x)
        seen.update(special)

    random = settings(
        max_examples=examples // len(strategies),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    for strategy in strategies:
        random(given(strategy, st.integers(0, 2**32 - 1))(exact))()
    assert seen["all"] >= examples // 2


@pytest.mark.parametrize(
    ("network", "design", "options"),
    [
        ("resnet8_fashion", "tiny", CompressionOptions(prune="none")),
        ("resnet8_fashion", "edge", CompressionOptions(prune="global:0.9")),
        ("resnet8_fashion_w4a8", "wide", CompressionOptions()),
    ],
)
def test_carried_networks_are_exact(tmp_path, network, design, options):
    """From the exported folder, for other inputs than that of the testbench."""
    prepared = prepare_network(network, options)
    mapped = cost(prepared.compressed, load_design(design), memories="enlarged")
    write_export(export_files(prepared, mapped), tmp_path)
    runtime = Network.load(tmp_path)
    images = sample_inputs(prepared, 3)[1:]
    for image in images:
        x = runtime.quantize(image)
        np.testing.assert_array_equal(x, reference.quantize_input(prepared.compressed, image[None])[0])
        check(prepared.compressed, runtime, x)


def test_ends_and_host_layers_are_those_of_the_file(tmp_path):
    """Channels last, a Reshape behind the network, and all that the host computes, as ONNX Runtime has them."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(0, 0.3, (4, 3, 3, 3)), "v": rng.normal(0, 0.5, (6, 4, 1, 1))}
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1, -1, 6]), "rows"))
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["b"], name="second"),
        helper.make_node("Transpose", ["b"], ["m"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["m", "rows"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["likely"], name="softmax", axis=2),
        helper.make_node("LogSoftmax", ["scores"], ["logarithm"], name="log", axis=2),
        helper.make_node("ArgMax", ["scores"], ["place"], name="place", axis=2, keepdims=0),
    ]
    shapes = {"scores": (1, 20, 6), "likely": (1, 20, 6), "logarithm": (1, 20, 6)}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    outputs.append(helper.make_tensor_value_info("place", TensorProto.INT64, (1, 20)))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 7, 6, 3))]
    model = helper.make_model(
        helper.make_graph(nodes, "ends", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "ends.onnx")
    prepared = prepare_network(str(tmp_path / "ends.onnx"), CompressionOptions())
    files = export_files(prepared, cost(prepared.compressed, load_design("tiny"), memories="enlarged"))
    write_export(files, tmp_path / "e")
    images = rng.random((2, 7, 6, 3), dtype=np.float32)
    scores, likely, logarithm, place = Network.load(tmp_path / "e")(images)
    session = onnxruntime.InferenceSession(tmp_path / "e" / "quantized.onnx")
    expected = [session.run(["scores"], {"x": image[None]})[0][0] for image in images]
    (tensor,) = prepared.compressed.outputs
    # Float arithmetic may round to the integer beside.
    np.testing.assert_allclose(scores, expected, atol=prepared.compressed.tensors[tensor].scale * 1.01)
    powers = np.exp(scores.astype(np.float64))
    np.testing.assert_allclose(likely, powers / powers.sum(axis=2, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(logarithm, np.log(likely), atol=1e-5)
    np.testing.assert_array_equal(place, scores.argmax(axis=2))
