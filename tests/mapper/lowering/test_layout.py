"""Orders of channels and places of tensors in random networks: no channel has two places, no place two channels, and tensors
that are read together lie together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.layout import Layout, connected, read_by, tied_tensors
from skipstone.mapper.lowering.workload import folded_shape
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork
from tests.mapper.laid_out import DESIGNS, laid_out
from tests.sim.graphs import graphs
from tests.sim.networks import layer, tensor

networks = st.sampled_from(DESIGNS).flatmap(
    lambda design: st.tuples(st.just(design), graphs(design) | graphs(design, "block") | graphs(design, "beside"))
)
MERGING = Design("merging", 4, 4, 24, 2, 4, 8, 4, activation_words=4096)
random_networks = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def placed(design: Design, network: QuantizedNetwork) -> Layout:
    try:
        return laid_out(network, design)[0]
    except MappingError:
        assume(False)
        raise


def words_of(layout: Layout, name: str) -> set[int]:
    return set((layout.positions(name) // layout.design.load_width).tolist())


@random_networks
@given(networks)
def test_every_channel_has_a_place_of_its_own_in_the_pixel(drawn):
    design, network = drawn
    layout = placed(design, network)
    placements, _ = layout.placements()
    for name, place in placements.items():
        channels = folded_shape(network.tensors[name].shape, place.fold)[0]
        assert len(np.unique(place.positions)) == channels
        assert place.positions.min() >= 0
        assert place.positions.max() < place.groups * design.load_width


@random_networks
@given(networks)
def test_tensors_of_one_store_share_no_word(drawn):
    """Every tensor begins with a word: the drain of one never writes into another's."""
    design, network = drawn
    layout = placed(design, network)
    placements, _ = layout.placements()
    leaves = [name for name in placements if name not in network.concats]
    for index, a in enumerate(leaves):
        assert layout.offset(a) % design.load_width == 0
        for b in leaves[:index]:
            if layout._store_of[a] == layout._store_of[b]:
                assert not words_of(layout, a) & words_of(layout, b), (a, b)


@random_networks
@given(networks)
def test_a_concatenation_is_its_parts_side_by_side(drawn):
    design, network = drawn
    layout = placed(design, network)
    placements, _ = layout.placements()
    for joint, parts in network.concats.items():
        if joint not in placements:
            continue
        assert {placements[part].base for part in parts} == {placements[joint].base}
        joined = np.concatenate([placements[part].positions for part in parts])
        assert placements[joint].positions.tolist() == joined.tolist()


@random_networks
@given(networks)
def test_tied_tensors_lie_in_the_same_order(drawn):
    """The words before them do not matter."""
    design, network = drawn
    layout = placed(design, network)
    for quantized in network.array_layers:
        if quantized.other is not None:
            a, b = (layout.positions(name) - layout.offset(name) for name in (quantized.output, quantized.other))
            assert a.tolist() == b.tolist()


@random_networks
@given(networks)
def test_tensors_that_are_still_read_are_not_overwritten(drawn):
    design, network = drawn
    check_lifetimes(placed(design, network), network)


def check_lifetimes(layout: Layout, network: QuantizedNetwork) -> None:
    """Walks through the network as it runs: no output shares a word with a tensor that is written by then and still read."""
    placements, used = layout.placements()

    def span(name: str) -> range:
        return range(placements[name].base, placements[name].base + placements[name].words)

    assert max(span(name)[-1] for name in placements) < used
    order = {quantized.name: step for step, quantized in enumerate(network.layers)}
    # Layers that run together are all written where the first one runs.
    runs_at = order | {
        part.layer.name: order[workload.layer.name] for workload in layout.workloads for part in workload.parts
    }
    written = {network.input: -1}
    last_read = {name: len(network.layers) for output in network.outputs for name in network.leaves(output)}
    for quantized in network.layers:
        written[quantized.output] = min(runs_at[quantized.name], written.get(quantized.output, len(network.layers)))
        for name in read_by(quantized):
            for leaf in network.leaves(name):
                last_read[leaf] = max(runs_at[quantized.name], last_read.get(leaf, -1))
    for quantized in network.layers:
        now = runs_at[quantized.name]
        for other, at in written.items():
            alive = at <= now <= last_read.get(other, at)
            if alive and layout._store_of[other] != layout._store_of[quantized.output]:
                a, b = span(other), span(quantized.output)
                assert a[-1] < b[0] or b[-1] < a[0], (other, quantized.output)


def test_a_merged_layer_has_its_place_from_the_earlier_layer_on():
    """The shortcut is the third layer and runs with the first."""
    rng = np.random.default_rng(0)
    tensors = {name: tensor(name, (8, 6, 6), 8) for name in "xtmsy"}

    def dense(name: str, source: str, target: str, kernel: int, other: str | None = None) -> QuantizedLayer:
        pads = (kernel // 2,) * 4
        weights = rng.integers(1, 9, (8, 8, kernel, kernel)) * (rng.random((8, 8, kernel, kernel)) < 0.4)
        return replace(layer(name, source, target, weights, rng, 8, padding=pads, other=other), pad_value=0)

    layers = (dense("a", "x", "t", 3), dense("b", "t", "m", 3), dense("c", "x", "s", 1), dense("d", "m", "y", 3, "s"))
    network = QuantizedNetwork("late", "x", ("y",), tensors, layers, (), 8, 8, "none")
    layout, mapped = laid_out(network, MERGING)
    assert [item.workload.name for item in mapped] == ["a+c", "b", "d"]
    check_lifetimes(layout, network)
    assert layout.positions("y").tolist() == (layout.positions("s") - layout.offset("s")).tolist()


def two_layers(other: str | None) -> QuantizedNetwork:
    rng = np.random.default_rng(0)
    tensors = {name: tensor(name, (count, 2, 2), 8) for name, count in (("x", 3), ("a", 6), ("b", 6))}
    made: list[QuantizedLayer] = [
        layer("first", "x", "a", np.ones((6, 3, 1, 1)), rng, 8),
        layer("second", "x", "b", np.ones((6, 3, 1, 1)), rng, 8, other=other),
    ]
    return QuantizedNetwork("two", "x", ("b",), tensors, tuple(made), (), 8, 8, "none")


def test_ties():
    assert tied_tensors(two_layers("a")) == {"x": {"x"}, "a": {"a", "b"}, "b": {"a", "b"}}
    assert tied_tensors(two_layers(None)) == {name: {name} for name in "xab"}


def test_chains_of_pairs_connect():
    groups = connected("abcdef", [("a", "b"), ("c", "d"), ("b", "d"), ("e",)])
    assert groups["a"] == groups["b"] == groups["c"] == groups["d"] == {"a", "b", "c", "d"}
    assert groups["e"] == {"e"}
    assert groups["f"] == {"f"}


def test_a_concatenation_that_is_added_is_refused():
    network = two_layers("a")
    tensors = network.tensors | {"a1": tensor("a1", (3, 2, 2), 8), "a2": tensor("a2", (3, 2, 2), 8)}
    network = QuantizedNetwork(
        "n", "x", ("b",), tensors, network.layers[1:], (), 8, 8, "none", concats={"a": ("a1", "a2")}
    )
    with pytest.raises(
        MappingError, match=r"^tensor 'a' is a concatenation and is added to 'b': .*copy it by a layer of its own"
    ):
        Layout(network, DESIGNS[0], {}, [])
