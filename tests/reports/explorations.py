"""Made-up explorations: figures from simple formulas over a grid of parameters, so that each can be checked by hand."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from skipstone.mapper.results.exploration import Constraint, ExplorationPoint, ExplorationResult, Objective

OBJECTIVES = (
    Objective("cycles", "minimize"),
    Objective("energy_pj", "minimize"),
    Objective("area_um2", "minimize"),
    Objective("accuracy", "maximize"),
)
CONSTRAINTS = (Constraint("area_um2", "<=", 2.6e6), Constraint("accuracy", ">=", 0.86))
SPACE: dict[str, tuple[Any, ...]] = {
    "rows": (4, 8, 16, 32),
    "cols": (4, 8, 16, 32),
    "windows": (2, 3),
    "prune": ("none", "unstructured:0.5", "<b>block & 4</b>"),
    "weight_bits": (8,),
}
NONZERO_SHARES = {"none": 1.0, "unstructured:0.5": 0.5, "<b>block & 4</b>": 0.3}


def exploration(
    constraints: tuple[Constraint, ...] = CONSTRAINTS, count: int | None = None, **changes: Any
) -> ExplorationResult:
    """The first ``count`` of the 96 points of ``SPACE``, the front marked by its definition."""
    points = []
    for number, choice in enumerate(itertools.product(*SPACE.values())):
        parameters = dict(zip(SPACE, choice, strict=True))
        nonzero = NONZERO_SHARES[parameters["prune"]]
        pes = parameters["rows"] * parameters["cols"]
        cycles = float(round(4_000_000 * nonzero / pes * (1.2 if parameters["windows"] == 2 else 1.0) + 2_000))
        metrics = {
            "cycles": cycles,
            "latency_us": cycles / 100,
            "energy_pj": 8e6 * nonzero + 40 * cycles + 900.0 * pes,
            "area_um2": 4e5 + 2500.0 * pes * parameters["windows"],
            "accuracy": round(0.92 - 0.1 * (1 - nonzero), 4),
        }
        violations = {
            each.name: each.violation(metrics[each.name]) for each in constraints if each.violation(metrics[each.name])
        }
        points.append(
            ExplorationPoint(number, f"{parameters['rows']}x{parameters['cols']}", parameters, metrics, violations)
        )
    result = ExplorationResult(
        network="resnet8_fashion",
        sampler="NSGA-II",
        seed=0,
        trials=100,
        objectives=OBJECTIVES,
        constraints=constraints,
        space=SPACE,
        points=marked(points[:count], OBJECTIVES),
        problems={
            "layer 'conv1': <kernel> needs reach 8; raise reach to 8": 3,
            "load_width 3 is not a power of two": 1,
        },
        calibration="activation ranges from 256 images",
        technology="made up for tests",
        accuracy_images=200,
        sources=(("pe", "a formula of the tests"),),
        ideal={"cycles": 2e3, "energy_pj": 2e6, "area_um2": 4e5, "accuracy": 0.92},
        reference={"cycles": 1e6, "energy_pj": 1e8, "area_um2": 1e7, "accuracy": 0.0},
        hypervolume=((10, 0.5), (50, 0.99), (100, 1.0)),
        importance={each.name: {"rows": 0.5, "cols": 0.3, "prune": 0.2} for each in OBJECTIVES},
    )
    return dataclasses.replace(result, **changes)


def impossible() -> ExplorationResult:
    """No point is small enough."""
    constraints = (Constraint("area_um2", "<=", 1e5), Constraint("accuracy", ">=", 0.86))
    return exploration(constraints, diagnosis=("No point meets area <= 0.1 mm2; the nearest is point 0.",))


def without_accuracy(count: int | None = None) -> ExplorationResult:
    """Three objectives, no constraint, no data; the first ``count`` points."""
    result = exploration((), count)
    points = [
        dataclasses.replace(point, metrics={name: value for name, value in point.metrics.items() if name != "accuracy"})
        for point in result.points
    ]
    objectives = OBJECTIVES[:3]
    empty = {"hypervolume": (), "importance": {}, "problems": {}} if not points else {}
    return dataclasses.replace(
        result, objectives=objectives, points=marked(points, objectives), reference={}, ideal={}, **empty
    )


def marked(points: list[ExplorationPoint], objectives: tuple[Objective, ...]) -> tuple[ExplorationPoint, ...]:
    """The points with ``on_front`` by its definition: feasible, and no other feasible point is at least as good in all
    objectives and better in one."""

    def losses(point: ExplorationPoint) -> list[float]:
        return [(-1 if each.direction == "maximize" else 1) * point.metrics[each.name] for each in objectives]

    def beats(first: ExplorationPoint, second: ExplorationPoint) -> bool:
        pairs = list(zip(losses(first), losses(second), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    feasible = [point for point in points if point.feasible]
    return tuple(
        dataclasses.replace(point, on_front=point.feasible and not any(beats(other, point) for other in feasible))
        for point in points
    )
