"""The trace file: the rules of Chrome's trace-event format, and the numbers in it against the timeline."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.mapper.results.timeline import DRAIN, HELD, ISSUE, LEFT_OUT, LOAD, LOADER, SLOTS, Timeline
from skipstone.reports import perfetto
from skipstone.reports.perfetto import WaveTime, microseconds, place_of, trace_events, trace_metadata, write_trace
from tests.reports.timelines import NAMES, three_layers

TIME = WaveTime(2, (424, 1000))


def events_of(timeline: Timeline) -> list[dict[str, Any]]:
    return list(trace_events(timeline, TIME))


def of_thread(events: Iterable[dict[str, Any]], unit: int) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == "X" and (event["pid"], event["tid"]) == place_of(unit)]


def test_events_follow_the_formats_rules():
    """Complete events need ts, dur, pid, tid, name; metadata and counters their args; no thread has slices that overlap; a
    thread belongs to one process; all processes and threads have names and places."""
    events = json.loads(json.dumps(events_of(three_layers()), allow_nan=False))
    threads: dict[int, set[int]] = {}
    slices: dict[int, list[tuple[int, int]]] = {}
    named: dict[str, set[int]] = {"process_name": set(), "process_sort_index": set()}
    named |= {"thread_name": set(), "thread_sort_index": set()}
    for event in events:
        assert event["ph"] in "XMC"
        assert isinstance(event["pid"], int)
        assert isinstance(event["name"], str)
        assert event["name"]
        if event["ph"] == "M":
            named[event["name"]].add(event["tid"] if event["name"].startswith("thread") else event["pid"])
            (argument,) = event["args"].values()
            assert isinstance(argument, str if event["name"].endswith("_name") else int)
            continue
        assert event["ts"] >= 0
        if event["ph"] == "C":
            assert all(value >= 0 for value in event["args"].values())
            continue
        threads.setdefault(event["tid"], set()).add(event["pid"])
        # As a reader that cuts off behind the point counts nanoseconds.
        begin, length = int(event["ts"] * 1000.0), int(event["dur"] * 1000.0)
        assert length > 0
        slices.setdefault(event["tid"], []).append((begin, begin + length))
    assert all(len(pids) == 1 for pids in threads.values())
    assert set(threads) <= named["thread_name"] == named["thread_sort_index"]
    assert {pid for pids in threads.values() for pid in pids} <= named["process_name"] == named["process_sort_index"]
    for spans in slices.values():
        assert all(before[1] <= after[0] for before, after in pairwise(sorted(spans)))


def test_the_first_event_begins_with_the_wave_file():
    """A viewer that counts time from the first event then shows the times of the waves."""
    events = [event for event in events_of(three_layers()) if "ts" in event]
    assert min(event["ts"] for event in events) == 0
    (bench, between) = [event for event in events if event.get("cat") == "host"]
    assert (bench["ts"], bench["dur"]) == (0, 0.424)
    assert between["ts"] + between["dur"] == pytest.approx(1.0)


def test_times_and_amounts_are_the_timelines():
    """Cycle c of the first segment begins at 424 + 2 c ns, and cycle c of the second one, numbered on, at its own start."""
    timeline = three_layers()
    events = events_of(timeline)
    units = (LOADER, DRAIN, *range(timeline.design.rows), *(SLOTS - slot for slot in range(timeline.design.windows)))
    for unit in units:
        expected = [event for event in timeline.events if event.unit == unit]
        traced = of_thread(events, unit)
        assert len(traced) == len(expected) > 0
        for slice_, event in zip(traced, expected, strict=True):
            span = timeline.layers[event.layer]
            start = 424 if event.layer < 2 else 1000 - 2 * span.segment_begin
            assert round(slice_["ts"] * 1000) == start + 2 * event.begin
            assert round(slice_["dur"] * 1000) == 2 * (event.end - event.begin)
            assert slice_["cat"] == event.kind
            args = slice_["args"]
            assert (args["layer"], args["cycle"], args["cycles"]) == (span.name, event.begin, event.end - event.begin)
            assert (args["pass"], args["tile y"], args["tile x"]) == span.place(event.tile)
            if event.kind in (LOAD, HELD, ISSUE):
                assert args["window"] == event.window
                assert args["entries" if event.kind == ISSUE else "words"] == event.amount
                assert slice_["name"] == span.name


def test_layers_have_their_cycles():
    timeline = three_layers()
    traced = [event for event in events_of(timeline) if event.get("cat") == "layer"]
    assert [event["name"] for event in traced] == list(NAMES)
    assert [event["args"]["cycles"] for event in traced] == [span.cycles.cycles for span in timeline.layers]
    assert traced[0]["tid"] != traced[1]["tid"] != traced[2]["tid"]


@pytest.mark.parametrize(("name", "kind"), [("rows that issue", ISSUE), ("windows held", HELD)])
def test_counters_count_units(name, kind):
    """After each step, the counter is the number of units that are at it."""
    timeline = three_layers()
    steps = [event for event in events_of(timeline) if event["ph"] == "C" and event["name"] == name]
    spans = [
        (TIME.at_ns(timeline.layers[event.layer], event.begin), TIME.at_ns(timeline.layers[event.layer], event.end))
        for event in timeline.events
        if event.kind == kind
    ]
    assert len(steps) > 10
    for step in steps:
        (value,) = step["args"].values()
        assert value == sum(begin <= round(step["ts"] * 1000) < end for begin, end in spans)
    assert [step["ts"] for step in steps] == sorted({step["ts"] for step in steps})
    (last,) = steps[-1]["args"].values()
    assert last == 0


@settings(max_examples=300)
@given(st.integers(0, 10**12))
def test_microseconds_are_read_back_by_cutting_and_by_rounding(ns):
    value = json.loads(json.dumps(microseconds(ns)))
    assert int(value * 1000.0) == ns
    assert round(value * 1000.0) == ns
    assert math.isclose(value, ns / 1000, rel_tol=1e-15)


def test_the_metadata_names_what_is_left_out():
    timeline = three_layers(limit=60)
    metadata = trace_metadata(timeline, TIME)
    recorded, tiles = timeline.layers[0].recorded, timeline.layers[0].tiles
    assert recorded < tiles == 12
    assert metadata.left_out[0] == f"layer 'first': the first {recorded} of 12 tiles are recorded"
    left_out = [event for event in events_of(timeline) if event.get("cat") == LEFT_OUT]
    assert {event["args"]["tiles"] for event in left_out if event["args"]["layer"] == "first"} == {tiles - recorded}
    assert all("limit" in event["args"]["what"] for event in left_out)
    assert trace_metadata(three_layers(), TIME).left_out == ()


def test_the_file_holds_the_events(tmp_path: Path):
    timeline = three_layers()
    size = write_trace(timeline, tmp_path / "trace.json", TIME)
    text = (tmp_path / "trace.json").read_text()
    assert size == len(text.encode())
    trace = json.loads(text)
    assert trace["traceEvents"] == events_of(timeline)
    assert trace["displayTimeUnit"] == "ns"
    assert trace["otherData"]["start_ns"] == [424, 1000]
    assert trace["otherData"]["cycle_ns"] == 2
    assert next(iter(trace)) == "traceEvents"


def test_compressed_traces_are_the_same_and_equal_each_time(tmp_path: Path):
    timeline = three_layers()
    for name in ("trace.json", "a.json.gz", "b.json.gz"):
        write_trace(timeline, tmp_path / name, TIME)
    packed = [(tmp_path / name).read_bytes() for name in ("a.json.gz", "b.json.gz")]
    assert packed[0] == packed[1]
    assert gzip.decompress(packed[0]) == (tmp_path / "trace.json").read_bytes()


def test_a_trace_is_written_completely_or_not_at_all(tmp_path: Path, monkeypatch):
    path = tmp_path / "trace.json"
    path.write_text("old")
    real = perfetto.trace_events

    def full_disk(*arguments):
        yield from list(real(*arguments))[:20]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(perfetto, "trace_events", full_disk)
    with pytest.raises(OSError, match=r"No space left on device: .*trace\.json'$"):
        write_trace(three_layers(), path, TIME)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("trace.json", "old")]
