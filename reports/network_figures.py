"""The plots of a network's report: cycles by cause, utilization, energy by part, and the roofline."""

from __future__ import annotations

import html
import math
from typing import Any

from mapper.results import CAUSES, LayerResult, NetworkResult
from reports.figures import (
    COLOURS,
    LABEL_HEIGHT,
    LETTER_WIDTH,
    NOTE_FONT,
    Figure,
    Grid,
    Key,
    Numbers,
    bar_height,
    bar_layout,
    log_ticks,
    neighbours,
    place_labels,
    stacked_bars,
)
from reports.summary import (
    BOUND_DEFINITIONS,
    CAUSE_DEFINITIONS,
    count,
    decimals,
    energy_by_part,
    nanojoules,
    percent,
)

BOUNDS = tuple(bound for bound in BOUND_DEFINITIONS if bound != "host")
ROOFLINE_HEIGHT = 500
ROOFLINE_AREA = (720.0, 420.0)

NEIGHBOURS = 26.0
LABEL_LIMIT = 34


def network_figures(result: NetworkResult) -> tuple[Figure, ...]:
    """All plots, in reading order."""
    return cycles_figure(result), utilization_figure(result), energy_figure(result), roofline_figure(result)


def cycles_figure(result: NetworkResult) -> Figure:
    """Cycles of each layer by cause, stacked: a bar's length is the layer's cycles."""
    labels = _labels(result)
    series = [(cause, [layer.cycles_by_cause.get(cause, 0.0) for layer in result.layers]) for cause in CAUSES]
    notes = [
        (sum(layer.cycles_by_cause.values()), "host" if layer.on_host else count(layer.model_cycles))
        for layer in result.layers
    ]
    rows = tuple(
        (
            layer.name,
            *(_none_on_host(layer, decimals(layer.cycles_by_cause.get(cause, 0.0), 1)) for cause in CAUSES),
            count(layer.model_cycles),
        )
        for layer in result.layers
    )
    return Figure(
        name="cycles",
        title="Cycles of each layer, by cause",
        caption="Where the cycles of each layer go. Only the first cause is useful work; the others are what is lost.",
        height=bar_height(labels),
        traces=stacked_bars(labels, series, "cycles"),
        layout=bar_layout(labels, "cycles", notes),
        keys=tuple(Key(cause, index, (index,), CAUSE_DEFINITIONS[cause]) for index, cause in enumerate(CAUSES)),
        table=Grid(("layer", *CAUSES, "cycles"), rows),
        numbers=Numbers(
            ("layer", *(f"{cause}_cycles" for cause in CAUSES), "model_cycles"),
            tuple(
                (layer.name, *(layer.cycles_by_cause.get(cause) for cause in CAUSES), layer.model_cycles)
                for layer in result.layers
            ),
        ),
    )


def utilization_figure(result: NetworkResult) -> Figure:
    """Utilization of each layer, coloured by what bounds it."""
    labels = _labels(result)
    bounds = _bounds(result)
    series = [
        (bound, [100 * (layer.utilization or 0.0) if layer.bound == bound else 0.0 for layer in result.layers])
        for bound in bounds
    ]
    traces = [
        trace | {"meta": _bound_colour(bound)}
        for trace, bound in zip(stacked_bars(labels, series, "%"), bounds, strict=True)
    ]
    notes = [
        (100 * (layer.utilization or 0.0), "host" if layer.on_host else percent(layer.utilization))
        for layer in result.layers
    ]
    layout = bar_layout(labels, "useful work, % of PEs and cycles", notes)
    layout["xaxis"] |= {"range": [0, 109], "tickvals": [0, 20, 40, 60, 80, 100]}
    layout["meta"]["narrow"]["xaxis"] = {"range": [0, 130], "tickvals": [0, 50, 100]}
    return Figure(
        name="utilization",
        title="Utilization of each layer",
        caption="Useful multiply-accumulates over PEs times cycles. The colour says what bounds the layer.",
        height=bar_height(labels),
        traces=traces,
        layout=layout,
        keys=_bound_keys(bounds),
        table=Grid(
            ("layer", "bound", "utilization"),
            tuple(
                (layer.name, "host" if layer.on_host else layer.bound, percent(layer.utilization))
                for layer in result.layers
            ),
            frozenset({0, 1}),
        ),
        numbers=Numbers(
            ("layer", "bound", "utilization"),
            tuple((layer.name, layer.bound, layer.utilization) for layer in result.layers),
        ),
    )


def energy_figure(result: NetworkResult) -> Figure:
    """Energy of each layer by part, stacked, the part that takes most in the network first."""
    labels = _labels(result)
    parts = tuple(energy_by_part(result))
    series = [(part, [layer.energy_by_part.get(part, 0.0) / 1000 for layer in result.layers]) for part in parts]
    notes = [
        (sum(layer.energy_by_part.values()) / 1000, "host" if layer.on_host else nanojoules(layer.energy_pj))
        for layer in result.layers
    ]
    rows = tuple(
        (
            layer.name,
            *(_none_on_host(layer, nanojoules(layer.energy_by_part.get(part, 0.0))) for part in parts),
            nanojoules(layer.energy_pj),
        )
        for layer in result.layers
    )
    return Figure(
        name="energy",
        title="Energy of each layer, by part",
        caption="Energy for one input in nJ: actions counted by the cycle model times energy per action "
        f"({result.technology}).",
        height=bar_height(labels),
        traces=stacked_bars(labels, series, "nJ"),
        layout=bar_layout(labels, "energy, nJ", notes),
        keys=tuple(Key(part, index % COLOURS, (index,)) for index, part in enumerate(parts)),
        table=Grid(("layer (nJ)", *parts, "total"), rows),
        numbers=Numbers(
            ("layer", *(f"{part}_pj" for part in parts), "energy_pj"),
            tuple(
                (layer.name, *(layer.energy_by_part.get(part) for part in parts), layer.energy_pj)
                for layer in result.layers
            ),
        ),
    )


def roofline_figure(result: NetworkResult) -> Figure:
    """Useful multiply-accumulates a cycle over those a loaded byte, under the array's and the loader's ceilings."""
    pes = result.parameters["rows"] * result.parameters["cols"]
    bytes_per_cycle = result.parameters["load_width"] * result.parameters["activation_bits"] / 8
    points = [
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
    texts = place_labels(places, names, *ROOFLINE_AREA, blocked)
    bounds = _bounds(result)
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
    for bound in bounds:
        shown = [(point, text) for point, text in zip(points, texts, strict=True) if point[1].bound == bound]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "meta": _bound_colour(bound),
                "marker": {
                    "size": 11,
                    "symbol": ("circle", "square", "diamond", "triangle-up")[BOUNDS.index(bound) % 4],
                },
                "x": [x for (*_, x, _), _ in shown],
                "y": [y for (*_, y), _ in shown],
                "text": [html.escape(text) for _, (text, _) in shown],
                "textposition": [position for _, (_, position) in shown],
                "customdata": [f"#{number} {html.escape(layer.name)}" for (number, layer, *_), _ in shown],
                "hovertemplate": "%{customdata}<br>%{y:,.4~r} useful MACs a cycle<br>%{x:,.4~r} useful MACs a byte"
                f"<extra>{html.escape(bound)}-bound</extra>",
                "cliponaxis": False,
            }
        )
    left_out = [layer.name for layer in result.layers if not (layer.operations_per_byte and layer.utilization)]
    caption = (
        f"The slope is the loader's ceiling ({bytes_per_cycle:g} bytes a cycle), the flat line the array's ({pes} PEs)."
        " The closer a layer is to the line above it, the less it loses."
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
                "fixedrange": True,
            },
            "yaxis": {
                "type": "log",
                "range": list(spans[1]),
                "title": {"text": "useful MACs a cycle"},
                **log_ticks(low_y, high_y),
                "automargin": True,
                "fixedrange": True,
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
        keys=_bound_keys(bounds, first_trace=1),
        table=Grid(
            ("layer", "bound", "useful MACs a byte", "useful MACs a cycle", "ceiling"),
            tuple(
                (layer.name, layer.bound, decimals(x), decimals(y), decimals(min(pes, x * bytes_per_cycle)))
                for _, layer, x, y in points
            ),
            frozenset({0, 1}),
        ),
        numbers=Numbers(
            ("layer", "bound", "useful_macs_per_byte", "useful_macs_per_cycle", "ceiling_macs_per_cycle"),
            tuple((layer.name, layer.bound, x, y, min(pes, x * bytes_per_cycle)) for _, layer, x, y in points),
        ),
    )


def _point_labels(points: list[tuple[int, str]]) -> tuple[str, ...]:
    """Labels for layers (number and name) that lie together, the best first: all names, all numbers, the first."""
    names = ", ".join(name for _, name in points)
    numbers = ", ".join(f"#{number}" for number, _ in points)
    first = f"#{points[0][0]}" + (f" and {len(points) - 1} more" if len(points) > 1 else "")
    return (*(label for label in (names, numbers) if len(label) <= LABEL_LIMIT), first)


def _labels(result: NetworkResult) -> list[str]:
    return [layer.name for layer in result.layers]


def _none_on_host(layer: LayerResult, text: str) -> str:
    return count(None) if layer.on_host else text


def _bounds(result: NetworkResult) -> tuple[str, ...]:
    """The bounds that occur among the array's layers, in their usual order."""
    return tuple(b for b in BOUNDS if any(layer.bound == b and not layer.on_host for layer in result.layers))


def _bound_colour(bound: str) -> int:
    """A bound has the colour of the cause it is named after."""
    return CAUSES.index(bound)


def _bound_keys(bounds: tuple[str, ...], first_trace: int = 0) -> tuple[Key, ...]:
    return tuple(
        Key(bound, _bound_colour(bound), (first_trace + index,), BOUND_DEFINITIONS[bound])
        for index, bound in enumerate(bounds)
    )


def _pixel(value: float, span: tuple[float, float], pixels: float) -> float:
    return (math.log10(value) - span[0]) / (span[1] - span[0]) * pixels
