"""Whole trained networks through the RTL: every layer's cycles and every output equal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from skipstone.compress.recipe import load_recipe
from skipstone.flow.prepare import CompressionOptions
from skipstone.flow.verify import verify_network
from skipstone.hw.design import load_design
from skipstone.models.data.zoo import carried_networks
from skipstone.models.onnx_io.reader import load
from tests.real_networks import MLPERF


def assert_exact(network: str, design: str, options: CompressionOptions, images: int) -> None:
    done = verify_network(network, load_design(design), options, images=images)
    assert done.error is None
    assert done.differences == {}
    for layer in done.result.layers:
        if not layer.on_host:
            assert layer.rtl_cycles == layer.model_cycles, layer.name
            assert layer.outputs_equal, layer.name
    assert done.exact


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("design", "prune"),
    [
        ("tiny", "none"),
        ("tiny", "2:4"),
        ("edge", "unstructured:0.8"),
        ("edge", "global:0.9"),
        ("wide", "unstructured:0.5"),
    ],
)
def test_carried_network_is_exact(design, prune):
    assert_exact("resnet8_fashion", design, CompressionOptions(prune=prune), images=2)


@pytest.mark.rtl
def test_a_carried_variant_is_exact():
    """Ternary weights of the file on PEs that add and subtract."""
    from skipstone.flow.designs import design_for
    from skipstone.models.onnx_io.reader import load
    from skipstone.models.quantization.quantize import quantize

    network = quantize(load("resnet8_fashion_ternary"), None)
    design = design_for(network, load_design("tiny"))
    assert design.multiplier == "sign"
    done = verify_network("resnet8_fashion_ternary", design, CompressionOptions(), images=1)
    assert done.exact


@pytest.mark.rtl
def test_the_sparsest_carried_variant_is_exact():
    assert_exact("resnet8_fashion_unstructured_90", "edge", CompressionOptions(), images=1)


def test_the_sparsest_carried_variant_is_what_its_card_says():
    """Nine of ten weights are zero, and its recipe is the one that comes along."""
    graph = load("resnet8_fashion_unstructured_90")
    weights = np.concatenate([layer.weights.ravel() for layer in graph.convs])
    card = json.loads(carried_networks()["resnet8_fashion_unstructured_90"].card.read_text())
    assert card["sparsity"] == pytest.approx(np.mean(weights == 0))
    assert np.mean(weights == 0) == pytest.approx(0.9, abs=1e-4)
    assert load_recipe("unstructured-90").model_dump(mode="json", exclude_defaults=True) == card["recipe"]
    assert card["float_accuracy_test_10000"] - card["accuracy_test_10000"] < 0.01


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("design", "prune"), [("tiny", "unstructured:0.9"), ("edge", "none"), ("wide", "unstructured:0.8")]
)
def test_mlperf_tiny_resnet8_is_exact(design, prune):
    assert_exact(str(MLPERF), design, CompressionOptions(prune=prune, input_range=(0.0, 255.0)), images=1)


@pytest.mark.rtl
def test_icarus_agrees():
    """The same bench on another simulator, which also simulates unknown values: a layer with 90% zeros on 4x4 PEs."""
    import shutil

    from skipstone.sim.session import RtlSession
    from tests.sim.test_mutations import DESIGN, network

    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed (Debian package iverilog)")
    import numpy as np

    from skipstone.mapper.lowering.compile import compile_network
    from skipstone.mapper.timing.cycles import network_cycles
    from skipstone.models.quantization import reference

    quantized = network()
    program = compile_network(quantized, DESIGN)
    x = np.random.default_rng(6).integers(-128, 128, quantized.tensors["x"].shape)
    expected = reference.run(quantized, x[None])
    with RtlSession(DESIGN, simulator="icarus") as session:
        session.load(program)
        result = session.run(x)
    assert list(result.cycles) == [layer.cycles for layer in network_cycles(program)]
    assert set(result.tensors) >= {layer.output for layer in quantized.array_layers}
    for name, got in result.tensors.items():
        assert (got == expected[name][0]).all(), name
