"""The speed of the RTL simulation, and the time to build one from nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.document import Section, table
from benchmarks.machine import timed
from benchmarks.settings import Settings
from skipstone.flow.prepare import CompressionOptions
from skipstone.flow.verify import verify_network
from skipstone.hw.design import load_design
from skipstone.sim.build import cached_verilog
from skipstone.sim.session import RtlSession

DESIGNS = ("tiny", "edge", "wide")


def measure(settings: Settings) -> Section:
    rows, equal = [], True
    for name in DESIGNS:
        design = load_design(name)
        with empty_cache():
            settings.progress(f"building {name}")
            with timed() as generating:
                verilog = cached_verilog(design)
            with timed() as building:
                RtlSession(design).compile()
            settings.progress(f"running {name}")
            done = verify_network("resnet8_fashion", design, CompressionOptions(prune="none"), images=2)
        equal &= done.exact
        rows.append(
            (
                *(name, design.pes, f"{len(verilog) / 1e6:.1f}", f"{generating.cpu_seconds:.1f}"),
                *(f"{building.seconds:.1f}", f"{building.cpu_seconds:.1f}", round(done.cycles_per_second)),
                done.exact,
            )
        )
    headings = (
        *("design", "PEs", "Verilog, MB", "to generate, CPU s"),
        *("to compile, s", "CPU s", "cycles/s", "exact"),
    )
    text = (
        "Verilator under cocotb. The build starts with an empty cache, Verilator's own runtime included; the speed is that of "
        "the carried network without pruning, two images, without loading and reading memories.\n\n"
        + table(headings, rows)
    )
    return Section("simulation", "RTL simulation", text, equal)


@contextmanager
def empty_cache() -> Iterator[None]:
    """Lets builds go to a new folder meanwhile."""
    before = os.environ.get("SKIPSTONE_CACHE")
    with tempfile.TemporaryDirectory(prefix="skipstone-bench-") as folder:
        os.environ["SKIPSTONE_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["SKIPSTONE_CACHE"]
            else:
                os.environ["SKIPSTONE_CACHE"] = before
