"""The timeline, the trace and the RTL's waves: every signal in every cycle, at exactly the simulated time of the trace."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from skipstone.hw.design import Design
from skipstone.hw.loader import Begins
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.program import Program
from skipstone.mapper.results.timeline import (
    BALANCE_WAIT,
    DRAIN,
    DRAIN_WAIT,
    DRAINS,
    HELD,
    INPUT_WAIT,
    ISSUE,
    LOAD,
    LOAD_WAIT,
    LOADER,
    SLOT_WAIT,
    SLOTS,
    START_WAIT,
    Event,
    Timeline,
)
from skipstone.mapper.timing.timeline import network_timeline
from skipstone.models.quantization.network import HostProduct, QuantizedNetwork
from skipstone.reports.perfetto import WaveTime, trace_events, write_trace
from skipstone.sim.jobs import PERIOD_NS
from skipstone.sim.session import RtlSession
from skipstone.sim.timebase import start_times_ns
from tests.sim.networks import layer, tensor
from tests.sim.waves import Signal, read_signals

DESIGN = Design(
    "trace", 2, 4, 20, 3, 2, 4, 2,
    activation_words=1024, weight_entries=1024, load_entries=1024, parameter_words=64, layers=8,
)  # fmt: skip
ROWS = range(DESIGN.rows)
SIGNALS = (
    *("start", "busy", "layer", "drain.stage0", "drain.taken", "drain.released", "drain.layer_done"),
    *("loader.take", "loader.begun", "loader.window", "loader.may_begin", "loader.begins", "loader.loading"),
    *(f"row{row}.{name}" for row in ROWS for name in ("issue", "window", "credit", "open_tiles", "fsm_state")),
)


def network() -> QuantizedNetwork:
    """A strided layer whose tiles do not divide its output, a layer that the host multiplies with it, and two more behind the
    pause, and one that needs all of its input. Row 1 has few weights in some layers."""
    rng = np.random.default_rng(3)

    def weights(*shape: int, density: float = 0.5) -> np.ndarray:
        drawn = rng.integers(-60, 60, shape) * (rng.random(shape) < density)
        drawn[1::2] *= rng.random(drawn[1::2].shape) < 0.3
        return drawn

    shapes = {
        "x": (3, 9, 9),
        "a": (5, 5, 5),
        "g": (5, 5, 5),
        "p": (5, 5, 5),
        "b": (10, 5, 5),
        "c": (7, 5, 5),
        "d": (3, 1, 1),
    }
    same = (1, 1, 1, 1)
    return QuantizedNetwork(
        name="timed",
        input="x",
        outputs=("d",),
        tensors={name: tensor(name, shape, 8) for name, shape in shapes.items()},
        layers=(
            layer("first", "x", "a", weights(5, 3, 3, 3), rng, 8, stride=(2, 2), padding=same),
            layer("gate", "a", "g", weights(5, 5, 1, 1), rng, 8),
            HostProduct("product", ("a", "g"), "p", 30000, 20, (3, -2), 1, -128, 127, 125),
            layer("second", "p", "b", weights(10, 5, 3, 3), rng, 8, padding=same),
            layer("third", "b", "c", weights(7, 10, 1, 1), rng, 8),
            layer("fourth", "c", "d", weights(3, 7, 5, 5), rng, 8),
        ),
        host_layers=(),
        weight_bits=8,
        activation_bits=8,
        calibration="none",
    )  # fmt: skip


@dataclass
class Run:
    """The waves of two inputs, and what the model says about the first."""

    program: Program
    timeline: Timeline
    time: WaveTime
    signals: dict[str, Signal]

    def value(self, name: str, event: Event, cycle: int) -> int:
        """A signal in the middle of a cycle."""
        at = self.time.at_ns(self.timeline.layers[event.layer], cycle)
        return self.signals[name].at(at * 1000 + PERIOD_NS * 500)

    def events(self, unit: int, *kinds: str) -> list[Event]:
        return [event for event in self.timeline.events if event.unit == unit and event.kind in kinds]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    program = compile_network(network(), DESIGN)
    waves = tmp_path_factory.mktemp("waves") / "trace.fst"
    inputs = np.random.default_rng(5).integers(-128, 128, (2, 3, 9, 9))
    timeline = network_timeline(program)
    cycles = tuple(span.cycles.cycles for span in timeline.layers)
    with RtlSession(DESIGN, waves=waves) as rtl:
        rtl.load(program)
        for x in inputs:
            result = rtl.run(x, sum(cycles))
            assert result.error is None
            assert result.cycles == cycles
    read = read_signals(waves, tuple(f"skipstone_array.{name}" for name in SIGNALS))
    signals = {name.removeprefix("skipstone_array."): signal for name, signal in read.items()}
    return Run(program, timeline, WaveTime(PERIOD_NS, start_times_ns(program, cycles)), signals)


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


@pytest.mark.rtl
def test_the_network_has_every_kind_of_event(run):
    """The other tests cover an event only if the network has it."""
    kinds = {event.kind for event in run.timeline.events}
    assert kinds >= {LOAD, SLOT_WAIT, INPUT_WAIT, ISSUE, DRAINS, HELD, LOAD_WAIT, BALANCE_WAIT, DRAIN_WAIT, START_WAIT}
    assert {span.segment for span in run.timeline.layers} == {0, 1}
    assert any(after.load_begin <= before.written for before, after in pairwise(run.timeline.layers))
    assert any(layer.schedule.passes > 1 for layer in run.program.layers)
    first = run.program.layers[0].schedule
    assert first.out_width % first.tile[1] or first.out_height % first.tile[0] or first.out_width < first.tile[1]


@pytest.mark.rtl
def test_cycle_0_is_the_one_in_which_start_is_seen(run):
    rises = [at for at, value in zip(run.signals["start"].times, run.signals["start"].values, strict=True) if value]
    busy = [at for at, value in zip(run.signals["busy"].times, run.signals["busy"].values, strict=True) if value]
    for segment, start_ns in enumerate(run.time.start_ns):
        assert rises[segment] == start_ns * 1000 + PERIOD_NS * 500
        assert busy[segment] == (start_ns + PERIOD_NS) * 1000


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("unit", "kind", "signal"),
    [(LOADER, LOAD, "loader.take"), (DRAIN, DRAINS, "drain.stage0"), *((row, ISSUE, f"row{row}.issue") for row in ROWS)],
)  # fmt: skip
def test_units_work_in_exactly_the_cycles_of_their_events(run, unit, kind, signal):
    """In every cycle of both segments: the signal is high in an event, and low outside."""
    busy = {cycle for event in run.events(unit, kind) for cycle in range(event.begin, event.end)}
    for segment in range(2):
        spans = [span for span in run.timeline.layers if span.segment == segment]
        begin, end = spans[0].segment_begin, spans[-1].written
        anchor = next(event for event in run.timeline.events if run.timeline.layers[event.layer] == spans[0])
        # The second segment's cycle 0 has the number of the first one's last cycle.
        high = {cycle for cycle in range(begin + 1, end + 1) if run.value(signal, anchor, cycle) & 1}
        assert high == {cycle for cycle in busy if begin < cycle <= end}


@pytest.mark.rtl
def test_windows_begin_in_the_slots_and_tiles_drain_when_the_events_say(run):
    for event in run.events(LOADER, LOAD):
        assert run.value("loader.begun", event, event.begin) == 1
        assert all(run.value("loader.begun", event, cycle) == 0 for cycle in range(event.begin + 1, event.end))
    for slot in range(DESIGN.windows):
        for event in run.events(SLOTS - slot, HELD):
            assert run.value("loader.window", event, event.begin) == slot
    slots = {
        (event.layer, event.tile, event.window): SLOTS - unit
        for unit in run.timeline.units
        if unit <= SLOTS
        for event in run.events(unit, HELD)
    }
    for row in ROWS:
        for event in run.events(row, ISSUE):
            slot = slots[event.layer, event.tile, event.window]
            assert run.value(f"row{row}.window", event, event.begin) == slot
            assert run.value(f"row{row}.window", event, event.end - 1) == slot
    for event in run.events(DRAIN, DRAINS):
        assert run.value("drain.taken", event, event.begin - 1) == 1
        assert run.value("drain.released", event, event.end - 1) == 1
    for span in run.timeline.layers:
        anchor = next(event for event in run.timeline.events if run.timeline.layers[event.layer] == span)
        assert run.value("drain.layer_done", anchor, span.written) == 1
        assert run.value("drain.layer_done", anchor, span.written - 1) == 0


@pytest.mark.rtl
def test_waits_have_the_causes_that_the_rtl_has(run):
    """A row that waits for a window has none (``credit``); one that waits for the drain has one, stands at a tile's start and has
    two tiles open. The loader waits for a slot while some row holds all windows (``may_begin``)."""
    for row in ROWS:
        for event in run.events(row, LOAD_WAIT, BALANCE_WAIT, DRAIN_WAIT):
            for cycle in range(event.begin, event.end):
                credit = signed(run.value(f"row{row}.credit", event, cycle), DESIGN_CREDIT_BITS)
                if event.kind == DRAIN_WAIT:
                    assert credit > 0
                    assert run.value(f"row{row}.fsm_state", event, cycle) == TILE_START
                    assert run.value(f"row{row}.open_tiles", event, cycle) == 2
                else:
                    assert credit <= 0
    for event in run.events(LOADER, SLOT_WAIT):
        for cycle in range(event.begin, event.end):
            assert run.value("loader.may_begin", event, cycle) == 0
            assert run.value("loader.begins", event, cycle) != Begins.NOTHING.value


DESIGN_CREDIT_BITS = 5
"""Of ``Row.held_shape``: windows 3, leave_bits 3."""
TILE_START = 1
"""The second state of ``Row``."""


@pytest.mark.rtl
def test_times_of_the_trace_file_are_times_of_the_waves(run, tmp_path: Path):
    """A time read in the trace, typed into a wave viewer, shows the event's signal: just from then on, until its end."""
    path = tmp_path / "trace.json"
    write_trace(run.timeline, path, run.time)
    trace = json.loads(path.read_text())
    names = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    signals = {"loader": "loader.take", "drain": "drain.stage0"} | {f"row {row}": f"row{row}.issue" for row in ROWS}
    checked = dict.fromkeys(signals, 0)
    for unit, name in signals.items():
        spans = [
            (round(event["ts"] * 1_000_000), round((event["ts"] + event["dur"]) * 1_000_000))
            for event in trace["traceEvents"]
            if event["ph"] == "X" and event["cat"] in (LOAD, ISSUE, DRAINS) and names[event["tid"]] == unit
        ]
        ends = {end for _, end in spans}
        for begin, end in spans:
            # The clock rises at ``begin``: what it makes of the registers is there from then on.
            assert run.signals[name].at(begin) & 1
            assert run.signals[name].at(end - 1) & 1
            assert run.signals[name].at(begin - 1) & 1 == (begin in ends)
            checked[unit] += 1
    assert min(checked.values()) > 10
    assert len(list(trace_events(run.timeline, run.time))) == len(trace["traceEvents"])
