"""The Pareto front of an exploration as a table for the terminal, readable at 120 columns."""

from __future__ import annotations

from rich import box
from rich.table import Table

from skipstone.mapper.results.exploration import ExplorationPoint, ExplorationResult, varying_parameters
from skipstone.reports.exploration.summary import Metric, constraint_text, headline, metrics, named_metrics
from skipstone.reports.network.summary import NONE
from skipstone.reports.network.tables import cell

WIDTH = 118
ROWS = 30
NEAREST = 5


def pareto_table(result: ExplorationResult, rows: int = ROWS) -> Table:
    """The front as a table, sorted by the first objective; where no point is feasible, the points nearest to it.

    Columns are the parameters that vary and the metrics of objectives and constraints, and the clock if it differs.

    Args:
        result: the exploration.
        rows: how many points are shown at most.
    """
    front = [point for point in result.points if point.on_front]
    feasible = bool(front) or not result.points
    shown = _ordered(result, front) if feasible else nearest(result)[:NEAREST]
    columns = named_metrics(result)
    varying = varying_parameters(result.points)
    left_out = len(shown) - rows
    caption = headline(result)
    if left_out > 0:
        caption += f" The first {rows} are shown."
    if not feasible:
        caption += " Shown are the nearest."
    clock = next((metric for metric in metrics(result) if metric.name == "frequency_mhz"), None)
    if clock is not None and clock.low == clock.high:
        caption += f" All are at {clock.with_unit(clock.low)}."
    if result.ended:
        caption += f"\n{result.ended}"
    table = Table(
        title=cell(f"{result.network}: {'Pareto front' if feasible else 'no point meets all constraints'}"),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption=cell("\n".join((caption, *result.diagnosis)) if not feasible else caption),
    )
    table.add_column("no.", justify="right", no_wrap=True)
    separate = feasible and _fits(shown[:rows], varying, columns)
    if separate:
        for name in varying:
            table.add_column(cell(_header(name)), justify="right", overflow="fold")
    elif varying:
        table.add_column("parameters", overflow="fold", min_width=24)
    for metric in columns:
        table.add_column(cell(metric.title.replace(", ", "\n")), justify="right", no_wrap=True)
    if not feasible:
        table.add_column("breaks", overflow="fold", min_width=16)
    for point in shown[:rows]:
        values = [str(point.parameters.get(name, NONE)) for name in varying]
        together = ", ".join(f"{name} {value}" for name, value in zip(varying, values, strict=True))
        table.add_row(
            str(point.number),
            *(map(cell, values) if separate else [cell(together)] if varying else []),
            *(metric.of(point) for metric in columns),
            *([] if feasible else [cell(broken_text(result, point))]),
        )
    return table


def nearest(result: ExplorationResult) -> list[ExplorationPoint]:
    """All points, sorted by how far they miss the constraints: the sum of violations over limits."""
    limits = {each.name: abs(each.limit) or 1.0 for each in result.constraints}

    def distance(point: ExplorationPoint) -> float:
        return sum(
            constraint.violation(point.metrics[constraint.name]) / limits[constraint.name]
            if constraint.name in point.metrics
            else float("inf")
            for constraint in result.constraints
        )

    return sorted(result.points, key=lambda point: (distance(point), point.number))


def broken_text(result: ExplorationResult, point: ExplorationPoint) -> str:
    """Which constraints a point breaks, and by how much."""
    by_name = {metric.name: metric for metric in metrics(result)}
    return "; ".join(
        f"{constraint_text(constraint, metric)} (has {metric.of(point)})"
        for constraint in result.constraints
        if (metric := by_name.get(constraint.name)) is not None
        and constraint.violation(point.metrics.get(constraint.name, constraint.limit))
    )


def _ordered(result: ExplorationResult, front: list[ExplorationPoint]) -> list[ExplorationPoint]:
    if not result.objectives:
        return front
    first = result.objectives[0]
    sign = -1 if first.direction == "maximize" else 1
    return sorted(front, key=lambda p: (sign * p.metrics.get(first.name, float("inf")), p.number))


def _header(name: str) -> str:
    """A parameter's name, long ones on two lines."""
    return name if len(name) <= 8 else name.replace("_", "\n", 1)


def _fits(points: list[ExplorationPoint], varying: list[str], columns: list[Metric]) -> bool:
    """Whether a column for each parameter leaves the table within ``WIDTH``."""
    width = 5
    for name in varying:
        values = [len(str(point.parameters.get(name, NONE))) for point in points]
        width += 1 + max(max(map(len, _header(name).split("\n"))), *values, 0)
    for metric in columns:
        heads = [len(part) for part in metric.title.split(", ")]
        width += 1 + max(*heads, *(len(metric.of(point)) for point in points), 0)
    return width <= WIDTH
