"""Evaluations on a cluster of Dask: workers on other machines, which need Skipstone but neither the network's file nor its data.

Networks and data go to the workers by content. A worker whose code is not this one refuses to work, since its figures could
differ; a worker that is lost has its evaluations repeated by another, which is the scheduler's doing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.explore.identity import code_digest, network_files
from skipstone.explore.study import Record
from skipstone.explore.workers import ATTEMPTS, Choice, Item, Job, Results, Workers
from skipstone.mapper.technology.files import files_of

CONNECT_SECONDS = 10
WORKERLESS_SECONDS = 60
"""How long a search waits for a worker, at its start and once all are lost."""


@dataclass(frozen=True)
class Parcel:
    """Files by content, and where a job names them. ``files``: name of the file to its bytes, the folder being ``digest``;
    ``paths``: path here to the name in the folder."""

    digest: str
    files: Mapping[str, bytes]
    paths: Mapping[str, str]

    def unpack(self) -> Path:
        """The folder with the files on this machine, written if it is not there."""
        return _unpacked(self)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parcel) and other.digest == self.digest


@contextmanager
def cluster_workers(job: Job, address: str, networks: Iterable[str] = ()) -> Iterator[Workers]:
    """The workers of a Dask cluster; the connection ends with the block.

    Args:
        job: What they evaluate.
        address: Where the scheduler is.
        networks: Files that choices name beside the job's own.

    Raises:
        SkipstoneError: No scheduler answers, it has no worker, or a worker has other code.
    """
    distributed = _distributed()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SkipstoneError(f"no Dask scheduler answers at {address} ({_line(error)})") from None
    try:
        yield _Cluster(client, address, job, networks)
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=2)


def _distributed() -> Any:
    """The package, whose functions have no types."""
    try:
        import distributed
    except ImportError:
        raise SkipstoneError("a Dask cluster needs dask.distributed: pip install 'skipstone[cluster]'") from None
    return distributed


class _Cluster:
    def __init__(self, client: Any, address: str, job: Job, networks: Iterable[str]) -> None:
        self._client, self._address = client, address
        try:
            client.wait_for_workers(1, timeout=WORKERLESS_SECONDS)
        except TimeoutError:
            raise SkipstoneError(
                f"the Dask scheduler at {address} has no workers; start some with 'dask worker'"
            ) from None
        self._check_code()
        self._job = job
        self._parcel = client.scatter(pack(job, networks), broadcast=False, hash=False)

    def evaluate(self, items: Iterable[Item]) -> Results:
        distributed = _distributed()
        pending = {}
        for number, choice in items:
            future = self._client.submit(
                _run, self._job, self._parcel, dict(choice), code_digest(), pure=False, retries=0
            )
            pending[future] = (number, choice)
        try:
            alone_since = None
            while pending:
                try:
                    with self._client.as_current():
                        ready = distributed.wait(list(pending), timeout=2, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    alone_since = self._alone(alone_since)
                    continue
                except distributed.client.FuturesCancelledError:
                    raise SkipstoneError(f"lost the Dask scheduler at {self._address}") from None
                alone_since = None
                for future in ready:
                    number, choice = pending.pop(future)
                    yield number, self._result(future, choice)
        finally:
            for future in pending:
                with contextlib.suppress(Exception):
                    future.cancel()

    def _result(self, future: Any, choice: Choice) -> Record:
        distributed = _distributed()
        try:
            return Record(**future.result())
        except distributed.KilledWorker:
            raise SkipstoneError(
                f"{ATTEMPTS + 1} workers of {self._address} died while they evaluated one choice (out of memory?): "
                + ", ".join(f"{key} {value}" for key, value in choice.items())
            ) from None
        except (distributed.client.FutureCancelledError, OSError) as error:
            raise SkipstoneError(f"lost the Dask scheduler at {self._address} ({_line(error)})") from None

    def _alone(self, since: float | None) -> float | None:
        """Since when there have been no workers; ends the search if that is too long."""
        try:
            workers = self._client.scheduler_info()["workers"]
        except Exception as error:
            raise SkipstoneError(f"lost the Dask scheduler at {self._address} ({_line(error)})") from None
        if self._client.status != "running":
            raise SkipstoneError(f"lost the Dask scheduler at {self._address}")
        if workers:
            return None
        since = since or time.monotonic()
        if time.monotonic() - since > WORKERLESS_SECONDS:
            raise SkipstoneError(f"all workers of the Dask scheduler at {self._address} are lost")
        return since

    def _check_code(self) -> None:
        """Refuses workers without Skipstone, or with another one."""
        try:
            digests = self._client.run(code_digest, on_error="return")
        except (OSError, TimeoutError) as error:
            raise SkipstoneError(f"lost the Dask scheduler at {self._address} ({_line(error)})") from None
        for worker, digest in sorted(digests.items()):
            if isinstance(digest, BaseException):
                raise SkipstoneError(
                    f"worker {worker} of {self._address} can't run Skipstone ({_line(digest)}); install the same there"
                )
            if digest != code_digest():
                raise SkipstoneError(_OTHER.format(f"worker {worker} of {self._address}"))


_OTHER = (
    "{} has another version of Skipstone, or of the libraries that it computes with, than this machine, "
    "so its figures may differ; install the same there"
)


def pack(job: Job, networks: Iterable[str] = ()) -> Parcel:
    """The files that a job names by path, to be sent to workers; names of carried networks need none.

    Args:
        job: What is evaluated.
        networks: Files that choices name beside the job's own.
    """
    files: dict[str, bytes] = {}
    paths: dict[str, str] = {}
    for index, path in enumerate(_named_files(job, networks)):
        every = _with_what_it_names(Path(path))
        for file in every:
            files[f"{index}/{os.path.relpath(file, Path(path).parent)}"] = file.read_bytes()
        paths[path] = f"{index}/{Path(path).name}"
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    digest.update(repr(sorted(paths.items())).encode())
    return Parcel(digest.hexdigest()[:32], files, paths)


def _with_what_it_names(path: Path) -> tuple[Path, ...]:
    """A file and the files beside it that it refers to: a network's weights, a technology's table and calibration."""
    if path.suffix == ".onnx":
        return network_files(path)
    return files_of(path) if path.suffix == ".toml" else (path,)


def _named_files(job: Job, networks: Iterable[str]) -> list[str]:
    """Paths of files among a job's arguments, also among the fields of its dataclasses."""
    names: dict[str, None] = {}
    for argument in (*job.arguments, *networks):
        fields = vars(argument).values() if dataclasses.is_dataclass(argument) else (argument,)
        names.update(dict.fromkeys(each for each in fields if isinstance(each, str) and Path(each).is_file()))
    return list(names)


def _run(job: Job, parcel: Parcel, choice: dict[str, Any], code: str) -> dict[str, Any]:
    """On a worker: evaluates a choice with the parcel's files in place of the paths."""
    if code != code_digest():
        raise SkipstoneError(_OTHER.format("a worker"))
    folder = parcel.unpack()
    here = {path: str(folder / name) for path, name in parcel.paths.items()}

    def moved(value: Any) -> Any:
        if isinstance(value, str):
            return here.get(value, value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = {key: here[each] for key, each in vars(value).items() if isinstance(each, str) and each in here}
            # What is kept beside the study is of the machine that has it.
            changed |= {"store": str(folder / "cache.db")} if hasattr(value, "store") else {}
            return dataclasses.replace(value, **changed)
        return value

    local = dataclasses.replace(job, arguments=tuple(moved(argument) for argument in job.arguments))
    return dataclasses.asdict(local.run({key: moved(value) for key, value in choice.items()}))


@lru_cache(maxsize=4)
def _unpacked(parcel: Parcel) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="skipstone-"))
    for name, content in parcel.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
