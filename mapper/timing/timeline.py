"""The exact schedule of a program as events: when the loader fills which window, when each row issues and why it waits,
when the drain steps.

The events are those behind the sums of ``skipstone.mapper.timing.cycles``, seen in the same walk. They equal the RTL's
signals cycle for cycle (``loader.take``, each row's ``issue``, the drain's steps).

Cycle 0 is the one in which ``start`` is seen. An event takes the cycles ``begin`` to ``end - 1``.
"""

from __future__ import annotations

from collections.abc import Sequence

from skipstone.errors import MappingError
from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.mapper.program import LayerSchedule, Program
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
    Event,
    LayerSpan,
    Timeline,
)
from skipstone.mapper.timing.cycles import schedule_cycles

NEVER = 1 << 60


def network_timeline(program: Program, layers: Sequence[int] | None = None, limit: int | None = None) -> Timeline:
    """Computes the timeline of a program.

    Args:
        program: The compiled network.
        layers: Numbers of the layers whose events are recorded; None for all.
        limit: The most events, about. A layer's share is an equal part of what the layers before it left, and recording
            stops behind the tile that uses up this share. The first tile is always recorded. None for no limit.

    Returns:
        The events of these layers, and the exact spans of all layers.

    Raises:
        MappingError: The array runs no layer, or not the layers that are named.
    """
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
    """Computes the timeline of layers that run one after the other.

    Args:
        network: The network's name.
        names: The layers' names.
        schedules: The layers' schedules, in execution order.
        design: The array.
        layers: As for :func:`network_timeline`.
        limit: As for :func:`network_timeline`.

    Raises:
        MappingError: There is no layer, or not the layers that are named.
    """
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
    """The watch that records events.

    The walk of ``skipstone.mapper.timing.cycles`` calls its methods in order, with times from the last start. The
    events' times count from the first start.
    """

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

    def begins(self, free: int, written: int, first_take: int, restarted: bool) -> bool:
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
        self._first_event = len(self.events)
        self._load_begin = self._issue_begin = self._drain_begin = NEVER
        self._reached: dict[int, int] = {}
        setup = min(first_take, timing.START_LATENCY if restarted else free - 1 + timing.NEXT_LAYER_LATENCY)
        self._add(LOADER, SETUP, free, setup)
        self._add(LOADER, INPUT_WAIT, setup, first_take)
        return True

    def tile(self, free: int, first_take: int) -> None:
        self._tile, self._window = self._tile + 1, 0
        self._add(LOADER, INPUT_WAIT, free, first_take)

    def window(self, begin: int, blocked: int, words: int, before: Sequence[int], counts: Sequence[int],
               ready: int, bank: int, starting: bool) -> None:  # fmt: skip
        self._add(LOADER, SLOT_WAIT, begin - blocked, begin)
        self._add(LOADER, LOAD, begin, begin + words, words)
        self._load_begin = min(self._load_begin, begin)
        last_issue = begin
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
            last_issue = max(last_issue, last + count)
        self._add(SLOTS - self._number % self.design.windows, HELD, begin, last_issue + timing.ISSUE_LATENCY, words)
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
        unrecorded_work = {}
        if self._recording and rest:
            unrecorded_work = self._unrecorded_work(schedule)
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
                unrecorded_work=unrecorded_work,
            )
        )

    def _unrecorded_work(self, schedule: LayerSchedule) -> dict[int, int]:
        """Cycles of work of the layer that is recorded, less those that have events."""
        pixels = schedule.passes * schedule.out_height * schedule.out_width
        work = {LOADER: schedule.tiles * schedule.load_words, DRAIN: pixels * schedule.steps}
        work |= {row: schedule.tiles * int(entries) for row, entries in enumerate(schedule.row_entries)}
        for event in self.events[self._first_event :]:
            if event.kind in (LOAD, ISSUE, DRAINS):
                work[event.unit] -= event.amount
        return work

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
