"""``python -m tests.fuzz --cases N --seed S``: a campaign of mutated files in a worker process, with limits of time and memory.

A finding is a traceback, a hang, too much memory, a message that is not one, or a refused file that changed. Each is printed with
its kind and number; ``--case KIND NUMBER`` runs one again in this process, ``--write FILE`` keeps its bytes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import os
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS, BYTES = 20.0, 2 << 30
"""What a case may take."""


def _work(pipe: multiprocessing.connection.Connection, seed: int) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for descriptor in (1, 2):
        os.dup2(sys.stdout.fileno(), descriptor)
    from tests.fuzz.kinds import KINDS

    pipe.send("ready")
    while (case := pipe.recv()) is not None:
        kind, number = case
        try:
            pipe.send((KINDS[kind].outcome(KINDS[kind].case((seed, kind, number))), ""))
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            ours = [
                frame
                for frame in frames
                if "site-packages" not in frame.filename and "/lib/python" not in frame.filename
            ]
            where = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(ours[-3:]))
            pipe.send(("finding", f"{type(error).__name__}: {str(error)[:160]!r} at {where}"))


def _memory(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


class _Worker:
    """A process that runs cases; a new one after each that takes too much."""

    def __init__(self, seed: int) -> None:
        self._seed, self._process = seed, None
        self.peak = 0

    def run(self, kind: str, number: int) -> tuple[str, str]:
        if self._process is None or not self._process.is_alive():
            context: Any = multiprocessing.get_context("spawn")
            self._pipe, there = context.Pipe()
            self._process = context.Process(target=_work, args=(there, self._seed), daemon=True)
            self._process.start()
            there.close()
            self._pipe.recv()
            self._pipe.send((kind, -1))  # makes the valid files, which is no case's time
            self._pipe.recv()
        self._pipe.send((kind, number))
        begun = time.monotonic()
        reason = ""
        while not self._pipe.poll(0.05):
            memory = _memory(self._process.pid)
            self.peak = max(self.peak, memory)
            if memory > BYTES:
                reason = f"more than {BYTES >> 30} GiB of memory"
            elif time.monotonic() - begun > SECONDS:
                reason = f"more than {SECONDS:.0f} seconds"
            elif not self._process.is_alive():
                reason = f"the process died ({self._process.exitcode})"
            if reason:
                self._process.kill()
                self._process.join()
                return "finding", reason
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            return "finding", f"the process died ({self._process.exitcode})"

    def close(self) -> None:
        if self._process is not None and self._process.is_alive():
            self._pipe.send(None)
            self._process.join(5)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Read mutated files as commands read them."
    )
    parser.add_argument("--cases", type=int, default=1000, metavar="N", help="cases over all kinds")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="determines every case")
    parser.add_argument("--kinds", default="", metavar="NAME,...", help="only these kinds")
    parser.add_argument("--case", nargs=2, metavar=("KIND", "NUMBER"), help="one case, in this process")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the bytes of --case")
    asked = parser.parse_args()
    from tests.fuzz.kinds import KINDS

    if asked.case:
        kind, number = asked.case
        content = KINDS[kind].case((asked.seed, kind, int(number)))
        if asked.write:
            asked.write.write_bytes(content)
        print(KINDS[kind].outcome(content))
        return
    names = asked.kinds.split(",") if asked.kinds else list(KINDS)
    drawn = random.Random(asked.seed).choices(names, [KINDS[name].weight for name in names], k=asked.cases)
    numbers: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    worker = _Worker(asked.seed)
    begun = time.monotonic()
    for done, kind in enumerate(drawn, 1):
        outcome, text = worker.run(kind, numbers[kind])
        counts[kind][outcome] += 1
        if outcome == "finding":
            print(f"{kind} {numbers[kind]}: {text}", flush=True)
        numbers[kind] += 1
        if done % 500 == 0:
            print(f"{done:,} cases, {time.monotonic() - begun:.0f} s", flush=True)
    worker.close()
    for name, outcomes in counts.items():
        print(
            f"{name}: {outcomes['accepted']:,} accepted, {outcomes['refused']:,} refused, {outcomes['finding']:,} findings"
        )
    print(f"largest memory of the worker {worker.peak / 2**20:.0f} MiB")
    sys.exit(1 if any(outcomes["finding"] for outcomes in counts.values()) else 0)
