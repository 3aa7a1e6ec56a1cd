"""A Dask cluster of separate processes gives the records of this process, also when one of them is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skipstone.errors import SkipstoneError
from skipstone.explore import cluster
from skipstone.explore.cluster import cluster_workers, pack
from skipstone.explore.evaluate import EvaluationSettings, Evaluator
from skipstone.explore.study import Record
from skipstone.explore.workers import InProcess, Job
from skipstone.flow.prepare import CompressionOptions
from tests.skipstone.builders import small_data, small_network
from tests.skipstone.explore.toys import job, log_of, run

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]


class Cluster:
    """A scheduler and workers, each in a separate process."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        file = place / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        end = time.monotonic() + 60
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < end, (place / "scheduler.log").read_text()
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]
        self.workers: list[subprocess.Popen[bytes]] = []

    def add_worker(self, path: str = str(ROOT)) -> None:
        number = len(self.workers)
        self.workers.append(
            self._start(
                *("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"),
                *("--name", f"w{number}", "--local-directory", str(self.place / f"w{number}")),
                path=path,
            )
        )

    def _start(self, program: str, *arguments: str, path: str = str(ROOT)) -> subprocess.Popen[bytes]:
        # Not in the sources' folder: a worker imports only what PYTHONPATH names.
        with (self.place / f"{program}.log").open("ab") as log:
            command = [sys.executable, "-m", "dask", program, *arguments]
            environment = {**self.environment, "PYTHONPATH": path}
            return subprocess.Popen(command, cwd=self.place, env=environment, stdout=log, stderr=log)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def local_cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


def test_a_killed_worker_changes_nothing_and_a_lost_scheduler_is_named(tmp_path, local_cluster):
    """One of two workers is killed with SIGKILL during the search, then the scheduler."""
    alone = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")))
    local_cluster.add_worker()
    local_cluster.add_worker()
    log = tmp_path / "b"
    killed = []

    def finished(status):
        pids = {int(line.split()[-1]) for line in log.read_text().splitlines()}
        if status.trials >= 15 and not killed and len(pids) == 2:
            killed.append(local_cluster.workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    with cluster_workers(job(log, pause=0.05), local_cluster.address) as workers:
        assert run(tmp_path / "b.db", workers, finished=finished) == alone
        assert killed
        assert {int(line.split()[-1]) for line in log.read_text().splitlines()} == {
            process.pid for process in local_cluster.workers
        }
        assert set(log_of(log)) == set(log_of(tmp_path / "a"))
        local_cluster.scheduler.kill()
        with pytest.raises(SkipstoneError, match="lost the Dask scheduler at tcp://"):
            run(tmp_path / "c.db", workers)


def test_files_travel_by_content(tmp_path):
    """A worker evaluates a job without the files of its network, external weights and data: their bytes are sent."""
    import onnx

    small_network(tmp_path / "small.onnx")
    model = onnx.load(tmp_path / "small.onnx")
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "big.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    data = small_data(tmp_path / "here" / "data.npz")
    options = CompressionOptions(evaluation=str(data), prune="none")
    parcel = pack(Job(Evaluator, (str(path), options, EvaluationSettings(4)), frozenset({"accuracy"})))
    choice = {
        "rows": 2,
        "cols": 2,
        "load_width": 2,
        "slots": 9,
        "windows": 2,
        "accumulators": 4,
        "requantizer_lanes": 2,
    }
    job = Job(Evaluator, (str(path), options, EvaluationSettings(4)), frozenset({"accuracy", "cycles"}))
    here = job.run(choice)
    shutil.rmtree(tmp_path / "here")
    assert here.problem is None
    assert Record(**cluster._run(job, parcel, choice, cluster.code_digest())) == here
    with pytest.raises(SkipstoneError, match="another version of Skipstone"):
        cluster._run(job, parcel, choice, "other")


def test_workers_with_other_code_are_refused(local_cluster, tmp_path, monkeypatch):
    local_cluster.add_worker()
    monkeypatch.setattr(cluster, "code_digest", os.getpid)
    with pytest.raises(SkipstoneError, match=r"worker tcp://.* has another version of Skipstone"):
        with cluster_workers(job(tmp_path / "log"), local_cluster.address):
            pass


def test_a_cluster_without_scheduler_or_workers_is_refused(tmp_path, monkeypatch, local_cluster):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(cluster, "WORKERLESS_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1"):
        with pytest.raises(SkipstoneError, match=f"no Dask scheduler answers at {address}"):
            with cluster_workers(job(tmp_path / "log"), address):
                pass
    with pytest.raises(SkipstoneError, match="has no workers; start some with 'dask worker'"):
        with cluster_workers(job(tmp_path / "log"), local_cluster.address):
            pass
