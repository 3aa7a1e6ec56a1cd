"""What a run writes: the network in memory bit for bit, the same cycles everywhere, and the same bytes for the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.flow.designs import design_for
from skipstone.hw.design import load_design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import with_memories_for
from skipstone.models.data.float_execution import float_scores
from skipstone.models.onnx_io import reader as onnx_import
from skipstone.models.quantization.quantize import quantize
from tests.models.onnx_runtimes import open_files
from tests.skipstone.compress.small import outputs, run, small_place

TRAINED = {"epochs": 1, "batch": 32}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_place(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def design(place):
    return load_design(str(place / "small.toml"))


QUANTIZE = {"do": "quantize"}
QAT = {"do": "quantization_aware_training", **TRAINED}
CODINGS = {
    "linear": [QUANTIZE],
    "pruned": [{"do": "prune", "amount": 0.6}, QUANTIZE],
    "mixed": [{**QUANTIZE, "layer_bits": {"second": 3, "dense": 5}}],
    "power_of_two": [{**QUANTIZE, "weight_code": "power_of_two", "weight_bits": 4}],
    "additive_power_of_two": [{**QUANTIZE, "weight_code": "additive_power_of_two", "weight_bits": 5}],
    "ternary": [{**QUANTIZE, "weight_code": "ternary", "weight_bits": 2}],
    "binary": [{**QUANTIZE, "weight_code": "binary", "weight_bits": 2}],
    "codebook": [{**QUANTIZE, "weight_code": "codebook", "codebook_entries": 4}],
    "symmetric": [{**QUANTIZE, "activations": "symmetric"}],
    "per_tensor": [{**QUANTIZE, "weights": "per_tensor"}],
    "narrow": [{**QUANTIZE, "weight_bits": 4, "activation_bits": 6, "calibration": "percentile:99"}],
    "adaptive": [
        {**QUANTIZE, "weight_bits": 4, "weight_range": "mse", "rounding": "adaptive", "bias_correction": True}
    ],
    "corrected": [{**QUANTIZE, "weight_code": "ternary", "weight_bits": 2, "bias_correction": True}],
    "trained": [{**QAT, "weight_bits": 4}],
    "trained learned step": [{"do": "prune", "amount": 0.5}, {**QAT, "weight_bits": 3, "estimator": "learned_step"}],
    "trained ternary": [{**QAT, "weight_code": "ternary", "weight_bits": 2}],
    "trained power of two": [{**QAT, "weight_code": "power_of_two", "weight_bits": 4}],
    "trained additive": [{**QAT, "weight_code": "additive_power_of_two", "weight_bits": 5}],
    "trained binary": [{**QAT, "weight_code": "binary", "weight_bits": 2}],
    "trained codebook": [{**QAT, "weight_code": "codebook", "codebook_entries": 4}],
}


@pytest.mark.parametrize("coding", CODINGS)
def test_the_files_hold_the_network_bit_for_bit(place, design, coding):
    """The quantized file gives the same program, memory image by memory image; the float file the same weights."""
    if "trained" in coding:
        pytest.importorskip("torch")
    done = run(place, *CODINGS[coding], out=coding, design=design)
    assert open_files(place / coding) == ["compressed.onnx", "quantized.onnx"]
    again = quantize(onnx_import.load(place / coding / "quantized.onnx"), None)
    assert (again.weight_code, again.weight_bits) == (done.network.weight_code, done.network.weight_bits)
    chosen = with_memories_for(done.network, design_for(done.network, design))
    assert with_memories_for(again, design_for(again, design)) == chosen
    ours, theirs = compile_network(done.network, chosen), compile_network(again, chosen)
    assert ours.memory_images() == theirs.memory_images()

    images = np.load(place / "data.npz")["test_images"]
    float_file = onnx_import.load(place / coding / "compressed.onnx")
    for mine, read in zip(done.graph.convs, float_file.convs, strict=True):
        np.testing.assert_array_equal(mine.weights, read.weights)
        np.testing.assert_array_equal(mine.bias, read.bias)
    np.testing.assert_array_equal(float_scores(float_file, images), float_scores(done.graph, images))

    design_file, again_out = str(place / "small.toml"), str(place / coding / "again")
    options = ["--design", design_file, "--json", "-", "--out", again_out]
    invocation = CliRunner().invoke(app, ["run", str(place / coding / "quantized.onnx"), *options])
    assert invocation.exit_code == 0, invocation.output
    assert json.loads(invocation.stdout)["total_cycles"] == done.result.cost.cycles


def test_the_same_seed_gives_the_same_bytes(place):
    steps = [
        {"do": "prune", "amount": 0.5, "criterion": "random"},
        {**QUANTIZE, "weight_bits": 4, "rounding": "adaptive"},
    ]
    run(place, *steps, out="one")
    run(place, *steps, out="two")
    run(place, *steps, out="other", seed=2)
    assert outputs(place / "one") == outputs(place / "two")
    assert outputs(place / "one")["quantized.onnx"] != outputs(place / "other")["quantized.onnx"]


def test_the_same_seed_gives_the_same_bytes_after_training(place):
    pytest.importorskip("torch")
    for out in ("trained-one", "trained-two"):
        run(place, {"do": "fine_tune", **TRAINED, "flip": True, "shift": 1}, QAT, out=out)
    assert outputs(place / "trained-one") == outputs(place / "trained-two")


def test_figures_of_a_result(place, design):
    done = run(place, {"do": "prune", "amount": 0.5}, out="figures", design=design)
    result = json.loads((place / "figures" / "compression.json").read_text())
    assert result["float_bytes"] == 4 * 335
    assert result["encoded_bytes"] == sum(layer["encoded_bytes"] for layer in result["layers"])
    assert result["ratio"] == result["float_bytes"] / result["encoded_bytes"]
    assert result["cost"]["speedup"] == result["cost"]["dense_cycles"] / result["cost"]["cycles"] > 1
    assert sum(result["cost"]["layers"].values()) == result["cost"]["cycles"]
    assert result["test_images"] == 40
    assert result["loss_points"] == 100 * (result["float_accuracy"] - result["accuracy"])
    assert result["steps"][0]["accuracy_before"] == result["float_accuracy"]
    assert len(result["key"]) == 64
    plain = run(place, QUANTIZE, out="plain", design=design)
    cost = plain.result.cost
    assert cost.cycles <= cost.dense_cycles == cost.original_cycles == done.result.cost.dense_cycles
    assert cost.energy_pj <= cost.dense_energy_pj == pytest.approx(cost.original_energy_pj)


def test_a_run_of_the_result_says_the_same(place, design):
    """Cycles, dense cycles, speed-up, the enlarged design and its area: compressing and running agree."""
    from skipstone.flow.evaluate import evaluate_network
    from skipstone.mapper.lowering.memory_fit import ENLARGED

    small = design.replace(name="tight", weight_entries=4)
    cost = run(place, {"do": "prune", "amount": 0.5}, out="again", design=small).result.cost
    assert cost.design.startswith(f"tight{ENLARGED}weight_entries 4 -> ")
    result = evaluate_network(str(place / "again" / "quantized.onnx"), small, fit_memories=True)
    assert result.design == cost.design
    assert result.area_um2 == cost.area_um2
    assert (result.total_cycles, result.dense_total_cycles) == (cost.cycles, cost.dense_cycles)
    assert result.speedup == cost.speedup > 1.3
    assert (result.entry_bits, result.value_bits) == (cost.entry_bits, cost.value_bits)


def test_what_steps_removed_counts_as_original_and_not_as_dense(place, design):
    """Filters that are gone are in the network as it came alone; both are costed on the one design."""
    cost = run(place, {"do": "remove_filters", "amount": 0.5}, out="fewer", design=design).result.cost
    assert cost.cycles <= cost.dense_cycles < cost.original_cycles
    assert cost.dense_energy_pj < cost.original_energy_pj
    assert cost.speedup < cost.speedup_over_original


def test_a_network_that_the_design_cannot_run_is_refused_before_any_step(place, design):
    from skipstone.errors import MappingError

    with pytest.raises(MappingError, match="first"):
        run(place, {"do": "prune", "amount": 0.5}, out="misfit", design=design.replace(max_dimension=4))
    assert not (place / "misfit").exists()


def test_every_step_and_every_epoch_is_reported(place):
    pytest.importorskip("torch")
    from skipstone.compress.recipe import parse_recipe
    from skipstone.compress.run import compress

    heard: list[str] = []
    recipe = parse_recipe({"step": [{"do": "prune", "amount": 0.5}, {"do": "fine_tune", **TRAINED, "epochs": 3}]})
    compress(place / "small.onnx", recipe, str(place / "data.npz"), out=place / "heard", progress=heard.append)
    assert [text for text in heard if "epoch" in text] == [
        text
        for text in heard
        if text.startswith(("step 2/2, fine_tune: epoch 1/3: loss", "step 2/2, fine_tune: epoch"))
    ]
    assert sum("epoch" in text for text in heard) == 3
    assert heard[:2] == ["reading the network", "reading the data"]
    assert "step 1/2, prune" in heard
