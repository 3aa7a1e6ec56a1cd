"""Searches designs and compression together: Optuna's NSGA-II over exact costs, in a study that survives interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from mapper.space import SearchSpace, fitted_design, roomy_design

from hw.errors import DesignError
from mapper.actions import network_actions
from mapper.area import area_um2
from mapper.compile import compile_network
from mapper.cycles import network_cycles
from mapper.energy import network_energy
from mapper.errors import MappingError
from mapper.technology import load_technology
from mapper.timing_check import clocked
from models import reference, zoo
from models.errors import SkipstoneError
from models.pruning.spec import parse
from reports.exploration import ExplorationPoint
from skipstone.prepare import CompressionOptions, PreparedNetwork, prepare_network, short_name

SEED = 0
POPULATION = 24


@dataclass(frozen=True)
class Point:
    """What one evaluation gives; ``problem`` says why a choice has no cost."""

    design: str
    cycles: int
    energy_pj: float
    area_um2: float
    accuracy: float | None
    problem: str | None = None


@dataclass(frozen=True)
class Exploration:
    """All finished trials: ``points`` with a cost, and why the others have none; ``calibration`` as in a run's result."""

    points: tuple[ExplorationPoint, ...]
    problems: tuple[str, ...]
    calibration: str


@lru_cache(maxsize=32)
def _prepared(network: str, options: CompressionOptions) -> PreparedNetwork:
    return prepare_network(network, options)


@lru_cache(maxsize=256)
def _accuracy(network: str, options: CompressionOptions, images: int) -> float | None:
    """Accuracy depends on compression alone; every design with the same one shares it."""
    prepared = _prepared(network, options)
    if prepared.evaluation is None:
        return None
    inputs, labels = prepared.evaluation
    return reference.accuracy(prepared.compressed, inputs[:images], labels[:images])


def evaluate_point(network: str, options: CompressionOptions, choice: dict[str, int], images: int) -> Point:
    """Exact cycles and energy, proxy area and accuracy of one choice."""
    try:
        prepared = _prepared(network, options)
        design = roomy_design(choice, options.weight_bits, options.activation_bits)
        design = fitted_design(design, compile_network(prepared.compressed, design))
        program = compile_network(prepared.compressed, design)
    except (DesignError, MappingError, SkipstoneError) as error:
        return Point("", 0, 0.0, 0.0, None, str(error))
    cycles, technology = network_cycles(program), clocked(design, load_technology())
    return Point(
        design.name,
        sum(cost.cycles for cost in cycles),
        network_energy(network_actions(program, cycles), design, technology),
        area_um2(design, technology),
        _accuracy(network, options, images),
    )


def explore(
    network: str,
    space: SearchSpace,
    options: CompressionOptions,
    *,
    trials: int,
    jobs: int,
    storage: Path,
    images: int = 200,
    finished: Callable[[int, int], None] = lambda done, front: None,
) -> Exploration:
    """Runs until the study in ``storage`` holds ``trials`` finished trials, then returns all of them, the front marked.

    ``options.prune`` is replaced by the space's choices. A study that exists is continued; trials that an interrupt left
    unfinished are given up and drawn anew. ``images`` bounds the evaluation images for accuracy.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.ERROR)
    for method in space.prune:
        parse(method)
    first = _prepared(network, _with_prune(options, space.prune[0]))
    with_accuracy = first.evaluation is not None
    directions: list[Literal["minimize", "maximize"]] = ["minimize", "minimize", "minimize"]
    if with_accuracy:
        directions.append("maximize")
    storage.parent.mkdir(parents=True, exist_ok=True)
    try:
        database = optuna.storages.RDBStorage(f"sqlite:///{storage}", engine_kwargs={"connect_args": {"timeout": 60}})
        study = optuna.create_study(
            storage=database,
            study_name=f"{short_name(network)}-{_identity(network, space, options, images)}",
            directions=directions,
            load_if_exists=True,
        )
        existing = study.trials
        # Seeded by what is there already: a continued search goes on instead of repeating its first draws.
        study.sampler = optuna.samplers.NSGAIISampler(seed=SEED + len(existing), population_size=POPULATION)
    except Exception as error:
        # SQLAlchemy wraps whatever SQLite says; what matters to the user is the file.
        if isinstance(error, sqlite3.Error) or "sqlite" in repr(error).lower() or "database" in repr(error).lower():
            raise SkipstoneError(
                f"{storage} is not a usable study ({_last_line(error)}); name another file with --study"
            ) from None
        raise
    for old in existing:
        if old.state == optuna.trial.TrialState.RUNNING:
            study.tell(old.number, state=optuna.trial.TrialState.FAIL)
    complete = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    done = sum(trial.state in complete for trial in study.get_trials(deepcopy=False))
    pending: dict[Future[Point], Any] = {}
    finished(done, 0)
    with ProcessPoolExecutor(max_workers=jobs, initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            while done < trials or pending:
                while len(pending) < jobs and done + len(pending) < trials:
                    trial = study.ask()
                    choice = {key: trial.suggest_categorical(key, choices) for key, choices in space.design.items()}
                    prune = trial.suggest_categorical("prune", space.prune)
                    task = pool.submit(evaluate_point, network, _with_prune(options, prune), choice, images)
                    pending[task] = trial
                ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                for task in ready:
                    trial = pending.pop(task)
                    try:
                        point = task.result()
                    except BrokenProcessPool:
                        raise SkipstoneError(
                            f"a worker process died (out of memory?); {done} trials are kept in {storage}: "
                            "run the same command again, with fewer --jobs"
                        ) from None
                    _tell(study, trial, point, with_accuracy)
                    done += 1
                    finished(done, len(study.best_trials))
        except BaseException as error:
            for task in pending:
                task.cancel()
            with contextlib.suppress(Exception):
                pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                kept = f"interrupted: {done} trials are kept in {storage}; the same command goes on from there"
                raise KeyboardInterrupt(kept) from None
            raise
    problems = [
        trial.user_attrs.get("problem", "")
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.PRUNED,))
    ]
    return Exploration(tuple(_points(study, space)), tuple(problems), first.compressed.calibration)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _identity(network: str, space: SearchSpace, options: CompressionOptions, images: int) -> str:
    """What a study's results depend on: the network, the data, the options and the space, all by content."""
    digest = hashlib.sha256(repr((space.digest, images, dataclasses.replace(options, prune="none"))).encode())
    carried = zoo.carried_networks().get(network)
    data = (
        options.calibration or (carried and carried.calibration),
        options.evaluation or (carried and carried.evaluation),
    )
    for path in (zoo.find(network), *data):
        digest.update(Path(path).read_bytes() if path else b"-")
    return digest.hexdigest()[:16]


def _with_prune(options: CompressionOptions, prune: str) -> CompressionOptions:
    return dataclasses.replace(options, prune=prune)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _tell(study: Any, trial: Any, point: Point, with_accuracy: bool) -> None:
    import optuna

    if point.problem is not None:
        trial.set_user_attr("problem", point.problem)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    trial.set_user_attr("design", point.design)
    values = [point.cycles, point.energy_pj, point.area_um2]
    if with_accuracy:
        values.append(point.accuracy if point.accuracy is not None else 0.0)
    study.tell(trial, values)


def _points(study: Any, space: SearchSpace) -> list[ExplorationPoint]:
    import optuna

    front = {trial.number for trial in study.best_trials}
    points = []
    seen: set[tuple[Any, ...]] = set()
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        choice = tuple(sorted(trial.params.items()))
        if choice in seen:  # NSGA-II may draw a point again; it is one point
            continue
        seen.add(choice)
        points.append(
            ExplorationPoint(
                number=trial.number,
                design=trial.user_attrs["design"],
                parameters={key: trial.params[key] for key in space.design},
                pruning=trial.params["prune"],
                cycles=int(trial.values[0]),
                energy_pj=trial.values[1],
                area_um2=trial.values[2],
                accuracy=trial.values[3] if len(trial.values) > 3 else None,
                on_front=trial.number in front,
            )
        )
    return points
