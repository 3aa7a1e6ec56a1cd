"""Objectives and limits as text: units, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.explore.constraints import (
    UNITS,
    described,
    easiest,
    parse_constraints,
    parse_objectives,
    relative_violation,
    value_text,
    violations,
)
from skipstone.mapper.results.exploration import METRICS, Constraint, ExplorationResult
from tests.reports.explorations import exploration


def test_accuracy_is_maximized_and_everything_else_minimized():
    objectives = parse_objectives(("accuracy", "luts"), True)
    assert [(each.name, each.direction) for each in objectives] == [("accuracy", "maximize"), ("luts", "minimize")]
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
        ("frequency_mhz>=50", Constraint("frequency_mhz", ">=", 50.0)),
        ("frequency_ghz >= 0.1", Constraint("frequency_mhz", ">=", 100.0)),
    ],
)
def test_limits_are_converted_to_the_units_of_metrics(text, constraint):
    (parsed,) = parse_constraints((text,), True)
    assert (parsed.name, parsed.op) == (constraint.name, constraint.op)
    assert parsed.limit == pytest.approx(constraint.limit, rel=1e-12)


def test_units_are_of_known_metrics():
    assert {metric for metric, *_ in UNITS.values()} <= METRICS.keys()
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
def test_malformed_and_impossible_limits_are_refused(texts, message):
    with pytest.raises(SkipstoneError) as raised:
        parse_constraints(texts, True)
    assert message in str(raised.value)


def test_accuracy_needs_data():
    for parse, text in ((parse_objectives, "accuracy"), (parse_constraints, "accuracy>=0.5")):
        with pytest.raises(SkipstoneError, match=r"no accuracy without labelled images; name some$"):
            parse((text,), False)


def test_the_clock_is_no_objective():
    with pytest.raises(SkipstoneError, match="objective frequency_mhz: the clock is given, not searched for"):
        parse_objectives(("cycles", "frequency_mhz"), True)


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
    assert described(Constraint("area_um2", "<=", 2e6, "area_mm2")) == "area_mm2 <= 2"
    assert described(Constraint("accuracy", ">=", 0.9, "%")) == "accuracy >= 90%"
    assert value_text(Constraint("energy_pj", "<=", 1.0, "energy_nj"), 1234.5) == "1.2345 nJ"


@pytest.mark.parametrize("written", ["area_um2", "area_mm2"])
@pytest.mark.parametrize("op", ["<=", ">="])
@given(st.floats(1e-3, 1e12))
def test_the_easiest_limit_is_met_and_tight(written, op, value):
    """The value meets its easiest limit after printing and parsing, and the limit is within 2.1e-5 of the value."""
    (limit,) = parse_constraints((f"{written}{op}1",), True)
    (again,) = parse_constraints((easiest(limit, value).replace(",", ""),), True)
    assert again.violation(value) == 0
    assert again.limit == pytest.approx(value, rel=2.1e-5)
    assert again.written == limit.written


def test_a_limit_keeps_its_unit_through_json():
    limits = parse_constraints(("area_mm2<=2", "cycles<=5"), True)
    result = exploration(limits)
    again = ExplorationResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again.constraints == limits
    assert [each.written for each in again.constraints] == ["area_mm2", ""]
