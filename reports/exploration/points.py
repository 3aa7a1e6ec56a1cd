"""The points of an exploration as plain values for the page's scripts, which draw everything that the filter changes."""

from __future__ import annotations

from typing import Any

from skipstone.mapper.results.exploration import ExplorationResult
from skipstone.reports.exploration.formulas import FORMULAS
from skipstone.reports.exploration.pareto import broken_text
from skipstone.reports.exploration.summary import metrics
from skipstone.reports.network.summary import NONE

LOG_FROM = 8.0
"""An axis starts logarithmic where the largest value is at least so many times the least."""


def page_points(result: ExplorationResult) -> dict[str, Any]:
    """Metrics and parameters with their values at each point, and the points themselves; for JSON.

    A metric's value is None where a point lacks it; a parameter's value is the number of its choice.
    """
    return {
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "word": metric.word,
                "formula": FORMULAS.get(metric.name, ""),
                "unit": metric.unit,
                "decimals": metric.decimals,
                "best": metric.best,
                "objective": any(each.name == metric.name for each in result.objectives),
                "log": metric.name != "accuracy" and metric.low > 0 and metric.high / metric.low >= LOG_FROM,
                "values": [
                    None if (value := point.metrics.get(metric.name)) is None else value * metric.scale
                    for point in result.points
                ],
                "limits": [
                    {"op": each.op, "limit": each.limit * metric.scale}
                    for each in result.constraints
                    if each.name == metric.name
                ],
            }
            for metric in metrics(result)
        ],
        "parameters": [
            _parameter(result, name) for name in dict.fromkeys(name for p in result.points for name in p.parameters)
        ],
        "points": [
            {
                "number": point.number,
                "design": point.design,
                "front": point.on_front,
                "feasible": point.feasible,
                "breaks": broken_text(result, point),
            }
            for point in result.points
        ],
    }


def _parameter(result: ExplorationResult, name: str) -> dict[str, Any]:
    """A parameter's choices as text, those of the space first, and at each point the number of its choice."""
    texts = [str(point.parameters[name]) if name in point.parameters else NONE for point in result.points]
    used = set(texts)
    choices = [choice for choice in map(str, result.space.get(name, ())) if choice in used]
    choices += [text for text in dict.fromkeys(texts) if text not in choices]
    numbers = {text: index for index, text in enumerate(choices)}
    return {
        "name": name,
        "varies": len(choices) > 1,
        "choices": choices,
        "values": [numbers[text] for text in texts],
    }
