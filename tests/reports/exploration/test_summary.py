"""The sentences and picks of an exploration's summary, against its points."""

from __future__ import annotations

import dataclasses
import math

import pytest

from skipstone.mapper.results.exploration import Constraint, ExplorationPoint
from skipstone.reports.exploration.summary import (
    constraint_costs,
    constraint_text,
    headline,
    knee,
    met,
    metrics,
    picks,
    size_of,
)
from skipstone.reports.network.summary import NONE
from tests.reports.explorations import OBJECTIVES, exploration, impossible, marked, without_accuracy

RESULT = exploration()


def test_objectives_are_the_first_metrics_and_units_are_readable() -> None:
    shown = metrics(RESULT)
    assert [metric.title for metric in shown] == ["cycles", "energy, nJ", "area, mm²", "accuracy, %", "latency, µs"]
    by_name = {metric.name: metric for metric in shown}
    assert by_name["energy_pj"].text(12_345_678.0) == "12,346"
    assert by_name["area_um2"].text(480_000.0) == "0.480"
    assert by_name["accuracy"].with_unit(0.875) == "87.50%"
    assert by_name["cycles"].text(None) == NONE
    assert (by_name["accuracy"].best, by_name["cycles"].best) == ("max", "min")


def test_picks_are_the_best_feasible_points() -> None:
    feasible = [point for point in RESULT.points if point.feasible]
    chosen = {pick.purpose: pick.point for pick in picks(RESULT)}
    assert chosen["fewest cycles"].metrics["cycles"] == min(point.metrics["cycles"] for point in feasible)
    assert chosen["smallest area"].metrics["area_um2"] == min(point.metrics["area_um2"] for point in feasible)
    assert chosen["best accuracy"].metrics["accuracy"] == max(point.metrics["accuracy"] for point in feasible)
    assert all(point.on_front for point in chosen.values())
    assert picks(impossible()) == ()


def test_knee_is_nearest_to_the_ideal() -> None:
    values = [(0.0, 1.0), (0.2, 0.3), (1.0, 0.0)]
    points = [
        ExplorationPoint(i, "d", {}, {"cycles": 100 + x, "energy_pj": 5 + 10 * y}) for i, (x, y) in enumerate(values)
    ]
    result = exploration((), points=marked(points, OBJECTIVES[:2]), objectives=OBJECTIVES[:2])
    assert all(point.on_front for point in result.points)
    assert knee(result) == result.points[min(range(3), key=lambda i: math.hypot(*values[i]))] == result.points[1]
    assert knee(without_accuracy(1)) is None
    assert knee(without_accuracy(0)) is None


def test_counts_of_constraints() -> None:
    small, accurate = met(RESULT)
    assert small.met == sum(point.metrics["area_um2"] <= 2.6e6 for point in RESULT.points)
    assert accurate.met == sum(point.metrics["accuracy"] >= 0.86 for point in RESULT.points)
    assert small.breaks_alone == sum(
        point.metrics["area_um2"] > 2.6e6 and point.metrics["accuracy"] >= 0.86 for point in RESULT.points
    )
    unknown = dataclasses.replace(RESULT, constraints=(Constraint("luts", "<=", 10),))
    assert met(unknown)[0].met == 0


def test_what_constraints_cost() -> None:
    cycles, energy, area, accuracy = constraint_costs(RESULT)
    free = min(point.metrics["cycles"] for point in RESULT.points)
    constrained = min(point.metrics["cycles"] for point in RESULT.points if point.feasible)
    assert cycles.startswith(f"fewest cycles: {constrained:,.0f} (point ")
    assert cycles.endswith(f"{100 * (constrained - free) / free:.1f}% more")
    assert "nJ (point " in energy
    assert area.startswith("smallest area: nothing; the best point found, 0.480 mm², meets")
    assert accuracy.startswith("best accuracy: nothing")
    assert constraint_costs(without_accuracy()) == ()


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (Constraint("area_um2", "<=", 2.6e6), "area ≤ 2.6 mm²"),
        (Constraint("accuracy", ">=", 0.86), "accuracy ≥ 86%"),
        (Constraint("cycles", "<=", 20_000), "cycles ≤ 20,000"),
    ],
)
def test_constraints_in_words(constraint: Constraint, text: str) -> None:
    by_name = {metric.name: metric for metric in metrics(RESULT)}
    assert constraint_text(constraint, by_name[constraint.name]) == text


def test_headline() -> None:
    assert size_of(RESULT) == 4 * 4 * 2 * 3 == len(RESULT.points)
    feasible, front = (sum(getattr(p, name) for p in RESULT.points) for name in ("feasible", "on_front"))
    assert headline(RESULT) == (
        f"96 points of 96 choices costed; {feasible} meet all constraints; {front} are on the Pareto front."
    )
    assert headline(without_accuracy(1)) == "1 point of 96 choices costed; 1 is on the Pareto front."
    assert headline(without_accuracy(0)) == "0 points of 96 choices costed."
