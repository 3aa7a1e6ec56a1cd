"""An exploration in words: its metrics as they are shown, the points to pick, and what the constraints cost.

Pure functions from an :class:`ExplorationResult` to numbers and text, which the terminal, the page and notebooks share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skipstone.mapper.results.exploration import (
    MAXIMIZED,
    SHARES,
    Constraint,
    ExplorationPoint,
    ExplorationResult,
    varying_parameters,
)
from skipstone.reports.network.summary import NONE

UNITS = {
    "cycles": ("cycles", 1.0),
    "latency_us": ("latency, µs", 1.0),
    "energy_pj": ("energy, nJ", 1e-3),
    "area_um2": ("area, mm²", 1e-6),
    "power_mw": ("power, mW", 1.0),
    "frequency_mhz": ("frequency, MHz", 1.0),
    "clock_reached": ("clock reached, %", 100.0),
    "inputs_per_second": ("inputs a second", 1.0),
    "tops_per_watt": ("TOPS/W", 1.0),
    "accuracy": ("accuracy, %", 100.0),
    "dsps": ("DSPs", 1.0),
    "block_rams": ("block RAMs", 1.0),
    "luts": ("LUTs", 1.0),
}
"""Title and scale with which a metric is shown."""

COUNTS = frozenset({"cycles", "inputs_per_second", "dsps", "block_rams", "luts"})

BEST = {
    "cycles": "fewest cycles",
    "latency_us": "lowest latency",
    "energy_pj": "least energy",
    "area_um2": "smallest area",
    "power_mw": "least power",
    "frequency_mhz": "fastest clock",
    "clock_reached": "nearest to the clock",
    "inputs_per_second": "most inputs a second",
    "tops_per_watt": "most TOPS/W",
    "accuracy": "best accuracy",
    "dsps": "fewest DSPs",
    "block_rams": "fewest block RAMs",
    "luts": "fewest LUTs",
}

KNEE = (
    "of the front's points the one nearest to the ideal: every objective is scaled from its best value on the front (0) "
    "to its worst (1), and the Euclidean distance from all zeros is the least"
)


@dataclass(frozen=True)
class Metric:
    """A metric as it is shown: ``title`` with its unit, ``scale`` from the result's unit to it, ``decimals``, and ``low`` and
    ``high`` of all points in that unit. ``best`` is ``min`` or ``max``."""

    name: str
    title: str
    scale: float
    decimals: int
    low: float
    high: float
    best: str

    def text(self, value: float | None) -> str:
        """A value in the result's unit as it is shown; a dash for None."""
        return NONE if value is None else f"{value * self.scale:,.{self.decimals}f}"

    def of(self, point: ExplorationPoint) -> str:
        """The metric's value at a point, as text."""
        return self.text(point.metrics.get(self.name))

    def with_unit(self, value: float | None) -> str:
        """:meth:`text` with the unit behind it."""
        return with_unit(self.text(value), self.unit)

    @property
    def lowest(self) -> str:
        """``low`` as a number without separators."""
        return f"{self.low:.{self.decimals}f}"

    @property
    def highest(self) -> str:
        """``high`` as a number without separators."""
        return f"{self.high:.{self.decimals}f}"

    @property
    def word(self) -> str:
        """The title without its unit."""
        return self.title.split(",")[0]

    @property
    def unit(self) -> str:
        """The unit, empty where the title says it."""
        return self.title.partition(", ")[2]


@dataclass(frozen=True)
class Pick:
    """A point to choose for a ``purpose``."""

    purpose: str
    point: ExplorationPoint


@dataclass(frozen=True)
class Met:
    """How many points meet a constraint, and how many break only this one."""

    constraint: Constraint
    met: int
    breaks_alone: int


def direction(result: ExplorationResult, metric: str) -> str:
    """``min`` or ``max``: the direction of the metric's objective; without one, what is better."""
    for objective in result.objectives:
        if objective.name == metric:
            return objective.direction[:3]
    return "max" if metric in MAXIMIZED else "min"


def metrics(result: ExplorationResult) -> tuple[Metric, ...]:
    """The metrics that some point has: objectives first, then constraints, then the others."""
    names = dict.fromkeys(
        name
        for name in (
            *(objective.name for objective in result.objectives),
            *(constraint.name for constraint in result.constraints),
            *(name for point in result.points for name in point.metrics),
        )
    )
    return tuple(
        shown_metric(
            name, [point.metrics[name] for point in result.points if name in point.metrics], direction(result, name)
        )
        for name in names
    )


def shown_metric(name: str, values: Sequence[float], best: str) -> Metric:
    """A metric as it is shown.

    Args:
        name: Its key.
        values: All values that are shown, in the result's unit.
        best: ``min`` or ``max``.
    """
    title, scale = UNITS.get(name, (name.replace("_", " "), 1.0))
    scaled = [scale * value for value in values]
    low, high = (min(scaled), max(scaled)) if scaled else (0.0, 1.0)
    return Metric(name, title, scale, _decimals(name, scaled), low, high, best)


def named_metrics(result: ExplorationResult) -> list[Metric]:
    """The metrics of short tables: those of objectives and constraints, and the clock if it differs between points and is no
    parameter."""
    named = {*(each.name for each in result.objectives), *(each.name for each in result.constraints)}
    if "frequency_mhz" not in varying_parameters(result.points):
        named |= {
            metric.name for metric in metrics(result) if metric.name == "frequency_mhz" and metric.low != metric.high
        }
    return [metric for metric in metrics(result) if metric.name in named]


def picks(result: ExplorationResult) -> tuple[Pick, ...]:
    """The best feasible point for each objective, and the knee; empty where no point is feasible."""
    feasible = [point for point in result.points if point.feasible]
    chosen = [
        Pick(BEST.get(objective.name, f"best {objective.name}"), point)
        for objective in result.objectives
        if (point := best(feasible, objective.name, direction(result, objective.name))) is not None
    ]
    middle = knee(result)
    return (*chosen, *([Pick("balance of all (knee)", middle)] if middle is not None else []))


def best(points: Sequence[ExplorationPoint], metric: str, direction: str) -> ExplorationPoint | None:
    """The point with the least (``min``) or largest (``max``) ``metric``; among equals one on the front, then the first. None
    where no point has the metric."""
    sign = 1 if direction == "min" else -1
    return min(
        (point for point in points if metric in point.metrics),
        key=lambda point: (sign * point.metrics[metric], not point.on_front, point.number),
        default=None,
    )


def knee(result: ExplorationResult) -> ExplorationPoint | None:
    """The compromise point, see ``KNEE``; None where the front has fewer than three points or there is one objective."""
    names = [objective.name for objective in result.objectives]
    front = [point for point in result.points if point.on_front and all(name in point.metrics for name in names)]
    if len(front) < 3 or len(names) < 2:
        return None

    def distance(point: ExplorationPoint) -> float:
        parts = []
        for name in names:
            values = [each.metrics[name] for each in front]
            ideal = min(values) if direction(result, name) == "min" else max(values)
            parts.append((point.metrics[name] - ideal) / ((max(values) - min(values)) or 1.0))
        return math.hypot(*parts)

    return min(front, key=lambda point: (distance(point), point.number))


def met(result: ExplorationResult) -> tuple[Met, ...]:
    """How many points meet each constraint. A point without the metric does not meet it."""
    broken = [[index for index, c in enumerate(result.constraints) if not meets(p, c)] for p in result.points]
    return tuple(
        Met(constraint, sum(index not in each for each in broken), sum(each == [index] for each in broken))
        for index, constraint in enumerate(result.constraints)
    )


def meets(point: ExplorationPoint, constraint: Constraint) -> bool:
    """Whether a point has the constraint's metric and keeps its limit."""
    value = point.metrics.get(constraint.name)
    return value is not None and not constraint.violation(value)


def constraint_text(constraint: Constraint, metric: Metric) -> str:
    """``area <= 2.5 mm²``"""
    limit = f"{constraint.limit * metric.scale:,.10g}"
    sign = {"<=": "≤", ">=": "≥"}[constraint.op]
    return f"{metric.word} {sign} {with_unit(limit, metric.unit)}"


def with_unit(number: str, unit: str) -> str:
    """``2.5 mm²``, ``90%``"""
    return number + (unit if unit == "%" else f" {unit}" if unit else "")


def constraint_costs(result: ExplorationResult) -> tuple[str, ...]:
    """A sentence for each objective: the best of all points against the best of those that meet every constraint."""
    if not result.constraints:
        return ()
    by_name = {metric.name: metric for metric in metrics(result)}
    feasible = [point for point in result.points if point.feasible]
    lines = []
    for objective in result.objectives:
        metric = by_name[objective.name]
        free = best(result.points, metric.name, metric.best)
        constrained = best(feasible, metric.name, metric.best)
        if free is None or constrained is None:
            continue
        goal = BEST.get(metric.name, metric.name)
        before, after = free.metrics[metric.name], constrained.metrics[metric.name]
        if before == after:
            lines.append(f"{goal}: nothing; the best point found, {metric.with_unit(after)}, meets all constraints")
            continue
        lost = (
            f"{abs(after - before) * metric.scale:.2f} points"
            if metric.name in SHARES
            else f"{100 * abs(after - before) / abs(before):.1f}%"
            if before
            else metric.with_unit(abs(after - before))
        )
        lines.append(
            f"{goal}: {metric.with_unit(after)} (point {constrained.number}) in place of {metric.with_unit(before)} "
            f"(point {free.number}), {lost} {'more' if after > before else 'less'}"
        )
    return tuple(lines)


def size_of(result: ExplorationResult) -> int:
    """Number of points in the search space."""
    return math.prod(len(choices) for choices in result.space.values())


def headline(result: ExplorationResult) -> str:
    """One or two sentences: how much was tried, how much of it is feasible and on the front."""
    front = sum(point.on_front for point in result.points)
    feasible = sum(point.feasible for point in result.points)
    points = len(result.points)
    text = f"{points:,} {'point' if points == 1 else 'points'} of {size_of(result):,} choices costed"
    if not points:
        return text + "."
    if result.constraints:
        text += f"; {feasible:,} {'meets' if feasible == 1 else 'meet'} all constraints"
    return text + f"; {front:,} {'is' if front == 1 else 'are'} on the Pareto front."


def _decimals(name: str, values: Sequence[float]) -> int:
    """Decimals that show at least three digits of the smallest value; none for counts, two for percentages."""
    if name in COUNTS:
        return 0
    if name in SHARES:
        return 2
    if name == "frequency_mhz":  # all of it, so that cycles / frequency is the latency
        return next((n for n in range(6) if all(round(value, n) == value for value in values)), 6)
    least = min((abs(value) for value in values if value), default=1.0)
    return min(6, max(0, 2 - math.floor(math.log10(least))))
