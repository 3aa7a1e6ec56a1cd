"""A comparison's numbers as rows of texts, which the terminal and the page share."""

from __future__ import annotations

from typing import Any

from skipstone.reports.comparison.comparison import METRICS, Comparison, Metric
from skipstone.reports.network.summary import NONE, count


def metric_rows(comparison: Comparison) -> list[list[str]]:
    """One row for each metric that some run has: each run's value, from the second run on with the change over the first."""
    rows = []
    for metric in METRICS:
        values = [metric.value(run.result) for run in comparison.runs]
        if all(value is None for value in values):
            continue
        first = values[0]
        texts = [_metric_text(metric, first)]
        for value in values[1:]:
            change = ""
            if value is not None and first:
                change = f" ({value - first:+.2f})" if metric.unit == "%" else f" ({change_text(first, value)})"
            texts.append(_metric_text(metric, value) + change)
        rows.append([f"{metric.name}, {metric.unit}" if metric.unit else metric.name, *texts])
    return rows


def difference_rows(comparison: Comparison) -> list[list[str]]:
    """One row for each option or parameter that is not the same in all runs."""
    return [
        [difference.name, *(value_text(value) for value in difference.values)] for difference in comparison.differences
    ]


def layer_rows(comparison: Comparison) -> list[list[str]]:
    """One row for each layer: each run's cycles, from the second run on with the change over the first."""
    rows = []
    for layer in comparison.layers:
        first = layer.costs[0]
        texts = [count(first.cycles if first else None)]
        for cost in layer.costs[1:]:
            change = f" ({change_text(first.cycles, cost.cycles)})" if first and cost and first.cycles else ""
            texts.append(count(cost.cycles if cost else None) + change)
        rows.append([layer.name, *texts])
    return rows


def change_text(before: float, after: float) -> str:
    """``after`` over ``before`` as ``+12.5%``, with two decimals where it is small."""
    change = 100 * (after / before - 1)
    return f"{change:+.{2 if 0 < abs(change) < 0.1 else 1}f}%"


def value_text(value: Any) -> str:
    """An option's value; a dash where a run has none."""
    return NONE if value is None else str(value)


def _metric_text(metric: Metric, value: float | None) -> str:
    if value is None:
        return NONE
    if metric.unit == "" and (isinstance(value, int) or value >= 1000):
        return count(value)
    return f"{value:,.2f}" if metric.unit == "%" else f"{value:,.4g}" if value < 1000 else count(value)
