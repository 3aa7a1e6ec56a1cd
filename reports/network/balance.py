"""How evenly the array's rows are loaded: rows by layers for the network, and rows by windows for one layer at a time."""

from __future__ import annotations

from statistics import fmean

from skipstone.mapper.results.network import LayerResult, NetworkResult
from skipstone.reports.network.definitions import BALANCE_COLUMNS
from skipstone.reports.network.summary import count, decimals, percent, share
from skipstone.reports.web.figures import (
    HEAT,
    NARROW_NAME_LIMIT,
    Figure,
    Grid,
    Key,
    Numbers,
    bar_height,
    plot_text,
    shortened,
)

ROW_HEIGHT = 20
LEAST_HEIGHT, MOST_HEIGHT = 260, 620


def balance_figures(result: NetworkResult) -> tuple[Figure, ...]:
    """Heat maps of rows by layers and of rows by windows; none where the result has no ``row_entries``."""
    layers = [layer for layer in result.layers if layer.row_entries]
    return (_overview(layers), _windows(layers)) if layers else ()


def row_totals(layer: LayerResult) -> list[int]:
    """Entries of a tile that each row issues."""
    return [sum(row) for row in layer.row_entries]


def balance(layer: LayerResult) -> float | None:
    """Mean over fullest row: the share of the slowest row's time in which a row has work, on average. None without entries."""
    totals = row_totals(layer)
    return share(fmean(totals), max(totals)) if totals else None


def _overview(layers: list[LayerResult]) -> Figure:
    names = [layer.name for layer in layers]
    totals = [row_totals(layer) for layer in layers]
    relative = [[value / (max(row) or 1) for value in row] for row in totals]
    return Figure(
        name="balance",
        title="Balance of the rows",
        caption="Entries that each row of the array issues in a layer, as a share of the layer's fullest row. A row with less "
        "work goes on to the next windows, and waits once it is as many windows ahead of the slowest row as a PE holds.",
        height=bar_height(names),
        traces=[
            {
                "type": "heatmap",
                "z": relative,
                "x": list(range(len(relative[0]))),
                "y": list(range(len(names))),
                "customdata": [
                    [plot_text(layer.name, f"row {index}: {count(value)} entries") for index, value in enumerate(row)]
                    for layer, row in zip(layers, totals, strict=True)
                ],
                "hovertemplate": "%{customdata}<br>%{z:.1%} of the fullest row<extra></extra>",
                "colorscale": HEAT,
                "zmin": min(0.5, min(min(row) for row in relative)),
                "zmax": 1,
                "xgap": 1,
                "ygap": 1,
                "colorbar": {"tickformat": ".0%", "title": {"text": "of the fullest", "side": "right"}},
            }
        ],
        layout={
            "margin": {"l": 8, "r": 8, "t": 8, "b": 48},
            "xaxis": {"title": {"text": "row of the array"}, "fixedrange": True, "showgrid": False, "zeroline": False},
            "yaxis": {
                "tickvals": list(range(len(names))),
                "ticktext": [plot_text(shortened(name)) for name in names],
                "range": [len(names) - 0.5, -0.5],
                "fixedrange": True,
                "automargin": True,
                "showgrid": False,
                "zeroline": False,
            },
            "meta": {
                "narrow": {
                    "yaxis": {"ticktext": [plot_text(shortened(name, NARROW_NAME_LIMIT)) for name in names]},
                }
            },
        },
        keys=(),
        table=Grid(
            ("layer", *BALANCE_COLUMNS),
            tuple(
                (
                    layer.name,
                    *(count(max(row)), decimals(fmean(row), 1), count(min(row)), percent(balance(layer))),
                    percent(share(layer.cycles_by_cause.get("balance"), layer.model_cycles)),
                )
                for layer, row in zip(layers, totals, strict=True)
            ),
            definitions=BALANCE_COLUMNS,
        ),
        numbers=Numbers(
            ("layer", "row", "entries_of_a_tile"),
            tuple(
                (layer.name, index, value)
                for layer, row in zip(layers, totals, strict=True)
                for index, value in enumerate(row)
            ),
        ),
    )


def _windows(layers: list[LayerResult]) -> Figure:
    rows = max(len(layer.row_entries) for layer in layers)
    return Figure(
        name="windows",
        title="Work of the rows, window by window",
        caption="Entries of a tile that each row issues in each window of all passes; neighbouring windows together where there "
        "are many. A row may be as many windows ahead of the slowest as a PE holds, so that only longer runs of unequal work "
        "make rows wait.",
        height=min(max(LEAST_HEIGHT, 90 + ROW_HEIGHT * rows), MOST_HEIGHT),
        traces=[
            {
                "type": "heatmap",
                "z": [list(row) for row in layer.row_entries],
                "hovertemplate": f"{plot_text(layer.name)}<br>row %{{y}}, window %{{x}}{_group(layer)}"
                "<br>%{z:,} entries<extra></extra>",
                "colorscale": HEAT,
                "zmin": 0,
                "zmax": max(1, *(max(row) for row in layer.row_entries)),
                "xgap": 1 if len(layer.row_entries[0]) < 48 else 0,
                "ygap": 1,
                "colorbar": {"title": {"text": "entries", "side": "right"}},
            }
            for layer in layers
        ],
        layout={
            "margin": {"l": 8, "r": 8, "t": 8, "b": 48},
            "xaxis": {"title": {"text": "window"}, "showgrid": False, "zeroline": False},
            "yaxis": {
                "title": {"text": "row of the array"},
                "autorange": "reversed",
                "automargin": True,
                "showgrid": False,
                "zeroline": False,
                "fixedrange": True,
            },
            "meta": {
                "zoom": True,
                "choices": [{"xaxis": {"tick0": 0, "dtick": -(-len(layer.row_entries[0]) // 16)}} for layer in layers],
            },
        },
        keys=tuple(Key(layer.name, 0, (index,)) for index, layer in enumerate(layers)),
        table=Grid(
            ("layer", "windows", "shown", "fullest, one row and window", "emptiest, one row and window"),
            tuple(
                (
                    *(layer.name, count(layer.windows), count(len(layer.row_entries[0]))),
                    *(count(extreme([extreme(row) for row in layer.row_entries])) for extreme in (max, min)),
                )
                for layer in layers
            ),
        ),
        numbers=Numbers(
            ("layer", "row", "window", "entries_of_a_tile"),
            tuple(
                (layer.name, row, window, value)
                for layer in layers
                for row, values in enumerate(layer.row_entries)
                for window, value in enumerate(values)
            ),
        ),
        choose="Layer",
    )


def _group(layer: LayerResult) -> str:
    """For a hover label: how many windows are added up in those shown."""
    shown = len(layer.row_entries[0])
    return f" (of {layer.windows:,} in {shown})" if layer.windows is not None and layer.windows > shown else ""
