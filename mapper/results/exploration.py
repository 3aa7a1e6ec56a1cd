"""The result of a design-space exploration: what was searched, under which constraints, and every point with its
figures.

``skipstone explore`` hands it to reports and writes it as JSON. ``ExplorationResult.read`` reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from skipstone.mapper.results import notebook
from skipstone.mapper.results.document import Document, Number

METRICS = {
    "cycles": "cycles",
    "latency_us": "us",
    "energy_pj": "pJ",
    "area_um2": "um2",
    "power_mw": "mW",
    "frequency_mhz": "MHz",
    "clock_reached": "",
    "inputs_per_second": "1/s",
    "tops_per_watt": "TOPS/W",
    "accuracy": "",
    "dsps": "",
    "block_rams": "",
    "luts": "",
}
"""The metrics of a point, with their units.

Accuracy is a share (0 to 1). The frequency is the clock of latency, energy and power; ``clock_reached`` is its share
(0 to 1) of the clock that was asked for. TOPS/W counts the operations that are done, as for a network's result.
"""
MAXIMIZED = frozenset({"accuracy", "frequency_mhz", "clock_reached", "inputs_per_second", "tops_per_watt"})
"""The metrics that are better when they are larger."""
SHARES = frozenset({"accuracy", "clock_reached"})
"""The metrics that are shares, which may be written in percent."""


@dataclass(frozen=True)
class Objective:
    """A metric that the search minimizes or maximizes.

    Attributes:
        name: The metric.
        direction: Which of both.
    """

    name: str
    direction: Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Constraint:
    """A limit on a metric.

    Attributes:
        name: The metric.
        op: Whether it must be at most or at least ``limit``.
        limit: In the unit of ``METRICS``.
        written: The unit that a user wrote (``area_mm2``, ``%``; ``skipstone.explore.constraints.UNITS``); empty for
            that of ``METRICS``.
    """

    name: str
    op: Literal["<=", ">="]
    limit: Number
    written: str = ""

    def violation(self, value: float) -> float:
        """By how much ``value`` breaks the constraint; 0 where it does not."""
        return max(0.0, value - self.limit if self.op == "<=" else self.limit - value)


@dataclass(frozen=True)
class ExplorationPoint:
    """One choice that was built, mapped and costed.

    Attributes:
        number: Its place in the search.
        design: The design's name.
        parameters: What was chosen.
        metrics: Its exact figures.
        violations: By how much it breaks which constraint; only constraints that it breaks.
        on_front: It breaks no constraint, and no other such point is at least as good in every objective and better in
            one.
    """

    number: int
    design: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Number]
    violations: Mapping[str, Number] = field(default_factory=dict)
    on_front: bool = False

    @property
    def feasible(self) -> bool:
        """It breaks no constraint."""
        return not any(self.violations.values())


@dataclass(frozen=True)
class ExplorationResult(Document):
    """What an exploration found.

    Attributes:
        network: The network's name.
        sampler: How choices were made.
        seed: The sampler's seed.
        trials: Choices that were tried.
        objectives: What was minimized or maximized.
        constraints: Limits on metrics.
        space: The choices of each parameter.
        points: All points that have a cost.
        problems: Why choices have no cost, and how many each.
        calibration: Where activation ranges come from.
        technology: The source of energies.
        accuracy_images: Images that accuracies are measured on.
        sources: (key, source) of the figures.
        reference: The worst value of each objective at feasible points of the whole search.
        ideal: The best value of each objective at feasible points of the whole search.
        hypervolume: After each number of trials, the share (0 to 1) of the box between ``ideal`` and ``reference`` that
            is dominated by then.
        importance: For each objective, the share of its variance that each parameter explains.
        diagnosis: Which constraint rules out all points of a search without a feasible one, and the nearest point.
        exhausted: No choice was left to try.
        ended: Why the search ended before its trials were through although choices may be left.
    """

    KIND: ClassVar[str] = "exploration"
    SCHEMA: ClassVar[int] = 1

    network: str
    sampler: str
    seed: int
    trials: int
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    space: Mapping[str, tuple[Any, ...]]
    points: tuple[ExplorationPoint, ...]
    problems: Mapping[str, int]
    calibration: str
    technology: str
    accuracy_images: int
    sources: tuple[tuple[str, str], ...] = ()
    reference: Mapping[str, Number] = field(default_factory=dict)
    ideal: Mapping[str, Number] = field(default_factory=dict)
    hypervolume: tuple[tuple[int, Number], ...] = ()
    importance: Mapping[str, Mapping[str, Number]] = field(default_factory=dict)
    diagnosis: tuple[str, ...] = ()
    exhausted: bool = False
    ended: str = ""

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each point: its parameters and metrics under their names, in their
        units."""
        return notebook.frame(
            [
                {
                    "number": point.number,
                    "design": point.design,
                    "on_front": point.on_front,
                    "feasible": point.feasible,
                    **point.parameters,
                    **point.metrics,
                }
                for point in self.points
            ]
        )

    def _repr_html_(self) -> str:
        front = [point for point in front_first(self.points) if point.on_front]
        names = list(
            dict.fromkeys((*(each.name for each in self.objectives), *(each.name for each in self.constraints)))
        )
        varying = varying_parameters(self.points)
        figures = [
            ("points", notebook.whole(len(self.points))),
            ("feasible", notebook.whole(sum(point.feasible for point in self.points))),
            ("on the front", notebook.whole(len(front))),
        ]
        rows = [
            (
                str(point.number),
                *(notebook.digits(point.metrics.get(name)) for name in names),
                *(str(point.parameters.get(name, "")) for name in varying),
            )
            for point in front
        ]
        note = " ".join(self.diagnosis)
        return notebook.result_html(
            f"Exploration of {self.network}: the front", figures, ("point", *names, *varying), rows, note
        )


def front_first(points: Sequence[ExplorationPoint], metric: str = "cycles") -> list[ExplorationPoint]:
    """Sorts points: those on the front, then other feasible ones, then the rest; each group by rising ``metric``."""
    return sorted(
        points,
        key=lambda point: (
            not point.on_front,
            not point.feasible,
            point.metrics.get(metric, float("inf")),
            point.number,
        ),
    )


def varying_parameters(points: Sequence[ExplorationPoint]) -> list[str]:
    """Names of the parameters that differ between points, in the order of their first appearance."""
    names = dict.fromkeys(name for point in points for name in point.parameters)
    missing = object()
    return [
        name
        for name in names
        if any(point.parameters.get(name, missing) != points[0].parameters.get(name, missing) for point in points)
    ]
