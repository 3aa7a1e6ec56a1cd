"""The exact cycle model: a max-plus recurrence over (tile, window), equal to the RTL cycle for cycle.

For window n of a layer (counted over tiles and passes), with the latencies of ``hw.timing``:

- The loader takes the window's first word at ``begin(n) = max(end(n - 1) + 1, left(n - windows) + ISSUE_LATENCY)``, where
  ``left(m)`` is the cycle in which the last row leaves window m, and the last word at ``end(n) = begin(n) + words(n) - 1``.
- A row issues its first entry in window n at ``max(previous + 1, end(n) + LOAD_LATENCY)``, in a tile's first window also not
  before ``drained(t - 2) + BANK_LATENCY``; its other entries in the window follow one a cycle.
- The drain of tile t takes its first step at ``max(last issue of the tile + DRAIN_START_LATENCY, drained(t - 1) + 1)`` and its
  last, ``drained(t)``, after one cycle for each pixel inside the image and step.

Tiles repeat, so the state at the start of a tile, taken relative to the loader, soon returns: from then on whole periods
are added at once, over the tiles of an image row and again over the rows of tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hw import timing
from hw.design import Design
from mapper.program import LayerSchedule, Program

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of one layer, and where the cycles of its rows went (``rows * cycles`` row cycles in all).

    ``issue``: entries issued, fillers among them; ``load_wait``: a row waited for the loader; ``balance_wait``: it waited for
    a window that the loader could not begin because a slower row still held the slot; ``drain_wait``: it waited for a bank
    of accumulators; ``fill``: the rest, from the layer's start to its first entries and from its last entries to its last
    result.
    """

    cycles: int
    issue_row_cycles: int
    load_wait_row_cycles: int
    balance_wait_row_cycles: int
    drain_wait_row_cycles: int
    fill_row_cycles: int


ISSUE, LOAD_WAIT, BALANCE_WAIT, DRAIN_WAIT = range(4)
FAR_PAST = -(1 << 40)


@dataclass
class _State:
    """Times of the events that later events depend on, relative to any common origin."""

    next_take: int
    issued: Ints
    left: list[int]
    drained: int
    drained_before: int
    sums: Ints = field(default_factory=lambda: np.zeros(4, np.int64))

    def shifted(self, offset: int) -> _State:
        return _State(
            self.next_take + offset,
            self.issued + offset,
            [time + offset for time in self.left],
            self.drained + offset,
            self.drained_before + offset,
            self.sums.copy(),
        )

    def key(self) -> bytes:
        """The state relative to the loader. Slots and banks that became free before it are free, whenever that was."""
        floor = self.next_take - 1
        free = np.maximum(np.array([*self.left, self.drained, self.drained_before]) - floor, 0)
        return bytes(np.concatenate([self.issued - floor, free]).tobytes())


def network_cycles(program: Program) -> tuple[LayerCycles, ...]:
    """Cycles of every layer; the first one's include the start. Their sum is the time from ``start`` to ``done``."""
    layers = []
    for index, layer in enumerate(program.layers):
        cycles = layer_cycles(layer.schedule, program.design)
        if index == 0:
            start = timing.START_LATENCY
            cycles = LayerCycles(
                cycles.cycles + start,
                cycles.issue_row_cycles,
                cycles.load_wait_row_cycles,
                cycles.balance_wait_row_cycles,
                cycles.drain_wait_row_cycles,
                cycles.fill_row_cycles + start * program.design.rows,
            )
        layers.append(cycles)
    return tuple(layers)


def layer_cycles(schedule: LayerSchedule, design: Design) -> LayerCycles:
    """From the cycle that writes the last result of the layer before to the cycle that writes this layer's last."""
    first = timing.LAYER_SETUP_LATENCY
    state = _State(
        next_take=first,
        issued=np.full(design.rows, first - 1, np.int64),
        left=[first - 1] * design.windows,
        drained=FAR_PAST,
        drained_before=FAR_PAST,
    )
    tile_h, tile_w = schedule.tile
    full_w, edge_w = divmod(schedule.out_width, tile_w)
    full_h, edge_h = divmod(schedule.out_height, tile_h)
    cold = _cold_wait(schedule)
    for counts, words in zip(schedule.counts, schedule.words, strict=True):
        one_pass = _Pass(counts, words, schedule.steps, design)
        state = _repeat(state, full_h, partial(_tile_row, one_pass, tile_h, tile_w, full_w, edge_w))
        if edge_h:
            state = _tile_row(one_pass, edge_h, tile_w, full_w, edge_w, state)
    cycles = state.drained + timing.REQUANTIZER_LATENCY
    sums = state.sums.tolist()
    # Before its first window is loaded a row fills the pipeline; it does not wait for anybody.
    sums[LOAD_WAIT] -= cold * design.rows
    return LayerCycles(
        cycles,
        issue_row_cycles=sums[ISSUE],
        load_wait_row_cycles=sums[LOAD_WAIT],
        balance_wait_row_cycles=sums[BALANCE_WAIT],
        drain_wait_row_cycles=sums[DRAIN_WAIT],
        fill_row_cycles=cycles * design.rows - sum(sums),
    )


@dataclass(frozen=True, eq=False)
class _Pass:
    """What all tiles of a pass share."""

    counts: Ints
    words: Ints
    steps: int
    design: Design


def _tile_row(one: _Pass, height: int, width: int, full: int, edge: int, state: _State) -> _State:
    """A row of tiles ``height`` pixels high inside the image: ``full`` tiles of ``width`` pixels, then one of ``edge``."""
    state = _repeat(state, full, partial(_tile, one, height * width))
    return _tile(one, height * edge, state) if edge else state


def _cold_wait(schedule: LayerSchedule) -> int:
    """Cycles that every row waits for the very first window, counted from the loader's first word."""
    return int(schedule.words[0][0]) - 1 + timing.LOAD_LATENCY


def _repeat(state: _State, count: int, step: Callable[[_State], _State]) -> _State:
    """Applies ``step`` ``count`` times; once the relative state has returned, whole periods at once."""
    seen: dict[bytes, tuple[int, int, Ints]] = {}
    done = 0
    while done < count:
        key = state.key()
        if key in seen:
            at, time, sums = seen[key]
            period = done - at
            whole = (count - done) // period
            if whole:
                advance, more = state.next_take - time, state.sums - sums
                state = state.shifted(advance * whole)
                state.sums += more * whole
                done += whole * period
                # What is left is shorter than a period: walk it.
                seen.clear()
                continue
        else:
            seen[key] = done, state.next_take, state.sums.copy()
        state = step(state)
        done += 1
    return state


def _tile(one: _Pass, pixels: int, state: _State) -> _State:
    """One tile: all its windows, then its drain, of the ``pixels`` that lie inside the image."""
    next_take, issued, left, sums = state.next_take, state.issued, list(state.left), state.sums.copy()
    bank_free = state.drained_before + timing.BANK_LATENCY
    for window, (row_counts, word_count) in enumerate(zip(one.counts, one.words.tolist(), strict=True)):
        slot_free = left.pop(0) + timing.ISSUE_LATENCY
        begin = max(next_take, slot_free)
        blocked = begin - next_take
        next_take = begin + word_count
        ready = next_take - 1 + timing.LOAD_LATENCY
        busy = row_counts > 0
        earliest = issued + 1
        start = np.maximum(earliest, ready)
        load_wait = start - earliest
        if window == 0 and bank_free > ready:
            start_in_bank = np.maximum(start, bank_free)
            sums[DRAIN_WAIT] += int((start_in_bank - start).sum())
            start = start_in_bank
        if not busy.all():
            load_wait = load_wait[busy]
        waited = int(load_wait.sum())
        if waited:
            balance = int(np.minimum(load_wait, blocked).sum()) if blocked else 0
            sums[BALANCE_WAIT] += balance
            sums[LOAD_WAIT] += waited - balance
        issued = np.where(busy, start + row_counts - 1, issued)
        left.append(int(issued.max()))
    sums[ISSUE] += int(one.counts.sum())
    drain_begin = max(int(issued.max()) + timing.DRAIN_START_LATENCY, state.drained + 1)
    return _State(next_take, issued, left, drain_begin + pixels * one.steps - 1, state.drained, sums)
