"""A sweep in words and in rows of texts, which the terminal and the page share."""

from __future__ import annotations

from dataclasses import dataclass

from skipstone.mapper.results.exploration import MAXIMIZED, METRICS
from skipstone.mapper.results.sweep import SweepPoint, SweepResult
from skipstone.reports.exploration.summary import Metric, shown_metric
from skipstone.reports.network.summary import NONE

COMPARED = ("cycles", "latency_us", "energy_pj", "area_um2", "dsps", "block_rams", "luts")
"""Metrics that stand with their change over the reference."""
PRICES = ("cycles", "energy_pj", "area_um2")
"""Metrics of the sentence of a point."""
LEAST_CHANGE = 0.0005
"""A smaller change is none in a sentence."""


@dataclass(frozen=True)
class SweepColumn:
    """A column of the table: a metric, and whether the change over the reference stands beside it."""

    metric: Metric
    compared: bool

    def texts(self, result: SweepResult, number: int) -> tuple[str, str]:
        """The metric at a point, a dash where it has none, and its change over the reference; empty where there is none."""
        point = result.points[number]
        text = self.metric.text(point.metrics.get(self.metric.name))
        if not self.compared or point.problem or number == result.reference:
            return text, ""
        return text, change_text(point.changes.get(self.metric.name))


def metrics_of(result: SweepResult) -> tuple[Metric, ...]:
    """All metrics that some point has."""
    measured = {name for point in result.points for name in point.metrics}
    names = [name for name in METRICS if name in measured]
    return tuple(
        shown_metric(
            name,
            [point.metrics[name] for point in result.points if name in point.metrics],
            "max" if name in MAXIMIZED else "min",
        )
        for name in names
    )


def columns(result: SweepResult) -> tuple[SweepColumn, ...]:
    """The metrics of the table.

    The clock stands there where it differs.
    """
    shown = []
    for metric in metrics_of(result):
        same_clock = metric.name == "frequency_mhz" and metric.low == metric.high
        if metric.name not in ("power_mw", "clock_reached") and not same_clock:
            shown.append(SweepColumn(metric, metric.name in COMPARED and len(result.points) > 1))
    return tuple(shown)


def change_text(change: float | None) -> str:
    """A change over the reference as ``+12.5%``; a dash for None."""
    return NONE if change is None else f"{100 * change:+.1f}%"


def value_texts(point: SweepPoint) -> tuple[str, ...]:
    """The values of the parameters that are varied."""
    return tuple(str(value) for value in point.values.values())


def named(point: SweepPoint) -> str:
    """A point by its values: ``load_width 8``."""
    return ", ".join(f"{name} {value}" for name, value in point.values.items())


def prices(result: SweepResult) -> tuple[str, ...]:
    """A sentence for each point after the reference: what it saves and costs over it."""
    sentences = []
    for number, point in enumerate(result.points):
        if number == result.reference or point.problem:
            continue
        other_clock = point.metrics["frequency_mhz"] != result.points[result.reference].metrics["frequency_mhz"]
        names = ("cycles", "latency_us", *PRICES[1:]) if other_clock else PRICES
        parts = [_part(point, name) for name in names]
        before = result.points[result.reference].metrics.get("accuracy")
        if before is not None and "accuracy" in point.metrics:
            parts.append(f"{100 * (point.metrics['accuracy'] - before):+.2f} points of accuracy")
        sentences.append(f"{named(point)}: {', '.join(parts)}")
    return tuple(sentences)


def remark(result: SweepResult, point: SweepPoint) -> str:
    """Why a point has no figures, and what else changes with it."""
    if point.problem:
        return point.problem
    remarks = []
    reached = point.metrics.get("clock_reached", 1)
    if reached < 1:
        remarks.append(f"does not reach its clock: {point.metrics['frequency_mhz']:g} MHz, {100 * reached:.3g}% of it")
    if point.following:
        remarks.append(f"with {', '.join(f'{name} {value}' for name, value in point.following.items())}")
    return "; ".join(remarks)


def _part(point: SweepPoint, name: str) -> str:
    word = {"cycles": "cycles", "latency_us": "latency", "energy_pj": "energy", "area_um2": "area"}[name]
    change = point.changes.get(name, 0.0)
    return f"same {word}" if abs(change) < LEAST_CHANGE else f"{change_text(change)} {word}"
