"""The network without zeros: mapped as if every weight were listed, and never faster than a network with zeros."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.flow.designs import design_for
from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.hw.design import Design, load_design
from skipstone.mapper.cost import cost
from skipstone.mapper.lowering import compile as compiling
from skipstone.mapper.lowering.compile import compile_dense, compile_network
from skipstone.mapper.lowering.lookups import collect_lookups
from skipstone.mapper.lowering.memory_sizes import unbounded
from skipstone.mapper.program import Program
from skipstone.mapper.timing.cycles import layer_cycles, network_cycles
from skipstone.models.data.zoo import carried_networks
from skipstone.models.quantization.network import HostProduct, QuantizedNetwork, without_zeros
from tests.sim.designs import POOL
from tests.sim.graphs import graphs
from tests.sim.networks import networks

DESIGNS = [unbounded(POOL[name]) for name in ("square4", "odd3x6", "lanes2x5", "broad2x12", "codebook2x7")]
DESIGNS.append(unbounded(POOL["square4"]).replace(index_coding="delta", delta_bits=2))
drawn = st.sampled_from(DESIGNS).flatmap(
    lambda design: st.tuples(st.just(design), graphs(design) | graphs(design, "beside") | networks(design))
)
random_networks = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def trained(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network with its sums of products as trained layers."""
    layers = (
        layer
        if isinstance(layer, HostProduct) or layer.operation == "max"
        else replace(layer, weight_bits=network.weight_bits)
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


def cycles(program: Program) -> int:
    return sum(layer.cycles for layer in network_cycles(program))


def alone(program: Program) -> dict[tuple[str, ...], int]:
    return {
        layer.layers: layer_cycles(layer.schedule, program.design).cycles for layer in program.layers if layer.trained
    }


def check_never_slower(program: Program, dense: Program) -> None:
    assert cycles(program) <= cycles(dense)
    own, full = alone(program), alone(dense)
    for mine, theirs in compiling._together(list(own), list(full)):
        assert sum(own[layers] for layers in mine) <= sum(full[layers] for layers in theirs), mine


@random_networks
@given(drawn)
def test_zeros_never_make_a_network_or_a_layer_slower(drawn_network):
    """Whatever the layers, strides, groups and zeros."""
    design, network = drawn_network
    network = trained(network)
    try:
        program = compile_network(network, design)
    except MappingError:
        assume(False)
        raise
    check_never_slower(program, compile_dense(network, design))


@random_networks
@given(drawn)
def test_the_mapping_without_zeros_is_a_bound_by_itself(drawn_network):
    """Zeros in the place of nonzeros of the dense program only take entries and words away, so that nothing is later: also
    where that program is not the best for the nonzeros."""
    design, network = drawn_network
    network = trained(network)
    full = replace(without_zeros(network), graph=None)
    try:
        dense = compiling._dense(compiling._Structure(full), design)
        lookups = collect_lookups(network, design)
        like = compiling._compile(network, design, lookups, dense.folds, dense.merges, full, like_dense=True)
    except MappingError:
        assume(False)
        raise
    assert not compiling._slower(like, dense)
    assert like.cycles == cycles(like.program)
    for layer, other in zip(like.program.layers, dense.program.layers, strict=True):
        assert layer.schedule.tile == other.schedule.tile
        assert layer.row_entries.max() <= other.row_entries.max()
        assert layer.schedule.load_words <= other.schedule.load_words


@random_networks
@given(drawn)
def test_channels_that_are_alike_are_counted_as_if_each_was_listed(drawn_network):
    """The program without zeros from one list for each pattern equals that from the list of every weight."""
    design, network = drawn_network
    dense = without_zeros(trained(network))
    try:
        lookups = collect_lookups(dense, design)
        alike = compiling._compile(dense, design, lookups, {}, {}, None)
        listed = compiling._compile(
            replace(dense, layers=tuple(map(solid, dense.layers))), design, lookups, {}, {}, dense
        )
    except MappingError:
        assume(False)
        raise
    assert alike.cycles == listed.cycles
    for one, other in zip(alike.program.layers, listed.program.layers, strict=True):
        assert (one.products, one.captures, one.nnz) == (other.products, other.captures, other.nnz)
        assert (one.schedule.tile, one.schedule.steps) == (other.schedule.tile, other.schedule.steps)
        for name in ("counts", "words"):
            for mine, theirs in zip(getattr(one.schedule, name), getattr(other.schedule, name), strict=True):
                assert np.array_equal(mine, theirs)


def solid(layer):
    """The layer with an array of its own, whose channels are not known to be alike."""
    return layer if isinstance(layer, HostProduct) else replace(layer, weights=np.array(layer.weights))


def test_dense_fills_trained_weights_alone():
    """The pool's taps and the connections that an addition stands for are no weights."""
    network = prepare_network("resnet8_fashion", CompressionOptions(prune="filter:0.5")).compressed
    dense = without_zeros(network)
    for layer, full in zip(network.array_layers, dense.array_layers, strict=True):
        assert layer.trained == (layer.kind in ("conv", "gemm"))
        assert full.nnz == (layer.weights.size if layer.trained else layer.nnz)
        assert full.weights.shape == layer.weights.shape


@pytest.mark.parametrize("name", sorted(carried_networks()))
@pytest.mark.parametrize("design", ["edge", "wide", "square"])
def test_carried_networks_are_never_slower_than_dense(name: str, design: str):
    methods = ["none"]
    if name == "resnet8_fashion":
        methods += ["unstructured:0.1", "unstructured:0.5", "unstructured:0.9", "2:4", "filter:0.3", "input_channel:0.3",
                    "block4x4:0.5", "kernel:0.5", "stripe:0.5"]  # fmt: skip
    for method in methods:
        network = prepare_network(name, CompressionOptions(prune=method)).compressed
        array = unbounded(design_for(network, load_design(design)))
        check_never_slower(compile_network(network, array), compile_dense(network, array))


def test_dense_costs_do_not_depend_on_where_zeros_come_from():
    """Pruned here, or zeros in other places of a network with the same layers: cycles, actions and energy are those of one
    and the same dense network, but for the activations' sizes."""
    design: Design = load_design("wide")
    pruned = [
        prepare_network("resnet8_fashion", CompressionOptions(prune=f"unstructured:{a}")).compressed for a in (0.3, 0.8)
    ]
    dense = [cost(network, design).dense for network in pruned]
    assert dense[0].layers == dense[1].layers
    assert dense[0].actions == dense[1].actions
    assert dense[0].price == dense[1].price
