"""The exact cycle model: a max-plus recurrence over (tile, window), equal to the RTL cycle for cycle.

For window n (counted over tiles, passes and layers), with the latencies of ``skipstone.hw.timing``:

- The loader takes the window's first word at ``begin(n) = max(end(n - 1) + 1, left(n - windows) + ISSUE_LATENCY)``, where
  ``left(m)`` is the cycle in which the last row leaves window m, and the last word at ``end(n) = begin(n) + words(n) - 1``.
- A row issues its first entry in window n at ``max(previous + 1, end(n) + LOAD_LATENCY)``, in a tile's first window also not
  before ``drained(t - 2) + BANK_LATENCY``; its other entries in the window follow one a cycle.
- The drain of tile t takes its first step at ``max(last issue of the tile + DRAIN_START_LATENCY, drained(t - 1) + 1)`` and its
  last, ``drained(t)``, after one cycle for each pixel inside the image and step.

Layers overlap. With ``done(l)``, the cycle that writes the last result of layer l, ``REQUANTIZER_LATENCY`` after its last drain
step:

- The loader begins layer l + 1 at ``max(end of l + NEXT_LAYER_LATENCY, done(l - 1) + LAYER_AHEAD_LATENCY)``; its first tile also
  waits for ``wait_tiles`` tiles of layer l to be written, and tile ``free_tiles`` for ``done(l)``.
- The rows go on without a break, and the drain begins a layer no earlier than ``done(l) + DRAIN_SETUP_LATENCY``.

Tiles repeat, so the state at the start of a tile, taken relative to the loader, soon returns: from then on whole periods
are added at once, over the tiles of an image row and again over the rows of tiles. Rows are few and times are small
numbers: plain Python integers are quicker here than arrays. To see single events
(``skipstone.mapper.timing.timeline``), pass a ``Watch``; the layers that it watches are walked tile by tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Protocol

from skipstone.hw import timing
from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.mapper.program import LayerSchedule, Program
from skipstone.mapper.results.layer_cycles import LayerCycles


class Watch(Protocol):
    """An observer of the events behind the sums. All times are cycles from the last start.

    ``begins`` and ``ends`` are called for every layer. ``tile``, ``window`` and ``drain`` are called while the watch
    asks for them, by the return values of ``begins`` and ``drain``.
    """

    def begins(self, free: int, written: int, first_take: int, restarted: bool) -> bool:
        """The loader turns to a layer.

        Args:
            free: The cycle from which on the loader is free.
            written: The cycle in which the result of the layer before is written.
            first_take: The first cycle in which the loader may take a word.
            restarted: The array was started for this layer.

        Returns:
            Whether the watch wants the layer's events.
        """

    def tile(self, free: int, first_take: int) -> None:
        """The loader turns to a tile. It is free from cycle ``free`` on and waits for the layer before until
        ``first_take``."""

    def window(self, begin: int, blocked: int, words: int, before: Sequence[int], counts: Sequence[int],
               ready: int, bank: int, starting: bool) -> None:  # fmt: skip
        """The loader takes a window's words, and the rows issue its entries.

        Args:
            begin: The cycle of the first word.
            blocked: Cycles that the loader waited for a free slot.
            words: The number of words, one a cycle.
            before: For each row the cycle in which it last issued.
            counts: For each row the entries that it issues.
            ready: No row issues before ``ready + 1``, because of the loader.
            bank: No row issues before ``bank + 1``, because of the bank of accumulators.
            starting: It is the layer's first window.
        """

    def drain(self, begin: int, end: int) -> bool:
        """The drain takes a tile's results.

        Args:
            begin: The cycle of the first step.
            end: The cycle of the last step.

        Returns:
            Whether the watch wants more events of the layer.
        """

    def ends(self, cycles: LayerCycles, next_take: int, issued: Sequence[int], drained: int) -> None:
        """All tiles of a layer are walked.

        Args:
            cycles: The layer's cycles.
            next_take: The cycle from which on the loader is free.
            issued: For each row the cycle in which it last issued.
            drained: The cycle of the drain's last step.
        """


ISSUE, LOAD_WAIT, BALANCE_WAIT, DRAIN_WAIT, START_WAIT = range(5)
FAR_PAST = -(1 << 40)
WRITTEN = timing.REQUANTIZER_LATENCY + timing.TILE_DONE_LATENCY
"""Cycles from a tile's last drain step to the first word that the loader may take after waiting for it."""
NO_GATE = -1


def history(design: Design) -> int:
    """How many of a layer's last tiles are remembered.

    It is at least the number of tiles that can be unwritten when the loader has taken all of the layer's words. No
    layer waits for an earlier tile.
    """
    return design.windows + 4


@dataclass
class _State:
    """Times of the events that later events depend on. ``drained`` are the last tiles' drains, the latest last. The loader
    takes ``free_tiles`` more tiles (``NO_GATE``: any number) before it waits for ``gate``; the layer's first drain waits for
    ``drain_ready``. ``starting``: the layer's first window is still to come. ``watch`` sees every tile."""

    next_take: int
    issued: list[int]
    left_windows: list[int]
    drained: list[int]
    free_tiles: int = NO_GATE
    gate: int = FAR_PAST
    drain_ready: int = FAR_PAST
    starting: bool = True
    sums: list[int] = field(default_factory=lambda: [0] * 5)
    watch: Watch | None = None

    def shift(self, offset: int) -> None:
        self.next_take += offset
        self.issued = [time + offset for time in self.issued]
        self.left_windows = [time + offset for time in self.left_windows]
        self.drained = [time + offset for time in self.drained]

    def key(self) -> tuple[int, ...]:
        """The state relative to the loader. Slots and banks that became free before it are free, whenever that was, and so
        are tiles that were written before it."""
        floor = self.next_take
        oldest, written = floor - 1, floor - WRITTEN
        return (
            self.free_tiles,
            self.starting,
            *[time - floor for time in self.issued],
            *[time - floor if time > oldest else -1 for time in self.left_windows],
            *[time - floor if time > written else -WRITTEN for time in self.drained],
        )


def network_cycles(program: Program) -> tuple[LayerCycles, ...]:
    """Counts the exact cycles of every layer of a program.

    The cycles of the first layer, and of the first one after a pause, include the start. The sum is the time from
    ``start`` to ``done`` without the host's own time in pauses.
    """
    return _cycles_of(tuple(layer.schedule for layer in program.layers), program.design)


@lru_cache(maxsize=2)
def _cycles_of(schedules: tuple[LayerSchedule, ...], design: Design) -> tuple[LayerCycles, ...]:
    """Cached, because a program that was chosen by its cycles is asked for them again."""
    return schedule_cycles(schedules, design)


def layer_cycles(schedule: LayerSchedule, design: Design) -> LayerCycles:
    """Counts the exact cycles of a layer that runs alone."""
    return schedule_cycles([schedule], design)[0]


def schedule_cycles(
    schedules: Iterable[LayerSchedule], design: Design, watch: Watch | None = None
) -> tuple[LayerCycles, ...]:
    """Counts the exact cycles of layers that run one after the other.

    Args:
        schedules: The layers' schedules, in execution order.
        design: The array.
        watch: Sees the events of the layers that it chooses.

    Returns:
        The cycles of each layer.
    """
    layers: list[LayerCycles] = []
    state: _State | None = None
    done = before = tail = 0
    for schedule in schedules:
        free, restarted = 0, state is None
        if state is None:
            done = before = tail = 0
            first = timing.START_LATENCY
            state = _State(first, [0] * design.rows, [0] * design.windows, [FAR_PAST] * history(design))
        else:
            free = state.next_take
            _begin(state, schedule, done, before)
        if watch is not None:
            state.watch = watch if watch.begins(free, done, state.next_take, restarted) else None
        _walk(state, schedule)
        before, done = done, state.drained[-1] + timing.REQUANTIZER_LATENCY
        tail_before, tail = tail, sum(done - time for time in state.issued)
        sums, state.sums = state.sums, [0] * 5
        layers.append(
            LayerCycles(
                done - before,
                issue_row_cycles=sums[ISSUE],
                load_wait_row_cycles=sums[LOAD_WAIT],
                balance_wait_row_cycles=sums[BALANCE_WAIT],
                drain_wait_row_cycles=sums[DRAIN_WAIT],
                fill_row_cycles=sums[START_WAIT] + tail - tail_before,
            )
        )
        if watch is not None:
            watch.ends(layers[-1], state.next_take, state.issued, state.drained[-1])
        if schedule.pause:
            state = None
    return tuple(layers)


def _begin(state: _State, schedule: LayerSchedule, done: int, before: int) -> None:
    """The loader turns to a layer; ``done`` and ``before`` say when the two layers ahead of it are written."""
    written = done + timing.LAYER_DONE_LATENCY
    state.next_take = max(state.next_take - 1 + timing.NEXT_LAYER_LATENCY, before + timing.LAYER_AHEAD_LATENCY)
    state.free_tiles, state.gate = NO_GATE, FAR_PAST
    if schedule.free_tiles == 0:
        state.next_take = max(state.next_take, written)
    elif schedule.free_tiles < ALL_TILES_FREE:
        # Of the layer before, the last ``unneeded_tiles`` tiles may still be missing.
        waited = state.drained[-1 - schedule.unneeded_tiles] + WRITTEN
        state.next_take = max(state.next_take, min(waited, written))
        state.free_tiles, state.gate = schedule.free_tiles, written
    state.drain_ready = done + timing.DRAIN_SETUP_LATENCY
    state.starting = True


@dataclass(frozen=True, eq=False)
class _Pass:
    """What all tiles of a pass share: the words and the rows' entries of each window."""

    windows: tuple[tuple[int, list[int]], ...]
    issues: int
    steps: int


def _walk(state: _State, schedule: LayerSchedule) -> None:
    """All tiles of all passes of a layer."""
    tile_h, tile_w = schedule.tile
    full_w, edge_w = divmod(schedule.out_width, tile_w)
    full_h, edge_h = divmod(schedule.out_height, tile_h)
    for counts, words in zip(schedule.counts, schedule.words, strict=True):
        windows = tuple(zip(words.tolist(), counts.tolist(), strict=True))
        window_pass = _Pass(windows, int(counts.sum()), schedule.steps)
        _repeat(state, full_h, partial(_tile_row, window_pass, tile_h, tile_w, full_w, edge_w))
        if edge_h:
            _tile_row(window_pass, edge_h, tile_w, full_w, edge_w, state)


def _tile_row(window_pass: _Pass, height: int, width: int, full: int, edge: int, state: _State) -> None:
    """A row of tiles ``height`` pixels high inside the image: ``full`` tiles of ``width`` pixels, then one of ``edge``."""
    _repeat(state, full, partial(_tile, window_pass, height * width))
    if edge:
        _tile(window_pass, height * edge, state)


def _repeat(state: _State, count: int, step: Callable[[_State], None]) -> None:
    """Applies ``step`` ``count`` times; once the relative state has returned, whole periods at once."""
    seen: dict[tuple[int, ...], tuple[int, int, list[int]]] = {}
    done = 0
    while done < count:
        key = state.key() if count > 2 and state.watch is None else ()
        if key in seen:
            at, time, sums = seen[key]
            period = done - at
            periods = (count - done) // period
            if periods:
                state.sums = [now + periods * (now - then) for now, then in zip(state.sums, sums, strict=True)]
                state.shift((state.next_take - time) * periods)
                done += periods * period
                # The remaining steps are fewer than a period: walk them.
                seen.clear()
                continue
        elif key:
            seen[key] = done, state.next_take, list(state.sums)
        step(state)
        done += 1


def _tile(window_pass: _Pass, pixels: int, state: _State) -> None:
    """One tile: all its windows, then its drain, of the ``pixels`` that lie inside the image."""
    next_take, issued, left_windows, sums, watch = (
        state.next_take,
        state.issued,
        state.left_windows,
        state.sums,
        state.watch,
    )
    if state.free_tiles == 0:
        state.free_tiles = NO_GATE
        if state.gate > next_take:
            next_take = state.gate
            state.starting = True
    elif state.free_tiles > 0:
        state.free_tiles = state.free_tiles - 1 if state.gate > next_take else NO_GATE
    if watch is not None:
        watch.tile(state.next_take, next_take)
    starting = state.starting
    state.starting = False
    # A row that last issued in cycle ``time`` does not wait for a bank or a window that it may enter in ``time + 1``.
    bank = state.drained[-2] + timing.BANK_LATENCY - 1
    for index, (words, counts) in enumerate(window_pass.windows):
        before = issued
        slot_free = left_windows.pop(0) + timing.ISSUE_LATENCY
        blocked = slot_free - next_take
        if blocked > 0:
            next_take = slot_free
        next_take += words
        ready = next_take - 1 + timing.LOAD_LATENCY - 1
        if min(issued) < ready:
            waits = [ready - time if time < ready and count else 0 for time, count in zip(issued, counts, strict=True)]
            issued = [time + wait for time, wait in zip(issued, waits, strict=True)]
            balance = sum(min(wait, blocked) for wait in waits) if blocked > 0 else 0
            sums[BALANCE_WAIT] += balance
            sums[START_WAIT if starting else LOAD_WAIT] += sum(waits) - balance
        if index == 0 and min(issued) < bank:
            sums[DRAIN_WAIT] += sum(bank - time for time in issued if time < bank)
            issued = [max(time, bank) for time in issued]
        if watch is not None:
            first = bank if index == 0 else FAR_PAST
            watch.window(next_take - words, max(blocked, 0), words, before, counts, ready, first, starting)
        starting = False
        issued = [time + count for time, count in zip(issued, counts, strict=True)]
        left_windows.append(max(issued))
    sums[ISSUE] += window_pass.issues
    state.next_take, state.issued = next_take, issued
    drained = state.drained
    drain_begin = max(left_windows[-1] + timing.DRAIN_START_LATENCY, drained[-1] + 1, state.drain_ready)
    drained.pop(0)
    drained.append(drain_begin + pixels * window_pass.steps - 1)
    if watch is not None and not watch.drain(drain_begin, drained[-1]):
        state.watch = None
