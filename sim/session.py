"""A running simulation of one design that takes any number of programs and inputs, one after the other."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SimulationError
from skipstone.files import atomic_file
from skipstone.hw.array import host_selects
from skipstone.hw.design import Design
from skipstone.hw.export import COMPILED_ONCE, TOP
from skipstone.mapper.lowering.tensor_words import unpack_words, write_words
from skipstone.mapper.program import Program
from skipstone.models.quantization.reference import run_product
from skipstone.sim.build import Build, build, cached_verilog, runner_of, simulator_environment
from skipstone.sim.jobs import Load, RunInput, RunResult, Stop
from skipstone.sim.segments import host_placements, segment_stops

START_SECONDS = 120.0
"""How long the simulator may take to start, and to stop."""


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """One input through the array.

    Attributes:
        cycles: of every layer that finished.
        layers: the tensors that every such layer completed, by name, read from activation memory when it ended.
        tensors: all tensors (channels x height x width) by name, the input and the host's results among them.
        from_host: whether tensors read through the host port equal those read from the memory itself.
        done: whether the array said that it was done.
        seconds: wall time that the simulator took for the cycles alone.
        error: why the run ended early, or None.
    """

    cycles: tuple[int, ...]
    layers: tuple[dict[str, NDArray[np.int64]], ...]
    tensors: dict[str, NDArray[np.int64]]
    from_host: bool
    done: bool
    seconds: float
    error: str | None = None


class RtlSession:
    """A simulator's process that holds one design, used as a context manager::

        with RtlSession(design) as rtl:
            rtl.load(program)
            result = rtl.run(x)

    Args:
        design: the array to simulate.
        simulator: ``verilator`` or ``icarus``.
        waves: where to write a wave file (FST) when the session ends, or None.
        verilog: replaces the text that ``design`` generates, to simulate a changed one.

    Raises:
        SimulationError: on entering, where the simulation cannot be built or does not start.
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
        self._simulator_process = 0
        self._failure: BaseException | None = None

    def compile(self, building: Callable[[], None] | None = None) -> Build:
        """Compiles the design's RTL, or returns the build that is in the cache.

        Args:
            building: called if there is something to compile.
        """
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
        interrupted = kind is not None and not issubclass(kind, Exception)
        if self._connection is not None:
            with contextlib.suppress(OSError):
                if interrupted:  # in the middle of a run, which may be long
                    os.kill(self._simulator_process, signal.SIGKILL)
                else:
                    self._connection.send(Stop())
            self._thread.join(START_SECONDS)
            self._connection.close()
        self._listener.close()
        if self.waves is not None and not interrupted:
            name = "dump.fst" if self.simulator == "verilator" else f"{TOP}.fst"
            wave_file = next(iter([*self._folder.rglob(name), *self._build.folder.rglob(name)]), None)
            if wave_file is not None:
                with atomic_file(self.waves) as partial:
                    shutil.move(wave_file, partial)
        shutil.rmtree(self._folder, ignore_errors=True)

    def load(self, program: Program) -> None:
        """Resets the array and writes a program into its memories; ``run`` uses it from then on."""
        images, selects = program.memory_images(), host_selects(self.design)
        self._ask(Load(tuple((selects[name], tuple(words)) for name, words in images.items())))
        self.program = program

    def run(self, x: NDArray[np.int64], expected_cycles: int = 0) -> NetworkRun:
        """Runs the loaded program on one input, and the host's steps between the array's segments.

        Args:
            x: the quantized input (channels x height x width).
            expected_cycles: cycles of the whole network; each layer may take twice as many, and a million more, before the
                run is given up.

        Returns:
            The cycles and tensors of the layers; up to where it ended, where ``error`` says why.

        Raises:
            SimulationError: if no program is loaded, or the simulator died.
        """
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
            reads = tuple(tuple((tensor.base, tensor.words) for tensor in layer.complete) for layer in segment)
            # What the host works on it reads through its port, when the array has stopped.
            host_tensors = host_placements(program, stop)
            host_reads = tuple((tensor.base, tensor.words) for tensor in host_tensors.values())
            result: RunResult = self._ask(RunInput(tuple(writes), reads, host_reads, limit))
            cycles += result.cycles
            seconds += result.seconds
            for layer, words_of_layer in zip(segment, result.words, strict=False):
                layers.append(
                    {
                        tensor.name: unpack_words(tensor, self.design, words)
                        for tensor, words in zip(layer.complete, words_of_layer, strict=True)
                    }
                )
                tensors.update(layers[-1])
            error, done = result.error, result.done
            if error is not None or not done:
                break
            host_values = {
                name: unpack_words(tensor, self.design, words)
                for (name, tensor), words in zip(host_tensors.items(), result.host_words, strict=True)
            }
            from_host = from_host and all(
                bool((host_values[tensor.name] == tensors[tensor.name]).all()) for tensor in segment[-1].complete
            )
            tensors.update(host_values)
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

    def _ask(self, job: Load | RunInput) -> Any:
        if self._connection is None:
            self._fail("is not running")
        try:
            self._connection.send(job)
            return self._connection.recv()
        except (EOFError, OSError):
            self._fail("died")

    def _fail(self, event: str) -> NoReturn:
        log = self._folder / "simulation.log"
        # The folder goes with the session; the build's stays.
        saved_log = self._build.folder / "simulation.log"
        if log.exists():
            shutil.copy(log, saved_log)
        raise SimulationError(f"the {self.simulator} simulation {event}; see {saved_log}") from self._failure

    def _accept(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            connection = self._listener.accept()
            self._simulator_process = int(connection.recv())
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
