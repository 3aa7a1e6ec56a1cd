"""After every step without training, the network runs on the RTL: cycles are the model's, tensors the integer reference's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skipstone.compress.recipe import parse_recipe
from skipstone.compress.run import run_step
from skipstone.compress.state import Context, State, quantized
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.data.datasets import Dataset
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, AveragePool
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.sim.session import RtlSession
from tests.models.builders import conv_layer, graph_of, random_images
from tests.sim.designs import POOL

RELU = (0.0, math.inf)
PAD = (1, 1, 1, 1)
GRAPH = graph_of(
    conv_layer("stem", "x", (6, 3, 3, 3), padding=PAD, clamp=RELU),
    conv_layer("first", "stem", (6, 6, 3, 3), padding=PAD, clamp=RELU),
    conv_layer("second", "first", (6, 6, 3, 3), padding=PAD),
    Add(name="sum", inputs=("second", "stem"), clamp=RELU),
    conv_layer("strided", "sum", (8, 6, 3, 3), padding=(1, 0, 0, 1), stride=(2, 2), clamp=RELU),
    AveragePool(name="pool", inputs=("strided",), kernel=(3, 3)),
    conv_layer("dense", "pool", (4, 8, 1, 1), gemm=True),
    shape=(3, 7, 6),
)
LINEAR = [
    [{"do": "prune", "amount": 0.6}],
    [{"do": "prune", "amount": 0.6, "scope": "network", "criterion": "lamp"}],
    [{"do": "prune", "granularity": "nm", "pattern": "2:4"}],
    [{"do": "prune", "granularity": "nm", "pattern": "1:4"}],
    [{"do": "prune", "granularity": "block", "block": [2, 2], "amount": 0.5}],
    [{"do": "prune", "granularity": "kernel", "amount": 0.5}],
    [{"do": "prune", "granularity": "stripe", "amount": 0.5}],
    [{"do": "prune", "granularity": "shape", "amount": 0.5}],
    [{"do": "prune", "granularity": "input_channel", "amount": 0.4}],
    [{"do": "prune", "granularity": "filter", "amount": 0.4}],
    [{"do": "prune_second_order", "amount": 0.6}],
    [{"do": "prune_by_reconstruction", "amount": 0.4}],
    [{"do": "remove_filters", "macs": 0.5}],
    [{"do": "remove_blocks", "blocks": ["sum"]}],
    [{"do": "factorize", "method": "tucker", "ranks": {"first": [3, 3]}}],
    [{"do": "factorize", "method": "cp", "ranks": {"second": [3]}}],
    [{"do": "factorize", "method": "svd", "ranks": {"dense": [2]}}],
    [{"do": "compact", "filter": "depthwise_separable", "layers": ["first"]}],
    [{"do": "compact", "filter": "bottleneck", "layers": ["first"]}],
    [{"do": "equalize"}, {"do": "quantize", "activations": "symmetric", "weights": "per_tensor"}],
    [{"do": "quantize", "weight_bits": 4, "weight_range": "mse", "rounding": "adaptive", "bias_correction": True}],
    [{"do": "quantize", "layer_bits": {"first": 3, "dense": 5}, "calibration": "entropy"}],
]
"""Steps whose networks have linear weights of 8 bits or fewer."""


def dataset() -> Dataset:
    images = random_images(GRAPH, 24)
    labels = np.arange(24, dtype=np.int64) % 4
    return Dataset("random", None, None, images, labels, images, "24 random images")


def after(steps: list[dict[str, object]]) -> tuple[Graph, QuantizedNetwork]:
    """The network after ``steps``, and its integers."""
    context = Context(GRAPH, dataset(), None, 1, lambda text: None)
    state = State(GRAPH)
    for step in parse_recipe({"step": steps}).step:
        state, _ = run_step(step, state, context, "", None, Path("unused"))
    return state.graph, quantized(state.graph, state.scheme, context.dataset)


@pytest.fixture(scope="module")
def rtl() -> Iterator[RtlSession]:
    with RtlSession(POOL["square4"]) as session:
        yield session


@pytest.mark.rtl
@pytest.mark.parametrize("steps", LINEAR, ids=lambda steps: "-".join(str(v) for step in steps for v in step.values()))
def test_rtl_is_exact_after_these_steps(rtl: RtlSession, steps: list[dict[str, object]]) -> None:
    graph, network = after(steps)
    assert graph is not GRAPH or steps[-1]["do"] == "quantize"
    program = compile_network(network, POOL["square4"])
    cycles = [layer.cycles for layer in network_cycles(program)]
    x = np.random.default_rng(2).integers(-128, 128, network.tensors[network.input].shape)
    rtl.load(program)
    run = rtl.run(x, sum(cycles))
    assert list(run.cycles) == cycles
    expected = reference.run(network, x[None])
    assert set(run.tensors) >= {layer.output for layer in network.array_layers}
    for name, got in run.tensors.items():
        np.testing.assert_array_equal(got, expected[name][0], err_msg=name)
