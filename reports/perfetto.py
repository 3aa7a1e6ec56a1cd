"""The timeline as a trace for ui.perfetto.dev (Chrome's trace-event format, JSON): the layers, the loader, the windows' slots,
every row and the drain.

Times are those of the wave file that the network bench writes: a time that is read in one can be looked up in the other.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from skipstone.files import atomic_file
from skipstone.mapper.results.timeline import (
    DRAIN,
    DRAINS,
    HELD,
    ISSUE,
    KINDS,
    LEFT_OUT,
    LOAD,
    LOADER,
    SLOTS,
    Event,
    LayerSpan,
    Timeline,
    TraceDescription,
    unit_name,
)

BENCH, LAYERS, LOADING, WINDOWS, ROWS, DRAINING = range(1, 7)
"""Processes of the trace, from the top down."""

PROCESSES = {
    BENCH: "host (the bench)",
    LAYERS: "layers",
    LOADING: "loader",
    WINDOWS: "windows",
    ROWS: "rows",
    DRAINING: "drain",
}
AMOUNTS = {LOAD: "words", HELD: "words", ISSUE: "entries", DRAINS: "steps", LEFT_OUT: "tiles"}
WORK = (LOAD, HELD, ISSUE, DRAINS)
THREADS = 10_000
"""Thread number of a process's first thread over the process's number: threads of all processes have different numbers."""
LAYER_LANES = 2
"""The loader is never more than one layer ahead of the drain, so that two lanes hold all layers."""


@dataclass(frozen=True)
class WaveTime:
    """Simulated time of the timeline's cycles: ``start_ns[s]`` is when cycle 0 of segment s begins, ``cycle_ns`` the clock's
    period in simulation, which is not the hardware's."""

    cycle_ns: int
    start_ns: tuple[int, ...]

    def at_ns(self, span: LayerSpan, cycle: int) -> int:
        """The simulated time at which a cycle of the timeline begins, in a layer's segment."""
        return self.start_ns[span.segment] + (cycle - span.segment_begin) * self.cycle_ns


def write_trace(timeline: Timeline, path: Path, time: WaveTime) -> int:
    """Writes the trace, whole or not at all.

    Args:
        timeline: what to write.
        path: of the file; compressed if it ends in ``.gz``.
        time: of the simulation.

    Returns:
        The file's size in bytes.

    Raises:
        OSError: the file can't be written.
    """
    with atomic_file(path) as partial, _opened(partial, path.suffix == ".gz") as file:
        # Events first: a reader may stop at a key that it does not know.
        file.write('{"traceEvents":[\n')
        for index, event in enumerate(trace_events(timeline, time)):
            file.write((",\n" if index else "") + json.dumps(event, separators=(",", ":")))
        rest = {"displayTimeUnit": "ns", "otherData": trace_metadata(timeline, time).to_dict()}
        file.write("\n]," + json.dumps(rest)[1:] + "\n")
    return path.stat().st_size


def trace_metadata(timeline: Timeline, time: WaveTime) -> TraceDescription:
    """The trace's ``otherData``: the meaning of its times, and the layers and tiles that it leaves out."""
    return TraceDescription(
        network=timeline.network,
        design=timeline.design.name,
        cycles=timeline.end - 1,
        cycle_ns=time.cycle_ns,
        start_ns=time.start_ns,
        time_base=(
            f"ts is simulated time in us: a cycle takes {time.cycle_ns} ns, as in the wave file of the first image; cycle 0, "
            "in which start is seen, begins at start_ns (one for each start of the array)"
        ),
        layers=tuple(timeline.layers[index].name for index in timeline.chosen),
        left_out=tuple(
            f"layer '{span.name}': the first {span.recorded} of {span.tiles} tiles are recorded"
            for span in timeline.cut
        ),
        kinds=KINDS,
    )


def trace_events(timeline: Timeline, time: WaveTime) -> Iterator[dict[str, Any]]:
    """All events of the trace: names, the bench, layers, events of the units, counters."""
    yield from _names(timeline)
    yield from _bench(timeline, time)
    for index, span in enumerate(timeline.layers):
        yield _layer_event(span, index, time)
    for event in timeline.events:
        yield _unit_event(event, timeline.layers[event.layer], time)
    yield from _counter(timeline, time, "rows that issue", ROWS, "rows", ISSUE)
    yield from _counter(timeline, time, "windows held", WINDOWS, "windows", HELD)


def place_of(unit: int) -> tuple[int, int]:
    """The process and the thread of a unit."""
    pid, index = (
        (ROWS, unit) if unit >= 0 else {LOADER: (LOADING, 0), DRAIN: (DRAINING, 0)}.get(unit, (WINDOWS, SLOTS - unit))
    )
    return pid, pid * THREADS + index


def microseconds(ns: int) -> float:
    """Microseconds that give ``ns`` again when a reader multiplies by 1000 and truncates: one nanosecond less would make
    neighbouring events overlap."""
    exact = ns / 1000
    return exact if int(exact * 1000.0) == ns else math.nextafter(exact, math.inf)


# Helpers --------------------------------------------------------------------------------------------------------------


def _names(timeline: Timeline) -> Iterator[dict[str, Any]]:
    def metadata(kind: str, pid: int, tid: int, **args: Any) -> dict[str, Any]:
        return {"ph": "M", "name": kind, "pid": pid, **({"tid": tid} if tid else {}), "args": args}

    for pid, name in PROCESSES.items():
        yield metadata("process_name", pid, 0, name=name)
        yield metadata("process_sort_index", pid, 0, sort_index=pid)
    threads = [(BENCH, BENCH * THREADS, "host port")]
    threads += [
        (LAYERS, LAYERS * THREADS + lane, f"layers {lane}, {lane + LAYER_LANES}, ...") for lane in range(LAYER_LANES)
    ]
    threads += [(*place_of(unit), unit_name(unit)) for unit in timeline.units]
    for pid, tid, name in threads:
        yield metadata("thread_name", pid, tid, name=name)
        yield metadata("thread_sort_index", pid, tid, sort_index=tid % THREADS)


def _bench(timeline: Timeline, time: WaveTime) -> Iterator[dict[str, Any]]:
    """What the host does between the array's runs. The first event begins at 0, as the wave file does, so that a viewer which
    counts from the first event shows the wave's times."""
    ended = 0
    for segment, start in enumerate(time.start_ns):
        spans = [span for span in timeline.layers if span.segment == segment]
        name = "reset, program and input are written" if segment == 0 else "tensors are read, computed and written"
        yield _complete(name, "host", ended, start, BENCH, BENCH * THREADS, {})
        ended = time.at_ns(spans[-1], spans[-1].written + 1)


def _layer_event(span: LayerSpan, index: int, time: WaveTime) -> dict[str, Any]:
    cycles = span.cycles
    args = {
        "layer": index,
        "cycles": cycles.cycles,
        "load": f"{span.load_begin} to {span.load_end - 1}",
        "issue": f"{span.issue_begin} to {span.issue_end - 1}",
        "drain": f"{span.drain_begin} to {span.drain_end - 1}",
        "written in cycle": span.written,
        "tiles": span.tiles,
        "row cycles": {
            "issue": cycles.issue_row_cycles,
            "load_wait": cycles.load_wait_row_cycles,
            "balance_wait": cycles.balance_wait_row_cycles,
            "drain_wait": cycles.drain_wait_row_cycles,
            "fill": cycles.fill_row_cycles,
        },
    }
    begin, end = time.at_ns(span, span.load_begin), time.at_ns(span, span.written + 1)
    return _complete(span.name, "layer", begin, end, LAYERS, LAYERS * THREADS + index % LAYER_LANES, args)


def _unit_event(event: Event, span: LayerSpan, time: WaveTime) -> dict[str, Any]:
    pass_number, tile_y, tile_x = span.place(min(event.tile, span.tiles - 1))
    args: dict[str, Any] = {"layer": span.name, "cycle": event.begin, "cycles": event.end - event.begin}
    if event.kind != LEFT_OUT:
        args |= {"pass": pass_number, "tile y": tile_y, "tile x": tile_x}
    if event.window >= 0:
        args["window"] = event.window
    if event.kind in AMOUNTS:
        args[AMOUNTS[event.kind]] = event.amount
    if event.kind not in WORK:
        args["what"] = KINDS[event.kind]
    # A viewer gives equal names one colour: work is named after its layer, waits after their cause.
    name = span.name if event.kind in WORK else event.kind.replace("_", " ")
    begin, end = time.at_ns(span, event.begin), time.at_ns(span, event.end)
    return _complete(name, event.kind, begin, end, *place_of(event.unit), args)


def _counter(
    timeline: Timeline, time: WaveTime, name: str, pid: int, series: str, kind: str
) -> Iterator[dict[str, Any]]:
    """How many units are in an event of ``kind``, as a step wherever the number changes. Only recorded events count."""
    changes: dict[int, int] = {}
    for event in timeline.events:
        if event.kind == kind:
            span = timeline.layers[event.layer]
            for cycle, step in ((event.begin, 1), (event.end, -1)):
                ns = time.at_ns(span, cycle)
                changes[ns] = changes.get(ns, 0) + step
    steps = [(ns, step) for ns, step in sorted(changes.items()) if step]
    for (ns, _), value in zip(steps, itertools.accumulate(step for _, step in steps), strict=True):
        yield {"ph": "C", "name": name, "pid": pid, "ts": microseconds(ns), "args": {series: value}}


def _complete(
    name: str, category: str, begin_ns: int, end_ns: int, pid: int, tid: int, args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "ts": microseconds(begin_ns),
        "dur": microseconds(end_ns - begin_ns),
        "pid": pid,
        "tid": tid,
        "args": args,
    }


@contextlib.contextmanager
def _opened(path: Path, compressed: bool) -> Iterator[IO[str]]:
    """A new text file. A compressed one has neither name nor time in its header, so that equal traces are equal files."""
    if not compressed:
        with open(path, "x", encoding="utf-8") as file:
            yield file
        return
    with (
        open(path, "xb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        yield file
