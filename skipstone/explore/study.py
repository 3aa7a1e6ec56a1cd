"""The file of an exploration: SQLite with every finished evaluation, and beside them the search as a study that Optuna opens.

An evaluation is committed the moment it is finished, under a key of all that determines it, so whatever ends the program, the
same command goes on from there and computes nothing twice. One file serves any number of searches, which share evaluations.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.mapper.results.exploration import ExplorationPoint, Objective

TABLES = """
CREATE TABLE IF NOT EXISTS evaluations (key TEXT PRIMARY KEY, choice TEXT NOT NULL, record TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS explorations (name TEXT PRIMARY KEY, description TEXT NOT NULL);
"""
OURS = {"evaluations", "studies"}
"""Tables of which a file has one if it is a study: ours, or Optuna's."""
SQLITE = b"SQLite format 3\0"


class StorageError(SkipstoneError):
    """The study's file cannot be read or written. The message says what becomes of the finished evaluations."""


@dataclass(frozen=True)
class Record:
    """A finished evaluation: the design's name and parameters, its figures by metric; ``problem`` says why a choice has none."""

    design: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


class StudyFile:
    """An open study; :func:`open_study` makes it. ``damaged`` counts the records that were unreadable and are left out."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.damaged = 0
        self._connection = connection

    def records(self) -> dict[str, Record]:
        """All evaluations by key."""
        records = {}
        with self.explained():
            for key, text, digest in self._connection.execute("SELECT key, record, digest FROM evaluations"):
                record = _record(text) if _digest(key, text) == digest else None
                if record is None:
                    self.damaged += 1
                else:
                    records[key] = record
        return records

    def store(self, key: str, choice: Mapping[str, Any], record: Record) -> None:
        """Commits an evaluation: when this returns, it is on disk.

        Args:
            key: From :func:`evaluation_key`.
            choice: Parameters and their values.
            record: What they gave.

        Raises:
            StorageError: The file can't be written.
        """
        text = json.dumps(asdict(record), sort_keys=True)
        row = (key, json.dumps(dict(choice)), text, _digest(key, text))
        with self.explained(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?)", row)

    def register(self, name: str, description: Mapping[str, str]) -> list[str]:
        """Notes what a search is of.

        Args:
            name: The search.
            description: What it depends on, in words.

        Returns:
            If the search is new in a file that has others, each of those with what is different there.

        Raises:
            StorageError: The file can't be read or written.
        """
        with self.explained(), self._connection:
            others = dict(self._connection.execute("SELECT name, description FROM explorations ORDER BY rowid"))
            exists = name in others
            self._connection.execute(
                "INSERT OR REPLACE INTO explorations VALUES (?, ?)", (name, json.dumps(dict(description)))
            )
        if exists:
            return []
        return [f"{other} ({_difference(json.loads(text), description)})" for other, text in others.items()]

    def mirror(
        self, name: str, parameters: Mapping[str, Sequence[Any]], objectives: Sequence[Objective]
    ) -> OptunaMirror:
        """The study that Optuna and its dashboard read, made if it is not there.

        Args:
            name: The study's name.
            parameters: The choices of each parameter.
            objectives: What is searched for.

        Raises:
            StorageError: The file can't be read or written.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self.explained():
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{self.path}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=[objective.direction for objective in objectives],
                load_if_exists=True,
            )
            return OptunaMirror(self, study, parameters, objectives)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """A context in which SQLite's errors, also as Optuna wraps them, become one message with what to do.

        Raises:
            StorageError: With that message.
        """
        try:
            yield
        except Exception as error:
            message = _explanation(self.path, error)
            if message is None:
                raise
            raise StorageError(message) from None


class OptunaMirror:
    """A search's trials as an Optuna study, for those who open it with Optuna. The search itself never reads it; trials that are
    missing after an interruption are added as the search comes past them again."""

    def __init__(
        self, file: StudyFile, study: Any, parameters: Mapping[str, Sequence[Any]], objectives: Sequence[Objective]
    ) -> None:
        import optuna

        self._file, self._study, self._objectives = file, study, objectives
        self._kinds = {
            name: optuna.distributions.CategoricalDistribution(list(each))
            for name, each in parameters.items()
            if len(each) > 1
        }
        self._there = len(study.get_trials(deepcopy=False))
        self._waiting: deque[Any] = deque()

    def add(self, number: int, choice: Mapping[str, Any], point: ExplorationPoint | None, problem: str | None) -> None:
        """Has a trial written, if it is not there.

        Args:
            number: The trial.
            choice: Parameters and their values.
            point: What they gave; None where they can't be built or mapped.
            problem: Why not.
        """
        import optuna

        if number < self._there:
            return
        trial: dict[str, Any] = {"params": {name: choice[name] for name in self._kinds}, "distributions": self._kinds}
        if point is None:
            trial |= {"state": optuna.trial.TrialState.FAIL, "user_attrs": {"problem": problem}}
        else:
            trial |= {
                "values": [point.metrics[objective.name] for objective in self._objectives],
                "user_attrs": {"design": point.design, "metrics": dict(point.metrics)},
                "constraints": dict(point.violations),
            }
        self._waiting.append(optuna.trial.create_trial(**trial))

    def write(self, count: int | None = None) -> None:
        """Writes waiting trials.

        Args:
            count: How many; None: all.

        Raises:
            StorageError: The file can't be written.
        """
        with self._file.explained():
            for _ in range(len(self._waiting) if count is None else min(count, len(self._waiting))):
                self._study.add_trial(self._waiting[0])
                self._waiting.popleft()


@contextmanager
def open_study(path: Path) -> Iterator[StudyFile]:
    """Opens or makes a study's file, for this process alone until the block ends.

    Raises:
        SkipstoneError: The file is damaged, is something else, is open in another process, or can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        _check(path)
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=60)
            # Full synchronization: what is committed survives a power cut.
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(TABLES)
            yield StudyFile(path, connection)
        except sqlite3.Error as error:
            raise StorageError(_explanation(path, error) or str(error)) from None
        finally:
            if connection is not None:
                connection.close()


def evaluation_key(content: str, choice: Mapping[str, Any]) -> str:
    """The key that an evaluation is stored under.

    Args:
        content: A digest of all that determines it beside the choice.
        choice: Parameters and their values.
    """
    return hashlib.sha256(json.dumps([content, sorted(choice.items())]).encode()).hexdigest()[:32]


def _check(path: Path) -> None:
    """Refuses what is no study, or a damaged one, and leaves it as it is: all that may fail is tried on a copy.

    SQLite writes to a file that it only reads: it rolls back what an interrupted program left, and changes of the journal's mode.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    other = f"{path} is no study of an exploration; name another file"
    with path.open("rb") as file:
        if file.read(len(SQLITE)) != SQLITE:
            raise SkipstoneError(other, parameter="storage")
    with tempfile.TemporaryDirectory(prefix="skipstone-") as folder:
        copy = Path(folder) / "study.db"
        for ending in ("", "-journal", "-wal"):
            if (original := path.with_name(path.name + ending)).exists():
                shutil.copyfile(original, copy.with_name(copy.name + ending))
        try:
            tables = _tried(copy)
        except (sqlite3.Error, UnicodeDecodeError, _DamagedError) as error:
            raise StorageError(_explanation(path, error) or _damaged(path, str(error)), parameter="storage") from None
    if tables and not tables & OURS:
        raise SkipstoneError(other, parameter="storage")


class _DamagedError(Exception):
    """A copy of a study can't be used; the text says why."""


def _tried(copy: Path) -> set[str]:
    """Uses a copy of a study as an exploration would use the study.

    Returns:
        The names of the tables that it has.

    Raises:
        _DamagedError: Something in it can't be used.
        sqlite3.Error: SQLite can't read or write it.
    """
    with contextlib.closing(sqlite3.connect(copy, timeout=60)) as connection:
        tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        state = [str(row[0]) for row in connection.execute("PRAGMA quick_check")]
        if state != ["ok"]:
            raise _DamagedError(state[0])
        if not tables & OURS:
            return tables
        connection.executescript(TABLES)
        connection.execute("SELECT key, choice, record, digest FROM evaluations").fetchall()
        with connection:
            connection.execute("INSERT OR REPLACE INTO evaluations VALUES ('', '', '', '')")
            connection.execute("INSERT OR REPLACE INTO explorations VALUES ('', '{}')")
        for name, text in connection.execute("SELECT name, description FROM explorations"):
            if not _is_description(text):
                raise _DamagedError(f"what exploration {name!r} is of can't be read")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{copy}")
        try:
            for each in storage.get_all_studies():
                storage.get_all_trials(each._study_id, deepcopy=False)
            trial: dict[str, Any] = {
                "params": {"a": 1},
                "distributions": {"a": optuna.distributions.CategoricalDistribution([1])},
            }
            study = optuna.create_study(storage=storage, directions=["minimize", "minimize"])
            study.add_trial(optuna.trial.create_trial(values=[0.0, 0.0], user_attrs={"a": 1}, **trial))
        finally:
            storage.engine.dispose()
    except Exception as error:  # Optuna and SQLAlchemy raise errors of any kind, as the damage is
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise _DamagedError(f"Optuna can't use its tables: {reason}") from None
    return tables


def _is_description(text: object) -> bool:
    """Whether a text of the table ``explorations`` says what a search is of."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())


def _record(text: str) -> Record | None:
    """The evaluation of a text of the table ``evaluations``; None where it is none."""
    try:
        record = Record(**json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return None
    figures = record.metrics.values() if isinstance(record.metrics, dict) else (None,)
    intact = all(isinstance(value, int | float) and math.isfinite(value) for value in figures)
    return record if intact and isinstance(record.parameters, dict) else None


def _damaged(path: Path, problem: str) -> str:
    return (
        f"{path} is damaged ({problem.splitlines()[0].strip('* ')}); it is left as it is. "
        f"'sqlite3 {path} .recover | sqlite3 NEW.db' saves what can be read; an exploration goes on with NEW.db"
    )


def _explanation(path: Path, error: Exception) -> str | None:
    """What an error of SQLite, perhaps wrapped by SQLAlchemy and Optuna, means to the user; None for any other error."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = getattr(link, "orig", None) or link.__cause__ or link.__context__
    problem = next((str(each) for each in chain if isinstance(each, sqlite3.Error)), None)
    if problem is None:
        if type(error).__module__.startswith(("optuna", "sqlalchemy")):
            return _damaged(path, str(error) or type(error).__name__)
        return None
    resume_hint = "what is finished is kept, and the same command goes on from there"
    if "full" in problem:
        return f"{path}: the disk is full; free some space: {resume_hint}"
    if "disk I/O" in problem:
        return f"{path}: reading or writing failed (disk full, quota, or a fault); when it is mended, {resume_hint}"
    if "locked" in problem or "busy" in problem:
        return f"{path} is in use by another program; {resume_hint}"
    if "readonly" in problem or "read-only" in problem or "unable to open" in problem:
        return f"{path} can't be written ({problem})"
    return _damaged(path, problem)


def _difference(stored: Mapping[str, str], here: Mapping[str, str]) -> str:
    different = [name for name in {**here, **stored} if stored.get(name) != here.get(name)]
    short = [
        f"{name} {stored[name]}" if len(stored.get(name, "")) <= 40 and name in stored else f"another {name}"
        for name in different
    ]
    return ", ".join(short) or "alike"


def _digest(key: str, text: str) -> str:
    return hashlib.sha256(f"{key} {text}".encode()).hexdigest()[:32]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other processes out; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SkipstoneError(
                f"{path} is in use by another exploration; wait for it, or name another file", parameter="storage"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == os.stat(lock).st_ino:
                break
        os.close(descriptor)  # its owner removed it in between
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
