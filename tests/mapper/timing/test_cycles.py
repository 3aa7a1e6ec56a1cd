"""The cycle model against a plain walk over every entry and tile, and against numbers counted by hand."""

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.hw import timing
from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.mapper.program import LayerSchedule
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.timing import cycles
from skipstone.mapper.timing.cycles import history, layer_cycles, schedule_cycles


def schedule(counts, words, tile=(1, 4), tiles=(1, 1), out=None, steps=1) -> LayerSchedule:
    return LayerSchedule(
        counts=tuple(np.array(c) for c in counts),
        words=tuple(np.array(w) for w in words),
        tile=tile,
        tiles_y=tiles[0],
        tiles_x=tiles[1],
        out_height=out[0] if out else tiles[0] * tile[0],
        out_width=out[1] if out else tiles[1] * tile[1],
        steps=steps,
    )


def tile_pixels(schedule: LayerSchedule) -> list[int]:
    """Pixels inside the image of every tile, in order."""
    return [
        min(schedule.tile[0], schedule.out_height - y * schedule.tile[0])
        * min(schedule.tile[1], schedule.out_width - x * schedule.tile[1])
        for _ in range(schedule.passes)
        for y in range(schedule.tiles_y)
        for x in range(schedule.tiles_x)
    ]


@dataclass
class Walk:
    """The machine between two starts, event by event: every word, entry and tile; no repetition is skipped. Records the times
    of all events: ``left_windows`` (all rows together), ``drained`` of tiles, ``done`` of layers."""

    design: Design
    left_windows: list[int] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    loaded: int = 0
    """The cycle in which the loader took its last word."""
    issued: dict[int, int] = field(default_factory=dict)

    def layer(self, schedule: LayerSchedule) -> None:
        number, tiles_before, pixels = len(self.done), len(self.drained), tile_pixels(schedule)
        may_take = timing.START_LATENCY
        if number:
            may_take = self.loaded + timing.NEXT_LAYER_LATENCY
        if number > 1:
            may_take = max(may_take, self.done[-2] + timing.LAYER_AHEAD_LATENCY)
        tile = 0
        for p in range(schedule.passes):
            for _ in range(schedule.tiles):
                if number and schedule.free_tiles != ALL_TILES_FREE:
                    may_take = max(may_take, self.input_ready(schedule, tile, tiles_before))
                for w in range(len(schedule.words[p])):
                    may_take = self.window(schedule, p, w, may_take)
                self.drain(pixels[tile] * schedule.steps, first=tile == 0)
                tile += 1
        self.done.append(self.drained[-1] + timing.REQUANTIZER_LATENCY)

    def input_ready(self, schedule: LayerSchedule, tile: int, tiles_before: int) -> int:
        """The first cycle in which the data allow the loader to begin a tile."""
        everything = self.done[-1] + timing.LAYER_DONE_LATENCY
        if tile >= schedule.free_tiles:
            return everything
        last_waited_for = self.drained[tiles_before - schedule.unneeded_tiles - 1]
        return min(everything, last_waited_for + timing.REQUANTIZER_LATENCY + timing.TILE_DONE_LATENCY)

    def window(self, schedule: LayerSchedule, p: int, w: int, take: int) -> int:
        """Loads one window, lets the rows work in it, and gives the cycle after its last word."""
        number = len(self.left_windows)
        if number >= self.design.windows:
            take = max(take, self.left_windows[number - self.design.windows] + timing.ISSUE_LATENCY)
        self.loaded = take + int(schedule.words[p][w]) - 1
        for r in range(self.design.rows):
            for entry in range(int(schedule.counts[p][w][r])):
                at = max(self.issued.get(r, -1) + 1, self.loaded + timing.LOAD_LATENCY)
                if w == entry == 0 and len(self.drained) >= 2:
                    at = max(at, self.drained[-2] + timing.BANK_LATENCY)
                self.issued[r] = at
        self.left_windows.append(max(self.issued.values()))
        return self.loaded + 1

    def drain(self, steps: int, first: bool) -> None:
        begin = self.left_windows[-1] + timing.DRAIN_START_LATENCY
        if self.drained:
            begin = max(begin, self.drained[-1] + 1)
        if first and self.done:
            begin = max(begin, self.done[-1] + timing.DRAIN_SETUP_LATENCY)
        self.drained.append(begin + steps - 1)


def walk(schedules: list[LayerSchedule], design: Design) -> list[int]:
    """Cycles of every layer; a pause is a new start."""
    cycles: list[int] = []
    machine = Walk(design)
    for schedule in schedules:
        machine.layer(schedule)
        cycles.append(machine.done[-1] - (machine.done[-2] if len(machine.done) > 1 else 0))
        if schedule.pause:
            machine = Walk(design)
    return cycles


@st.composite
def designs(draw) -> Design:
    return Design("random", draw(st.integers(1, 4)), 6, 20, draw(st.integers(2, 4)), 2, 4, 2)


@st.composite
def schedules(draw, design: Design, largest: int) -> LayerSchedule:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    passes = draw(st.integers(1, 2))
    counts, words = [], []
    for _ in range(passes):
        windows = draw(st.integers(1, 6))
        count = rng.integers(0, draw(st.sampled_from([2, 8, 30])), (windows, design.rows))
        count[0] = np.maximum(count[0], 1)
        counts.append(count)
        words.append(rng.integers(1, draw(st.sampled_from([3, 20])), windows))
    tile = draw(st.sampled_from(design.tile_shapes))
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    return LayerSchedule(
        tuple(counts),
        tuple(words),
        tile,
        -(-height // tile[0]),
        -(-width // tile[1]),
        height,
        width,
        draw(st.integers(1, 4)),
    )


@st.composite
def overlapping(draw, design: Design) -> list[LayerSchedule]:
    """Layers that wait for all of the one before, for nothing, or for some tiles of it; and pauses."""
    result: list[LayerSchedule] = []
    for _ in range(draw(st.integers(2, 5))):
        schedule = draw(schedules(design, 12))
        kind = draw(st.sampled_from(["all", "nothing", "tiles", "tiles", "tiles"]))
        if kind == "nothing":
            schedule = replace(schedule, free_tiles=ALL_TILES_FREE)
        elif kind == "tiles" and result:
            most = min(result[-1].tiles - 1, history(design) - 1)
            free = draw(st.one_of(st.integers(1, 12), st.just(ALL_TILES_FREE - 1)))
            schedule = replace(schedule, free_tiles=free, unneeded_tiles=draw(st.integers(0, most)))
        result.append(replace(schedule, pause=draw(st.sampled_from([False, False, False, True]))))
    return result


def check_shares(got: LayerCycles, schedule: LayerSchedule, design: Design) -> None:
    """All row cycles are accounted for; the fill is negative only by work that was done while the layer before still ran."""
    waits = (got.load_wait_row_cycles, got.balance_wait_row_cycles, got.drain_wait_row_cycles)
    assert got.issue_row_cycles + sum(waits) + got.fill_row_cycles == got.cycles * design.rows
    assert min(waits) >= 0
    assert got.issue_row_cycles == sum(int(c.sum()) for c in schedule.counts) * schedule.tiles


@settings(max_examples=150)
@given(st.data())
def test_periods_give_what_walking_every_tile_gives(data):
    design = data.draw(designs())
    schedule = data.draw(schedules(design, 30))
    got = layer_cycles(schedule, design)
    assert [got.cycles] == walk([schedule], design)
    check_shares(got, schedule, design)
    assert got.fill_row_cycles >= 0


@settings(max_examples=250)
@given(st.data())
def test_overlapping_layers_are_walked_event_by_event(data):
    design = data.draw(designs())
    layers = data.draw(overlapping(design))
    got = schedule_cycles(layers, design)
    assert [layer.cycles for layer in got] == walk(layers, design)
    for shares, schedule in zip(got, layers, strict=True):
        check_shares(shares, schedule, design)


def test_a_pause_is_a_new_start():
    """After a pause a layer takes as long as alone, no matter what it may overlap with."""
    design = Design("pause", 2, 4, 20, 2, 2, 4, 2)
    first = schedule([[[5, 4]]], [[6]], tiles=(2, 3))
    second = replace(schedule([[[3, 9]]], [[4]], tiles=(3, 2)), free_tiles=2, unneeded_tiles=1)
    alone = [layer_cycles(layer, design).cycles for layer in (first, second)]
    overlapped = [layer.cycles for layer in schedule_cycles([first, second], design)]
    paused = [layer.cycles for layer in schedule_cycles([replace(first, pause=True), second], design)]
    assert paused == alone
    assert overlapped[0] == alone[0]
    assert overlapped[1] < alone[1]


def test_two_layers_of_one_tile_by_hand():
    """Both: five words, seven entries, four pixels. The first is written in cycle 31 (below), its last word taken in 7.

    A second one that needs nothing of it: words from 7 + 4 = 11 to 15, entries from 18 (the rows are free from 17 on) to 24,
    ready to drain in 29, not before 31 + 2 = 33; 33 to 36, written in 43. One that waits for the last result: words from 32 to
    36, entries from 39 to 45, drain from 50 to 53, written in 60.
    """
    design = Design("hand", 1, 4, 20, 2, 2, 4, 2)
    layer = schedule([[[7]]], [[5]])
    free, bound = (schedule_cycles([layer, replace(layer, free_tiles=n)], design) for n in (ALL_TILES_FREE, 0))
    assert [layer.cycles for layer in free] == [31, 43 - 31]
    assert [layer.cycles for layer in bound] == [31, 60 - 31]
    # Entries end in 16 and 24: from then to the end, 15 and 19 cycles of the one row are filled.
    assert free[0].fill_row_cycles == 31 - 7
    assert free[1].fill_row_cycles == (43 - 31) - 7


def test_one_window_one_tile_by_hand():
    """Five words and seven entries: 3 to start, loads in 3..7, entries in 10..16, first drain step in 21, four pixels, last
    in 24, written 7 cycles later."""
    design = Design("hand", 1, 4, 20, 2, 2, 4, 2)
    assert layer_cycles(schedule([[[7]]], [[5]]), design).cycles == 31
    latencies = timing.START_LATENCY + 4 + timing.LOAD_LATENCY + 6 + timing.DRAIN_START_LATENCY + 3
    assert latencies + timing.REQUANTIZER_LATENCY == 31


def test_a_compute_bound_layer_takes_its_slowest_row_per_tile():
    """100 tiles of 50 entries: each further tile costs exactly 50 cycles."""
    design = Design("compute", 2, 4, 20, 2, 2, 4, 2)
    few = layer_cycles(schedule([[[50, 40]]], [[5]], tiles=(1, 10)), design).cycles
    many = layer_cycles(schedule([[[50, 40]]], [[5]], tiles=(1, 110)), design).cycles
    assert many - few == 100 * 50


def test_a_load_bound_layer_takes_its_words_per_tile():
    design = Design("load", 2, 4, 20, 2, 2, 4, 2)
    few = layer_cycles(schedule([[[5, 4]]], [[60]], tiles=(1, 10)), design)
    many = layer_cycles(schedule([[[5, 4]]], [[60]], tiles=(1, 110)), design)
    assert many.cycles - few.cycles == 100 * 60
    # Each tile's 60 cycles: the rows issue 5 and 4 and wait for the loader in all others.
    assert many.load_wait_row_cycles - few.load_wait_row_cycles == 100 * (55 + 56)


def test_a_drain_bound_layer_takes_its_pixels_and_steps_per_tile():
    design = Design("drain", 2, 4, 20, 2, 2, 4, 2)
    few = layer_cycles(schedule([[[5, 4]]], [[3]], tiles=(1, 10), steps=20), design)
    many = layer_cycles(schedule([[[5, 4]]], [[3]], tiles=(1, 110), steps=20), design)
    assert many.cycles - few.cycles == 100 * 80


def test_only_a_few_tiles_are_walked(monkeypatch):
    """A layer of a million tiles is costed from a handful of them."""
    walked = []
    real = cycles._tile
    monkeypatch.setattr(cycles, "_tile", lambda *a: walked.append(1) or real(*a))
    design = Design("period", 2, 4, 20, 3, 2, 4, 2)
    layer = schedule([[[50, 40], [3, 9]]], [[5, 30]], tiles=(1000, 1000), out=(1000, 3999))
    assert layer_cycles(layer, design).cycles > 50_000_000
    assert len(walked) < 100
