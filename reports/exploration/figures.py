"""The exploration's plots: front and parallel coordinates, which the page's scripts fill, and those that they leave alone:
which parameters matter, the hypervolume, and how many points meet each constraint."""

from __future__ import annotations

from collections.abc import Mapping

from skipstone.mapper.results.exploration import ExplorationResult, front_first, varying_parameters
from skipstone.reports.exploration.formulas import column_formulas
from skipstone.reports.exploration.summary import constraint_text, met, metrics
from skipstone.reports.network.summary import NONE, count, percent
from skipstone.reports.web.figures import (
    COLOURS,
    Figure,
    Grid,
    Key,
    Numbers,
    Value,
    bar_height,
    bar_layout,
    colour,
    plot_text,
    stacked_bars,
)

FRONT_HEIGHT, PARALLEL_HEIGHT, HYPERVOLUME_HEIGHT = 540, 500, 340
OBJECTIVE_BAR = 16
COLOUR_STEPS = 8
"""Of the page's heat scale, as in ``parallel.js``."""
MARKS = (("breaks a constraint", 4), ("feasible", 5), ("on the front", 0))
"""Kinds of points and their colours, drawn in this order."""


def front_figure(result: ExplorationResult) -> Figure:
    """The front. Its traces are the line of the two metrics' front, then ``MARKS``, empty until ``front.js`` fills them; its
    numbers are all points, its table those on the front."""
    marks = MARKS if any(not point.feasible for point in result.points) else MARKS[1:]
    shown = metrics(result)
    varying = varying_parameters(result.points)
    front = [point for point in front_first(result.points) if point.on_front]
    return Figure(
        name="front",
        title="Pareto front",
        caption="Each mark is a point: hover over it for its numbers, click it to find it in the table below. Diamonds are on "
        "the front of all objectives; the line is the front of the two metrics shown. Drag to select points, double-click to "
        "clear the selection.",
        height=FRONT_HEIGHT,
        traces=[
            {"type": "scatter", "mode": "lines", "x": [], "y": []},
            *({"type": "scatter", "mode": "markers", "meta": series, "x": [], "y": []} for _, series in MARKS),
        ],
        layout={"margin": {"l": 8, "r": 16, "t": 12, "b": 48}},
        keys=tuple(
            Key(name, series, (index,)) for index, (name, series) in enumerate(MARKS, 1) if (name, series) in marks
        ),
        table=Grid(
            ("point", *(metric.title for metric in shown), *varying),
            tuple(
                (
                    str(point.number),
                    *(metric.of(point) for metric in shown),
                    *(str(point.parameters.get(name, NONE)) for name in varying),
                )
                for point in front
            ),
            definitions=column_formulas(shown),
        ),
        numbers=point_numbers(result),
    )


def point_numbers(result: ExplorationResult) -> Numbers:
    """Every point with its parameters and metrics, in the units of the result."""
    measured = [metric.name for metric in metrics(result)]
    # A chosen frequency is also a figure of its point; it has one column.
    names = dict.fromkeys(name for point in result.points for name in point.parameters if name not in measured)

    def plain(value: object) -> Value:
        return value if isinstance(value, str | int | float) else None if value is None else str(value)

    return Numbers(
        ("number", "design", "feasible", "on_front", *names, *measured),
        tuple(
            (
                point.number,
                point.design,
                str(point.feasible).lower(),
                str(point.on_front).lower(),
                *(plain(point.parameters.get(name)) for name in names),
                *(point.metrics.get(name) for name in measured),
            )
            for point in result.points
        ),
    )


def parallel_figure(result: ExplorationResult) -> Figure:
    """Parallel coordinates. Its traces are what the filter leaves out, one for each step of the colour scale, and a helper, empty
    until ``parallel.js`` fills them."""
    choices = {
        name: list(dict.fromkeys(str(point.parameters.get(name, NONE)) for point in result.points))
        for name in varying_parameters(result.points)
    }
    return Figure(
        name="parallel",
        title="Parallel coordinates",
        caption="Each line is a point. Drag a box over a part of one or more axes to keep the lines that cross there; "
        "double-click to clear it. The filter's fields do the same.",
        height=PARALLEL_HEIGHT,
        traces=[{"type": "scatter", "mode": "lines", "x": [], "y": []} for _ in range(COLOUR_STEPS + 2)],
        layout={"margin": {"l": 60, "r": 40, "t": 84, "b": 16}},
        keys=(),
        table=Grid(
            ("axis", "from", "to", "choices met"),
            (
                *((name, "", "", ", ".join(met)) for name, met in choices.items()),
                *(
                    (metric.title, f"{metric.low:,.{metric.decimals}f}", f"{metric.high:,.{metric.decimals}f}", "")
                    for metric in metrics(result)
                ),
            ),
            frozenset({0, 3}),
        ),
        numbers=point_numbers(result),
    )


def exploration_figures(result: ExplorationResult) -> list[Figure]:
    """The plots that no script fills, as far as the result has data for them."""
    return [
        figure
        for figure in (_importance(result), _hypervolume(result), _constraints(result))
        if figure is not None and figure.table.rows
    ]


def _importance(result: ExplorationResult) -> Figure | None:
    """Importance of the parameters, the most important first, with a bar for each objective."""
    words = {metric.name: metric.word for metric in metrics(result)}
    objectives = [each.name for each in result.objectives if result.importance.get(each.name)]
    parameters = dict.fromkeys(name for each in objectives for name in result.importance[each])
    order = sorted(parameters, key=lambda name: -sum(result.importance[each].get(name, 0.0) for each in objectives))
    if not order:
        return None
    series = [
        (words.get(each, each), [100 * result.importance[each].get(name, 0.0) for name in order]) for each in objectives
    ]
    layout = bar_layout(order, "share of the objective's variance, %", [])
    largest = max((max(values) for _, values in series), default=1.0)
    layout |= {"barmode": "group", "bargap": 0.3}
    layout["meta"]["narrow"]["xaxis"]["title"] = {"text": "share of the variance, %"}
    layout["xaxis"]["range"] = layout["meta"]["narrow"]["xaxis"]["range"] = [0, 1.05 * largest or 1.0]
    return Figure(
        name="importance",
        title="Which parameters matter",
        caption="How much of the variance of each objective, over all points tried, each parameter explains. Choose a "
        "parameter with a long bar with care; one without a bar can be as cheap as possible. The shares are estimates from these "
        "points.",
        height=bar_height(order) + OBJECTIVE_BAR * len(order) * max(0, len(objectives) - 1),
        traces=stacked_bars(order, series, "%"),
        layout=layout,
        keys=tuple(Key(name, index % COLOURS, (index,)) for index, (name, _) in enumerate(series)),
        table=Grid(
            ("parameter", *(f"{name}, %" for name, _ in series)),
            tuple((name, *(f"{values[i]:.1f}" for _, values in series)) for i, name in enumerate(order)),
        ),
        numbers=Numbers(
            ("parameter", *(f"{each}_share" for each in objectives)),
            tuple((name, *(float(result.importance[each].get(name, 0.0)) for each in objectives)) for name in order),
        ),
    )


def _hypervolume(result: ExplorationResult) -> Figure | None:
    """The front's hypervolume over the trials of the search."""
    if not result.hypervolume:
        return None
    trials = [trial for trial, _ in result.hypervolume]
    values = [value for _, value in result.hypervolume]
    shown = {metric.name: metric for metric in metrics(result)}

    def corner(values: Mapping[str, float]) -> str:
        return ", ".join(
            f"{shown[name].word} {shown[name].with_unit(value)}" if name in shown else f"{name} {value:g}"
            for name, value in values.items()
        )

    last = values[-1] or 1.0
    late = next((trial for trial, value in result.hypervolume if value >= 0.99 * last), trials[-1])
    return Figure(
        name="hypervolume",
        title="Hypervolume over trials",
        caption="The share of the box between the best and the worst value of each objective that the front dominates"
        + (f": from {corner(result.ideal)}" if result.ideal else "")
        + (f" to {corner(result.reference)}" if result.reference else "")
        + f". Where it is flat, more trials no longer help: 99% of its last value is reached after {count(late)} of "
        f"{count(trials[-1])} trials.",
        height=HYPERVOLUME_HEIGHT,
        traces=[
            {
                "type": "scatter",
                "mode": "lines",
                "meta": 0,
                "name": "hypervolume",
                "line": {"shape": "hv", "width": 2, "color": colour(0)},
                "x": trials,
                "y": [float(value) for value in values],
                "hovertemplate": "after %{x:,} trials: %{y:.4~g}<extra></extra>",
            }
        ],
        layout={
            "margin": {"l": 8, "r": 24, "t": 16, "b": 48},
            "xaxis": {"title": {"text": "trials"}, "fixedrange": True, "separatethousands": True},
            "yaxis": {
                "title": {"text": "hypervolume"},
                "fixedrange": True,
                "automargin": True,
                "rangemode": "tozero",
            },
        },
        keys=(),
        table=Grid(
            ("trials", "hypervolume"), tuple((count(trial), f"{value:.6g}") for trial, value in result.hypervolume)
        ),
        numbers=Numbers(("trials", "hypervolume"), tuple((trial, float(value)) for trial, value in result.hypervolume)),
    )


def _constraints(result: ExplorationResult) -> Figure | None:
    """How many points meet each constraint."""
    if not result.constraints or not result.points:
        return None
    shown = {metric.name: metric for metric in metrics(result)}
    counted = met(result)
    labels = [constraint_text(each.constraint, shown[each.constraint.name]) for each in counted]
    labels.append("all of them")
    points = len(result.points)
    feasible = sum(point.feasible for point in result.points)
    meeting = [*(each.met for each in counted), feasible]
    notes = [(float(points), f"{count(value)} of {count(points)}") for value in meeting]
    series = [("meets it", meeting), ("breaks it", [points - value for value in meeting])]
    traces = stacked_bars(labels, series, "points")
    traces[0]["meta"], traces[1]["meta"] = 3, 4
    for trace in traces:
        trace["customdata"] = [plot_text(label) for label in labels]
    layout = bar_layout(labels, "points", notes)
    layout["xaxis"]["range"] = [0, 1.2 * points]
    layout["meta"]["narrow"]["xaxis"]["range"] = [0, 1.8 * points]
    layout["xaxis"]["tickformat"] = ",d"
    return Figure(
        name="constraints",
        title="Constraints",
        caption="How many of the points tried meet each constraint. A point that breaks one constraint alone would be feasible "
        "without it.",
        height=bar_height(labels),
        traces=traces,
        layout=layout,
        keys=(Key("meets it", 3, (0,)), Key("breaks it", 4, (1,))),
        table=Grid(
            ("constraint", "points that meet it", "share", "break only this one"),
            (
                *(
                    (label, count(each.met), percent(each.met / points), count(each.breaks_alone))
                    for label, each in zip(labels, counted, strict=False)
                ),
                (labels[-1], count(feasible), percent(feasible / points), ""),
            ),
        ),
        numbers=Numbers(
            ("metric", "op", "limit", "met", "points", "break_only_this"),
            tuple(
                (each.constraint.name, each.constraint.op, each.constraint.limit, each.met, points, each.breaks_alone)
                for each in counted
            ),
        ),
    )
