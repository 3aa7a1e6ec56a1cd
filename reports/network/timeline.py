"""The plots of the array's schedule over time: the whole network with its overlapping layers, and one layer with the causes of
its rows' waits.

They are drawn from a ``Timeline``, whose times are exact; captions name what is drawn together or left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from skipstone.mapper.results.network import CAUSES, NetworkResult
from skipstone.mapper.results.timeline import (
    BALANCE_WAIT,
    DRAIN,
    DRAIN_WAIT,
    DRAINS,
    HELD,
    INPUT_WAIT,
    ISSUE,
    KINDS,
    LEFT_OUT,
    LOAD,
    LOAD_WAIT,
    LOADER,
    ROW_WAITS,
    SETUP,
    SLOT_WAIT,
    START_WAIT,
    Event,
    LayerSpan,
    Timeline,
    unit_name,
)
from skipstone.reports.network.intervals import merge_intervals
from skipstone.reports.network.summary import count
from skipstone.reports.web.figures import COLOURS, Figure, Grid, Key, Numbers, plot_text, shortened

BARS = 4000
"""Most bars of a plot: a page with both plots stays below 1.5 MB."""
LANES = 32
"""Most lanes of rows."""
LANE_HEIGHT, MARGINS = 20, 84
LAYER_LANES = 2
LAYER_COLOURS = COLOURS - 1
"""So many layers have colours of their own; those of the next repeat them."""

COLOUR_OF = {
    ISSUE: CAUSES.index("compute"),
    BALANCE_WAIT: CAUSES.index("balance"),
    LOAD_WAIT: CAUSES.index("load"),
    DRAIN_WAIT: CAUSES.index("drain"),
    START_WAIT: CAUSES.index("fill"),
    LOAD: 9,
    SLOT_WAIT: CAUSES.index("balance"),
    INPUT_WAIT: CAUSES.index("fill"),
    SETUP: 7,
    HELD: 8,
    DRAINS: 10,
}
"""Waits have the colours of the causes that they count for in the plot of cycles."""

WORK = (LOAD, ISSUE, DRAINS, HELD)


@dataclass(frozen=True)
class Bar:
    """A bar in ``lane`` from cycle ``begin`` to ``end - 1``; in ``work`` of these cycles, the mean of the lane's units, there is
    work."""

    lane: int
    series: int
    begin: int
    end: int
    work: float
    text: str


def timeline_figures(timeline: Timeline, result: NetworkResult) -> tuple[Figure, ...]:
    """The plot of the network, and that of the longest layer with events, if there is one."""
    longest = max(timeline.chosen, key=lambda index: timeline.layers[index].cycles.cycles, default=None)
    figures = (schedule_figure(timeline, result),)
    return figures if longest is None else (*figures, layer_figure(timeline, longest, result))


def schedule_figure(timeline: Timeline, result: NetworkResult) -> Figure:
    """Layers, loader, rows and drain over the cycles of the network, coloured by layer."""
    lanes = _Lanes(timeline.design.rows)
    spans = [
        Bar(index % LAYER_LANES, index % LAYER_COLOURS, span.load_begin, span.written + 1, 0, span.name)
        for index, span in enumerate(timeline.layers)
    ]
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in timeline.events:
        if event.kind in (LOAD, ISSUE, DRAINS):
            groups.setdefault((lanes.of(event.unit), event.layer), []).append((event.begin, event.end))
    gap, merged = merge_intervals(groups, BARS)
    bars = [
        Bar(lane, layer % LAYER_COLOURS, begin, end, cycles / lanes.units(lane), timeline.layers[layer].name)
        for (lane, layer), intervals in merged.items()
        for begin, end, cycles in intervals
    ]
    # What has no events is drawn as a bar a lane, whose work is known all the same.
    ends: dict[tuple[int, int], list[Event]] = {}
    for event in timeline.events:
        if event.kind == LEFT_OUT:
            ends.setdefault((lanes.of(event.unit), event.layer), []).append(event)
    repeated = [
        Bar(
            lane,
            layer % LAYER_COLOURS,
            min(event.begin for event in events),
            max(event.end for event in events),
            sum(timeline.layers[layer].unrecorded_work[event.unit] for event in events) / lanes.units(lane),
            f"{timeline.layers[layer].name}, {events[0].amount:,} more tiles",
        )
        for (lane, layer), events in ends.items()
    ]
    series = sorted({bar.series for bar in spans})
    traces = [_trace([bar for bar in (*spans, *bars) if bar.series == colour], colour, named=True) for colour in series]
    repeats = len(timeline.layers) > LAYER_COLOURS
    keys = [] if repeats else [Key(shortened(bar.text), bar.series, (series.index(bar.series),)) for bar in spans]
    for colour in sorted({bar.series for bar in repeated}):
        trace = _trace([bar for bar in repeated if bar.series == colour], colour)
        traces.append(trace | {"opacity": 0.55})
        keys = [replace(key, traces=(*key.traces, len(traces) - 1)) if key.colour == colour else key for key in keys]
    caption = (
        "When each layer is loaded, computed and written. Where its input allows, a layer begins before the one ahead has ended. "
        + (f"A lane of rows stands for {lanes.together} rows. " if lanes.together > 1 else "")
        + (f"Pauses shorter than {gap:,} cycles are drawn as work; hover shows how many cycles work. " if gap else "")
        + (f"Colours repeat after {LAYER_COLOURS} layers; hover names the layer. " if repeats else "")
        + _cut_text(timeline.cut)
        + _time_text(result)
    )
    return Figure(
        name="schedule",
        title="The schedule",
        caption=caption.strip(),
        height=MARGINS + LANE_HEIGHT * len(lanes.names),
        traces=traces,
        layout=_layout(lanes.names, 0, timeline.end),
        keys=tuple(keys),
        table=_layer_table(timeline),
        numbers=Numbers(
            ("lane", "layer", "begin (cycle)", "end (cycle, not included)", "working (cycles, mean of the lane's units)"),
            tuple((lanes.names[bar.lane] or lanes.names[0], bar.text, bar.begin, bar.end, bar.work or None)
                  for bar in (*spans, *bars, *repeated)),
        ),
    )  # fmt: skip


def layer_figure(timeline: Timeline, layer: int, result: NetworkResult) -> Figure:
    """One layer: what loader, window slots, rows and drain do, and why rows wait."""
    span = timeline.layers[layer]
    together = -(-timeline.design.rows // LANES)
    units = [unit for unit in timeline.units if unit < 0 or unit % together == 0]
    lanes = [unit_name(unit) for unit in units]
    events = [event for event in timeline.events if event.layer == layer and event.unit in set(units)]
    tiles = _fitting_tiles(events, span)
    shown = [event for event in events if event.tile < tiles and event.kind != LEFT_OUT]
    bars = [
        Bar(
            units.index(event.unit),
            list(COLOUR_OF).index(event.kind),
            event.begin,
            event.end,
            event.end - event.begin,
            _event_text(event, span),
        )
        for event in shown
    ]
    kinds = [kind for kind in COLOUR_OF if any(event.kind == kind for event in shown)]
    # Work is drawn over waits: a short load between long waits stays visible.
    drawn = sorted(kinds, key=lambda kind: kind in WORK)
    traces = [
        _trace([bar for bar in bars if bar.series == list(COLOUR_OF).index(kind)], COLOUR_OF[kind]) for kind in drawn
    ]
    ended = max((event.end for event in shown), default=span.written + 1)
    caption = (
        f"Layer {span.name}: the loader fills windows, a window's slot is held until its slowest row has left it, and "
        "rows issue an entry a cycle or wait. "
        + (f"One of every {together} rows is drawn. " if together > 1 else "")
        + (
            f"Drawn are the first {tiles:,} of {span.tiles:,} tiles; the table counts the whole layer. "
            if tiles < span.tiles
            else ""
        )
        + _time_text(result)
    )
    return Figure(
        name="layer-schedule",
        title=f"The schedule of {span.name}",
        caption=caption.strip(),
        height=MARGINS + LANE_HEIGHT * len(lanes),
        traces=traces,
        layout=_layout(lanes, min((event.begin for event in shown), default=span.load_begin), ended),
        keys=tuple(
            Key(kind.replace("_", " "), COLOUR_OF[kind], (drawn.index(kind),), KINDS[kind]) for kind in kinds
        ),
        table=_row_table(timeline, layer),
        numbers=Numbers(
            ("unit", "kind", "begin (cycle)", "end (cycle, not included)", "pass", "tile y", "tile x", "window", "amount"),
            tuple(
                (
                    unit_name(event.unit), event.kind, event.begin, event.end, *span.place(event.tile),
                    event.window if event.window >= 0 else None, event.amount or None,
                )
                for event in shown
            ),
        ),
    )  # fmt: skip


# Helpers --------------------------------------------------------------------------------------------------------------


class _Lanes:
    """The lanes of the network's plot: two of layers, the loader, at most ``LANES`` of rows (``together`` in each), the drain."""

    def __init__(self, rows: int) -> None:
        self.together = -(-rows // LANES)
        firsts = range(0, rows, self.together)
        lasts = [min(first + self.together, rows) - 1 for first in firsts]
        self._sizes = [last - first + 1 for first, last in zip(firsts, lasts, strict=True)]
        names = [
            unit_name(first) if first == last else f"rows {first} to {last}"
            for first, last in zip(firsts, lasts, strict=True)
        ]
        self.names = ["layers", "", unit_name(LOADER), *names, unit_name(DRAIN)]
        self._fixed = {LOADER: LAYER_LANES, DRAIN: len(self.names) - 1}

    def of(self, unit: int) -> int:
        """The lane of a unit."""
        return self._fixed.get(unit, LAYER_LANES + 1 + unit // self.together)

    def units(self, lane: int) -> int:
        """How many units share a lane."""
        row_lane = lane - LAYER_LANES - 1
        return self._sizes[row_lane] if 0 <= row_lane < len(self._sizes) else 1


def _fitting_tiles(events: Sequence[Event], span: LayerSpan) -> int:
    """How many of a layer's first tiles can be drawn with all their events."""
    bars = [0] * (span.recorded + 1)
    for event in events:
        bars[min(event.tile, span.recorded)] += 1
    fitting = total = 0
    for number in bars[: span.recorded]:
        total += number
        if total > BARS and fitting:
            break
        fitting += 1
    return fitting


def _trace(bars: Sequence[Bar], colour: int, named: bool = False) -> dict[str, Any]:
    """Bars of one colour; with ``named``, bars of layers have their names written in where there is room."""
    trace: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "meta": colour,
        "y": [bar.lane for bar in bars],
        "base": [bar.begin for bar in bars],
        "x": [bar.end - bar.begin for bar in bars],
        "customdata": [[plot_text(bar.text), *_span_text(bar)] for bar in bars],
        "hovertemplate": "%{customdata[0]}<br>cycles %{customdata[1]}%{customdata[2]}<extra></extra>",
        "marker": {"line": {"width": 0}},
        "width": 0.8,
    }
    if named:
        trace |= {
            "text": [plot_text(bar.text) if bar.lane < LAYER_LANES else "" for bar in bars],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
        }
    return trace


def _span_text(bar: Bar) -> tuple[str, str]:
    length = bar.end - bar.begin
    works = f", {bar.work / length:.0%} of them work" if 0 < bar.work < length else ""
    return f"{bar.begin:,} to {bar.end - 1:,} ({length:,})", works


def _event_text(event: Event, span: LayerSpan) -> str:
    pass_number, y, x = span.place(event.tile)
    amounts = {LOAD: "words", HELD: "words", ISSUE: "entries", DRAINS: "steps"}
    parts = [
        f"{unit_name(event.unit)}: {event.kind.replace('_', ' ')}",
        *([f"{event.amount:,} {amounts[event.kind]}"] if event.kind in amounts else []),
        *([f"pass {pass_number}"] if span.passes > 1 else []),
        f"tile {y}, {x}",
        *([f"window {event.window}"] if event.window >= 0 else []),
    ]
    return ", ".join(parts)


def _layout(lanes: Sequence[str], begin: int, end: int) -> dict[str, Any]:
    return {
        "barmode": "overlay",
        "bargap": 0.2,
        "dragmode": "zoom",
        "uniformtext": {"minsize": 9, "mode": "hide"},
        "margin": {"l": 8, "r": 16, "t": 8, "b": 48},
        "xaxis": {
            "title": {"text": "cycles from start"},
            "range": [begin, end],
            "fixedrange": False,
            "separatethousands": True,
            "exponentformat": "none",
        },
        "yaxis": {
            "tickvals": list(range(len(lanes))),
            "ticktext": [plot_text(lane) for lane in lanes],
            "range": [len(lanes) - 0.5, -0.5],
            "fixedrange": True,
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "ticklabelstandoff": 6,
        },
        "meta": {"zoom": True},
    }


def _layer_table(timeline: Timeline) -> Grid:
    """When each layer ran, and how long it overlapped with the one before."""
    rows = []
    for index, span in enumerate(timeline.layers):
        before = (
            timeline.layers[index - 1].written if index and timeline.layers[index - 1].segment == span.segment else None
        )
        overlap = 0 if before is None else max(0, before + 1 - span.load_begin)
        rows.append(
            (
                span.name,
                *(f"{begin:,} to {end - 1:,}" for begin, end in (
                    (span.load_begin, span.load_end), (span.issue_begin, span.issue_end), (span.drain_begin, span.drain_end)
                )),
                count(span.written),
                count(span.cycles.cycles),
                count(overlap),
                count(span.tiles),
            )
        )  # fmt: skip
    return Grid(
        ("layer", "loaded in", "issued in", "drained in", "written in", "cycles", "overlap", "tiles"),
        tuple(rows),
        definitions={
            "loaded in": "cycles from the loader's first word to its last",
            "issued in": "cycles from the first entry that a row issues to the last",
            "drained in": "cycles from the first drain step to the last",
            "written in": "the cycle that writes the last result",
            "cycles": "from the last result of the layer before to its own",
            "overlap": "cycles from the loader's first word to the last result of the layer before",
        },
    )


def _row_table(timeline: Timeline, layer: int) -> Grid:
    """Cycles of each row by what it did, over all recorded tiles of a layer."""
    kinds = (ISSUE, *ROW_WAITS)
    sums = {row: dict.fromkeys(kinds, 0) for row in range(timeline.design.rows)}
    for event in timeline.events:
        if event.layer == layer and event.unit >= 0 and event.kind in kinds:
            sums[event.unit][event.kind] += event.end - event.begin
    span = timeline.layers[layer]
    scope = "the layer" if span.recorded == span.tiles else f"the first {span.recorded:,} of {span.tiles:,} tiles"
    return Grid(
        ("row", *(f"{kind.replace('_', ' ')} (cycles)" for kind in kinds)),
        tuple((unit_name(row), *(count(sums[row][kind]) for kind in kinds)) for row in sums),
        definitions={f"{kind.replace('_', ' ')} (cycles)": f"{KINDS[kind]}; cycles in {scope}" for kind in kinds},
    )


def _cut_text(cut: Sequence[LayerSpan]) -> str:
    if not cut:
        return ""
    missing = sum(span.tiles - span.recorded for span in cut)
    return (
        f"Of {len(cut)} layers the first tiles are drawn one by one, and {missing:,} more as one lighter bar a lane; hover shows "
        "in how many of its cycles there is work. "
    )


def _time_text(result: NetworkResult) -> str:
    if not result.frequency_mhz:
        return ""
    return f"At {result.frequency_mhz:g} MHz, 1,000 cycles take {1000 / result.frequency_mhz:.3g} us."
