"""A sweep's plots: over one parameter, lines of what each value saves and costs; over two, a heat map of each metric."""

from __future__ import annotations

from typing import Any

from skipstone.mapper.results.sweep import SweepPoint, SweepResult
from skipstone.reports.exploration.summary import Metric
from skipstone.reports.sweep.words import change_text, columns, metrics_of, named
from skipstone.reports.web.figures import HEAT, Figure, Grid, Key, Numbers, plot_text

HEIGHT = 400
ROW_HEIGHT, MARGINS = 56, 120
COMPARED = ("cycles", "latency_us", "energy_pj", "area_um2")
_AXIS = {"fixedrange": True, "automargin": True, "zeroline": False}


def sweep_figures(result: SweepResult) -> tuple[Figure, ...]:
    """The changes over the reference and each metric by itself; of two parameters, a heat map of each metric."""
    return (_changes(result), _values(result)) if len(result.parameters) == 1 else (_heat_map(result),)


def _changes(result: SweepResult) -> Figure:
    (parameter,) = result.parameters
    points = _costed(result)
    by_name = {metric.name: metric for metric in metrics_of(result)}
    shown = [by_name[name] for name in COMPARED if name in by_name]
    clock = by_name["frequency_mhz"]
    if clock.low == clock.high:  # the latency goes with the cycles
        shown = [metric for metric in shown if metric.name != "latency_us"]
    reference = named(result.points[result.reference])
    return Figure(
        name="changes",
        title=f"What {parameter} saves and costs",
        caption=f"Each metric as a share of what it is with {reference}: below 100% is saved, above is paid.",
        height=HEIGHT,
        traces=[
            _line(
                parameter, points, metric.word, index, [100 + 100 * point.changes[metric.name] for point in points], "%"
            )
            for index, metric in enumerate(shown)
        ],
        layout=_layout(parameter, f"% of {reference}"),
        keys=tuple(Key(metric.word, index, (index,)) for index, metric in enumerate(shown)),
        table=Grid(
            (parameter, *(metric.word for metric in shown)),
            tuple(
                (str(point.values[parameter]), *(change_text(point.changes[metric.name]) for metric in shown))
                for point in points
            ),
        ),
        numbers=Numbers(
            (parameter, *(f"{metric.name}_change" for metric in shown)),
            tuple((point.values[parameter], *(point.changes[metric.name] for metric in shown)) for point in points),
        ),
    )


def _values(result: SweepResult) -> Figure:
    (parameter,) = result.parameters
    points = _costed(result)
    shown = _measured(result)
    return Figure(
        name="values",
        title=f"By {parameter}",
        caption="One metric at a time, as it is.",
        height=HEIGHT,
        traces=[
            _line(parameter, points, metric.title, index, [_scaled(metric, point) for point in points], metric.unit)
            for index, metric in enumerate(shown)
        ],
        layout={
            **_layout(parameter, shown[0].title),
            "meta": {"choices": [{"yaxis": {"title": {"text": plot_text(metric.title)}}} for metric in shown]},
        },
        keys=_keys(shown),
        table=_grid(result, shown),
        numbers=_numbers(result, shown),
        choose="Metric",
    )


def _heat_map(result: SweepResult) -> Figure:
    (down, down_values), (across, across_values) = result.parameters.items()
    shown = _measured(result)
    by_values = {tuple(point.values.values()): point for point in result.points}

    def cells(metric: Metric) -> list[list[float | None]]:
        return [[_scaled(metric, by_values[row, column]) for column in across_values] for row in down_values]

    def texts(metric: Metric) -> list[list[str]]:
        return [[_cell_text(metric, by_values[row, column]) for column in across_values] for row in down_values]

    hovers = [[plot_text(named(by_values[row, column])) for column in across_values] for row in down_values]
    return Figure(
        name="map",
        title=f"By {down} and {across}",
        caption="One metric at a time; a cell without a number can't be built or mapped, for the reason in the table.",
        height=MARGINS + ROW_HEIGHT * len(down_values),
        traces=[
            {
                "type": "heatmap",
                "z": cells(metric),
                "text": texts(metric),
                "texttemplate": "%{text}",
                "customdata": hovers,
                "x": [plot_text(str(value)) for value in across_values],
                "y": [plot_text(str(value)) for value in down_values],
                "hovertemplate": f"%{{customdata}}<br>{plot_text(metric.title)}: %{{text}}<extra></extra>",
                "colorscale": HEAT,
                "xgap": 2,
                "ygap": 2,
                "colorbar": {"title": {"text": plot_text(metric.title), "side": "right"}},
            }
            for metric in shown
        ],
        layout={
            "margin": {"l": 8, "r": 8, "t": 8, "b": 48},
            "xaxis": {**_AXIS, "type": "category", "title": {"text": plot_text(across)}, "showgrid": False},
            "yaxis": {
                **_AXIS,
                "type": "category",
                "title": {"text": plot_text(down)},
                "autorange": "reversed",
                "showgrid": False,
            },
        },
        keys=_keys(shown),
        table=_grid(result, shown),
        numbers=_numbers(result, shown),
        choose="Metric",
    )


def _line(
    parameter: str, points: list[SweepPoint], name: str, series: int, values: list[float | None], unit: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "meta": series,
        "marker": {"size": 8},
        "name": plot_text(name),
        "x": [plot_text(str(point.values[parameter])) for point in points],
        "y": values,
        "customdata": [plot_text(named(point)) for point in points],
        "hovertemplate": f"%{{customdata}}<br>{plot_text(name)}: %{{y:,.4~r}}{plot_text(unit and f' {unit}')}<extra></extra>",
    }


def _layout(across: str, up: str) -> dict[str, Any]:
    return {
        "margin": {"l": 8, "r": 24, "t": 16, "b": 48},
        "xaxis": {**_AXIS, "type": "category", "title": {"text": plot_text(across)}},
        "yaxis": {**_AXIS, "title": {"text": plot_text(up)}, "separatethousands": True},
    }


def _costed(result: SweepResult) -> list[SweepPoint]:
    return [point for point in result.points if not point.problem]


def _measured(result: SweepResult) -> list[Metric]:
    return [column.metric for column in columns(result)]


def _scaled(metric: Metric, point: SweepPoint) -> float | None:
    value = point.metrics.get(metric.name)
    return None if value is None else value * metric.scale


def _cell_text(metric: Metric, point: SweepPoint) -> str:
    return metric.text(point.metrics.get(metric.name)) if not point.problem else ""


def _keys(shown: list[Metric]) -> tuple[Key, ...]:
    return tuple(Key(metric.title, 0, (index,)) for index, metric in enumerate(shown))


def _grid(result: SweepResult, shown: list[Metric]) -> Grid:
    return Grid(
        (*result.parameters, *(metric.title for metric in shown)),
        tuple(
            (*map(str, point.values.values()), *(metric.text(point.metrics.get(metric.name)) for metric in shown))
            for point in result.points
        ),
        frozenset(range(len(result.parameters))),
    )


def _numbers(result: SweepResult, shown: list[Metric]) -> Numbers:
    return Numbers(
        (*result.parameters, *(metric.name for metric in shown)),
        tuple(
            (*point.values.values(), *(point.metrics.get(metric.name) for metric in shown)) for point in result.points
        ),
    )
