"""The schedule of a network on a design as a trace file, and as a wave file of the RTL with the same times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skipstone.errors import SimulationError, SkipstoneError
from skipstone.flow.prepare import CompressionOptions, PreparedNetwork, Progress, prepare_network, sample_inputs
from skipstone.hw.design import Design
from skipstone.mapper.cost import cost
from skipstone.mapper.program import Program
from skipstone.mapper.results.timeline import Timeline
from skipstone.mapper.timing.timeline import network_timeline
from skipstone.models.quantization import reference
from skipstone.reports.perfetto import WaveTime, write_trace
from skipstone.sim.jobs import PERIOD_NS
from skipstone.sim.session import RtlSession
from skipstone.sim.timebase import start_times_ns


@dataclass(frozen=True, eq=False)
class Trace:
    """What was written: ``path`` of ``size_bytes`` with the events of ``timeline``, times as in ``time``; ``waves`` if the RTL
    ran, whose cycles were the timeline's."""

    timeline: Timeline
    time: WaveTime
    path: Path
    size_bytes: int
    waves: Path | None


def trace_network(
    network: str,
    design: Design,
    options: CompressionOptions | None = None,
    *,
    layers: str = "all",
    limit: int | None = None,
    out: Path = Path("out"),
    compressed: bool = False,
    waves: bool = False,
    progress: Progress = lambda _: None,
    fit_memories: bool = False,
) -> Trace:
    """Maps ``network`` and writes ``trace.json`` (``compressed``: ``trace.json.gz``) of ``layers`` (names with commas between,
    or ``all``) to the folder ``out``; with ``waves`` also runs one input through the RTL and writes ``trace.fst``. ``limit``
    as for ``skipstone.mapper.timing.timeline.network_timeline``."""
    prepared = prepare_network(network, options or CompressionOptions(), progress)
    progress("mapping")
    program = cost(prepared.compressed, design, memories="enlarged" if fit_memories else "of_design").program
    timeline = network_timeline(program, chosen_layers(program, layers), limit)
    cycles = tuple(span.cycles.cycles for span in timeline.layers)
    time = WaveTime(PERIOD_NS, start_times_ns(program, cycles))
    wave_file = None
    if waves:
        wave_file = out / "trace.fst"
        _run(prepared, program, cycles, wave_file, progress)
    progress(f"writing {len(timeline.events):,} events")
    path = out / ("trace.json.gz" if compressed else "trace.json")
    return Trace(timeline, time, path, write_trace(timeline, path, time), wave_file)


def chosen_layers(program: Program, names: str) -> tuple[int, ...] | None:
    """The numbers of layers named with commas between, None for ``all``. Where several layers of the network run as one, each
    of their names will do."""
    if names == "all":
        return None
    numbers = {name: index for index, layer in enumerate(program.layers) for name in (*layer.layers, layer.name)}
    chosen = []
    for name in [names] if names in numbers else names.split(","):
        if name not in numbers:
            names_on_array = ", ".join(layer.name for layer in program.layers)
            raise SkipstoneError(
                f"no layer '{name}' on the array; there are {names_on_array}; or all", parameter="layers"
            )
        chosen.append(numbers[name])
    return tuple(chosen)


def _run(prepared: PreparedNetwork, program: Program, cycles: tuple[int, ...], waves: Path, progress: Progress) -> None:
    """Runs one input with waves. A difference in cycles would make the trace untrue: SimulationError."""
    x = reference.quantize_input(prepared.compressed, sample_inputs(prepared, 1))[0]
    session = RtlSession(program.design, waves=waves)
    progress("generating the Verilog")
    session.compile(building=lambda: progress(f"compiling the RTL of {program.design.pes} PEs, once per design"))
    with session:
        progress(f"simulating one input ({sum(cycles):,} cycles)")
        session.load(program)
        run = session.run(x, sum(cycles))
    if run.error is not None or run.cycles != cycles:
        raise SimulationError(run.error or f"the RTL took {run.cycles} cycles, the model says {cycles}")
