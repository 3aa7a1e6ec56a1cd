"""An evaluator with figures easy to work out by hand, which can fail in every way, and helpers to search with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipstone.explore.search import Found, Plan, search
from skipstone.explore.study import open_study
from skipstone.explore.workers import Job, Workers
from skipstone.hw.design import load_design
from skipstone.mapper.results.exploration import Constraint, Objective

SPACE = {"rows": (1, 2, 3, 4, 5, 6), "cols": (1, 2, 3, 4, 5), "kind": ("a", "b", "c"), "fixed": (7,)}
"""90 choices."""
OBJECTIVES = (Objective("cycles", "minimize"), Objective("area_um2", "minimize"), Objective("accuracy", "maximize"))


@dataclass(frozen=True)
class ToyEvaluation:
    design: Any
    metrics: Mapping[str, float]
    problem: str | None = None


@dataclass(frozen=True)
class Toy:
    """Writes the choice to ``log`` when it is done, after ``pause`` seconds. An evaluation with ``deadly`` rows kills its
    process as long as the file ``grave`` has fewer lines than ``deaths``."""

    log: str
    pause: float = 0.0
    deadly: int = 0
    grave: str = ""
    deaths: int = 1000

    def evaluate(self, choice: Mapping[str, Any], metrics: frozenset[str]) -> ToyEvaluation:
        rows, cols, kind = choice["rows"], choice["cols"], choice["kind"]
        if rows == self.deadly:
            grave = Path(self.grave)
            lines = len(grave.read_text().splitlines()) if grave.exists() else 0
            if lines < self.deaths:
                with grave.open("a") as file:
                    file.write("died\n")
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.pause)
        with Path(self.log).open("a") as file:
            file.write(f"{rows} {cols} {kind} {os.getpid()}\n")
        if (rows, cols) == (6, 5):
            return ToyEvaluation(None, {}, "too large")
        area, better = rows * cols, "abc".index(kind)
        figures = {
            "cycles": 1000 * (better + 1) / area,
            "latency_us": 1.0,
            "energy_pj": 5.0,
            "area_um2": float(area),
            "power_mw": 5e-3,
            "frequency_mhz": 100.0,
            "accuracy": (1 + better) / 4,
        }
        return ToyEvaluation(load_design("edge"), figures)


def log_of(path: Path) -> list[str]:
    """The choices that were evaluated, in the order in which they were done."""
    return [" ".join(line.split()[:3]) for line in path.read_text().splitlines()] if path.exists() else []


def plan(
    trials: int = 60,
    *,
    seed: int = 0,
    sampler: str = "nsga2",
    constraints: tuple[Constraint, ...] = (),
    parameters: Mapping[str, tuple[Any, ...]] = SPACE,
) -> Plan:
    return Plan(dict(parameters), OBJECTIVES, constraints, sampler, seed, 12, trials)


def job(log: Path, **toy_fields: Any) -> Job:
    toy = Toy(str(log), **toy_fields)
    return Job(Toy, tuple(vars(toy).values()), plan().metrics)


def run(
    storage: Path, workers: Workers, search_plan: Plan | None = None, name: str | None = None, **options: Any
) -> Found:
    """Searches with ``workers`` in the study ``storage``."""
    with open_study(storage) as study:
        return search(search_plan or plan(), dict, study, name, "content", workers, **options)


if __name__ == "__main__":
    # python -m tests.skipstone.explore.toys STUDY LOG PAUSE JOBS: a search that a test can kill.
    from skipstone.explore.workers import local_workers

    with local_workers(job(Path(sys.argv[2]), pause=float(sys.argv[3])), int(sys.argv[4])) as workers:
        run(Path(sys.argv[1]), workers)
