"""``skipstone explore`` from the command line: equal files, resuming after kill -9, one message for every mistake."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.mapper.results.exploration import ExplorationResult
from tests.skipstone.builders import small_data, small_network

ROOT = Path(__file__).parents[3]
SPACE = """
[design]
rows = [2, 4]
cols = [2, 4]
load_width = [2, 4]
slots = [9]
windows = [2]
accumulators = [4]
requantizer_lanes = [2]
[compression]
prune = ["none", "unstructured:0.5"]
"""
BASE = ("explore", "small.onnx", "--space", "space.toml")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a network, data and a space of 16 choices, and the current folder there."""
    monkeypatch.chdir(tmp_path)
    small_network(tmp_path / "small.onnx")
    small_data(tmp_path / "data.npz")
    (tmp_path / "space.toml").write_text(SPACE)
    return tmp_path


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(path: Path) -> ExplorationResult:
    return ExplorationResult.read(path)


def mistake(place: Path, *arguments: object) -> str:
    """Runs the command, checks exit code 2, one line, no result, and returns the message."""
    done = invoke(*BASE, "--jobs", 1, "--trials", 3, *arguments)
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    message = [line for line in done.stderr.splitlines() if line.startswith("skipstone: ")]
    assert len(message) == 1, done.stderr
    assert "Traceback" not in done.output
    assert not list(place.rglob("exploration.*"))
    return message[0].removeprefix("skipstone: ")


def test_killed_and_resumed_gives_the_same_file_as_one_run(place):
    """Killed midway (kill -9) and resumed with another number of workers: the bytes of an undisturbed run, nothing evaluated
    twice."""
    arguments = (*BASE, "--evaluation", "data.npz", "--trials", 12, "--seed", 3)
    done = invoke(*arguments, "--jobs", 1, "--out", "a")
    assert done.exit_code == 0, done.output
    expected = (place / "a" / "exploration.json").read_bytes()
    command = [sys.executable, "-m", "skipstone", *map(str, arguments), "--jobs", "1", "--out", "b"]
    process = subprocess.Popen(
        command,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stored: list[tuple[str]] = []
    end = time.monotonic() + 200
    while len(stored) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
        if (place / "b" / "study.db").exists():
            connection = sqlite3.connect(place / "b" / "study.db")
            try:
                stored = connection.execute("SELECT rowid, key FROM evaluations").fetchall()
            except sqlite3.Error:
                stored = []
            connection.close()
    process.kill()
    process.wait()
    assert len(stored) >= 4
    done = invoke(*arguments, "--jobs", 2, "--out", "b")
    assert done.exit_code == 0, done.output
    assert (place / "b" / "exploration.json").read_bytes() == expected
    connection = sqlite3.connect(place / "b" / "study.db")
    after = connection.execute("SELECT rowid, key FROM evaluations").fetchall()
    connection.close()
    # An evaluation that is stored again would have a new row.
    assert set(stored) <= set(after)
    assert len(after) == 12
    assert {path.name for path in (place / "b").iterdir()} >= {"exploration.json", "exploration.html", "study.db"}


def test_the_whole_space_and_its_front(place):
    done = invoke(*BASE, "--evaluation", "data.npz", "--trials", 50, "--jobs", 1, "--out", "o", "--json", "r.json")
    assert done.exit_code == 0, done.output
    assert "the space has no more than these 16 choices" in done.output
    result = read(place / "r.json")
    assert (place / "r.json").read_bytes() == (place / "o" / "exploration.json").read_bytes()
    assert (result.trials, len(result.points), result.exhausted) == (16, 16, True)
    assert [each.name for each in result.objectives] == ["cycles", "energy_pj", "area_um2", "accuracy"]
    assert any(point.on_front for point in result.points)
    assert result.accuracy_images == 6
    assert result.hypervolume[-1][0] == 16
    assert set(result.importance) == {"cycles", "energy_pj", "area_um2", "accuracy"}


def test_an_impossible_limit_is_diagnosed(place):
    """Exit code 0: "nothing is feasible" is a result. Its text names the limit and the nearest point."""
    done = invoke(
        *(*BASE, "--trials", 20, "--jobs", 1, "--out", "o", "--objective", "cycles", "--objective", "area_um2"),
        *("--constraint", "area_um2<=1000", "--constraint", "cycles<=1e9"),
    )
    assert done.exit_code == 0, done.output
    result = read(place / "o" / "exploration.json")
    least = min(result.points, key=lambda point: point.metrics["area_um2"])
    assert (
        f"area_um2 <= 1,000 is met by none of 16 points; the least found is {least.metrics['area_um2']:,.6g}"[:60]
        in (result.diagnosis[0])
    )
    assert "no choice of this space meets it" in result.diagnosis[0]
    assert f"the nearest is point {least.number} " in result.diagnosis[-1]
    assert "area_um2 <= 1,000 is met by none of 16 points" in " ".join(done.output.split())
    assert not any(point.on_front for point in result.points)


def test_ctrl_c_says_how_to_resume(place, monkeypatch):
    from skipstone.explore.study import StudyFile

    real, stored = StudyFile.store, []

    def interrupted(*arguments):
        real(*arguments)
        stored.append(1)
        if len(stored) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(StudyFile, "store", interrupted)
    done = invoke(*BASE, "--jobs", 1, "--out", "o", "--trials", 6)
    assert done.exit_code == 130
    assert "interrupted: what is finished is kept in o/study.db, and the same command goes on from there" in done.stderr
    monkeypatch.undo()
    monkeypatch.chdir(place)
    done = invoke(*BASE, "--jobs", 1, "--out", "o", "--trials", 6)
    assert done.exit_code == 0, done.output
    done = invoke(*BASE, "--jobs", 1, "--out", "o", "--trials", 3, "--seed", 1)
    assert "o/study.db also holds small-" in done.stderr
    assert "(seed 0); a new search begins beside it" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--objective", "speed"), "objective: unknown metric 'speed'; there are cycles, latency_us"),
        (("--objective", "accuracy"), "there is no accuracy without labelled images; name some (option --evaluation)"),
        (("--constraint", "area<2"), "constraint 'area<2' must be METRIC<=LIMIT or METRIC>=LIMIT, as 'area_mm2<=2'"),
        (("--jobs", 0), "jobs must be at least 1, not 0 (option --jobs)"),
        (("--trials", 0), "trials must be at least 1, not 0 (option --trials)"),
        (("--population", 1), "population must be at least 2, not 1 (option --population)"),
        (("--seed", -1), "seed must be at least 0, not -1 (option --seed)"),
        (("--sampler", "tpe"), "sampler must be nsga2, nsga3, random, not 'tpe' (option --sampler)"),
        (("--study", "space.toml"), "space.toml is no study of an exploration; name another file (option --study)"),
        (("--space", "absent.toml"), "absent.toml"),
    ],
)
def test_mistakes(place, arguments, message):
    assert message in mistake(place, *arguments)
    assert not list(place.rglob("*.db"))


def test_a_damaged_cache_ends_the_search(place):
    """The message says what to do. After the cache is deleted the search goes on, and no choice has been recorded as a
    failure."""
    (place / "o").mkdir()
    (place / "o" / "study.cache.db").write_text("this is not a database")
    message = mistake(place, "--out", "o", "--evaluation", "data.npz")
    assert "study.cache.db: can't keep what was computed (file is not a database)" in message
    assert "the same command goes on from there" in message
    (place / "o" / "study.cache.db").unlink()
    done = invoke(*BASE, "--jobs", 1, "--trials", 3, "--out", "o", "--evaluation", "data.npz")
    assert done.exit_code == 0, done.output
    assert read(place / "o" / "exploration.json").problems == {}


def test_an_address_without_a_scheduler(place, monkeypatch):
    pytest.importorskip("distributed")
    from skipstone.explore import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in mistake(place, "--dask", "tcp://127.0.0.1:9")
