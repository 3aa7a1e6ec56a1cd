"""The front, hypervolume, importance and diagnosis of points, against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.explore.constraints import parse_constraints, violations
from skipstone.explore.outcome import corners, diagnose, hypervolumes, importance, mark_front
from skipstone.mapper.results.exploration import Constraint, ExplorationPoint, Objective

OBJECTIVES = (Objective("cycles", "minimize"), Objective("accuracy", "maximize"))


def point(number: int, constraints=(), parameters=None, **metrics: float) -> ExplorationPoint:
    return ExplorationPoint(number, f"d{number}", parameters or {}, metrics, violations(constraints, metrics))


def better_or_equal(a: ExplorationPoint, b: ExplorationPoint) -> bool:
    return a.metrics["cycles"] <= b.metrics["cycles"] and a.metrics["accuracy"] >= b.metrics["accuracy"]


pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(pairs)
def test_the_front_by_its_definition(values):
    """A feasible point is on it unless another is as good in every objective and better in one; equal points all are."""
    limit = (Constraint("cycles", "<=", 4),)
    points = mark_front([point(n, limit, cycles=c, accuracy=a) for n, (c, a) in enumerate(values)], OBJECTIVES)
    feasible = [each for each in points if each.metrics["cycles"] <= 4]
    for each in points:
        beaten = any(better_or_equal(other, each) and not better_or_equal(each, other) for other in feasible)
        assert each.on_front == (each in feasible and not beaten)


@given(pairs)
def test_hypervolume_counts_unit_squares(values):
    """With whole numbers the dominated area is a count of unit squares."""
    points = [point(n, cycles=c, accuracy=a) for n, (c, a) in enumerate(values)]
    best, worst = corners(points, OBJECTIVES)
    volumes = hypervolumes(points, OBJECTIVES, [len(points) // 2, len(points)], best, worst)
    for trials, share in volumes:
        wide = range(int(best["cycles"]), int(worst["cycles"])) or [None]
        high = range(int(worst["accuracy"]), int(best["accuracy"])) or [None]
        squares = 0
        for x, y in itertools.product(wide, high):
            squares += any(
                (x is None or p.metrics["cycles"] <= x) and (y is None or p.metrics["accuracy"] >= y + 1)
                for p in points[:trials]
            )
        assert share == pytest.approx(squares / (len(wide) * len(high)))
    assert volumes[0][1] <= volumes[1][1]


def test_importance_is_the_share_of_variance():
    """cycles = 3 a + b over a full factorial: the variances of 3 a and b are 9 to 1; c has no effect."""
    space = {"a": (0, 1, 2, 3), "b": (0, 1, 2, 3), "c": ("x", "y"), "one": (1,)}
    points = []
    for n, (a, b, c) in enumerate(itertools.product(*list(space.values())[:3])):
        chosen = {"a": a, "b": b, "c": c, "one": 1}
        points.append(point(n, (), chosen, cycles=3 * a + b, accuracy=0.5))
    shares = importance(points, OBJECTIVES, space, 0)
    assert list(shares["cycles"]) == ["a", "b", "c"]
    # A forest of samples of 32 points smooths the lesser effect away a little.
    assert shares["cycles"]["a"] == pytest.approx(0.9, abs=0.05)
    assert shares["cycles"]["b"] == pytest.approx(0.1, abs=0.05)
    assert shares["cycles"]["c"] == pytest.approx(0, abs=0.01)
    assert shares["accuracy"] == {}
    assert shares == importance(points, OBJECTIVES, space, 0)
    assert importance(points[:3], OBJECTIVES, space, 0) == {}


def test_a_limit_that_no_point_meets_is_named_with_the_nearest_point():
    limits = (Constraint("area_um2", "<=", 1000.0), Constraint("cycles", "<=", 50.0))
    points = [
        point(0, limits, area_um2=41230.0, cycles=60.0),
        point(1, limits, area_um2=41231.0, cycles=40.0),
        point(2, limits, area_um2=50000.0, cycles=20.0),
    ]
    assert diagnose(points, limits, {}, exhausted=False) == (
        "area_um2 <= 1,000 is met by none of 3 points; the least found is 41,230 um2 (point 0): "
        "a longer search or another space may meet it",
        "cycles <= 50 is met by 2 of 3 points; the least found is 20 cycles (point 2)",
        "the nearest is point 1 (d1), which misses area_um2 by 40,231 um2 (4,023%); "
        "it would be feasible with area_um2 <= 41,231",
    )
    assert "no choice of this space meets it" in diagnose(points, limits, {}, exhausted=True)[0]
    stuck = diagnose(points, limits, {}, exhausted=False, stuck=True)
    assert stuck[0].endswith(": another seed or another space may meet it")


def test_a_diagnosis_is_in_the_units_of_the_limits():
    limits = parse_constraints(("area_mm2<=1", "accuracy>=90%"), True)
    points = [
        point(0, limits, area_um2=1_250_000.0, accuracy=0.95),
        point(1, limits, area_um2=800_000.0, accuracy=0.85),
        point(2, limits, area_um2=3_000_000.0, accuracy=0.5),
    ]
    assert diagnose(points[::2], limits, {}, exhausted=False) == (
        "area_mm2 <= 1 is met by none of 2 points; the least found is 1.25 mm2 (point 0): "
        "a longer search or another space may meet it",
        "accuracy >= 90% is met by 1 of 2 points; the largest found is 95% (point 0)",
        "the nearest is point 0 (d0), which misses area_mm2 by 0.25 mm2 (25%); it would be feasible with area_mm2 <= 1.25",
    )
    assert diagnose(points, limits, {}, exhausted=False)[2:] == (
        "no point meets area_mm2 <= 1 and accuracy >= 90% together: with area_mm2 <= 1, accuracy is at most 85% (point 1)",
        "the nearest is point 1 (d1), which misses accuracy by 5 points (5.56%); it would be feasible with accuracy >= 85%",
    )


def test_limits_that_exclude_each_other_are_named_together():
    """Any two of three limits can be met together, but not all three; a conflicting pair is named without the third."""
    limits = tuple(Constraint(name, "<=", 1.0) for name in ("cycles", "area_um2", "energy_pj"))
    low = [(0, 0, 9), (0, 9, 0), (9, 0, 0)]
    points = [point(n, limits, cycles=a, area_um2=b, energy_pj=c) for n, (a, b, c) in enumerate(low)]
    diagnosis = diagnose(points, limits, {}, exhausted=False)
    assert diagnosis[3] == (
        "no point meets cycles <= 1 and area_um2 <= 1 and energy_pj <= 1 together: "
        "with cycles <= 1 and area_um2 <= 1, energy_pj is at least 9 pJ (point 0)"
    )
    assert len(diagnosis) == 5
    # The first two exclude each other already, so the three are not named again.
    crossed = [point(0, limits, cycles=0, area_um2=9, energy_pj=0), point(1, limits, cycles=9, area_um2=0, energy_pj=0)]
    diagnosis = diagnose(crossed, limits, {}, exhausted=False)
    assert [line for line in diagnosis if "together" in line] == [
        "no point meets cycles <= 1 and area_um2 <= 1 together: with cycles <= 1, area_um2 is at least 9 um2 (point 0)"
    ]
    pair = diagnose([points[0], points[2]], (limits[0], limits[2]), {}, exhausted=False)
    assert pair[2] == (
        "no point meets cycles <= 1 and energy_pj <= 1 together: with cycles <= 1, energy_pj is at least 9 pJ (point 0)"
    )


def test_a_lower_limit_is_diagnosed_by_the_largest_value():
    limits = (Constraint("accuracy", ">=", 0.9),)
    points = [point(0, limits, accuracy=0.5, cycles=1), point(1, limits, accuracy=0.75, cycles=2)]
    diagnosis = diagnose(points, limits, {}, exhausted=True)
    assert diagnosis[0].startswith("accuracy >= 0.9 is met by none of 2 points; the largest found is 0.75 (point 1)")
    assert diagnosis[-1].endswith("misses accuracy by 0.15 (16.7%); it would be feasible with accuracy >= 0.75")


def test_a_feasible_point_needs_no_diagnosis_and_a_lack_of_points_has_reasons():
    assert diagnose([point(0, cycles=1)], (), {}, exhausted=False) == ()
    assert diagnose([], (), {"too large": 3, "odd": 1}, exhausted=False) == (
        "3 of 4 choices can't be built or mapped: too large",
        "1 of 4 choices can't be built or mapped: odd",
    )


@given(
    st.lists(st.tuples(st.floats(0.001, 3e9), st.floats(0.001, 1)), min_size=1, max_size=6),
    st.floats(0.001, 3e9),
    st.floats(0.001, 1),
)
def test_the_nearest_point_meets_the_suggested_limits(values, most, least):
    """With the limits that the last sentence suggests, the point is feasible."""
    limits = (Constraint("cycles", "<=", most), Constraint("accuracy", ">=", least))
    points = [point(n, limits, cycles=c, accuracy=a) for n, (c, a) in enumerate(values)]
    diagnosis = diagnose(points, limits, {}, exhausted=False)
    if any(each.feasible for each in points):
        assert diagnosis == ()
        return
    number = int(diagnosis[-1].split("point ")[1].split()[0])
    text = diagnosis[-1].split("feasible with ")[1]
    changed = {name: float(value.replace(",", "")) for name, _, value in map(str.split, text.split(", "))}
    eased = [Constraint(each.name, each.op, changed.get(each.name, each.limit)) for each in limits]
    assert violations(eased, points[number].metrics) == {}
    distance = [sum(np.maximum(0, [c - most, 0]) / (most or 1)) + max(0, least - a) / (least or 1) for c, a in values]
    assert distance[number] == pytest.approx(min(distance))
