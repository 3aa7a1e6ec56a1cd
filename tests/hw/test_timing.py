"""The latencies are written once: every class's ``LATENCY`` is the constant that the cycle model imports.

That the constants are true is measured on the RTL, by the benches of tests/sim/test_units.py."""

import subprocess
import sys

import pytest

from skipstone.hw import timing
from skipstone.hw.controller import Controller
from skipstone.hw.drain import Drain
from skipstone.hw.loader import Capture, Loader
from skipstone.hw.pe import Pe
from skipstone.hw.requantizer import Requantizer
from skipstone.hw.row import Row


@pytest.mark.parametrize(
    ("block", "latency"),
    [
        (Pe, timing.PE_LATENCY),
        (Row, timing.PE_LATENCY),
        (Loader, timing.LOAD_LATENCY),
        (Drain, timing.REQUANTIZER_LATENCY),
        (Controller, timing.START_LATENCY),
    ],
)
def test_class_latencies(block, latency):
    assert latency == block.LATENCY


def test_sums_of_latencies():
    """The drain registers accumulators before the requantizer; the loader's entry passes one register before the columns'
    capture, whose load is the last stage; a tile is taken in the cycle that shows its last sum, and drained from the next."""
    assert timing.REQUANTIZER_LATENCY == 1 + Requantizer.LATENCY
    assert timing.LOAD_LATENCY == 1 + Capture.LATENCY
    assert timing.DRAIN_START_LATENCY == timing.PE_LATENCY + 1


def test_the_cycle_model_does_not_need_amaranth():
    modules = "skipstone.hw.timing, skipstone.hw.design, skipstone.mapper.timing.cycles"
    code = f"import sys, {modules}; sys.exit('amaranth' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
