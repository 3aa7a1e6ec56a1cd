"""The cycle model against a plain walk over every entry and every tile, and against numbers counted by hand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import mapper.cycles
from hw import timing
from hw.design import Design
from mapper.cycles import layer_cycles
from mapper.program import LayerSchedule


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


def walk(one: LayerSchedule, design: Design) -> int:
    """The same machine, event by event: one list of loads, one list of entries a row, nothing skipped, no period."""
    windows = [(p, tile, w) for p in range(one.passes) for tile in range(one.tiles) for w in range(len(one.words[p]))]
    pixels = []
    for _ in range(one.passes):
        for y in range(one.tiles_y):
            for x in range(one.tiles_x):
                h = min(one.tile[0], one.out_height - y * one.tile[0])
                w = min(one.tile[1], one.out_width - x * one.tile[1])
                pixels.append(h * w)
    left: dict[int, list[int]] = {}
    issue = [timing.LAYER_SETUP_LATENCY - 1] * design.rows
    loader_at = timing.LAYER_SETUP_LATENCY
    drained: list[int] = []
    last_of_tile: list[int] = []
    tile_index = -1
    for n, (p, _tile, w) in enumerate(windows):
        if w == 0:
            tile_index += 1
            if tile_index:
                begin = max(max(issue) + timing.DRAIN_START_LATENCY, drained[-1] + 1 if drained else 0)
                drained.append(begin + pixels[tile_index - 1] * one.steps - 1)
        if n >= design.windows:
            loader_at = max(loader_at, max(left[n - design.windows]) + timing.ISSUE_LATENCY)
        loader_at += int(one.words[p][w])
        ready = loader_at - 1 + timing.LOAD_LATENCY
        for r in range(design.rows):
            for k in range(int(one.counts[p][w][r])):
                at = max(issue[r] + 1, ready)
                if w == 0 and k == 0 and tile_index >= 2:
                    at = max(at, drained[tile_index - 2] + timing.BANK_LATENCY)
                issue[r] = at
        left[n] = list(issue)
        last_of_tile.append(max(issue))
    begin = max(max(issue) + timing.DRAIN_START_LATENCY, drained[-1] + 1 if drained else 0)
    return begin + pixels[-1] * one.steps - 1 + timing.REQUANTIZER_LATENCY


@st.composite
def schedules(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(1, 4))
    design = Design("random", rows, 6, 20, draw(st.integers(2, 4)), 2, 4, 2)
    passes = draw(st.integers(1, 2))
    counts, words = [], []
    for _ in range(passes):
        windows = draw(st.integers(1, 6))
        count = rng.integers(0, draw(st.sampled_from([2, 8, 30])), (windows, rows))
        count[0] = np.maximum(count[0], 1)
        counts.append(count)
        words.append(rng.integers(1, draw(st.sampled_from([3, 20])), windows))
    tile = draw(st.sampled_from(design.tile_shapes))
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    one = LayerSchedule(
        tuple(counts),
        tuple(words),
        tile,
        -(-height // tile[0]),
        -(-width // tile[1]),
        height,
        width,
        draw(st.integers(1, 4)),
    )
    return one, design


@settings(max_examples=200, deadline=None)
@given(schedules())
def test_periods_give_what_walking_every_tile_gives(drawn):
    one, design = drawn
    got = layer_cycles(one, design)
    assert got.cycles == walk(one, design)
    shares = (
        got.issue_row_cycles,
        got.load_wait_row_cycles,
        got.balance_wait_row_cycles,
        got.drain_wait_row_cycles,
        got.fill_row_cycles,
    )
    assert sum(shares) == got.cycles * design.rows
    assert min(shares) >= 0
    issued = sum(int(c.sum()) for c in one.counts) * one.tiles
    assert got.issue_row_cycles == issued


def test_one_window_one_tile_by_hand():
    """Five words and seven entries: 2 to set up, loads in 2..6, entries in 9..15, first drain step in 20, four pixels, last
    in 23, written 7 cycles later."""
    design = Design("hand", 1, 4, 20, 2, 2, 4, 2)
    assert layer_cycles(schedule([[[7]]], [[5]]), design).cycles == 30
    latencies = timing.LAYER_SETUP_LATENCY + 4 + timing.LOAD_LATENCY + 6 + timing.DRAIN_START_LATENCY + 3
    assert latencies + timing.REQUANTIZER_LATENCY == 30


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
    real = mapper.cycles._tile
    monkeypatch.setattr(mapper.cycles, "_tile", lambda *a: walked.append(1) or real(*a))
    design = Design("period", 2, 4, 20, 3, 2, 4, 2)
    one = schedule([[[50, 40], [3, 9]]], [[5, 30]], tiles=(1000, 1000), out=(1000, 3999))
    assert layer_cycles(one, design).cycles > 50_000_000
    assert len(walked) < 100
