"""Searches designs and compression together: draws choices, has them evaluated, and puts together what was found.

The same arguments give the same result, whatever the number of workers and however often the search was interrupted: choices
are drawn in fixed batches from what the batches before gave, and evaluations that are in the study are taken from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.explore import outcome
from skipstone.explore.constraints import parse_constraints, parse_objectives, violations
from skipstone.explore.draws import GUESSES, SAMPLERS, Draw, Draws
from skipstone.explore.evaluate import RESOURCES, EvaluationSettings, Evaluator
from skipstone.explore.identity import code_digest, content_digest, network_files
from skipstone.explore.space import GIVEN, SearchSpace
from skipstone.explore.study import Record, StorageError, StudyFile, evaluation_key, open_study
from skipstone.explore.workers import Job, Workers, local_workers
from skipstone.flow.prepare import CompressionOptions, short_name
from skipstone.mapper.energy.energy import energy_sources
from skipstone.mapper.results.exploration import METRICS, Constraint, ExplorationPoint, ExplorationResult, Objective
from skipstone.mapper.technology.files import files_of
from skipstone.mapper.technology.technology import Technology, load_technology
from skipstone.models.data import zoo

FREE = ("cycles", "latency_us", "energy_pj", "area_um2", "power_mw", "frequency_mhz")
"""Metrics that every point has."""
POPULATION = 24
"""Choices of a batch, which is a generation of the genetic samplers."""


@dataclass(frozen=True)
class Status:
    """How far a search is: trials that are through, how many of them were evaluated now, points that meet all constraints, points
    on the front, and seconds since it began."""

    trials: int
    evaluated: int
    feasible: int
    front: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What is searched and how; with what evaluations give, it determines the result."""

    parameters: Mapping[str, tuple[Any, ...]]
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    sampler: str
    seed: int
    population: int
    trials: int

    @property
    def metrics(self) -> frozenset[str]:
        """What is measured: what is searched and limited, and what costs nothing besides."""
        searched = {objective.name for objective in self.objectives}
        return frozenset(searched | {constraint.name for constraint in self.constraints} | set(FREE))


@dataclass(frozen=True)
class Found:
    """All trials of a search in their order; ``batches``: how many there were after each batch; ``exhausted``, ``stuck``: as of
    ``Draws``."""

    points: tuple[ExplorationPoint, ...]
    problems: Mapping[str, int]
    trials: int
    batches: tuple[int, ...]
    exhausted: bool
    stuck: bool = False


def explore(
    network: str,
    space: SearchSpace,
    options: CompressionOptions,
    settings: EvaluationSettings | None = None,
    *,
    storage: Path,
    trials: int = 100,
    objectives: Sequence[str] = (),
    constraints: Sequence[str] = (),
    sampler: str = "nsga2",
    seed: int = 0,
    population: int = POPULATION,
    jobs: int = 1,
    dask: str | None = None,
    finished: Callable[[Status], None] = lambda status: None,
    notice: Callable[[str], None] = lambda text: None,
) -> ExplorationResult:
    """Searches a space for the designs and compressions that cost the least.

    Args:
        network: An ONNX file, or the name of a carried network.
        space: What may be chosen.
        options: How the network is compressed where a choice leaves it open.
        settings: What choices are evaluated with. None: the defaults.
        storage: The file that keeps what is evaluated; a search that is in it already goes on.
        trials: Different choices to try; all there are, if they are fewer.
        objectives: Metrics (``skipstone.explore.constraints``); the default ones if there is none.
        constraints: Limits, as texts like ``area_mm2<=2``.
        sampler: One of ``SAMPLERS``.
        seed: Of the sampler.
        population: Choices that are drawn together.
        jobs: Processes of this machine.
        dask: The address of a cluster's scheduler, in place of processes here.
        finished: Called after each trial.
        notice: Called with what a user should know.

    Returns:
        What the choices cost, the front marked.

    Raises:
        SkipstoneError: Something of the above is wrong; the message says what to do.
    """
    settings = settings or EvaluationSettings()
    for name, value, least in (("trials", trials, 1), ("jobs", jobs, 1), ("population", population, 2)):
        if value < least:
            raise SkipstoneError(f"{name} must be at least {least}, not {value}", parameter=name)
    if seed < 0:
        raise SkipstoneError(f"seed must be at least 0, not {seed}", parameter="seed")
    if sampler not in SAMPLERS:
        raise SkipstoneError(f"sampler must be {', '.join(SAMPLERS)}, not '{sampler}'", parameter="sampler")
    evaluator = Evaluator(network, options, dataclasses.replace(settings, store=None))
    space = space.for_layers(evaluator.compressor.layer_names)
    plan = Plan(
        space.parameters,
        parse_objectives(objectives, evaluator.has_accuracy),
        parse_constraints(constraints, evaluator.has_accuracy),
        sampler,
        seed,
        population,
        trials,
    )
    calibration, images = evaluator.calibration, evaluator.meter.images
    del evaluator
    technologies = _technologies(plan, settings)
    content = _content(network, options, settings)
    description = _description(space, plan, content)
    if settings.store is None:
        settings = dataclasses.replace(settings, store=str(cache_beside(storage)))
    name = f"{short_name(network)}-{content_digest(description)}"
    job = Job(Evaluator, (network, options, settings), plan.metrics)
    with _workers(job, jobs, dask, space) as workers, open_study(storage) as study, _going_on(storage):
        for other in study.register(name, description):
            notice(f"{storage} also holds {other}; a new search begins beside it")
        run = search(plan, space.canonical, study, name, content_digest(content), workers, finished)
        if study.damaged:
            notice(f"{study.damaged} damaged records of {storage} were left out and evaluated again")
    return _result(network, plan, run, calibration, images, settings, technologies)


def search(
    plan: Plan,
    canonical: Callable[[dict[str, Any]], dict[str, Any]],
    study: StudyFile,
    name: str | None,
    content: str,
    workers: Workers,
    finished: Callable[[Status], None] = lambda status: None,
) -> Found:
    """The search alone: batches of draws, evaluated where the study does not have them.

    Args:
        plan: What is searched for, and how.
        canonical: Makes equal choices the same.
        study: Keeps what is evaluated.
        name: Of the study that Optuna reads; None if there shall be none.
        content: Names all that determines an evaluation beside its choice.
        workers: Evaluate.
        finished: Called after each trial.
    """
    draws = Draws(
        plan.parameters,
        canonical,
        plan.objectives,
        plan.constraints,
        sampler=plan.sampler,
        seed=plan.seed,
        population=plan.population,
    )
    records = study.records()
    mirror = None if name is None else study.mirror(name, plan.parameters, plan.objectives)
    points: list[ExplorationPoint] = []
    problems: Counter[str] = Counter()
    batches: list[int] = []
    counted = _Counts(plan, finished)
    digests: dict[str, str] = {}
    trials = 0
    while trials < plan.trials:
        batch = draws.batch()[: plan.trials - trials]
        if not batch:
            break
        keys = [evaluation_key(content, _by_content(draw.choice, digests)) for draw in batch]
        missing = [index for index, key in enumerate(keys) if not _has(records.get(key), plan.metrics)]
        for key in keys:
            if _has(records.get(key), plan.metrics):
                counted.add(records[key], evaluated=False)
        with contextlib.closing(workers.evaluate([(index, batch[index].choice) for index in missing])) as results:
            for index, record in results:
                old = records.get(keys[index])
                if old is not None and record.problem is None:
                    record = dataclasses.replace(record, metrics={**old.metrics, **record.metrics})
                study.store(keys[index], batch[index].choice, record)
                records[keys[index]] = record
                counted.add(record, evaluated=True)
                if mirror is not None:
                    mirror.write(1)  # while workers are busy
        for draw, key in zip(batch, keys, strict=True):
            record = records[key]
            point = _tell(draws, draw, record, plan, trials)
            if mirror is not None:
                mirror.add(trials, draw.choice, point, record.problem)
            if point is not None:
                points.append(point)
            else:
                problems[str(record.problem)] += 1
            trials += 1
        batches.append(trials)
    if mirror is not None:
        mirror.write()
    return Found(tuple(points), dict(sorted(problems.items())), trials, tuple(batches), draws.exhausted, draws.stuck)


def _has(record: Record | None, metrics: frozenset[str]) -> bool:
    return record is not None and (record.problem is not None or metrics <= record.metrics.keys())


def _tell(draws: Draws, draw: Draw, record: Record, plan: Plan, number: int) -> ExplorationPoint | None:
    """Tells the sampler, and makes the point of the trial."""
    if record.problem is not None:
        draws.tell(draw, None)
        return None
    draws.tell(draw, record.metrics)
    # A record may hold more than this search asks for, from another one.
    metrics = {name: record.metrics[name] for name in METRICS if name in plan.metrics}
    return ExplorationPoint(number, record.design, draw.choice, metrics, violations(plan.constraints, metrics))


class _Counts:
    """Counts trials and reports progress."""

    def __init__(self, plan: Plan, finished: Callable[[Status], None]) -> None:
        self._plan, self._finished = plan, finished
        self._begin = time.monotonic()
        self._trials = self._evaluated = 0
        self._feasible: list[ExplorationPoint] = []

    def add(self, record: Record, *, evaluated: bool) -> None:
        self._trials += 1
        self._evaluated += evaluated
        if record.problem is None and not violations(self._plan.constraints, record.metrics):
            self._feasible.append(ExplorationPoint(self._trials, record.design, {}, record.metrics))
        front = int(outcome.nondominated(self._feasible, self._plan.objectives).sum())
        seconds = time.monotonic() - self._begin
        self._finished(Status(self._trials, self._evaluated, len(self._feasible), front, seconds))


@contextmanager
def _going_on(storage: Path) -> Iterator[None]:
    """Adds the resume hint to any error."""
    resume_hint = f"what is finished is kept in {storage}, and the same command goes on from there"
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(f"interrupted: {resume_hint}") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise SkipstoneError(f"{where}{error.strerror or error}; {resume_hint}") from None
    except MemoryError:
        raise SkipstoneError(f"not enough memory; {resume_hint}, perhaps with fewer jobs", parameter="jobs") from None
    except StorageError:
        raise
    except SkipstoneError as error:
        raise SkipstoneError(f"{error}; {resume_hint}", parameter=error.parameter) from None


@contextmanager
def _workers(job: Job, jobs: int, dask: str | None, space: SearchSpace) -> Iterator[Workers]:
    if dask is None:
        with local_workers(job, jobs) as workers:
            yield workers
        return
    from skipstone.explore.cluster import cluster_workers

    networks = [str(each) for each in space.parameters.get("network", ()) if each != GIVEN]
    with cluster_workers(job, dask, networks) as workers:
        yield workers


def cache_beside(storage: Path) -> Path:
    """The file beside a study that keeps accuracies and solved layers."""
    return storage.with_name(f"{storage.stem}.cache.db")


# What determines a search ---------------------------------------------------------------------------------------------


def _content(network: str, options: CompressionOptions, settings: EvaluationSettings) -> dict[str, str]:
    """Digests of all that determines an evaluation beside its choice."""
    carried = zoo.carried_networks().get(network)
    data = [
        options.calibration or (carried and carried.calibration),
        options.evaluation or (carried and carried.evaluation),
    ]
    plain = dataclasses.replace(options, calibration=None, evaluation=None)
    return {
        "network": content_digest({}, network_files(zoo.find(network))),
        "data": content_digest({}, [Path(path) if path else None for path in data]),
        "options": content_digest(dataclasses.asdict(plain)),
        "settings": content_digest(
            dataclasses.asdict(dataclasses.replace(settings, store=None)),
            files_of(Path(settings.technology)) if settings.technology.endswith(".toml") else (),
        ),
        "code": code_digest(),
    }


def _description(space: SearchSpace, plan: Plan, content: Mapping[str, str]) -> dict[str, str]:
    """What determines a search; a search with the same one goes on where the other ended."""
    import optuna

    return {
        "space": space.digest,
        "objectives": " ".join(each.name for each in plan.objectives),
        "constraints": " ".join(f"{each.name}{each.op}{each.limit!r}" for each in plan.constraints),
        "sampler": plan.sampler,
        "seed": str(plan.seed),
        "population": str(plan.population),
        "optuna": optuna.__version__,
        **content,
    }


def _by_content(choice: Mapping[str, Any], digests: dict[str, str]) -> Mapping[str, Any]:
    """``choice`` with the content of a network in place of its path; ``digests`` keeps those of the search."""
    network = str(choice.get("network", GIVEN))
    if network == GIVEN:
        return choice
    if network not in digests:
        digests[network] = content_digest({}, network_files(zoo.find(network)))
    return {**choice, "network": digests[network]}


# The result -----------------------------------------------------------------------------------------------------------


def _result(
    network: str,
    plan: Plan,
    run: Found,
    calibration: str,
    images: int,
    settings: EvaluationSettings,
    technologies: Sequence[Technology],
) -> ExplorationResult:
    points = outcome.mark_front(run.points, plan.objectives)
    ideal, reference = outcome.corners(points, plan.objectives)
    volume = outcome.hypervolumes(points, plan.objectives, run.batches, ideal, reference) if ideal else ()
    return ExplorationResult(
        network=short_name(network),
        sampler=plan.sampler,
        seed=plan.seed,
        trials=run.trials,
        objectives=plan.objectives,
        constraints=plan.constraints,
        space=plan.parameters,
        points=points,
        problems=run.problems,
        calibration=calibration,
        technology=", ".join(technology.name for technology in technologies),
        accuracy_images=images if "accuracy" in plan.metrics else 0,
        sources=_sources(plan, points, settings, technologies),
        ideal=ideal,
        reference=reference,
        hypervolume=volume,
        importance=outcome.importance(points, plan.objectives, plan.parameters, plan.seed),
        diagnosis=outcome.diagnose(
            points,
            plan.constraints,
            run.problems,
            exhausted=run.exhausted,
            stuck=run.stuck,
        ),
        exhausted=run.exhausted,
        ended=_ended(plan, run),
    )


def _ended(plan: Plan, run: Found) -> str:
    """Reason for an early stop; empty if every choice was tried."""
    if not run.stuck:
        return ""
    return (
        f"the search ended after {run.trials:,} of {plan.trials:,} trials: {GUESSES:,} choices drawn at random were all tried "
        f"before, or mean the same as one that was; the space is too large to be listed, so others may be left"
    )


def _technologies(plan: Plan, settings: EvaluationSettings) -> list[Technology]:
    """What the points' figures are of, at the clock that was asked for. Raises TechnologyError."""
    nodes = plan.parameters.get("node_nm", (settings.technology,))
    frequency = None if "frequency_mhz" in plan.parameters else settings.frequency_mhz
    return [load_technology(str(node), frequency) for node in nodes]


def _sources(
    plan: Plan,
    points: Sequence[ExplorationPoint],
    settings: EvaluationSettings,
    technologies: Sequence[Technology],
) -> tuple[tuple[str, str], ...]:
    """What the figures rest on: (what, source)."""
    sources: dict[tuple[str, str], None] = {}
    for technology in technologies:
        for subject, source in energy_sources(technology):
            sources[subject, _clock_source(source, plan, points, technology) if subject == "frequency" else source] = (
                None
            )
    if plan.metrics & set(RESOURCES):
        from skipstone.mapper.fpga import resources as fpga

        errors = fpga.errors(settings.device)
        stated = ", ".join(f"{name} {errors[name].mean:.1%} (largest {errors[name].largest:.1%})" for name in RESOURCES)
        text = f"{fpga.source(settings.device)}. Mean error of the model on designs that the fit never saw: {stated}"
        sources[f"FPGA {settings.device}", text] = None
    return tuple(sources)


def _clock_source(source: str, plan: Plan, points: Sequence[ExplorationPoint], technology: Technology) -> str:
    """The technology's own text, or what was asked for, and whether a design runs slower."""
    if choices := plan.parameters.get("frequency_mhz"):
        return f"{', '.join(f'{choice:g}' for choice in choices)} MHz, choices of the space; each point's is its frequency_mhz"
    slow = sum(
        point.metrics["frequency_mhz"] < technology.frequency_mhz
        for point in points
        if str(point.parameters.get("node_nm", technology.node_nm)) == str(technology.node_nm)
    )
    clock = f"{technology.frequency_mhz:g} MHz"
    if not source.startswith(clock):
        source = f"{clock}: {source}"
    if not slow:
        return source
    return f"{source}. {slow:,} of the points do not reach it and run at what they reach, which is their frequency_mhz"
