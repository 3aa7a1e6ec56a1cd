"""The exact schedule of a program as events: which window the loader fills when, when each row issues and why it waits, when
the drain steps. The events are those behind the sums of ``skipstone.mapper.timing.cycles``, seen in the same walk, and equal the RTL's
signals cycle for cycle (``loader.take``, each row's ``issue``, the drain's steps).

Cycle 0 is the one in which ``start`` is seen. An event takes the cycles ``begin`` to ``end - 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.mapper.errors import MappingError
from skipstone.mapper.program import LayerSchedule, Program
from skipstone.mapper.results.notebook import frame
from skipstone.mapper.timing.cycles import LayerCycles, schedule_cycles

LOADER, DRAIN, SLOTS = -1, -2, -3
"""Units of events; window slot k is ``SLOTS - k``, and row r is r."""

LOAD, ISSUE, DRAINS, HELD = "load", "issue", "drain", "held"
LOAD_WAIT, BALANCE_WAIT, DRAIN_WAIT, START_WAIT = "load_wait", "balance_wait", "drain_wait", "start_wait"
SLOT_WAIT, INPUT_WAIT, SETUP = "slot_wait", "input_wait", "setup"
LEFT_OUT = "left_out"

KINDS = {
    LOAD: "the loader takes a window's words, one a cycle",
    SLOT_WAIT: "the loader waits until the slowest row has left the window in the slot that is next",
    INPUT_WAIT: "the loader waits for results of the layers before",
    SETUP: "the loader turns to the next layer's descriptor",
    HELD: "a window's slot is taken, from the window's first word until its last row leaves it",
    ISSUE: "a row issues entries, one a cycle",
    LOAD_WAIT: "a row waits for the loader",
    BALANCE_WAIT: "a row waits for a window that a slower row kept the loader from beginning",
    DRAIN_WAIT: "a row waits for a bank of accumulators that is still drained",
    START_WAIT: "a row waits for the layer's first window",
    DRAINS: "the drain takes a tile's results, one step a cycle",
    LEFT_OUT: "not recorded: the limit of events was reached",
}
"""What each kind of event says."""

NEVER = 1 << 60

ROW_WAITS = (BALANCE_WAIT, LOAD_WAIT, DRAIN_WAIT, START_WAIT)


class Event(NamedTuple):
    """What ``unit`` does in the cycles ``begin`` to ``end - 1``, for window ``window`` (of its pass; -1: none) of tile ``tile``
    (of its layer: pass after pass, row after row) of layer ``layer``. ``amount``: words of a load or a held window, entries of
    an issue, steps of a drain, tiles of what is left out."""

    unit: int
    kind: str
    begin: int
    end: int
    layer: int
    tile: int
    window: int
    amount: int


@dataclass(frozen=True)
class LayerSpan:
    """When a layer ran: its loads, its issues and its drain steps take the cycles ``..._begin`` to ``..._end - 1``; its last
    result is written in cycle ``written``. Layers overlap; ``cycles`` counts from the cycle that wrote the last result of the
    layer before. ``segment`` counts the starts: after a pause for the host there is a new one, whose cycle 0 is
    ``segment_begin`` here (the host's own time is not in the timeline). Of ``tiles`` in all passes, the first ``recorded``
    have events."""

    name: str
    segment: int
    segment_begin: int
    load_begin: int
    load_end: int
    issue_begin: int
    issue_end: int
    drain_begin: int
    drain_end: int
    written: int
    cycles: LayerCycles
    passes: int
    tiles_y: int
    tiles_x: int
    recorded: int

    @property
    def tiles(self) -> int:
        return self.passes * self.tiles_y * self.tiles_x

    def place(self, tile: int) -> tuple[int, int, int]:
        """Pass, tile row and tile column of tile number ``tile``."""
        one_pass, rest = divmod(tile, self.tiles_y * self.tiles_x)
        return one_pass, *divmod(rest, self.tiles_x)


@dataclass(frozen=True, eq=False)
class Timeline:
    """``events`` of each unit are in the order of their time and do not overlap. ``chosen`` are the numbers of the layers that
    were asked for; others have only their span."""

    network: str
    design: Design
    layers: tuple[LayerSpan, ...]
    chosen: tuple[int, ...]
    events: tuple[Event, ...]

    @property
    def end(self) -> int:
        """The cycle after the one that writes the last result."""
        return self.layers[-1].written + 1

    @property
    def units(self) -> tuple[int, ...]:
        """All units: the loader, the windows' slots, the rows, the drain."""
        slots = tuple(SLOTS - slot for slot in range(self.design.windows))
        return (LOADER, *slots, *range(self.design.rows), DRAIN)

    def to_frame(self) -> Any:
        """The events as a pandas frame, one a row; cycles from ``start``. Needs pandas (the extra ``notebook``)."""
        return frame(
            [
                {**event._asdict(), "unit": unit_name(event.unit), "layer": self.layers[event.layer].name}
                for event in self.events
            ]
        )

    @property
    def cut(self) -> tuple[LayerSpan, ...]:
        """The chosen layers of which only the first tiles have events."""
        return tuple(
            self.layers[index] for index in self.chosen if self.layers[index].recorded < self.layers[index].tiles
        )


def unit_name(unit: int) -> str:
    """What people call a unit."""
    if unit >= 0:
        return f"row {unit}"
    return {LOADER: "loader", DRAIN: "drain"}.get(unit, f"window slot {SLOTS - unit}")


def network_timeline(program: Program, layers: Sequence[int] | None = None, limit: int | None = None) -> Timeline:
    """The timeline of a program. ``layers`` are the numbers of those whose events are wanted (None: all). With ``limit``,
    recording a layer stops behind the tile with which its share of ``limit`` events is used up: what the layers before it
    left, in equal parts for it and those to come. The first tile is always recorded, and the spans of all layers
    are always exact."""
    names = [layer.name for layer in program.layers]
    schedules = [layer.schedule for layer in program.layers]
    return schedule_timeline(program.network, names, schedules, program.design, layers, limit)


def schedule_timeline(
    network: str,
    names: Sequence[str],
    schedules: Sequence[LayerSchedule],
    design: Design,
    layers: Sequence[int] | None = None,
    limit: int | None = None,
) -> Timeline:
    """The timeline of layers that run one after the other, as :func:`network_timeline`."""
    chosen = tuple(range(len(schedules))) if layers is None else tuple(sorted(set(layers)))
    if not schedules:
        raise MappingError(f"network '{network}' has no layer on the array, so there is no timeline")
    wrong = [index for index in chosen if not 0 <= index < len(schedules)]
    if wrong:
        raise MappingError(f"network '{network}' has layers 0 to {len(schedules) - 1} on the array, not {wrong[0]}")
    recorder = _Recorder(names, schedules, design, chosen, limit)
    schedule_cycles(schedules, design, recorder)
    return Timeline(network, design, tuple(recorder.spans), chosen, tuple(recorder.events))


class _Recorder:
    """The watch that keeps events: ``skipstone.mapper.timing.cycles`` calls its methods in the order of the walk, with times from the last start;
    events have times from the first one."""

    def __init__(
        self,
        names: Sequence[str],
        schedules: Sequence[LayerSchedule],
        design: Design,
        chosen: Sequence[int],
        limit: int | None,
    ) -> None:
        self.names, self.schedules, self.design = names, schedules, design
        self.spans: list[LayerSpan] = []
        self.events: list[Event] = []
        self._waiting = sorted(chosen, reverse=True)
        self._limit = limit
        self._segment, self._offset = -1, 0
        self._windows = 0
        """Windows of all layers before."""

    def begins(self, left: int, written: int, first_take: int, restarted: bool) -> bool:
        self._layer, self._tile, self._window, self._number = len(self.spans), -1, 0, self._windows
        self._most: int | None = None
        self._recording = bool(self._waiting) and self._waiting[-1] == self._layer
        if restarted:
            self._segment += 1
            self._offset = self.spans[-1].written if self.spans else 0
        if self._recording:
            if self._limit is not None:
                self._most = len(self.events) + max(0, self._limit - len(self.events)) // len(self._waiting)
            self._waiting.pop()
        self._load_begin = self._issue_begin = self._drain_begin = NEVER
        self._reached: dict[int, int] = {}
        setup = min(first_take, timing.START_LATENCY if restarted else left - 1 + timing.NEXT_LAYER_LATENCY)
        self._add(LOADER, SETUP, left, setup)
        self._add(LOADER, INPUT_WAIT, setup, first_take)
        return True

    def tile(self, wanted: int, first_take: int) -> None:
        self._tile, self._window = self._tile + 1, 0
        self._add(LOADER, INPUT_WAIT, wanted, first_take)

    def window(self, begin: int, blocked: int, words: int, before: Sequence[int], counts: Sequence[int],
               ready: int, bank: int, starting: bool) -> None:  # fmt: skip
        self._add(LOADER, SLOT_WAIT, begin - blocked, begin)
        self._add(LOADER, LOAD, begin, begin + words, words)
        self._load_begin = min(self._load_begin, begin)
        left = begin
        for row, (last, count) in enumerate(zip(before, counts, strict=True)):
            if count and last < ready:
                balance = min(ready - last, blocked)
                self._add(row, BALANCE_WAIT, last + 1, last + 1 + balance)
                self._add(row, START_WAIT if starting else LOAD_WAIT, last + 1 + balance, ready + 1)
                last = ready
            self._add(row, DRAIN_WAIT, last + 1, bank + 1)
            last = max(last, bank)
            self._add(row, ISSUE, last + 1, last + 1 + count, count)
            if count:
                self._issue_begin = min(self._issue_begin, last + 1)
            left = max(left, last + count)
        self._add(SLOTS - self._number % self.design.windows, HELD, begin, left + timing.ISSUE_LATENCY, words)
        self._window += 1
        self._number += 1

    def drain(self, begin: int, end: int) -> bool:
        self._drain_begin = min(self._drain_begin, begin)
        self._window = -1
        self._add(DRAIN, DRAINS, begin, end + 1, end + 1 - begin)
        return self._recording and (self._most is None or len(self.events) < self._most)

    def ends(self, cycles: LayerCycles, next_take: int, issued: Sequence[int], drained: int) -> None:
        schedule = self.schedules[self._layer]
        recorded = self._tile + 1 if self._recording else 0
        rest = schedule.passes * schedule.tiles - recorded
        self._windows += schedule.tiles * sum(len(words) for words in schedule.words)
        if self._recording and rest:
            self._tile += 1
            for unit, end in ((LOADER, next_take), (DRAIN, drained + 1), *enumerate(time + 1 for time in issued)):
                self._add(unit, LEFT_OUT, self._reached.get(unit, end), end, rest)
        self.spans.append(
            LayerSpan(
                self.names[self._layer],
                self._segment,
                self._offset,
                load_begin=self._offset + self._load_begin,
                load_end=self._offset + next_take,
                issue_begin=self._offset + self._issue_begin,
                issue_end=self._offset + max(issued) + 1,
                drain_begin=self._offset + self._drain_begin,
                drain_end=self._offset + drained + 1,
                written=self._offset + drained + timing.REQUANTIZER_LATENCY,
                cycles=cycles,
                passes=schedule.passes,
                tiles_y=schedule.tiles_y,
                tiles_x=schedule.tiles_x,
                recorded=recorded,
            )
        )

    def _add(self, unit: int, kind: str, begin: int, end: int, amount: int = 0) -> None:
        """An event with times from the last start; none where it takes no time."""
        if end <= begin or not self._recording:
            return
        self._reached[unit] = end
        window = self._window if unit != DRAIN and self._tile >= 0 and kind != LEFT_OUT else -1
        tile = max(self._tile, 0)
        self.events.append(
            Event(unit, kind, self._offset + begin, self._offset + end, self._layer, tile, window, amount)
        )
