"""What an exploration is asked for, as text: metrics to make small or large, and limits on metrics.

The command line says both; the search, its result and its reports take the ``Objective`` and ``Constraint`` that come of
them, in the units of ``skipstone.mapper.results.exploration.METRICS``. A text that can't be meant is refused before
anything is computed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from skipstone.errors import SkipstoneError
from skipstone.mapper.results.exploration import METRICS, Constraint, Objective

DEFAULT_OBJECTIVES = ("cycles", "energy_pj", "area_um2", "accuracy")
"""Accuracy only where there are labelled images."""
UNITS = {
    "latency_ns": ("latency_us", 1e-3, "ns"),
    "latency_ms": ("latency_us", 1e3, "ms"),
    "latency_s": ("latency_us", 1e6, "s"),
    "energy_nj": ("energy_pj", 1e3, "nJ"),
    "energy_uj": ("energy_pj", 1e6, "uJ"),
    "energy_mj": ("energy_pj", 1e9, "mJ"),
    "area_mm2": ("area_um2", 1e6, "mm2"),
    "power_uw": ("power_mw", 1e-3, "uW"),
    "power_w": ("power_mw", 1e3, "W"),
    "frequency_ghz": ("frequency_mhz", 1e3, "GHz"),
}
"""Other units that a limit may be given in: the metric, how many of its unit one is, and the unit's symbol."""
PERCENT = "%"
_CONSTRAINT = re.compile(r"\s*(?P<name>\w+)\s*(?P<op><=|>=)\s*(?P<limit>[^\s%]+?)\s*(?P<percent>%?)\s*")


def parse_objectives(names: Sequence[str], with_accuracy: bool) -> tuple[Objective, ...]:
    """Metrics to search for; accuracy is made large, all others small.

    Args:
        names: Keys of ``METRICS``; the default objectives if there is none.
        with_accuracy: Whether accuracy can be measured.

    Raises:
        SkipstoneError: A metric is unknown, named twice, or can't be measured.
    """
    if not names:
        names = [name for name in DEFAULT_OBJECTIVES if with_accuracy or name != "accuracy"]
    for name in names:
        if name == "frequency_mhz":
            raise SkipstoneError(
                "objective frequency_mhz: the clock is given, not searched for; search for latency_us, limit it with "
                "the constraint 'frequency_mhz>=100', or give the space choices of frequency_mhz"
            )
        _check_metric("objective", name, name, with_accuracy)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SkipstoneError(f"objective {twice[0]} is named twice")
    return tuple(Objective(name, "maximize" if name == "accuracy" else "minimize") for name in names)


def parse_constraints(texts: Sequence[str], with_accuracy: bool) -> tuple[Constraint, ...]:
    """Limits from texts like ``area_mm2<=2``, ``accuracy>=90%``, in the order given.

    Args:
        texts: A metric, ``<=`` or ``>=``, and a number in the metric's unit.
        with_accuracy: Whether accuracy can be measured.

    Returns:
        The limits in the units of ``METRICS``.

    Raises:
        SkipstoneError: A limit can't be read or measured, or no value or no two of them can meet it.
    """
    constraints = tuple(_parse(text, with_accuracy) for text in texts)
    for first in constraints:
        if sum((other.name, other.op) == (first.name, first.op) for other in constraints) > 1:
            raise SkipstoneError(f"{first.name} {first.op} is limited twice; keep the tighter limit")
        for other in constraints:
            if (other.name, first.op, other.op) == (first.name, "<=", ">=") and other.limit > first.limit:
                raise SkipstoneError(f"no {first.name} can be both {described(first)} and {described(other)}")
    return constraints


def violations(constraints: Sequence[Constraint], metrics: Mapping[str, float]) -> dict[str, float]:
    """By how much metrics break their limits.

    Args:
        constraints: The limits.
        metrics: A value of each limited metric, in its unit.

    Returns:
        The distance by metric, in its unit; only of those that are broken.
    """
    broken = {constraint.name: constraint.violation(metrics[constraint.name]) for constraint in constraints}
    for constraint in constraints:  # a metric may have a limit on both sides, of which one can be broken
        broken[constraint.name] = max(broken[constraint.name], constraint.violation(metrics[constraint.name]))
    return {name: by for name, by in broken.items() if by > 0}


def relative_violation(constraint: Constraint, value: float) -> float:
    """How far a value is beyond a limit, as a share of the limit (of 1 where it is 0).

    Shares of metrics with different units can be summed.
    """
    return constraint.violation(value) / (abs(constraint.limit) or 1.0)


def described(constraint: Constraint) -> str:
    """A limit as messages write it, in the unit that it was given in: ``area_mm2 <= 2``."""
    factor, _ = _unit(constraint)
    return _limit_text(constraint, number(constraint.limit / factor))


def written_name(constraint: Constraint) -> str:
    """The metric's name with the unit that the limit was given in: ``area_mm2``."""
    return constraint.written if constraint.written in UNITS else constraint.name


def value_text(constraint: Constraint, value: float) -> str:
    """A value of a limit's metric in the unit that the limit was given in: ``1.5 mm2``, ``90%``."""
    factor, unit = _unit(constraint)
    return number(value / factor) + (unit if unit == PERCENT else f" {unit}" if unit else "")


def distance_text(constraint: Constraint, value: float) -> str:
    """By how much a value breaks a limit, in the unit that the limit was given in; of percentages, in points."""
    by = value_text(constraint, constraint.violation(value))
    return by.removesuffix(PERCENT) + " points" if by.endswith(PERCENT) else by


def number(value: float) -> str:
    """A number as messages write it: six digits, and all of a whole number, with thousands separators."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def easiest(constraint: Constraint, value: float) -> str:
    """The tightest limit of at most six digits that a value meets, as messages write it.

    Args:
        constraint: The limit to be replaced; its unit stays.
        value: The metric's value, in the unit of ``METRICS``.
    """
    factor, _ = _unit(constraint)
    shown = value / factor
    step = 10.0 ** (math.floor(math.log10(abs(shown))) - 5) if shown else 1.0
    steps = (math.ceil if constraint.op == "<=" else math.floor)(shown / step)
    if not float(shown).is_integer():
        shown = steps * step
    # The unit's factor rounds, perhaps to the wrong side.
    while replace(constraint, limit=float(number(shown).replace(",", "")) * factor).violation(value):
        steps += 1 if constraint.op == "<=" else -1
        shown = steps * step
    return _limit_text(constraint, number(shown))


def _parse(text: str, with_accuracy: bool) -> Constraint:
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        raise SkipstoneError(f"constraint '{text}' must be METRIC<=LIMIT or METRIC>=LIMIT, as 'area_mm2<=2'")
    name, factor, _ = UNITS.get(match["name"], (match["name"], 1.0, ""))
    written = match["name"] if match["name"] in UNITS else ""
    _check_metric(f"constraint '{text}'", name, match["name"], with_accuracy)
    try:
        limit = float(match["limit"])
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise SkipstoneError(f"constraint '{text}': '{match['limit']}' is not a number")
    if match["percent"]:
        if name != "accuracy":
            raise SkipstoneError(f"constraint '{text}': only accuracy has percent")
        factor, written = 0.01, PERCENT
    limit *= factor
    if limit < 0:
        raise SkipstoneError(f"constraint '{text}': no metric is below 0")
    if name == "accuracy" and limit > 1:
        raise SkipstoneError(f"constraint '{text}': accuracy is a share from 0 to 1; write 0.9 or 90%")
    return Constraint(name, "<=" if match["op"] == "<=" else ">=", limit, written)


def _unit(constraint: Constraint) -> tuple[float, str]:
    """The unit that the limit was given in: how many of the metric's unit one is, and its symbol."""
    if constraint.written == PERCENT:
        return 0.01, PERCENT
    _, factor, symbol = UNITS.get(constraint.written, (constraint.name, 1.0, METRICS[constraint.name]))
    return factor, symbol


def _limit_text(constraint: Constraint, limit: str) -> str:
    return f"{written_name(constraint)} {constraint.op} {limit}" + (PERCENT if constraint.written == PERCENT else "")


def _check_metric(role: str, name: str, written: str, with_accuracy: bool) -> None:
    if name not in METRICS:
        names = [each for each in METRICS if role != "objective" or each != "frequency_mhz"]
        units = f", limits also {', '.join(UNITS)}" if role != "objective" else ""
        raise SkipstoneError(f"{role}: unknown metric '{written}'; there are {', '.join(names)}{units}")
    if name == "accuracy" and not with_accuracy:
        raise SkipstoneError(f"{role}: there is no accuracy without labelled images; name some", parameter="evaluation")
