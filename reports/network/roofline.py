"""The roofline: the throughput of each layer against the ceilings of the array and the loader."""

from __future__ import annotations

import math
from typing import Any

from skipstone.mapper.results.network import NetworkResult
from skipstone.reports.network.definitions import ROOFLINE_COLUMNS
from skipstone.reports.network.layer_keys import BOUNDS, bound_colour, bound_keys, bounds
from skipstone.reports.network.summary import decimals, percent
from skipstone.reports.web.figures import (
    LABEL_HEIGHT,
    LETTER_WIDTH,
    NOTE_FONT,
    Figure,
    Grid,
    Numbers,
    log_ticks,
    neighbours,
    place_labels,
    plot_text,
)

ROOFLINE_HEIGHT = 500
ROOFLINE_AREA = (720.0, 420.0)

LINE_STEPS = 240
NEIGHBOURS = 26.0
LABEL_LIMIT = 34


def roofline_figure(result: NetworkResult) -> Figure:
    """Useful multiply-accumulates per cycle over those per loaded byte, with the ceilings of the array and the loader."""
    pes = result.parameters["rows"] * result.parameters["cols"]
    bytes_per_cycle = result.parameters["load_width"] * result.parameters["activation_bits"] / 8
    points = [
        # Utilization is of the layer alone: cycles in a network are fewer by what a layer does ahead of its turn.
        (number, layer, float(layer.operations_per_byte), layer.utilization * pes)
        for number, layer in enumerate(result.layers, 1)
        if layer.operations_per_byte and layer.utilization
    ]
    ridge = pes / bytes_per_cycle
    low_x = min([x for *_, x, _ in points] + [ridge]) / 2
    high_x = max([x for *_, x, _ in points] + [ridge]) * 2.5
    low_y = min([y for *_, y in points] + [pes / 8]) / 2
    high_y = pes * 1.8
    spans = ((math.log10(low_x), math.log10(high_x)), (math.log10(low_y), math.log10(high_y)))
    places = [(_pixel(x, spans[0], ROOFLINE_AREA[0]), _pixel(y, spans[1], ROOFLINE_AREA[1])) for *_, x, y in points]
    names: list[tuple[str, ...]] = [()] * len(points)
    for group in neighbours(places, NEIGHBOURS):
        names[group[0]] = _point_labels([(points[index][0], points[index][1].name) for index in group])
    array_note = f"{pes} PEs: {pes} MACs a cycle"
    loader_note = f"loader: {bytes_per_cycle:g} bytes a cycle"
    # The loader's note ends at the middle of the visible part of the slope, the array's at the right end of the flat.
    middle_x = math.sqrt(max(low_x, low_y / bytes_per_cycle) * ridge)
    notes = [(high_x, pes, array_note), (middle_x, middle_x * bytes_per_cycle, loader_note)]
    blocked = []
    for x, y, note in notes:
        right, low = _pixel(x, spans[0], ROOFLINE_AREA[0]), _pixel(y, spans[1], ROOFLINE_AREA[1])
        blocked.append((right - LETTER_WIDTH * len(note) - 8, low, right, low + LABEL_HEIGHT + 4))
    for step in range(LINE_STEPS + 1):
        x = low_x * (high_x / low_x) ** (step / LINE_STEPS)
        across, up = (
            _pixel(x, spans[0], ROOFLINE_AREA[0]),
            _pixel(min(pes, x * bytes_per_cycle), spans[1], ROOFLINE_AREA[1]),
        )
        blocked.append((across - 2, up - 2, across + 2, up + 2))
    texts = place_labels(places, names, *ROOFLINE_AREA, blocked)
    shown_bounds = bounds(result)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "meta": "ceiling",
            "x": [low_x, ridge, high_x],
            "y": [low_x * bytes_per_cycle, pes, pes],
            "hoverinfo": "skip",
        }
    ]
    for bound in shown_bounds:
        shown = [(point, text) for point, text in zip(points, texts, strict=True) if point[1].bound == bound]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "meta": bound_colour(bound),
                "marker": {
                    "size": 11,
                    "symbol": ("circle", "square", "diamond", "triangle-up")[BOUNDS.index(bound) % 4],
                },
                "x": [x for (*_, x, _), _ in shown],
                "y": [y for (*_, y), _ in shown],
                "text": [plot_text(text) for _, (text, _) in shown],
                "textposition": [position for _, (_, position) in shown],
                "customdata": [f"#{number} {plot_text(layer.name)}" for (number, layer, *_), _ in shown],
                "hovertemplate": "%{customdata}<br>%{y:,.4~r} useful MACs a cycle<br>%{x:,.4~r} useful MACs a byte"
                f"<extra>{plot_text(bound)}-bound</extra>",
                "cliponaxis": False,
            }
        )
    left_out = [layer.name for layer in result.layers if not (layer.operations_per_byte and layer.utilization)]
    caption = (
        f"The slope is the loader's ceiling ({bytes_per_cycle:g} bytes a cycle), the flat line the array's ({pes} PEs)."
        " No layer is above; the closer it is to the line, the less it loses. Each as if it ran alone."
        + (f" Not shown, without MACs on the array: {', '.join(left_out)}." if left_out else "")
    )
    return Figure(
        name="roofline",
        title="Roofline",
        caption=caption,
        height=ROOFLINE_HEIGHT,
        traces=traces,
        layout={
            "margin": {"l": 8, "r": 24, "t": 16, "b": 48},
            "xaxis": {
                "type": "log",
                "range": list(spans[0]),
                "title": {"text": "useful MACs for each byte loaded"},
                **log_ticks(low_x, high_x),
            },
            "yaxis": {
                "type": "log",
                "range": list(spans[1]),
                "title": {"text": "useful MACs a cycle"},
                **log_ticks(low_y, high_y),
                "automargin": True,
            },
            "meta": {
                "zoom": True,
                "plain": True,
                "narrow": {"annotations": [], "xaxis": {"nticks": 5, "tickvals": None, "ticktext": None, "dtick": 1}},
            },
            "annotations": [
                {
                    "x": math.log10(x),
                    "y": math.log10(y),
                    "xanchor": "right",
                    "yanchor": "bottom",
                    "xshift": -4,
                    "text": note,
                    "showarrow": False,
                    "font": {"size": NOTE_FONT},
                }
                for x, y, note in notes
            ],
        },
        keys=bound_keys(shown_bounds, first_trace=1),
        table=Grid(
            ("layer", "bound", "useful MACs a byte", "useful MACs a cycle", "ceiling", "reached"),
            tuple(
                (
                    *(layer.name, layer.bound, decimals(x), decimals(y), decimals(min(pes, x * bytes_per_cycle))),
                    percent(y / min(pes, x * bytes_per_cycle)),
                )
                for _, layer, x, y in points
            ),
            frozenset({0, 1}),
            ROOFLINE_COLUMNS,
        ),
        numbers=Numbers(
            ("layer", "bound", "useful_macs_per_byte", "useful_macs_per_cycle", "ceiling_macs_per_cycle"),
            tuple((layer.name, layer.bound, x, y, min(pes, x * bytes_per_cycle)) for _, layer, x, y in points),
        ),
    )


def _point_labels(points: list[tuple[int, str]]) -> tuple[str, ...]:
    """Labels for layers (number and name) whose points lie together, the best first: all names, all numbers, the first number."""
    names = ", ".join(name for _, name in points)
    numbers = ", ".join(f"#{number}" for number, _ in points)
    first = f"#{points[0][0]}" + (f" and {len(points) - 1} more" if len(points) > 1 else "")
    return (*(label for label in (names, numbers) if len(label) <= LABEL_LIMIT), first)


def _pixel(value: float, span: tuple[float, float], pixels: float) -> float:
    return (math.log10(value) - span[0]) / (span[1] - span[0]) * pixels
