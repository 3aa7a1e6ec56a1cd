"""How many design points a second an exploration evaluates exactly: in one process and in two, with prepared and with
new compressions."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.document import Section, table
from benchmarks.machine import one_core
from benchmarks.settings import MLPERF, Settings
from skipstone.explore.evaluate import Evaluation, EvaluationSettings, Evaluator
from skipstone.explore.space import Choice, SearchSpace, load_space
from skipstone.flow.prepare import CompressionOptions, short_name

POINTS = 200
"""Of the default space; drawn at random, each once."""
NEW_COMPRESSIONS = 20
SEED = 0
COSTS = frozenset({"cycles", "latency_us", "energy_pj", "area_um2", "power_mw"})

_evaluator: Evaluator
"""Each worker process has one."""


@dataclass(frozen=True)
class _Measured:
    """``wall_s`` for all points, ``processor_s`` of all processes together."""

    points: int
    built: int
    wall_s: float
    processor_s: float


def measure(settings: Settings) -> Section:
    networks = [("resnet8_fashion", CompressionOptions())]
    if settings.models is not None and (settings.models / MLPERF).is_file():
        networks.append((str(settings.models / MLPERF), CompressionOptions(input_range=(0.0, 255.0))))
    rows, equal = [], True
    points = draw(load_space(), POINTS)
    prepared = list({str(point["prune"]): point for point in points}.values())
    for network, options in networks:
        settings.progress(f"exploring {short_name(network)}")
        with tempfile.TemporaryDirectory() as folder:
            stored = EvaluationSettings(store=str(Path(folder) / "prepared.db"))
            with one_core():
                alone, results = _alone(Evaluator(network, options, stored), prepared, points)
            both, others = _workers((network, options, stored), prepared, points, 2)
        equal = equal and results == others
        rows += [_row(network, "1", alone), _row(network, "2", both)]
    settings.progress("new compressions")
    evaluator = Evaluator("resnet8_fashion")
    space = load_space("resnet8_fashion").for_layers(evaluator.compressor.layer_names)
    layers = {name: choices for name, choices in space.parameters.items() if name.startswith("prune:")}
    points = draw(space, NEW_COMPRESSIONS, network="given", prune="none")
    # Every method of every layer once, so that the layers are solved before the clock starts.
    prepared = [points[0] | {name: choices[i % len(choices)] for name, choices in layers.items()} for i in range(5)]
    began = time.perf_counter()
    for point in prepared:
        evaluator.evaluate(point, frozenset({"cycles"}))
    solving = time.perf_counter() - began
    with one_core():
        began, processor = time.perf_counter(), time.process_time()
        evaluations = [evaluator.evaluate(point, COSTS | {"accuracy"}) for point in points]
        new = _Measured(
            len(points),
            sum(evaluation.problem is None for evaluation in evaluations),
            time.perf_counter() - began,
            time.process_time() - processor,
        )
    text = (
        f"{POINTS} points of the default space, drawn at random (seed {SEED}), each evaluated exactly once: mapped, memories "
        "fitted, cycles, latency, energy, area and power. The six compressed forms of the network are made before the clock "
        "starts. One process, then two.\n\n"
        + table(("network", "processes", "points", "built", "s", "points/s", "processor ms a point"), rows, left=1)
        + f"\nBoth roads gave {'the same' if equal else 'DIFFERENT'} figures.\n\n"
        f"With compression that is new at every point: {NEW_COMPRESSIONS} points of the space `resnet8_fashion` with the float "
        "network, each quantized, mapped, and run on 200 images for its accuracy; layers are solved before "
        f"({solving:.0f} s for all methods, kept in the study's store). One process.\n\n"
        + table(
            ("network", "processes", "points", "built", "s", "points/s", "processor ms a point"),
            [_row("resnet8_fashion", "1", new)],
            left=1,
        )
    )
    return Section("exploration", "Design points a second", text, equal)


def draw(space: SearchSpace, count: int, **fixed: Choice) -> list[dict[str, Choice]]:
    """Draws ``count`` different points of ``space`` at random."""
    rng = random.Random(SEED)
    points: dict[tuple[Choice, ...], dict[str, Choice]] = {}
    while len(points) < count:
        choice = {name: rng.choice(choices) for name, choices in space.parameters.items()} | fixed
        point = space.canonical(choice)
        points[tuple(point.values())] = point
    return list(points.values())


def _alone(
    evaluator: Evaluator, prepared: Sequence[Mapping[str, Choice]], points: Sequence[Mapping[str, Choice]]
) -> tuple[_Measured, list[Evaluation]]:
    for point in prepared:
        evaluator.network(point)
    began, processor = time.perf_counter(), time.process_time()
    evaluations = [evaluator.evaluate(point, COSTS) for point in points]
    wall, cpu = time.perf_counter() - began, time.process_time() - processor
    return _Measured(
        len(evaluations), sum(evaluation.problem is None for evaluation in evaluations), wall, cpu
    ), evaluations


def _workers(
    arguments: tuple[str, CompressionOptions, EvaluationSettings],
    prepared: Sequence[Mapping[str, Choice]],
    points: Sequence[Mapping[str, Choice]],
    jobs: int,
) -> tuple[_Measured, list[Evaluation]]:
    with ProcessPoolExecutor(jobs, initializer=_start, initargs=(arguments, prepared)) as pool:
        # Every worker takes one, and has then started.
        list(pool.map(_wait, [0.5] * jobs))
        began = time.perf_counter()
        timed = list(pool.map(_evaluate, points))
        wall = time.perf_counter() - began
    results = [evaluation for evaluation, _ in timed]
    return _Measured(
        len(timed), sum(evaluation.problem is None for evaluation in results), wall, sum(s for _, s in timed)
    ), results


def _start(
    arguments: tuple[str, CompressionOptions, EvaluationSettings], prepared: Sequence[Mapping[str, Choice]]
) -> None:
    global _evaluator
    threadpool_limits(1)
    _evaluator = Evaluator(*arguments)
    for point in prepared:
        _evaluator.network(point)


def _wait(seconds: float) -> None:
    time.sleep(seconds)


def _evaluate(point: Mapping[str, Choice]) -> tuple[Evaluation, float]:
    began = time.process_time()
    evaluation = _evaluator.evaluate(point, COSTS)
    return evaluation, time.process_time() - began


def _row(network: str, processes: str, measured: _Measured) -> tuple[str, str, int, int, str, str, str]:
    return (
        short_name(network),
        processes,
        measured.points,
        measured.built,
        f"{measured.wall_s:.1f}",
        f"{measured.points / measured.wall_s:.1f}",
        f"{1e3 * measured.processor_s / measured.points:.1f}",
    )
