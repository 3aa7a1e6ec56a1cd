"""Where evaluations run: in this process, or in worker processes of this machine (``skipstone.explore.cluster``: of others).

Each worker builds its evaluator once. Results come in the order in which they are finished; a worker process that dies is
replaced and its evaluation repeated, so that only a choice that kills its worker every time ends a search.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from skipstone.errors import SkipstoneError
from skipstone.explore.study import Record
from skipstone.interruptions import uninterrupted

ATTEMPTS = 3
"""How often an evaluation is tried whose worker dies."""

Choice = Mapping[str, Any]
Item = tuple[int, Choice]
"""A choice and its number, which results carry."""
Results = Generator[tuple[int, Record], None, None]


@dataclass(frozen=True)
class Job:
    """What all evaluations of a search have in common. ``evaluator`` is a class that takes ``arguments`` (``skipstone.explore
    .evaluate.Evaluator``), all of which can be pickled and hashed; ``metrics`` is what it shall measure."""

    evaluator: Any
    arguments: tuple[Any, ...]
    metrics: frozenset[str]

    def run(self, choice: Choice) -> Record:
        """Evaluates one choice; the evaluator is built once in a process."""
        evaluation = _evaluator(self.evaluator, self.arguments).evaluate(dict(choice), self.metrics)
        design = evaluation.design
        return Record(
            "" if design is None else design.name,
            {} if design is None else design.to_dict(),
            {name: evaluation.metrics[name] for name in sorted(evaluation.metrics)},
            evaluation.problem,
        )


@lru_cache(maxsize=1)
def _evaluator(evaluator: Any, arguments: tuple[Any, ...]) -> Any:
    return evaluator(*arguments)


class Workers(Protocol):
    """Evaluates choices, several at a time where there are several workers."""

    def evaluate(self, items: Iterable[Item]) -> Results:
        """Evaluates choices, in any order.

        Args:
            items: Numbers and choices.

        Yields:
            Each item's number and what its evaluation gave, as they are finished.
        """


class InProcess:
    """No workers: evaluates here, one after the other, with an evaluator of its own, since files may have changed in a process
    that lives on."""

    def __init__(self, job: Job) -> None:
        self._job = job
        _evaluator.cache_clear()

    def evaluate(self, items: Iterable[Item]) -> Results:
        """Evaluates choices one after the other; see :meth:`Workers.evaluate`."""
        for number, choice in items:
            yield number, self._job.run(choice)


class Processes:
    """``jobs`` worker processes of this machine; :func:`local_workers` makes and ends them."""

    def __init__(self, job: Job, jobs: int) -> None:
        self._job, self._jobs = job, jobs
        self._pool: ProcessPoolExecutor | None = None

    def evaluate(self, items: Iterable[Item]) -> Results:
        """Evaluates choices as processes are free; see :meth:`Workers.evaluate`. What a dead worker had is done again.

        Raises:
            SkipstoneError: Workers die again and again, over one choice or before they begin.
        """
        waiting, suspects = deque(items), deque[Item]()
        running: dict[Future[Record], Item] = {}
        deaths: Counter[int] = Counter()
        while waiting or suspects or running:
            if suspects:
                # One of these killed a worker, perhaps; alone it can't take others with it.
                if not running:
                    self._start(running, suspects.popleft())
            else:
                while waiting and len(running) <= self._jobs:  # one more than workers, so that none of them idles
                    self._start(running, waiting.popleft())
            ready, _ = wait(running, return_when=FIRST_COMPLETED)
            lost = []
            for future in ready:
                item = running.pop(future)
                try:
                    record = future.result()
                except BrokenProcessPool:
                    lost.append(item)
                    continue
                yield item[0], record
            if lost:
                wait(running)  # a broken pool ends all that it has
                for future, item in running.items():
                    if future.exception() is None:
                        yield item[0], future.result()
                    else:
                        lost.append(item)
                running.clear()
                self.close()
                alone = len(lost) == 1
                for number, choice in sorted(lost, key=lambda item: item[0]):
                    deaths[number] += alone
                    if deaths[number] == ATTEMPTS:
                        raise SkipstoneError(
                            f"{ATTEMPTS} worker processes died while they evaluated one choice (out of memory?): "
                            f"{', '.join(f'{key} {value}' for key, value in choice.items())}"
                        )
                    suspects.append((number, choice))

    def close(self) -> None:
        """Ends the workers at once, whatever they do."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                process.kill()
        for process in processes:
            with contextlib.suppress(OSError, ValueError, AssertionError):
                process.join()

    def _start(self, running: dict[Future[Record], Item], item: Item) -> None:
        for _ in range(ATTEMPTS):
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._jobs,
                    mp_context=_context(self._job.evaluator.__module__),
                    initializer=_begin,
                )
            try:
                with uninterrupted():  # or a process is made that nobody knows of
                    running[self._pool.submit(self._job.run, item[1])] = item
                return
            except BrokenProcessPool:
                if running:
                    # What runs is lost too; the caller finds out as it waits.
                    broken: Future[Record] = Future()
                    broken.set_exception(BrokenProcessPool())
                    running[broken] = item
                    return
                self.close()
        raise SkipstoneError("worker processes die before they begin; try one job", parameter="jobs")


@contextmanager
def local_workers(job: Job, jobs: int) -> Iterator[Workers]:
    """Workers on this machine, ended when the block is left.

    Args:
        job: What they evaluate.
        jobs: Processes; for one there is none but this one.
    """
    if jobs == 1:
        yield InProcess(job)
        return
    workers = Processes(job, jobs)
    try:
        yield workers
    finally:
        workers.close()


def _context(module: str) -> Any:
    """How workers are made. Not by a fork of this process, which has threads whose locks a fork would freeze, but of a server
    that has imported what an evaluator needs, once for all of them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def _begin() -> None:
    """Begins a worker: Ctrl-C is the parent's, one thread is enough, and the worker ends with its parent however that ends."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: Any) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
