"""Worker processes give the records of a single process, and those that die are replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skipstone.errors import SkipstoneError
from skipstone.explore.workers import InProcess, Processes, local_workers
from tests.skipstone.explore.toys import job, log_of, run

ROOT = Path(__file__).parents[3]
CHOICES = [(n, {"rows": 1 + n % 5, "cols": 1 + n % 4, "kind": "abc"[n % 3], "fixed": 7}) for n in range(12)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_processes_give_the_records_of_a_single_process(tmp_path):
    in_process = dict(InProcess(job(tmp_path / "a")).evaluate(CHOICES))
    with local_workers(job(tmp_path / "b"), 2) as workers:
        from_workers = dict(workers.evaluate(CHOICES))
        again = dict(workers.evaluate(CHOICES[:2]))
    assert from_workers == in_process
    assert again == {0: in_process[0], 1: in_process[1]}
    pids = {line.split()[-1] for line in (tmp_path / "b").read_text().splitlines()}
    assert len(pids) <= 2
    assert str(os.getpid()) not in pids
    # The processes end with the block.
    assert wait_for(lambda: not any(alive(int(pid)) for pid in pids))


def test_a_worker_that_dies_twice_is_replaced(tmp_path):
    with local_workers(job(tmp_path / "log", deadly=3, grave=str(tmp_path / "grave"), deaths=2), 2) as workers:
        records = dict(workers.evaluate(CHOICES))
    assert sorted(records) == list(range(12))
    assert len((tmp_path / "grave").read_text().splitlines()) == 2
    assert records == dict(InProcess(job(tmp_path / "other")).evaluate(CHOICES))


def test_a_choice_that_kills_its_worker_every_time_is_named(tmp_path):
    """The choice kills three workers; none of the deaths counts against the other choices."""
    with local_workers(job(tmp_path / "log", deadly=3, grave=str(tmp_path / "grave")), 2) as workers:
        with pytest.raises(SkipstoneError, match=r"3 worker processes died .* one choice .*: rows 3, cols 3, kind c"):
            list(workers.evaluate(CHOICES[:4]))
    assert 3 <= len((tmp_path / "grave").read_text().splitlines()) <= 4


def test_a_killed_worker_does_not_change_the_result(tmp_path):
    """A worker is killed with SIGKILL during an evaluation."""
    alone = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")))
    workers = Processes(job(tmp_path / "b", pause=0.01), 2)
    killed = []

    def finished(status):
        if status.trials == 20 and not killed:
            killed.append(next(iter(workers._pool._processes)))
            os.kill(killed[0], signal.SIGKILL)

    try:
        assert run(tmp_path / "b.db", workers, finished=finished) == alone
    finally:
        workers.close()
    assert killed


def test_workers_end_when_their_parent_is_killed(tmp_path):
    """kill -9 of the search leaves no process behind, and stored choices are not evaluated again."""
    log, storage = tmp_path / "log", tmp_path / "study.db"
    command = [sys.executable, "-m", "tests.skipstone.explore.toys", str(storage), str(log), "0.05", "2"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert wait_for(lambda: len(log_of(log)) >= 20, 60)
    finally:
        process.kill()
        process.wait()
    pids = {int(line.split()[-1]) for line in log.read_text().splitlines()}
    assert len(pids) == 2
    assert wait_for(lambda: not any(alive(pid) for pid in pids))
    import sqlite3

    connection = sqlite3.connect(storage)
    stored = {tuple(row) for row in connection.execute("SELECT choice FROM evaluations")}
    connection.close()
    assert 15 <= len(stored) <= 25
    before = log_of(log)
    evaluated = []
    resumed = run(storage, InProcess(job(log)), finished=lambda status: evaluated.append(status.evaluated))
    assert evaluated[-1] == 60 - len(stored)
    after = log_of(log)[len(before) :]
    assert len(after) == len(set(after)) == evaluated[-1]
    # Evaluations that were running or not stored yet may be done again: one for each worker, and one that waits.
    assert len(set(after) & set(before)) <= 3
    assert resumed == run(tmp_path / "full.db", InProcess(job(tmp_path / "other")))
