"""What a change would save is the difference of two exact counts, and the bound is what saves most."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.mapper.cost import cost
from skipstone.mapper.program import LayerSchedule
from skipstone.mapper.results.network import CHANGES
from skipstone.mapper.timing.causes import cycles_by_cause
from skipstone.mapper.timing.cycles import layer_cycles, schedule_cycles
from skipstone.mapper.timing.savings import bound_of, changed, layer_savings, network_savings
from tests.mapper.laid_out import DESIGNS
from tests.mapper.lowering.test_compile import DESIGN, residual
from tests.sim.graphs import graphs
from tests.sim.networks import networks

drawn = st.sampled_from(DESIGNS).flatmap(
    lambda design: st.tuples(st.just(design), graphs(design) | graphs(design, "beside") | networks(design))
)
random_networks = settings(max_examples=40, suppress_health_check=list(HealthCheck))


def schedule(entries: int, words: int, steps: int = 1, windows: int = 30) -> LayerSchedule:
    """40 tiles of ``windows`` windows; each row issues so many entries in each, and the loader takes so many words."""
    counts = np.full((windows, DESIGN.rows), entries, np.int64)
    loads = np.full(windows, words, np.int64)
    tile = DESIGN.tile_shapes[0]
    return LayerSchedule((counts,), (loads,), tile, 40, 1, 40 * tile[0], tile[1], steps)


def test_each_change_halves_one_thing():
    before = schedule(entries=7, words=5, steps=3)
    assert changed(before, "weights").counts[0].max() == changed(before, "rows").counts[0].max() == 4
    assert changed(before, "load").words[0].max() == 3
    assert changed(before, "drain").steps == 2
    for change, name in (("weights", "words"), ("load", "counts")):
        assert getattr(changed(before, change), name) is getattr(before, name)
    with pytest.raises(ValueError, match="no change 'clock'; the changes are load, weights, rows, drain"):
        changed(before, "clock")


def test_twice_the_rows_take_two_passes_at_once():
    """Three passes become two: the windows of two are loaded once, and the drain has as much to do as before."""
    first, second = schedule(4, 6, windows=3), schedule(5, 2, windows=2)
    passes = dataclasses.replace(
        first,
        counts=(*first.counts, *second.counts, *first.counts),
        words=(*first.words, *second.words, *first.words),
        steps=4,
    )
    halved = changed(passes, "rows")
    assert [counts[:, 0].tolist() for counts in halved.counts] == [[5, 5, 4], [4, 4, 4]]
    assert [words.tolist() for words in halved.words] == [[6, 6, 6], [6, 6, 6]]
    assert halved.steps == 6


@pytest.mark.parametrize(
    ("layer", "bound"),
    [
        (schedule(entries=20, words=5), "compute"),
        (schedule(entries=5, words=20), "load"),
        # The case that shares of cycles got wrong: rows compute half of the time, and fewer weights would save nothing.
        (schedule(entries=10, words=20), "load"),
        (schedule(entries=1, words=1, steps=60, windows=1), "drain"),
        (dataclasses.replace(schedule(entries=1, words=1, windows=1), tiles_y=1, out_height=1, out_width=1), "edge"),
    ],
)
def test_the_bound_is_what_saves_most(layer: LayerSchedule, bound: str):
    alone = layer_cycles(layer, DESIGN).cycles
    savings = {change: alone - layer_cycles(changed(layer, change), DESIGN).cycles for change in CHANGES}
    assert bound_of(savings, alone) == bound


def test_without_trained_weights_more_rows_tell_of_compute():
    savings = {"load": 10, "weights": 0, "rows": 40, "drain": 0}
    assert bound_of(savings, 100, trained=False) == "compute"
    assert bound_of(savings, 100) == "load"


def test_fewer_weights_save_nothing_where_none_are_trained():
    network = residual()
    mapped = cost(network, DESIGN)
    assert not any(layer.trained for layer in mapped.program.layers)
    assert all(savings["weights"] == 0 for savings in mapped.savings)
    trained = dataclasses.replace(
        network, layers=tuple(dataclasses.replace(layer, weight_bits=8) for layer in network.array_layers)
    )
    assert all(savings["weights"] > 0 for savings in cost(trained, DESIGN).savings)


@random_networks
@given(drawn)
def test_no_change_makes_anything_slower_and_all_are_counted_exactly(drawn_network):
    design, network = drawn_network
    try:
        mapped = cost(network, design)
    except MappingError:
        assume(False)
        raise
    for layer, alone, savings in zip(mapped.program.layers, mapped.alone, mapped.savings, strict=True):
        assert alone == layer_cycles(layer.schedule, design).cycles
        assert savings == layer_savings(layer, design, alone)
        assert all(0 <= savings[change] < alone for change in CHANGES)
    total = network_savings(mapped.program, mapped.cycles)
    wider = [changed(layer.schedule, "load") for layer in mapped.program.layers]
    assert total["load"] == mapped.cycles - sum(each.cycles for each in schedule_cycles(wider, design)) >= 0


@random_networks
@given(drawn)
def test_no_layer_is_above_its_roof(drawn_network):
    """Alone, a layer computes no more than the PEs can and the loader allows; in a network its cycles may be fewer than that,
    because it begins while the layer before still runs."""
    design, network = drawn_network
    try:
        mapped = cost(network, design)
    except MappingError:
        assume(False)
        raise
    for alone, cycles, actions in zip(mapped.alone, mapped.layers, mapped.actions, strict=True):
        assert actions.useful_macs <= design.pes * alone
        assert actions.load_list_reads <= alone
        assert cycles.cycles <= alone
    for layer, cycles in zip(mapped.program.layers, mapped.layers, strict=True):
        assert sum(cycles_by_cause(layer, cycles, design).values()) == pytest.approx(cycles.cycles)
