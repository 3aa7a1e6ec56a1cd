"""Single layers of a network: each alone computes what it computes in the network, and runs in the RTL."""

import dataclasses

import numpy as np
import pytest

from benchmarks import rtl_layers
from benchmarks.rtl_layers import OTHER, alone, run_layers, spread
from benchmarks.workloads import quantized, resnet18_graph, with_random_weights
from skipstone.hw.design import load_design
from skipstone.models.quantization import reference
from tests.benchmarks.test_workloads import SMALL

NAMES = ["max_pool", "stage1.1.conv2", "stage2.0.shortcut", "stage2.0.conv2", "classifier"]


@pytest.fixture(scope="module")
def network():
    return quantized(with_random_weights(resnet18_graph(**SMALL), 0.3, seed=0))


def test_layers_are_chosen_from_end_to_end():
    names = [str(index) for index in range(11)]
    assert spread(names, 3) == ["0", "5", "10"]
    assert spread(names, 20) == names
    assert spread(names, 1) == ["0"]
    assert len(set(spread(names, 10))) == 10


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_alone_computes_what_it_does_in_the_network(network, name):
    rng = np.random.default_rng(0)
    (layer,) = (candidate for candidate in network.array_layers if candidate.name == name)
    single = alone(network, name)
    x = rng.integers(-128, 128, (1, *network.tensors[layer.input].shape))
    tensors = reference.run(single, x)
    other = tensors[OTHER] if layer.other else None
    assert (tensors[layer.output] == reference.run_layer(network, layer, x, other)).all()
    if other is not None:
        assert np.unique(other).size > 30, "what is added must be worth adding"


@pytest.mark.rtl
def test_layers_run_in_the_rtl(network):
    runs = run_layers(network, NAMES, load_design("tiny"))
    assert [run.name for run in runs] == NAMES
    for run in runs:
        assert run.cycles_equal, run
        assert run.outputs_equal, run
    assert runs[0].outputs == 4 * 8 * 8


@pytest.mark.rtl
def test_a_difference_is_seen(network, monkeypatch):
    """The reference off by one in one place, and a model off by one cycle."""
    real = rtl_layers.reference.run

    def changed(single, x):
        tensors = real(single, x)
        tensors[single.outputs[0]][0, 1, 2, 3] += 1
        return tensors

    monkeypatch.setattr(rtl_layers.reference, "run", changed)
    cost = rtl_layers.cost

    def slower(single, design):
        exact = cost(single, design)
        layers = tuple(dataclasses.replace(layer, cycles=layer.cycles + 1) for layer in exact.layers)
        return dataclasses.replace(exact, layers=layers)

    monkeypatch.setattr(rtl_layers, "cost", slower)
    (run,) = run_layers(network, ["stage1.1.conv2"], load_design("tiny"))
    assert not run.outputs_equal
    assert not run.cycles_equal
