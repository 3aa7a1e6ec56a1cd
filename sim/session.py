"""A running simulation of one design that takes any number of programs and inputs, one after the other."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SimulationError
from skipstone.hw.array import host_selects
from skipstone.hw.design import Design
from skipstone.hw.export import COMPILED_ONCE, TOP
from skipstone.mapper.program import Placement, Program
from skipstone.models.quantization.reference import run_product
from skipstone.sim.build import Build, build, cached_verilog, runner_of, simulator_environment
from skipstone.sim.jobs import Load, Run, RunResult, Stop

START_SECONDS = 120.0


def pack_words(placement: Placement, design: Design, values: NDArray[np.int64]) -> list[int]:
    """The memory words of a tensor (channels x height x width), pixel after pixel."""
    grid = (placement.grid[0] * placement.grid[1], placement.groups * design.load_width)
    lanes = np.zeros(grid, np.int64)
    lanes[:, placement.positions] = folded(values, placement.fold)
    mask = (1 << design.activation_bits) - 1
    words = []
    for row in (lanes.reshape(-1, design.load_width) & mask).tolist():
        word = 0
        for lane in reversed(row):
            word = (word << design.activation_bits) | lane
        words.append(word)
    return words


def write_words(placement: Placement, design: Design, values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Addresses and words that the host writes: only those words of a pixel that hold the tensor."""
    mine = set(np.unique(placement.positions // design.load_width).tolist())
    words = pack_words(placement, design, values)
    return [(placement.base + at, word) for at, word in enumerate(words) if at % placement.groups in mine]


def unpack_words(placement: Placement, design: Design, words: tuple[int, ...]) -> NDArray[np.int64]:
    """The tensor (channels x height x width) in memory words read back."""
    bits, mask, sign = design.activation_bits, (1 << design.activation_bits) - 1, 1 << (design.activation_bits - 1)
    lanes = np.array(
        [[(word >> (lane * bits)) & mask for lane in range(design.load_width)] for word in words], np.int64
    ).reshape(placement.grid[0] * placement.grid[1], -1)
    lanes = np.where(lanes & sign, lanes - (mask + 1), lanes)
    return unfolded(lanes[:, placement.positions], placement)


def folded(values: NDArray[np.int64], fold: tuple[int, int]) -> NDArray[np.int64]:
    """A tensor (channels x height x width) as folded pixels x folded channels."""
    channels, height, width = values.shape
    split = values.reshape(channels, height // fold[0], fold[0], width // fold[1], fold[1])
    return split.transpose(1, 3, 0, 2, 4).reshape(-1, channels * fold[0] * fold[1])


def unfolded(values: NDArray[np.int64], placement: Placement) -> NDArray[np.int64]:
    """Folded pixels x folded channels as a tensor (channels x height x width)."""
    (rows, columns), (fy, fx) = placement.grid, placement.fold
    split = values.reshape(rows, columns, placement.channels, fy, fx)
    return split.transpose(2, 0, 3, 1, 4).reshape(placement.channels, placement.height, placement.width)


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """One run: ``cycles`` of every layer that finished and the tensors that it completed (``layers``), read from activation
    memory when it ended; ``tensors``: all tensors by name, the input and the host's among them. ``from_host``: the last
    tensor read through the host port was the same. ``seconds``: wall time of the cycles alone."""

    cycles: tuple[int, ...]
    layers: tuple[dict[str, NDArray[np.int64]], ...]
    tensors: dict[str, NDArray[np.int64]]
    from_host: bool
    done: bool
    seconds: float
    error: str | None = None


def _read_by_host(program: Program, after: int) -> list[Placement]:
    """The tensors in memory that the host's steps after ``after`` layers read; what such a step makes itself is not."""
    steps = [step for step in program.host_steps if step.after == after]
    made = {step.output.name for step in steps}
    return [
        placed
        for step in steps
        for placed, leaves in zip(step.inputs, step.leaves, strict=True)
        if not made.intersection(leaves)
    ]


def segment_stops(program: Program) -> list[int]:
    """The numbers of layers after which the array stands still: 0, those before the host's steps, all of them."""
    return sorted({0, len(program.layers), *(step.after for step in program.host_steps)})


def host_placements(program: Program, stop: int) -> dict[str, Placement]:
    """The tensors that are read through the host port when the array has stopped after ``stop`` layers, by name."""
    return {placed.name: placed for placed in (*program.layers[stop - 1].complete, *_read_by_host(program, stop))}


class RtlSession:
    """Use as a context manager: ``with RtlSession(design) as rtl: rtl.load(program); rtl.run(x)``.

    ``verilog`` replaces the text that ``design`` generates (to simulate a changed one); with ``waves`` a wave file is written
    there when the session ends.
    """

    def __init__(
        self, design: Design, *, simulator: str = "verilator", waves: Path | None = None, verilog: str | None = None
    ) -> None:
        self.design = design
        self.waves = waves
        self.simulator = simulator
        self.verilog = verilog
        self.program: Program | None = None
        self._connection: Connection | None = None
        self._failure: BaseException | None = None

    def compile(self, building: Any = None) -> Build:
        """Compiles the design's RTL, or finds the compiled one."""
        return build(
            self.verilog or cached_verilog(self.design),
            TOP,
            simulator=self.simulator,
            waves=self.waves is not None,
            public=((TOP, "activations"),),
            shared=COMPILED_ONCE,
            building=building,
        )

    def __enter__(self) -> RtlSession:
        self._build = self.compile()
        self._folder = Path(tempfile.mkdtemp(prefix="skipstone-"))
        self._listener = Listener(str(self._folder / "socket"), family="AF_UNIX")
        self._thread = threading.Thread(target=self._simulate, daemon=True)
        self._thread.start()
        accepted = threading.Thread(target=self._accept, daemon=True)
        accepted.start()
        waited = 0.0
        while accepted.is_alive() and self._thread.is_alive() and waited < START_SECONDS:
            accepted.join(0.05)
            waited += 0.05
        if self._connection is None:
            try:
                self._fail("did not start")
            finally:
                self._listener.close()
                shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(Stop())
            self._thread.join(START_SECONDS)
            self._connection.close()
        self._listener.close()
        if self.waves is not None:
            name = "dump.fst" if self.simulator == "verilator" else f"{TOP}.fst"
            found = next(iter([*self._folder.rglob(name), *self._build.folder.rglob(name)]), None)
            if found is not None:
                shutil.move(found, self.waves)
        shutil.rmtree(self._folder, ignore_errors=True)

    def load(self, program: Program) -> None:
        """Writes a program into the memories; what was there is gone."""
        images, selects = program.memory_images(), host_selects(self.design)
        self._ask(Load(tuple((selects[name], tuple(words)) for name, words in images.items())))
        self.program = program

    def run(self, x: NDArray[np.int64], expected_cycles: int = 0) -> NetworkRun:
        """Runs the loaded program on one quantized input (channels x height x width), and the host's steps between."""
        program = self.program
        if program is None:
            raise SimulationError("no program is loaded")
        tensors = {program.input.name: x}
        layers: list[dict[str, NDArray[np.int64]]] = []
        cycles: list[int] = []
        seconds = 0.0
        writes = write_words(program.input, self.design, x)
        limit = 2 * expected_cycles + 1_000_000
        self._host_steps(program, 0, tensors, writes)
        done, from_host, error = True, True, None
        for start, stop in pairwise(segment_stops(program)):
            segment = program.layers[start:stop]
            reads = tuple(tuple((placed.base, placed.words) for placed in layer.complete) for layer in segment)
            # What the host works on it reads through its port, when the array has stopped.
            host = host_placements(program, stop)
            host_reads = tuple((placed.base, placed.words) for placed in host.values())
            result: RunResult = self._ask(Run(tuple(writes), reads, host_reads, limit))
            cycles += result.cycles
            seconds += result.seconds
            for layer, words in zip(segment, result.words, strict=False):
                placed = zip(layer.complete, words, strict=True)
                layers.append({one.name: unpack_words(one, self.design, read) for one, read in placed})
                tensors.update(layers[-1])
            error, done = result.error, result.done
            if error is not None or not done:
                break
            read = {
                name: unpack_words(placed, self.design, words)
                for (name, placed), words in zip(host.items(), result.host_words, strict=True)
            }
            from_host = from_host and all(
                bool((read[placed.name] == tensors[placed.name]).all()) for placed in segment[-1].complete
            )
            tensors.update(read)
            writes = []
            self._host_steps(program, stop, tensors, writes)
        return NetworkRun(tuple(cycles), tuple(layers), tensors, from_host, done, seconds, error)

    def _host_steps(
        self, program: Program, after: int, tensors: dict[str, NDArray[np.int64]], writes: list[tuple[int, int]]
    ) -> None:
        """What the host computes after ``after`` layers, from tensors read back, and what it then writes."""
        for step in program.host_steps:
            if step.after == after:
                a, b = (
                    tensors[name][None] if name in tensors else np.concatenate([tensors[leaf] for leaf in leaves])[None]
                    for name, leaves in zip(step.product.inputs, step.leaves, strict=True)
                )
                tensors[step.output.name] = run_product(step.product, a, b)[0]
                writes += write_words(step.output, self.design, tensors[step.output.name])

    def _ask(self, job: Any) -> Any:
        if self._connection is None:
            self._fail("is not running")
        try:
            self._connection.send(job)
            return self._connection.recv()
        except (EOFError, OSError):
            self._fail("died")

    def _fail(self, what: str) -> Any:
        kept = self._build.folder / "simulation.log"
        log = self._folder / "simulation.log"
        if log.exists():
            shutil.copy(log, kept)
        raise SimulationError(f"the {self.simulator} simulation {what}; see {kept}") from self._failure

    def _accept(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            connection = self._listener.accept()
            if connection.recv() == "ready":
                self._connection = connection

    def _simulate(self) -> None:
        try:
            with simulator_environment():
                runner_of(self.simulator).test(
                    test_module="skipstone.sim.benches.network",
                    hdl_toplevel=TOP,
                    hdl_toplevel_lang="verilog",
                    testcase="serve",
                    build_dir=self._build.folder / "build",
                    test_dir=self._folder,
                    results_xml=str(self._folder / "results.xml"),
                    extra_env={
                        "SKIPSTONE_SOCKET": str(self._folder / "socket"),
                        "COCOTB_LOG_LEVEL": "WARNING",
                        "PYTHONWARNINGS": "ignore",
                    },
                    waves=self.waves is not None,
                    log_file=self._folder / "simulation.log",
                )
        except (SystemExit, Exception) as error:
            # Raised again, as the cause, where the session notices that the simulation is gone.
            self._failure = error
