"""The timeline against the cycle model's sums, against a plain walk event by event, and against numbers counted by hand."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.results.timeline import (
    BALANCE_WAIT,
    DRAIN,
    DRAIN_WAIT,
    DRAINS,
    HELD,
    INPUT_WAIT,
    ISSUE,
    LEFT_OUT,
    LOAD,
    LOAD_WAIT,
    LOADER,
    SETUP,
    SLOT_WAIT,
    SLOTS,
    START_WAIT,
    Timeline,
    unit_name,
)
from skipstone.mapper.timing import cycles
from skipstone.mapper.timing.cycles import schedule_cycles
from skipstone.mapper.timing.timeline import schedule_timeline
from tests.mapper.timing.test_cycles import Walk, designs, overlapping, schedule


def timeline_of(schedules, design, layers=None, limit=None) -> Timeline:
    names = [f"l{index}" for index in range(len(schedules))]
    return schedule_timeline("net", names, schedules, design, layers, limit)


def of(timeline: Timeline, unit: int, kind: str) -> list[tuple[int, int]]:
    return [(event.begin, event.end) for event in timeline.events if event.unit == unit and event.kind == kind]


@dataclass
class Recorded(Walk):
    """The walk of ``test_cycles``, which also stores its events."""

    loads: list[tuple[int, int]] = field(default_factory=list)
    issues: list[list[tuple[int, int]]] = field(default_factory=list)
    drains: list[tuple[int, int]] = field(default_factory=list)
    held: list[tuple[int, int]] = field(default_factory=list)

    def window(self, schedule, p, w, take):
        after = super().window(schedule, p, w, take)
        self.loads.append((self.loaded - int(schedule.words[p][w]) + 1, self.loaded + 1))
        for row in range(self.design.rows):
            if count := int(schedule.counts[p][w][row]):
                self.issues[row].append((self.issued[row] - count + 1, self.issued[row] + 1))
        self.held.append((self.loads[-1][0], max(self.loads[-1][0], self.left_windows[-1]) + 1))
        return after

    def drain(self, steps, first):
        super().drain(steps, first)
        self.drains.append((self.drained[-1] - steps + 1, self.drained[-1] + 1))


def walked(schedules, design) -> Recorded:
    machine = Recorded(design, issues=[[] for _ in range(design.rows)])
    for layer_schedule in schedules:
        machine.layer(layer_schedule)
    return machine


def sums_of(timeline: Timeline, layer: int) -> LayerCycles:
    """A layer's row cycles, counted from events alone. What is not an event of the layer is its tail: from each row's last
    issue to the last result; in the next layer the tail is a wait for the start, counted there and taken off again."""
    rows = range(timeline.design.rows)
    spans = timeline.layers

    def total(kind: str) -> int:
        return sum(e.end - e.begin for e in timeline.events if e.layer == layer and e.kind == kind and e.unit in rows)

    def tail(index: int) -> int:
        if index < 0 or spans[index].segment != spans[layer].segment:
            return 0
        ends = {e.unit: e.end for e in timeline.events if e.layer <= index and e.unit in rows}
        return sum(spans[index].written + 1 - ends.get(row, spans[index].segment_begin + 1) for row in rows)

    before = spans[layer - 1].written if layer else 0
    return LayerCycles(
        spans[layer].written - before,
        total(ISSUE),
        total(LOAD_WAIT),
        total(BALANCE_WAIT),
        total(DRAIN_WAIT),
        total(START_WAIT) + tail(layer) - tail(layer - 1),
    )


@settings(max_examples=60)
@given(st.data())
def test_events_add_up_to_the_cycle_model(data):
    design = data.draw(designs())
    layers = data.draw(overlapping(design))
    timeline = timeline_of(layers, design)
    expected = schedule_cycles(layers, design)
    assert tuple(span.cycles for span in timeline.layers) == expected
    assert [span.written for span in timeline.layers] == np.cumsum([cycles.cycles for cycles in expected]).tolist()
    assert tuple(sums_of(timeline, index) for index in range(len(layers))) == expected
    assert [span.recorded for span in timeline.layers] == [span.tiles for span in timeline.layers]


@settings(max_examples=60)
@given(st.data())
def test_every_event_is_the_plain_walks(data):
    design = data.draw(designs())
    layers = [replace(schedule, pause=False) for schedule in data.draw(overlapping(design))]
    timeline, machine = timeline_of(layers, design), walked(layers, design)
    assert of(timeline, LOADER, LOAD) == machine.loads
    assert of(timeline, DRAIN, DRAINS) == machine.drains
    for row in range(design.rows):
        assert of(timeline, row, ISSUE) == machine.issues[row]
    for slot in range(design.windows):
        assert of(timeline, SLOTS - slot, HELD) == machine.held[slot :: design.windows]
    assert [span.written for span in timeline.layers] == machine.done


@settings(max_examples=40)
@given(st.data())
def test_a_unit_does_one_thing_at_a_time_and_the_loader_and_rows_always_do_something(data):
    design = data.draw(designs())
    layers = data.draw(overlapping(design))
    timeline = timeline_of(layers, design)
    for unit in timeline.units:
        events = [event for event in timeline.events if event.unit == unit]
        for before, after in pairwise(events):
            same = timeline.layers[before.layer].segment == timeline.layers[after.layer].segment
            assert before.end <= after.begin
            if same and unit == LOADER:
                assert before.end == after.begin
    assert {event.unit for event in timeline.events} <= set(timeline.units)
    assert len({unit_name(unit) for unit in timeline.units}) == len(timeline.units)


@settings(max_examples=40)
@given(st.data())
def test_a_limit_leaves_out_the_ends_of_layers_and_nothing_else(data):
    design = data.draw(designs())
    layers = data.draw(overlapping(design))
    limit = data.draw(st.integers(1, 300))
    full, cut = timeline_of(layers, design), timeline_of(layers, design, limit=limit)
    widest = max(sum(len(words) for words in layer.words) for layer in layers)
    # Each layer may end with the tile in which its share is used up: loads, slots, waits, issues of every row, a drain.
    assert len(cut.events) <= limit + len(layers) * (widest * (6 + 4 * design.rows) + design.rows + 6)
    for index, span in enumerate(cut.layers):
        assert replace(span, recorded=full.layers[index].recorded, unrecorded_work={}) == full.layers[index]
        recorded_events = [event for event in cut.events if event.layer == index and event.kind != LEFT_OUT]
        assert recorded_events == [e for e in full.events if e.layer == index and e.tile < span.recorded]
        left_out = [event for event in cut.events if event.layer == index and event.kind == LEFT_OUT]
        assert bool(left_out) == (span in cut.cut)
        for event in left_out:
            assert (event.amount, event.tile) == (span.tiles - span.recorded, span.recorded)
            rest = [e for e in full.events if (e.layer, e.unit) == (index, event.unit) and e.tile >= span.recorded]
            if rest:
                assert event.begin <= rest[0].begin
                assert event.end == rest[-1].end
            work = sum(e.end - e.begin for e in rest if e.kind in (LOAD, ISSUE, DRAINS))
            assert span.unrecorded_work[event.unit] == work


@settings(max_examples=20)
@given(st.data())
def test_chosen_layers_have_the_same_events_as_with_all_layers(data):
    design = data.draw(designs())
    layers = data.draw(overlapping(design))
    chosen = sorted(data.draw(st.sets(st.integers(0, len(layers) - 1))))
    full, partial = timeline_of(layers, design), timeline_of(layers, design, chosen)
    assert partial.chosen == tuple(chosen)
    assert partial.events == tuple(event for event in full.events if event.layer in chosen)
    for index, span in enumerate(partial.layers):
        assert replace(span, recorded=full.layers[index].recorded, unrecorded_work={}) == full.layers[index]


def test_two_layers_of_one_tile_by_hand():
    """As in ``test_cycles``: words in 3..7, entries in 10..16, drain in 21..24, written in 31; the second layer waits for that:
    its descriptor takes the three cycles after the last word, its words come in 32..36."""
    design = Design("hand", 1, 4, 20, 2, 2, 4, 2)
    layer = schedule([[[7]]], [[5]])
    timeline = timeline_of([layer, layer], design)
    assert [tuple(event) for event in timeline.events if event.layer == 0] == [
        (LOADER, SETUP, 0, 3, 0, 0, -1, 0),
        (LOADER, LOAD, 3, 8, 0, 0, 0, 5),
        (0, START_WAIT, 1, 10, 0, 0, 0, 0),
        (0, ISSUE, 10, 17, 0, 0, 0, 7),
        (SLOTS, HELD, 3, 17, 0, 0, 0, 5),
        (DRAIN, DRAINS, 21, 25, 0, 0, -1, 4),
    ]
    assert [tuple(event) for event in timeline.events if event.layer == 1] == [
        (LOADER, SETUP, 8, 11, 1, 0, -1, 0),
        (LOADER, INPUT_WAIT, 11, 32, 1, 0, -1, 0),
        (LOADER, LOAD, 32, 37, 1, 0, 0, 5),
        (0, START_WAIT, 17, 39, 1, 0, 0, 0),
        (0, ISSUE, 39, 46, 1, 0, 0, 7),
        (SLOTS - 1, HELD, 32, 46, 1, 0, 0, 5),
        (DRAIN, DRAINS, 50, 54, 1, 0, -1, 4),
    ]
    first, second = timeline.layers
    assert (first.load_begin, first.load_end, first.issue_begin, first.issue_end) == (3, 8, 10, 17)
    assert (second.drain_begin, second.drain_end, second.written, timeline.end) == (50, 54, 60, 61)


def test_a_slower_row_keeps_the_other_waiting_by_hand():
    """Two slots, three windows: the loader begins the third one when row 1 has left the first. Words in 3, 4 and 16; row 0 issues
    in 6, 7, and row 1 in 6..15 and 16; window 0 is left in 15, so that its slot is free in 16. Row 0 may issue in 16 + 3 = 19:
    of its wait (8..18), 11 cycles, the loader was blocked in 5..15, 11 cycles."""
    design = Design("slow", 2, 4, 20, 2, 2, 4, 2)
    timeline = timeline_of([schedule([[[1, 10], [1, 1], [1, 1]]], [[1, 1, 1]])], design)
    assert of(timeline, LOADER, LOAD) == [(3, 4), (4, 5), (16, 17)]
    assert of(timeline, LOADER, SLOT_WAIT) == [(5, 16)]
    assert of(timeline, 0, ISSUE) == [(6, 7), (7, 8), (19, 20)]
    assert of(timeline, 0, BALANCE_WAIT) == [(8, 19)]
    assert of(timeline, 1, ISSUE) == [(6, 16), (16, 17), (19, 20)]
    assert of(timeline, 1, BALANCE_WAIT) == [(17, 19)]
    assert of(timeline, SLOTS, HELD) == [(3, 16), (16, 20)]


def test_a_pause_is_a_new_segment():
    design = Design("pause", 2, 4, 20, 2, 2, 4, 2)
    layer = schedule([[[5, 4]]], [[6]], tiles=(2, 3))
    timeline = timeline_of([replace(layer, pause=True), layer], design)
    first, second = timeline.layers
    assert (first.segment, first.segment_begin) == (0, 0)
    assert (second.segment, second.segment_begin) == (1, first.written)
    alone = timeline_of([layer], design)
    later = [event for event in timeline.events if event.layer == 1]
    moved = [
        event._replace(begin=event.begin + first.written, end=event.end + first.written, layer=1)
        for event in alone.events
    ]
    # The slots go on where they were.
    assert [event for event in later if event.kind != HELD] == [event for event in moved if event.kind != HELD]


def test_places_of_tiles():
    design = Design("places", 1, 4, 20, 2, 2, 4, 2)
    timeline = timeline_of([schedule([[[3]], [[2]]], [[1], [2]], tiles=(2, 3))], design)
    span = timeline.layers[0]
    assert span.tiles == 12
    assert [span.place(tile) for tile in (0, 2, 3, 6, 11)] == [(0, 0, 0), (0, 0, 2), (0, 1, 0), (1, 0, 0), (1, 1, 2)]
    words = [(event.tile, event.amount) for event in timeline.events if event.kind == LOAD]
    assert words == [(tile, 1 if tile < 6 else 2) for tile in range(12)]


def test_a_cut_layer_is_not_walked_to_its_end(monkeypatch):
    """A layer of a million tiles, and one after it: a handful of tiles is walked, and all spans are exact."""
    seen = []
    real = cycles._tile
    monkeypatch.setattr(cycles, "_tile", lambda *a: seen.append(1) or real(*a))
    design = Design("period", 2, 4, 20, 3, 2, 4, 2)
    layer = schedule([[[50, 40], [3, 9]]], [[5, 30]], tiles=(1000, 1000), out=(1000, 3999))
    timeline = timeline_of([layer, replace(layer, free_tiles=ALL_TILES_FREE)], design, limit=200)
    assert len(seen) < 300
    assert len(timeline.events) < 300
    assert [span.cycles for span in timeline.layers] == list(
        schedule_cycles([layer, replace(layer, free_tiles=ALL_TILES_FREE)], design)
    )


def test_unknown_layers_are_refused():
    design = Design("none", 1, 4, 20, 2, 2, 4, 2)
    with pytest.raises(MappingError, match="network 'net' has no layer on the array, so there is no timeline"):
        timeline_of([], design)
    with pytest.raises(MappingError, match="network 'net' has layers 0 to 0 on the array, not 1"):
        timeline_of([schedule([[[7]]], [[5]])], design, [0, 1])
