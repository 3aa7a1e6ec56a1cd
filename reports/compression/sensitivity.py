"""The sensitivity of a network's layers: a terminal table, and an HTML page with accuracy and saved cycles side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from skipstone.mapper.results.sensitivity import SensitivityPoint, SensitivityResult, What
from skipstone.reports.network.summary import NONE, count, percent
from skipstone.reports.network.tables import cell
from skipstone.reports.web.figures import COLOURS, Figure, Grid, Key, Numbers, plot_text
from skipstone.reports.web.page import FIGURES, TABLE, Card, Page, Section, page_html

HEIGHT = 460
SUMMARY = "reports/compression/templates/summary.html.j2"
TITLES: dict[What, str] = {"sparsity": "sparsity", "bits": "weight bits"}


@dataclass(frozen=True)
class SensitivitySummary:
    """Large figures of the network as it is, and how it was pruned and measured."""

    cards: tuple[Card, ...]
    rows: tuple[tuple[str, str], ...]


def sensitivity_table(result: SensitivityResult, what: What = "sparsity") -> Table:
    """A table for the terminal: a row for each layer; for each sparsity (or number of bits) the accuracy in %, and the share of
    the network's cycles that is saved."""
    table = Table(
        title=cell(f"{result.network} on {result.design}: each layer alone, by {TITLES[what]}"),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption=cell(
            f"accuracy in %, and cycles of the whole network that are saved; as it is: {percent(result.accuracy, 2)} and "
            f"{count(result.cycles)} cycles"
        ),
    )
    table.add_column("layer", overflow="fold", min_width=8)
    table.add_column("bound", no_wrap=True)
    for value in result.values(what):
        table.add_column(_value(what, value), justify="right", no_wrap=True)
        table.add_column("saved", justify="right", no_wrap=True)
    for layer in result.layers:
        points = {point.value: point for point in result.of(layer.name, what)}
        cells = []
        for value in result.values(what):
            point = points.get(value)
            cells += [NONE, NONE] if point is None else [f"{100 * point.accuracy:.1f}", _saved(result, point)]
        table.add_row(cell(layer.name), layer.bound, *cells)
    return table


def sensitivity_html(result: SensitivityResult) -> str:
    """The page as HTML."""
    return page_html(sensitivity_page(result))


def sensitivity_page(result: SensitivityResult) -> Page:
    """The page: accuracy and saved cycles as plots and tables, for sparsities and for bits as far as the result has them."""
    kinds: list[What] = [what for what in TITLES if result.values(what)]
    figures = tuple(figure for what in kinds for figure in sensitivity_figures(result, what))
    return Page(
        title=f"{result.network} on {result.design}: sensitivity",
        heading=f"Sensitivity of {result.network} on {result.design}",
        lead="Each layer compressed alone: what it costs in accuracy, and what it saves in cycles of the whole network.",
        sections=(
            Section("summary", "Summary", SUMMARY, _summary(result)),
            *(Section(figure.name, figure.title, FIGURES, (figure,)) for figure in figures),
            *(Section(f"{what}-points", f"By {TITLES[what]}", TABLE, _grid(result, what)) for what in kinds),
        ),
        figures=figures,
    )


def sensitivity_figures(result: SensitivityResult, what: What) -> tuple[Figure, ...]:
    """Plots with a line for each layer: accuracy over sparsity (or bits), and accuracy lost over cycles saved."""
    title = TITLES[what]
    over = _figure(
        result,
        what,
        f"{what}-accuracy",
        f"Accuracy by {title}",
        f"Top-1 accuracy of the float network when one layer alone is compressed, by that layer's {title}.",
        title if what == "bits" else f"{title}, %",
        "accuracy, %",
        [
            [point.value if what == "bits" else 100 * point.value for point in result.of(name, what)]
            for name in _names(result)
        ],
        [[100 * point.accuracy for point in result.of(name, what)] for name in _names(result)],
    )
    if result.cycles is None:
        return (over,)
    against = _figure(
        result,
        what,
        f"{what}-cycles",
        f"Accuracy lost against cycles saved, by {title}",
        "Further right saves more cycles of the whole network, further down costs less accuracy: the layers to compress first "
        "run along the bottom.",
        "cycles saved",
        "accuracy lost, percentage points",
        [[float(point.cycles_saved or 0) for point in result.of(name, what)] for name in _names(result)],
        [[100 * point.accuracy_lost for point in result.of(name, what)] for name in _names(result)],
    )
    return over, against


def _summary(result: SensitivityResult) -> SensitivitySummary:
    worst = min(result.points, key=lambda point: point.accuracy, default=None)
    return SensitivitySummary(
        cards=(
            Card("accuracy as it is", percent(result.accuracy, 2), f"float, {result.images:,} images"),
            Card("cycles as it is", count(result.cycles), result.design),
            Card(
                "largest loss",
                NONE if worst is None else f"{100 * worst.accuracy_lost:.1f} points",
                "" if worst is None else f"{worst.layer}, {_amount(worst)}",
            ),
        ),
        rows=(("pruning", result.method), *(("note", note) for note in result.notes)),
    )


def _figure(
    result: SensitivityResult,
    what: What,
    name: str,
    title: str,
    caption: str,
    x_title: str,
    y_title: str,
    xs: list[list[float]],
    ys: list[list[float]],
) -> Figure:
    names = _names(result)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "meta": index % COLOURS,
            "marker": {"size": 8, "symbol": ("circle", "square", "diamond")[index // COLOURS % 3]},
            "name": plot_text(layer),
            "x": x,
            "y": y,
            "customdata": [plot_text(f"{layer}, {_amount(point)}") for point in result.of(layer, what)],
            "hovertemplate": f"%{{customdata}}<br>{x_title}: %{{x:,.4~r}}<br>{y_title}: %{{y:.2f}}<extra></extra>",
        }
        for index, (layer, x, y) in enumerate(zip(names, xs, ys, strict=True))
    ]
    axis = {"fixedrange": True, "automargin": True, "zeroline": False}
    return Figure(
        name=name,
        title=title,
        caption=caption,
        height=HEIGHT,
        traces=traces,
        layout={
            "margin": {"l": 8, "r": 24, "t": 16, "b": 48},
            "xaxis": {**axis, "title": {"text": x_title}, "separatethousands": True},
            "yaxis": {**axis, "title": {"text": y_title}},
        },
        keys=tuple(Key(layer, index % COLOURS, (index,)) for index, layer in enumerate(names)),
        table=_grid(result, what),
        numbers=Numbers(
            ("layer", what, "accuracy", "accuracy_lost", "cycles", "cycles_saved"),
            tuple(
                (layer, point.value, point.accuracy, point.accuracy_lost, point.cycles, point.cycles_saved)
                for layer in names
                for point in result.of(layer, what)
            ),
        ),
    )


def _grid(result: SensitivityResult, what: What) -> Grid:
    values = result.values(what)
    header = ["layer", "kind", "bound", "weights", "MACs"]
    for value in values:
        header += [f"accuracy, {_value(what, value)}", "cycles saved"]
    rows = []
    for layer in result.layers:
        points = {point.value: point for point in result.of(layer.name, what)}
        row = [layer.name, layer.kind, layer.bound or NONE, count(layer.weights), count(layer.macs)]
        for value in values:
            point = points.get(value)
            row += [NONE, NONE] if point is None else [percent(point.accuracy, 2), count(point.cycles_saved)]
        rows.append(tuple(row))
    return Grid(tuple(header), tuple(rows), frozenset({0, 1, 2}))


def _names(result: SensitivityResult) -> list[str]:
    return [layer.name for layer in result.layers]


def _amount(point: SensitivityPoint) -> str:
    """How much a layer is compressed, in words."""
    return f"{point.value:g} bits" if point.what == "bits" else f"{percent(point.value, 0)} zeros"


def _value(what: What, value: float) -> str:
    return f"{value:g} b" if what == "bits" else percent(value, 0)


def _saved(result: SensitivityResult, point: SensitivityPoint) -> str:
    if point.cycles_saved is None or not result.cycles:
        return NONE
    return percent(point.cycles_saved / result.cycles)
