"""Steps with the cycle model in the loop report the cost of the network that they return, quantized as it will be."""

from __future__ import annotations

import numpy as np
import pytest

from skipstone.compress.state import Context, State, quantized
from skipstone.compress.steps.hardware import target_of
from skipstone.errors import SkipstoneError
from skipstone.hw.design import load_design
from skipstone.mapper.pruning import losses
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.skipstone.compress.small import dataset, float_network, run, small_place

AWARE = {"do": "cycle_aware_prune", "amount": 0.5, "images": 32}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_place(tmp_path_factory.mktemp("hardware"))


@pytest.fixture(scope="module")
def context(place):
    return Context(float_network(place), dataset(place), load_design(str(place / "small.toml")), 1, lambda _: None)


@pytest.mark.parametrize("method", ["magnitude", "second_order"])
@pytest.mark.parametrize("match", ["loss", "cycles"])
def test_figures_are_those_of_the_network_returned(place, context, method, match):
    done = run(place, {**AWARE, "method": method, "match": match}, design=context.design, out=f"{method}-{match}")
    (step,) = done.result.steps
    measured = step.measured
    loss = losses.divergence(context.parent, context.dataset.calibration()[:32])
    target = target_of(State(context.parent), context)
    assert measured["cycles"] == measured["cost"] == target.cycles(done.graph)
    assert measured["loss"] == pytest.approx(float(loss(done.graph)), rel=1e-6)
    assert ("search" in measured) == (method == "second_order")
    for row, layer in zip(measured["rows"], done.graph.convs, strict=True):
        assert row["nnz"] == np.count_nonzero(layer.weights)
        assert measured["amounts"][layer.name] == pytest.approx(1 - row["nnz"] / row["weights"])
    bounded = "loss" if match == "loss" else "cost"
    over = measured[bounded] > measured[f"uniform_{bounded}"]
    assert any("make up for the layers before them" in note for note in step.notes) == over


def test_an_unreachable_target_names_the_keys(place, context):
    step = {**AWARE, "amount": 0.9, "grid": 0.5, "match": "cycles", "method": "magnitude"}
    message = r"with 0\.5 zeros, the most that grid = 0\.5 has, .* amount = 0\.9; lower amount or take a finer grid"
    with pytest.raises(SkipstoneError, match=message):
        run(place, step, design=context.design, out="unreachable")


@pytest.mark.parametrize(
    "scheme", [QuantizationScheme(per_tensor=True), QuantizationScheme(4, layer_bits={"second": 2})]
)
def test_costs_are_those_of_the_scheme(context, scheme):
    network = target_of(State(context.parent, scheme), context).quantizer(context.parent)
    expected = quantized(context.parent, scheme, context.dataset)
    for layer, expected_layer in zip(network.array_layers, expected.array_layers, strict=True):
        np.testing.assert_array_equal(layer.weights, expected_layer.weights)
