"""The study's file: committed records stay; a file that is no study, damaged, in use or on a full disk gives one message."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from skipstone.errors import SkipstoneError
from skipstone.explore.study import Record, _digest, evaluation_key, open_study
from skipstone.mapper.results.exploration import Objective

ROOT = Path(__file__).parents[3]
RECORD = Record("d", {"rows": 3}, {"cycles": 12.5, "accuracy": 1 / 3})


def filled(path: Path, count: int = 20) -> Path:
    """A study with ``count`` records, copied from the first one in a single commit."""
    with open_study(path) as study:
        study.store("key", {"rows": 1}, RECORD)
    copy = "INSERT INTO evaluations SELECT ?, choice, record, digest FROM evaluations LIMIT 1"
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany(copy, [(str(number),) for number in range(count - 1)])
    connection.close()
    return path


def test_records_are_read_back(tmp_path):
    with open_study(tmp_path / "a.db") as study:
        study.store("one", {"rows": 1}, RECORD)
        study.store("two", {"rows": 2}, Record(problem="too large"))
        study.store("one", {"rows": 1}, RECORD)
    with open_study(tmp_path / "a.db") as study:
        assert study.records() == {"one": RECORD, "two": Record(problem="too large")}
        assert study.damaged == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_keys_do_not_depend_on_the_order_of_a_choice():
    assert evaluation_key("c", {"a": 1, "b": 2}) == evaluation_key("c", {"b": 2, "a": 1})
    different = [
        evaluation_key("c", {"a": 1, "b": 2}),
        evaluation_key("c", {"a": 1, "b": "2"}),
        evaluation_key("c", {"a": 2, "b": 1}),
        evaluation_key("d", {"a": 1, "b": 2}),
        evaluation_key("c", {"a": 1}),
    ]
    assert len(set(different)) == len(different)


def test_another_search_in_the_same_file_is_named(tmp_path):
    with open_study(tmp_path / "a.db") as study:
        assert study.register("small-1", {"space": "x", "seed": "0", "network": "n" * 50}) == []
        assert study.register("small-1", {"space": "x", "seed": "0", "network": "n" * 50}) == []
        assert study.register("small-2", {"space": "x", "seed": "1", "network": "m" * 50}) == [
            "small-1 (seed 0, another network)"
        ]


@pytest.mark.parametrize(
    "content", [b"this is text", b"SQLite format 3\0" + bytes(200), b"SQLite format 3\0 and so on"]
)
def test_a_file_that_is_no_study_is_not_changed(tmp_path, content):
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(SkipstoneError, match=r"a\.db is (no study of an exploration; name another file|damaged \()"):
        with open_study(path):
            pass
    assert path.read_bytes() == content


def test_another_programs_database_is_not_changed(tmp_path):
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(SkipstoneError, match=r"no study of an exploration; name another file$"):
        with open_study(tmp_path / "a.db"):
            pass
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize("where", ["begin", "middle", "cut"])
def test_a_damaged_study_is_not_changed_and_the_message_says_what_to_do(tmp_path, where):
    path = filled(tmp_path / "a.db", 200)
    content = bytearray(path.read_bytes())
    if where == "cut":
        del content[len(content) // 2 :]
    else:
        start = 100 if where == "begin" else len(content) // 2 // 4096 * 4096
        content[start : start + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(
        SkipstoneError,
        match=r"a\.db is damaged \(.*\.recover \| sqlite3 NEW\.db' .*; an exploration goes on with NEW\.db",
    ):
        with open_study(path):
            pass
    assert path.read_bytes() == content


def _hold(path, ready, end):
    with open_study(path):
        ready.set()
        end.wait(60)


def test_two_processes_do_not_share_a_study(tmp_path):
    """A study that another process uses is refused; it is free when that process is killed."""
    path = filled(tmp_path / "a.db")
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(path, ready, end))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(SkipstoneError, match="in use by another exploration"):
            with open_study(path):
                pass
    finally:
        other.kill()
        other.join()
    with open_study(path) as study:
        assert len(study.records()) + study.damaged == 20


FULL = """
import resource, sys
from pathlib import Path
from skipstone.errors import SkipstoneError
from skipstone.explore.study import Record, open_study
path, limit = Path(sys.argv[1]), int(sys.argv[2])
stored = 0
try:
    with open_study(path) as study:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        while stored < 100_000:
            study.store(f"key {stored}", {}, Record("x" * 500))
            stored += 1
except SkipstoneError as error:
    print(stored, error)
"""


def test_a_file_that_cannot_grow_keeps_its_records(tmp_path):
    path = tmp_path / "a.db"
    command = [sys.executable, "-c", FULL, str(path), "100000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    stored, _, message = done.stdout.partition(" ")
    assert "what is finished is kept, and the same command goes on from there" in message
    with open_study(path) as study:
        assert len(study.records()) == int(stored) > 10
        study.store("more", {}, RECORD)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a small disk")
def test_a_study_on_a_full_disk_keeps_its_records(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        command = [sys.executable, "-c", FULL, str(disk / "a.db"), "0"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        stored, _, message = done.stdout.partition(" ")
        assert "the disk is full; free some space: what is finished is kept" in message
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        with open_study(disk / "a.db") as study:
            assert len(study.records()) == int(stored) > 10
            study.store("more", {}, RECORD)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE studies RENAME TO other",
        "UPDATE explorations SET description = '[1]'",
        "ALTER TABLE evaluations RENAME COLUMN record TO other",
        "UPDATE study_directions SET study_id = 2",
    ],
)
def test_a_study_that_cannot_be_used_is_not_changed(tmp_path, statement):
    """What fails only in the midst of an exploration is found before anything is written."""
    path = tmp_path / "a.db"
    with open_study(path) as study:
        study.register("search", {"space": "x"})
        study.mirror("search", {"rows": [1, 2]}, (Objective("cycles", "minimize"),)).write()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    before = path.read_bytes()
    with pytest.raises(SkipstoneError, match=r"a\.db is damaged \("):
        with open_study(path) as study:
            study.mirror("search", {"rows": [1, 2]}, (Objective("cycles", "minimize"),)).write()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"colour": 1}', '{"metrics": 1}', '{"metrics": {"cycles": NaN}}', "[" * 99_999]
)
def test_a_record_that_is_none_is_left_out(tmp_path, text):
    path = filled(tmp_path / "a.db", 2)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE evaluations SET record = ?, digest = ? WHERE key = 'key'", (text, _digest("key", text))
        )
    with open_study(path) as study:
        assert study.records() == {}
        assert study.damaged == 2  # the other one has the digest of another key
