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
    """Writes a network's timeline as a trace, and if asked for the waves of the RTL beside it.

    Args:
        network: An ONNX file, or the name of a carried network.
        design: The array.
        options: Pruning, quantization and data. None: 8 bits, no pruning.
        layers: Names with commas between, or ``all``.
        limit: As for ``skipstone.mapper.timing.timeline.network_timeline``.
        out: The folder for ``trace.json`` and ``trace.fst``.
        compressed: Write ``trace.json.gz`` instead.
        waves: Run one input through the RTL and write ``trace.fst``.
        progress: Called with a few words before each stage.
        fit_memories: Enlarge the design's memories to what the network needs.

    Returns:
        The timeline, and where the files are.

    Raises:
        SkipstoneError: The network or the options are wrong, or there is no such layer.
        MappingError: The network does not fit the design.
        SimulationError: The RTL could not be run.
    """
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
    """The numbers of layers that are named.

    Args:
        program: The network mapped onto a design. Where several layers of the network run as one, each of their names will do.
        names: Names with commas between, or ``all``.

    Returns:
        Numbers in ``program.layers``, in the order of the names; None for ``all``.

    Raises:
        SkipstoneError: There is no such layer; the message lists those that there are.
    """
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
