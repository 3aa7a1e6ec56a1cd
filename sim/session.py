"""A running simulation of one design that takes any number of programs and inputs, one after the other."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.array import host_selects
from hw.design import Design
from hw.export import COMPILED_ONCE, TOP
from mapper.program import Placement, Program
from sim.build import Build, build, cached_verilog, runner_of, simulator_environment
from sim.errors import SimulationError
from sim.jobs import Load, Run, RunResult, Stop

START_SECONDS = 120.0


def pack_words(placement: Placement, design: Design, values: NDArray[np.int64]) -> list[int]:
    """The memory words of a tensor (channels x height x width), pixel after pixel."""
    channels, height, width = values.shape
    lanes = np.zeros((height * width, placement.groups * design.load_width), np.int64)
    lanes[:, placement.positions] = values.reshape(channels, -1).T
    mask = (1 << design.activation_bits) - 1
    words = []
    for row in (lanes.reshape(-1, design.load_width) & mask).tolist():
        word = 0
        for lane in reversed(row):
            word = (word << design.activation_bits) | lane
        words.append(word)
    return words


def unpack_words(placement: Placement, design: Design, words: tuple[int, ...]) -> NDArray[np.int64]:
    """The tensor (channels x height x width) in memory words read back."""
    bits, mask, sign = design.activation_bits, (1 << design.activation_bits) - 1, 1 << (design.activation_bits - 1)
    lanes = np.array(
        [[(word >> (lane * bits)) & mask for lane in range(design.load_width)] for word in words], np.int64
    ).reshape(placement.height * placement.width, -1)
    lanes = np.where(lanes & sign, lanes - (mask + 1), lanes)
    return np.asarray(lanes[:, placement.positions].T.reshape(placement.channels, placement.height, placement.width))


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

    def run(self, x: NDArray[np.int64], expected_cycles: int = 0) -> RunResult:
        """Runs the loaded program on one quantized input (channels x height x width)."""
        if self.program is None:
            raise SimulationError("no program is loaded")
        placed = self.program.input
        words = pack_words(placed, self.design, x)
        reads = tuple((layer.output.base, layer.output.words) for layer in self.program.layers)
        result: RunResult = self._ask(Run(tuple(enumerate(words, placed.base)), reads, 2 * expected_cycles + 1_000_000))
        return result

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
                    test_module="sim.benches.network",
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
