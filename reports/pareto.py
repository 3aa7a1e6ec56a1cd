"""The outcome of a design-space exploration: a terminal table of its front, an HTML page with a plot of all points."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from reports.exploration import ExplorationPoint, front_first, varying_parameters
from reports.figures import Figure, Grid, Key, Numbers, log_ticks, place_labels
from reports.page import Card, cards_html, figure_html, rows_html, table_html, write_page
from reports.summary import NONE, count, nanojoules, percent, square_millimetres
from reports.tables import cell

HEIGHT = 520
AREA = (860.0, 440.0)
LABELLED = 60
LOG_FROM = 8.0
DOT = 4.0


@dataclass(frozen=True)
class Objective:
    """An axis: a field of ``ExplorationPoint`` in the unit in which it is shown."""

    title: str
    value: Callable[[ExplorationPoint], float | None]
    text: Callable[[ExplorationPoint], str]


OBJECTIVES = {
    "cycles": Objective("cycles", lambda point: point.cycles, lambda point: count(point.cycles)),
    "energy_pj": Objective(
        "energy, nJ", lambda point: point.energy_pj / 1000, lambda point: nanojoules(point.energy_pj)
    ),
    "area_um2": Objective(
        "area (proxy), mm²", lambda point: point.area_um2 / 1e6, lambda point: square_millimetres(point.area_um2)
    ),
    "accuracy": Objective(
        "accuracy, %",
        lambda point: None if point.accuracy is None else 100 * point.accuracy,
        lambda point: percent(point.accuracy, 2),
    ),
}
"""What a point can be plotted by."""


def pareto_table(points: Sequence[ExplorationPoint], everything: bool = False) -> Table:
    """The points on the front, from the fewest cycles up; with ``everything`` the others too, below them."""
    front = sum(point.on_front for point in points)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption=f"{front} of {len(points)} points are on the front (*)" if points else "no points",
    )
    table.add_column("", no_wrap=True)
    table.add_column("no.", justify="right", no_wrap=True)
    table.add_column("design", overflow="fold", min_width=8)
    table.add_column("differs in", overflow="fold", min_width=14)
    table.add_column("pruning", overflow="fold", min_width=8)
    for title in ("cycles", "nJ", "mm²", "accuracy"):
        table.add_column(title, justify="right", no_wrap=True)
    varying = varying_parameters(points)
    for point in front_first(points):
        if point.on_front or everything:
            table.add_row(
                "*" if point.on_front else "",
                str(point.number),
                cell(point.design),
                cell(", ".join(f"{name} {point.parameters[name]}" for name in varying if name in point.parameters)),
                cell(point.pruning),
                *(objective.text(point) for objective in OBJECTIVES.values()),
            )
    return table


def write_exploration(
    points: Sequence[ExplorationPoint],
    path: Path,
    x: str = "cycles",
    y: str = "energy_pj",
    title: str = "Exploration",
    explanation: str = "",
) -> None:
    """Writes a page with the points listed and plotted by ``x`` and ``y`` (of ``OBJECTIVES``), whole or not at all.

    ``explanation`` is plain text for the summary. ValueError for another name; OSError where ``path`` can't be written.
    """
    figure = pareto_figure(points, x, y)
    front = [point for point in points if point.on_front]
    varying = varying_parameters(points)
    others = [point for point in front_first(points) if not point.on_front]
    cards = [
        Card("points", count(len(points)), f"{len(front)} on the front"),
        Card("fewest cycles", *_best(points, "cycles", min)),
        Card("least energy, nJ", *_best(points, "energy_pj", min)),
        Card("least area, mm²", *_best(points, "area_um2", min)),
        Card("best accuracy", *_best(points, "accuracy", max)),
    ]
    shared = [
        (name, str(value))
        for name, value in (points[0].parameters.items() if points else ())
        if name not in (*varying, "name", "description")
    ]
    sections = [
        ("summary", "Summary", cards_html(cards) + f'<p class="explanation">{html.escape(explanation)}</p>'),
        (figure.name, figure.title, figure_html(figure)),
        ("points", "Points on the front", table_html(_grid(front_first(front), varying), "Points on the front")),
        *(
            [
                (
                    "others",
                    "Other points",
                    f"<details><summary>{len(others):,} points that some other point beats</summary>"
                    f"{table_html(_grid(others, varying), 'Other points')}</details>",
                )
            ]
            if others
            else []
        ),
        *([("shared", "Parameters that all points share", rows_html(shared))] if shared else []),
    ]
    header = (
        f'<h1>{html.escape(title)}</h1><p class="lead">{len(points):,} points, {len(front):,} of them on the front.</p>'
    )
    write_page(path, f"{title}: Skipstone", sections, header, [figure])


def pareto_figure(points: Sequence[ExplorationPoint], x: str, y: str) -> Figure:
    """All points by two objectives; those on the front are filled and, while they are few, numbered."""
    for name in (x, y):
        if name not in OBJECTIVES:
            raise ValueError(f"unknown objective '{name}'; known are {', '.join(OBJECTIVES)}")
    across, up = OBJECTIVES[x], OBJECTIVES[y]
    placed = [
        (point, left, high)
        for point in front_first(points)
        if (left := across.value(point)) is not None and (high := up.value(point)) is not None
    ]
    missing = len(points) - len(placed)
    axes = [
        _axis(across.title, [left for _, left, _ in placed]),
        _axis(up.title, [high for *_, high in placed]),
    ]
    front = [(point, left, high) for point, left, high in placed if point.on_front]
    others = [(point, left, high) for point, left, high in placed if not point.on_front]
    texts = [("", "top center")] * len(front)
    if len(front) <= LABELLED:
        places, taken = (
            [(_share(left, axes[0]) * AREA[0], _share(high, axes[1]) * AREA[1]) for _, left, high in group]
            for group in (front, others)
        )
        blocked = [(left - DOT, high - DOT, left + DOT, high + DOT) for left, high in taken]
        texts = place_labels(places, [(str(point.number),) for point, *_ in front], *AREA, blocked)
    traces = [
        _scatter(
            "other", others, [("", "top center")] * len(others), {"size": 8, "symbol": "circle", "opacity": 0.55}, 5
        ),
        _scatter("on the front", front, texts, {"size": 12, "symbol": "diamond"}, 0),
    ]
    for trace in traces:
        trace["hovertemplate"] = "%{customdata}<extra></extra>"
    return Figure(
        name="pareto",
        title=f"{up.title.split(',')[0].capitalize()} against {across.title.split(',')[0]}".replace(" (proxy)", ""),
        caption="Each mark is one costed design and pruning. A point is on the front if no other is better in every "
        "objective searched, which may be more than the two shown."
        + (f" {missing:,} points without accuracy are not shown." if missing else ""),
        height=HEIGHT,
        traces=traces,
        layout={
            "margin": {"l": 8, "r": 24, "t": 16, "b": 48},
            "xaxis": axes[0],
            "yaxis": axes[1] | {"automargin": True},
        },
        keys=(Key("on the front", 0, (1,)), Key("other", 5, (0,))),
        table=Grid(
            ("no.", "design", "pruning", across.title, up.title, "on the front"),
            tuple(
                (
                    str(point.number),
                    point.design,
                    point.pruning,
                    across.text(point),
                    up.text(point),
                    "yes" if point.on_front else "no",
                )
                for point, *_ in placed
            ),
            frozenset({1, 2, 5}),
        ),
        numbers=Numbers(
            ("number", "design", "pruning", *OBJECTIVES, "on_front"),
            tuple(
                (
                    *(point.number, point.design, point.pruning),
                    *(getattr(point, name) for name in OBJECTIVES),
                    int(point.on_front),
                )
                for point, *_ in placed
            ),
        ),
    )


def _scatter(
    name: str,
    placed: Sequence[tuple[ExplorationPoint, float, float]],
    texts: Sequence[tuple[str, str]],
    marker: dict[str, Any],
    colour: int,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "meta": colour,
        "name": name,
        "marker": marker,
        "x": [float(left) for _, left, _ in placed],
        "y": [float(high) for *_, high in placed],
        "text": [text for text, _ in texts],
        "textposition": [position for _, position in texts],
        "customdata": [_hover(point) for point, *_ in placed],
        "cliponaxis": False,
    }


def _hover(point: ExplorationPoint) -> str:
    values = [f"{objective.title}: {objective.text(point)}" for objective in OBJECTIVES.values()]
    return "<br>".join(
        html.escape(text) for text in (f"{point.number}: {point.design}, {point.pruning}", *values) if NONE not in text
    )


def _axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    """An axis with room around ``values``; logarithmic where they differ much and all are positive."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    axis: dict[str, Any] = {"title": {"text": title}, "fixedrange": True, "separatethousands": True}
    if low > 0 and high / low >= LOG_FROM:
        room = (high / low) ** 0.06
        first, last = low / room, high * room
        return axis | {"type": "log", "range": [math.log10(first), math.log10(last)], **log_ticks(first, last)}
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return axis | {"type": "linear", "range": [low - room, high + room]}


def _share(value: float, axis: dict[str, Any]) -> float:
    low, high = axis["range"]
    place = math.log10(value) if axis["type"] == "log" else value
    return float((place - low) / (high - low))


def _best(points: Sequence[ExplorationPoint], name: str, best: Callable[..., ExplorationPoint]) -> tuple[str, str, str]:
    objective = OBJECTIVES[name]
    known = [point for point in points if objective.value(point) is not None]
    if not known:
        return NONE, "no data", ""
    point = best(known, key=objective.value)
    return objective.text(point), f"point {point.number}: {point.design}", ""


def _grid(points: Sequence[ExplorationPoint], varying: Sequence[str]) -> Grid:
    return Grid(
        ("no.", "design", "pruning", *varying, *(objective.title for objective in OBJECTIVES.values())),
        tuple(
            (
                str(point.number),
                point.design,
                point.pruning,
                *(str(point.parameters.get(name, NONE)) for name in varying),
                *(objective.text(point) for objective in OBJECTIVES.values()),
            )
            for point in points
        ),
        frozenset({1, 2}),
    )
