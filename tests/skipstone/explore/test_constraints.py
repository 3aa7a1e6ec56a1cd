"""Objectives and limits as text: units, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SkipstoneError
from reports.exploration import METRICS, Constraint
from skipstone.explore.constraints import (
    UNITS,
    described,
    parse_constraints,
    parse_objectives,
    relative_violation,
    violations,
)


def test_accuracy_is_made_large_and_everything_else_small():
    found = parse_objectives(("accuracy", "luts"), True)
    assert [(each.name, each.direction) for each in found] == [("accuracy", "maximize"), ("luts", "minimize")]
    assert [each.name for each in parse_objectives((), True)] == ["cycles", "energy_pj", "area_um2", "accuracy"]
    assert [each.name for each in parse_objectives((), False)] == ["cycles", "energy_pj", "area_um2"]


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("area_um2<=2e6", Constraint("area_um2", "<=", 2e6)),
        ("area_mm2 <= 2", Constraint("area_um2", "<=", 2e6)),
        ("energy_nj<=3.5", Constraint("energy_pj", "<=", 3500.0)),
        ("energy_uj<=1", Constraint("energy_pj", "<=", 1e6)),
        ("latency_ms<=1.5", Constraint("latency_us", "<=", 1500.0)),
        ("power_w<=0.25", Constraint("power_mw", "<=", 250.0)),
        ("accuracy>=90%", Constraint("accuracy", ">=", 0.9)),
        ("accuracy>=0.9", Constraint("accuracy", ">=", 0.9)),
        (" dsps <= 0 ", Constraint("dsps", "<=", 0.0)),
        ("cycles>=1_000", Constraint("cycles", ">=", 1000.0)),
    ],
)
def test_limits_in_the_units_of_metrics(text, constraint):
    (found,) = parse_constraints((text,), True)
    assert (found.name, found.op) == (constraint.name, constraint.op)
    assert found.limit == pytest.approx(constraint.limit, rel=1e-12)


def test_units_are_of_known_metrics():
    assert {metric for metric, _ in UNITS.values()} <= METRICS.keys()
    assert not UNITS.keys() & METRICS.keys()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ("area<=2",),
            "constraint 'area<=2': unknown metric 'area'; there are cycles, latency_us, energy_pj, area_um2",
        ),
        (("area_um2<2",), "constraint 'area_um2<2' must be METRIC<=LIMIT or METRIC>=LIMIT, as 'area_mm2<=2'"),
        (("area_um2",), "must be METRIC<=LIMIT"),
        (("area_um2<=",), "must be METRIC<=LIMIT"),
        (("area_um2<=wide",), "'wide' is not a number"),
        (("area_um2<=nan",), "'nan' is not a number"),
        (("area_um2<=inf",), "'inf' is not a number"),
        (("cycles<=-1",), "no metric is below 0"),
        (("accuracy>=90",), "accuracy is a share from 0 to 1; write 0.9 or 90%"),
        (("cycles<=90%",), "only accuracy has percent"),
        (("cycles<=5", "cycles<=7"), "cycles <= is limited twice; keep the tighter limit"),
        (("cycles<=5", "cycles>=7"), "no cycles can be both cycles <= 5 and cycles >= 7"),
        (("cycles>=7", "cycles<=5"), "no cycles can be both cycles <= 5 and cycles >= 7"),
    ],
)
def test_texts_that_cannot_be_meant(texts, message):
    with pytest.raises(SkipstoneError) as raised:
        parse_constraints(texts, True)
    assert message in str(raised.value)


def test_accuracy_needs_data():
    for parse, text in ((parse_objectives, "accuracy"), (parse_constraints, "accuracy>=0.5")):
        with pytest.raises(SkipstoneError, match="no accuracy without labelled images; name some with --evaluation"):
            parse((text,), False)


def test_objectives_that_are_refused():
    with pytest.raises(SkipstoneError, match="objective: unknown metric 'speed'; there are cycles, "):
        parse_objectives(("speed",), True)
    with pytest.raises(SkipstoneError, match="objective cycles is named twice"):
        parse_objectives(("cycles", "cycles"), True)


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_violation_is_the_distance_to_the_interval(value, first, second):
    low, high = sorted((first, second))
    both = (Constraint("cycles", ">=", low), Constraint("cycles", "<=", high))
    expected = max(low - value, value - high, 0)
    assert violations(both, {"cycles": value}) == ({"cycles": expected} if expected else {})
    for constraint in both:
        assert (relative_violation(constraint, value) > 0) == (constraint.violation(value) > 0)


def test_numbers_in_messages():
    assert described(Constraint("area_um2", "<=", 2e6)) == "area_um2 <= 2,000,000"
    assert described(Constraint("accuracy", ">=", 0.9)) == "accuracy >= 0.9"
