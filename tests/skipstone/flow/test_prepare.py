"""A quantized file runs as it is, with the same integers and cycles, and options that contradict it are refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import pytest

from skipstone.errors import SkipstoneError
from skipstone.flow.designs import design_for_options
from skipstone.flow.prepare import CompressionOptions, measure_accuracy, prepare_network, stored_options
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.graph.grids import WeightCode
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models import builders
from tests.models.builders import floats, onnx_model, random_images, save
from tests.models.graph.test_grids import assert_same
from tests.models.onnx_io.test_qdq_export import residual


def saved(folder: Path, bits: int = 8, activation_bits: int = 8, code: WeightCode = "linear") -> QuantizedNetwork:
    graph = residual()
    network = quantize(
        graph, calibrate(graph, random_images(graph, 3)), QuantizationScheme(bits, activation_bits, code, 5)
    )
    onnx.save(to_qdq(network), folder / "quantized.onnx")
    return network


@pytest.mark.parametrize(
    ("bits", "activation_bits", "code", "multiplier"),
    [
        (8, 8, "linear", "linear"),
        (4, 6, "power_of_two", "shift"),
        (8, 8, "ternary", "sign"),
        (8, 8, "codebook", "codebook"),
    ],
)
def test_a_quantized_file_runs_as_it_is(
    bits: int, activation_bits: int, code: WeightCode, multiplier: str, tmp_path: Path
) -> None:
    network = saved(tmp_path, bits, activation_bits, code)
    path = str(tmp_path / "quantized.onnx")
    messages: list[str] = []
    prepared = prepare_network(path, CompressionOptions(), messages.append)
    assert messages == ["reading the network"]
    assert_same(network, prepared.compressed)
    assert prepared.dense is prepared.compressed
    scheme = prepared.options.scheme
    assert (scheme.weight_bits, scheme.activation_bits, scheme.weight_code) == (bits, activation_bits, code)
    design = design_for_options("tiny", path, CompressionOptions())
    assert (design.multiplier, design.activation_bits) == (multiplier, activation_bits)
    cycles = [
        sum(layer.cycles for layer in network_cycles(compile_network(variant, design)))
        for variant in (network, prepared.dense)
    ]
    assert cycles[0] == cycles[1] > 0
    # The same options said again contradict nothing.
    assert stored_options(path, prepared.options) == prepared.options


def test_options_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, 4, 6)
    stored = "network 'test' is quantized already"
    else_ = "out, or quantize the float network"
    for change, text in (
        ({"prune": "2:4"}, f"{stored}, so prune 2:4 can't change its weights; prune the float network"),
        ({"weight_bits": 5}, f"{stored}, with weight_bits 4; leave weight_bits 5 {else_}"),
        ({"activation_bits": 7}, f"{stored}, with activation_bits 6; leave activation_bits 7 {else_}"),
        ({"weight_code": "ternary"}, f"{stored}, with weight_code linear; leave weight_code ternary {else_}"),
        ({"calibration": "a.npz"}, f"{stored}, and needs no ranges; leave calibration a.npz {else_}"),
        (
            {"calibration_method": "percentile:99"},
            f"{stored}, and needs no ranges; leave calibration_method percentile:99 {else_}",
        ),
    ):
        of_scheme = change.keys() & {field.name for field in fields(QuantizationScheme)}
        options = CompressionOptions(**({"scheme": QuantizationScheme(**change)} if of_scheme else change))  # type: ignore[arg-type]
        with pytest.raises(SkipstoneError) as error:
            prepare_network(str(tmp_path / "quantized.onnx"), options)
        assert (str(error.value), error.value.parameter) == (text, *change)


def test_a_quantized_file_has_no_float_accuracy(tmp_path: Path) -> None:
    saved(tmp_path)
    images = random_images(residual(), 6)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(6) % 4)
    options = CompressionOptions(evaluation=str(tmp_path / "images.npz"))
    prepared = prepare_network(str(tmp_path / "quantized.onnx"), options)
    accuracy = measure_accuracy(prepared)
    assert accuracy.float is None
    assert accuracy.quantized == accuracy.compressed is not None


def test_a_tensor_without_a_grid_in_the_file_is_calibrated(tmp_path: Path) -> None:
    """The last pair of QuantizeLinear and DequantizeLinear is removed: the result is float in the file, and its range is
    calibrated."""
    network = saved(tmp_path)
    path = tmp_path / "quantized.onnx"
    model = onnx.load(path)
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    linear = next(node for node in model.graph.node if node.name == "g" and node.op_type == "Conv")
    softmax.input[0] = linear.output[0]
    for node in [node for node in model.graph.node if node.name in ("g.integers", "g.clipped")]:
        model.graph.node.remove(node)
    for node in [node for node in model.graph.node if "g.integers" in node.input]:
        model.graph.node.remove(node)
    onnx.save(model, path)
    prepared = prepare_network(str(path), CompressionOptions())
    assert prepared.compressed.calibration == (
        "as stored in the file (min-max on 3 images); the others: min-max on 27 seeded random inputs in 0,1"
    )
    assert prepared.compressed.tensors["s"] == network.tensors["s"]
    assert prepared.compressed.tensors["g"].scale != network.tensors["g"].scale


def test_a_float_network_keeps_its_options() -> None:
    options = CompressionOptions(scheme=QuantizationScheme(weight_bits=5))
    assert stored_options("resnet8_fashion", options) is options


def test_data_as_the_file_has_its_input_or_channels_first(tmp_path: Path) -> None:
    """A network with channels last whose output is a class: the accuracies are the same, and right."""
    nodes = [
        builders.node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]),
        builders.node("Conv", ["t", "w"], "c"),
        builders.node("GlobalAveragePool", ["c"], "g"),
        builders.node("Flatten", ["g"], "f"),
        builders.node("ArgMax", ["f"], axis=1, keepdims=0),
    ]
    weights = floats(5, 3, 3, 3)
    model = onnx_model(nodes, ("N", 6, 6, 3), {"w": weights})
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    path = save(model, tmp_path)
    images = floats(60, 6, 6, 3, seed=9)
    sums = np.lib.stride_tricks.sliding_window_view(images, (4, 4), axis=(1, 2)).sum(axis=(4, 5))
    labels = np.einsum("nijc,kcij->nk", sums, weights).argmax(axis=1)
    measured = set()
    for name, arranged in (("last", images), ("first", images.transpose(0, 3, 1, 2))):
        data = tmp_path / f"{name}.npz"
        np.savez(data, images=arranged, labels=labels)
        options = CompressionOptions(calibration=str(data), evaluation=str(data))
        measured.add(measure_accuracy(prepare_network(str(path), options)))
    (accuracy,) = measured
    assert accuracy.float == 1
    assert accuracy.quantized is not None
    assert accuracy.quantized > 0.85
