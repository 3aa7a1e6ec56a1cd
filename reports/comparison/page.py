"""The comparison of two or more runs: tables for the terminal and one HTML page, offline, its numbers as CSV beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from skipstone.mapper.results.network import CAUSES
from skipstone.reports.comparison.comparison import METRICS, ComparedLayer, Comparison, Metric
from skipstone.reports.network.compression import accuracies, interval
from skipstone.reports.network.definitions import CAUSE_FORMULAS, LAYER_COLUMNS, MEMORY_NAMES
from skipstone.reports.network.summary import (
    CAUSE_DEFINITIONS,
    NONE,
    cause_cycles,
    count,
    decimals,
    energy_by_part,
    nanojoules,
    percent,
)
from skipstone.reports.network.tables import cell
from skipstone.reports.web.figures import COLOURS, Figure, Grid, Key, Numbers, bar_height, bar_layout, stacked_bars
from skipstone.reports.web.page import Card, cards_html, figure_html, rows_html, table_html, write_page

GROUPED_BAR, GROUP_GAP = 13, 12


def comparison_tables(comparison: Comparison) -> list[Table]:
    """What came out, what was asked for differently, and cycles layer by layer."""
    labels = [run.label for run in comparison.runs]
    return [
        _terminal("", ("", *labels), _metric_rows(comparison)),
        *([_terminal("what differs", ("", *labels), _difference_rows(comparison))] if comparison.differences else []),
        _terminal("cycles of each layer", ("layer", *labels), [row for row, _ in _layer_rows(comparison)]),
    ]


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the page, whole or not at all; OSError where that can't be done."""
    labels = [run.label for run in comparison.runs]
    figures = comparison_figures(comparison)
    by_name = {figure.name: figure for figure in figures}
    definitions = {metric.name: metric.formula for metric in METRICS}
    totals = Grid(("", *labels), tuple(map(tuple, _metric_rows(comparison))))
    differences = Grid(
        ("", *labels), tuple(map(tuple, _difference_rows(comparison))), frozenset(range(len(labels) + 1))
    )
    groups = [
        ("cycles", "Cycles", [name for name in by_name if name.startswith(("cycles", "difference"))]),
        ("energy", "Energy", [name for name in by_name if name.startswith("energy")]),
        ("area", "Area", [name for name in by_name if name == "area"]),
        ("accuracy", "Accuracy", [name for name in by_name if name == "accuracy"]),
    ]
    sections = [
        (
            "summary",
            "Summary",
            cards_html(_cards(comparison)) + table_html(totals, "Totals") + _how(definitions),
        ),
        (
            "differences",
            "What differs",
            (
                table_html(differences, "What differs")
                if comparison.differences
                else "<p>Nothing that was asked for.</p>"
            )
            + f"<details><summary>what is the same</summary>{rows_html([(k, _text(v)) for k, v in comparison.same])}"
            "</details>",
        ),
        *(
            (
                f"section-{name}",
                heading,
                "".join(f"<h3>{html.escape(by_name[one].title)}</h3>{figure_html(by_name[one])}" for one in drawn),
            )
            for name, heading, drawn in groups
            if drawn
        ),
        ("layers", "Layers", _layer_table(comparison)),
        (
            "about",
            "About these numbers",
            rows_html([(cause, f"{CAUSE_DEFINITIONS[cause]}: {CAUSE_FORMULAS[cause]}") for cause in CAUSES])
            + "".join(
                f"<h3>{html.escape(run.label)}</h3>"
                + rows_html([("technology", run.result.technology), ("calibration", run.result.calibration)])
                for run in comparison.runs
            ),
        ),
    ]
    others = ", ".join(labels[1:]) if len(labels) <= 4 else f"{len(labels) - 1} runs"
    title = f"{others} against {labels[0]}"
    header = f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(_lead(comparison))}</p>'
    write_page(path, f"{title}: Skipstone comparison", sections, header, figures)


def comparison_figures(comparison: Comparison) -> tuple[Figure, ...]:
    """All plots, in reading order."""
    others = range(1, len(comparison.runs))
    return (
        _causes(comparison),
        _layer_cycles(comparison),
        *(_difference(comparison, other) for other in others if comparison.common),
        _energy(comparison),
        *([_area(comparison)] if all(run.result.area_terms for run in comparison.runs) else []),
        *([_accuracy(comparison)] if any(accuracies(run.result) for run in comparison.runs) else []),
    )


# Words and numbers ----------------------------------------------------------------------------------------------------


def _lead(comparison: Comparison) -> str:
    networks = dict.fromkeys(run.result.network for run in comparison.runs)
    designs = dict.fromkeys(run.result.design for run in comparison.runs)
    text = f"{' and '.join(networks)} on {' and '.join(designs)}. "
    if len(networks) > 1:
        text += "The networks differ: their cycles do different work. "
    return text + f"{comparison.common} of {len(comparison.layers)} layers occur in all runs, matched by name."


def _cards(comparison: Comparison) -> list[Card]:
    """The last runs against the first, where they are the same network."""
    first = comparison.runs[0]
    made = []
    for index, run in enumerate(comparison.runs[1:], 1):
        factor = comparison.speedup(index)
        before, after = first.result.total_energy_pj, run.result.total_energy_pj
        name = run.label if len(comparison.runs) > 2 else "speed-up"
        made.append(
            Card(
                name,
                NONE if factor is None else f"{factor:.2f}x",
                f"{run.label} over {first.label}",
                "",
                "another network"
                if factor is None
                else "cycles of the first / cycles of this = "
                f"{count(first.result.total_cycles)} / {count(run.result.total_cycles)}.",
            )
        )
        if len(comparison.runs) == 2 and before:
            made.append(
                Card(
                    "energy",
                    _change(before, after),
                    f"{nanojoules(before)} to {nanojoules(after)} nJ",
                    "",
                    "energy of the second / energy of the first - 1.",
                )
            )
            known = [accuracies(one.result) for one in comparison.runs]
            if all(known):
                points = 100 * (known[1][-1][1] - known[0][-1][1])
                made.append(
                    Card(
                        "accuracy",
                        f"{points:+.2f} points",
                        f"{percent(known[0][-1][1], 2)} to {percent(known[1][-1][1], 2)}",
                        "",
                        "accuracy of the second - accuracy of the first, in percentage points.",
                    )
                )
            area = [one.result.area_um2 for one in comparison.runs]
            if all(area):
                made.append(
                    Card(
                        "area",
                        _change(*area),
                        f"{area[0] / 1e6:.3f} to {area[1] / 1e6:.3f} mm²",
                        "",
                        "second / first - 1.",
                    )
                )
    return made


def _metric_rows(comparison: Comparison) -> list[list[str]]:
    """One row a metric that some run has: its values, and against the first run's."""
    rows = []
    for metric in METRICS:
        values = [metric.value(run.result) for run in comparison.runs]
        if all(value is None for value in values):
            continue
        first = values[0]
        texts = [_value(metric, first)]
        for value in values[1:]:
            against = ""
            if value is not None and first:
                against = f" ({value - first:+.2f})" if metric.unit == "%" else f" ({_change(first, value)})"
            texts.append(_value(metric, value) + against)
        rows.append([f"{metric.name}, {metric.unit}" if metric.unit else metric.name, *texts])
    return rows


def _value(metric: Metric, value: float | None) -> str:
    if value is None:
        return NONE
    if metric.unit == "":
        return count(value)
    return f"{value:,.2f}" if metric.unit == "%" else f"{value:,.4g}" if value < 1000 else count(value)


def _difference_rows(comparison: Comparison) -> list[list[str]]:
    return [[one.name, *(_text(value) for value in one.values)] for one in comparison.differences]


def _layer_rows(comparison: Comparison) -> list[tuple[list[str], ComparedLayer]]:
    """One row a layer: cycles of each run, and against the first run's."""
    rows = []
    for layer in comparison.layers:
        first = layer.costs[0]
        texts = [count(first.cycles if first else None)]
        for cost in layer.costs[1:]:
            against = f" ({_change(first.cycles, cost.cycles)})" if first and cost and first.cycles else ""
            texts.append(count(cost.cycles if cost else None) + against)
        rows.append(([layer.name, *texts], layer))
    return rows


def _layer_table(comparison: Comparison) -> str:
    labels = [run.label for run in comparison.runs]
    header = (
        "layer",
        *(f"cycles, {label}" for label in labels),
        *(f"energy, {label}, nJ" for label in labels),
        *(f"nonzeros, {label}" for label in labels),
    )
    rows = tuple(
        (
            *cycles,
            *(nanojoules(cost.energy_pj if cost else None) for cost in layer.costs),
            *(
                NONE
                if cost is None
                else f"{count(cost.nnz)} ({percent(cost.density, 0)})"
                if cost.density is not None
                else count(cost.nnz)
                for cost in layer.costs
            ),
        )
        for cycles, layer in _layer_rows(comparison)
    )
    definitions = {
        name: LAYER_COLUMNS[key]
        for key, start in (("cycles", "cycles"), ("energy, nJ", "energy"), ("nonzeros", "nonzeros"))
        for name in header
        if name.startswith(start)
    }
    return table_html(Grid(header, rows, definitions=definitions), "Layers")


def _how(definitions: dict[str, str]) -> str:
    return f'<details class="columns"><summary>how these are computed</summary>{rows_html(list(definitions.items()))}</details>'


def _change(before: float, after: float) -> str:
    change = 100 * (after / before - 1)
    return f"{change:+.{2 if 0 < abs(change) < 0.1 else 1}f}%"


def _text(value: Any) -> str:
    return NONE if value is None else str(value)


def _terminal(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(
        title=cell(title) if title else None, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False
    )
    for index, text in enumerate(header):
        table.add_column(cell(text), justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(text) for text in row))
    return table


# Plots ----------------------------------------------------------------------------------------------------------------


def _causes(comparison: Comparison) -> Figure:
    labels = [run.label for run in comparison.runs]
    cycles = [cause_cycles(run.result) for run in comparison.runs]
    series = [(cause, [one[cause] for one in cycles]) for cause in CAUSES]
    notes = [(float(run.result.total_cycles), count(run.result.total_cycles)) for run in comparison.runs]
    return Figure(
        name="cycles",
        title="Cycles by cause",
        caption="Where the cycles of the whole network go in each run. Only the first cause is useful work.",
        height=bar_height(labels),
        traces=stacked_bars(labels, series, "cycles"),
        layout=bar_layout(labels, "cycles", notes),
        keys=tuple(Key(cause, index, (index,), CAUSE_DEFINITIONS[cause]) for index, cause in enumerate(CAUSES)),
        table=Grid(
            ("run", *CAUSES, "cycles"),
            tuple(
                (run.label, *(decimals(one[cause], 1) for cause in CAUSES), count(run.result.total_cycles))
                for run, one in zip(comparison.runs, cycles, strict=True)
            ),
            definitions=CAUSE_FORMULAS,
        ),
        numbers=Numbers(
            ("run", *(f"{cause}_cycles" for cause in CAUSES), "total_cycles"),
            tuple(
                (run.label, *(one[cause] for cause in CAUSES), run.result.total_cycles)
                for run, one in zip(comparison.runs, cycles, strict=True)
            ),
        ),
    )


def _layer_cycles(comparison: Comparison) -> Figure:
    names = [layer.name for layer in comparison.layers]
    series = [
        (run.label, [float(cost.cycles) if (cost := layer.costs[index]) else 0.0 for layer in comparison.layers])
        for index, run in enumerate(comparison.runs)
    ]
    largest = max((value for _, values in series for value in values), default=1.0)
    layout = bar_layout(names, "cycles", [(largest, "")] * len(names))
    layout |= {"barmode": "group", "annotations": []}
    return Figure(
        name="cycles_of_layers",
        title="Cycles of each layer",
        caption="One bar a run; a layer that a run does not have on the array has none.",
        height=70 + len(names) * (GROUP_GAP + GROUPED_BAR * len(series)),
        traces=stacked_bars(names, series, "cycles"),
        layout=layout,
        keys=tuple(Key(label, index % COLOURS, (index,)) for index, (label, _) in enumerate(series)),
        table=Grid(
            ("layer", *(label for label, _ in series)),
            tuple(tuple(row) for row, _ in _layer_rows(comparison)),
        ),
        numbers=Numbers(
            ("layer", "run", "cycles", *(f"{cause}_cycles" for cause in CAUSES), "energy_pj", "nonzeros"),
            tuple(
                (
                    *(layer.name, run.label, cost.cycles),
                    *(cost.cycles_by_cause[cause] for cause in CAUSES),
                    *(cost.energy_pj, cost.nnz),
                )
                for layer in comparison.layers
                for run, cost in zip(comparison.runs, layer.costs, strict=True)
                if cost is not None
            ),
        ),
    )


def _difference(comparison: Comparison, other: int) -> Figure:
    """Cycles of another run less those of the first, layer by layer, by cause: to the left is faster."""
    first, run = comparison.runs[0], comparison.runs[other]
    pairs = [
        (layer.name, before, after)
        for layer in comparison.layers
        if (before := layer.costs[0]) is not None and (after := layer.costs[other]) is not None
    ]
    names = [name for name, *_ in pairs]
    series = [
        (cause, [after.cycles_by_cause[cause] - before.cycles_by_cause[cause] for _, before, after in pairs])
        for cause in CAUSES
    ]
    ends = [
        (sum(v[i] for _, v in series if v[i] < 0), sum(v[i] for _, v in series if v[i] > 0)) for i in range(len(names))
    ]
    low, high = min((end for end, _ in ends), default=0.0), max((end for _, end in ends), default=0.0)
    room = 0.2 * (high - low) or 1.0
    notes = [
        (end, f"{after.cycles - before.cycles:+,}") for (_, end), (_, before, after) in zip(ends, pairs, strict=True)
    ]
    layout = bar_layout(names, f"cycles of {run.label} less those of {first.label}", notes)
    layout["barmode"] = "relative"
    layout["xaxis"] |= {"range": [low - room / 4, high + room], "zeroline": True}
    layout["meta"]["narrow"]["xaxis"] |= {
        "range": [low - room / 4, high + 2 * room],
        "title": {"text": "cycles, difference"},
    }
    return Figure(
        name=f"difference_{other}",
        title=f"{run.label} against {first.label}, by cause",
        caption="Cycles gained (to the right) or saved (to the left) in each layer that both have, by cause; the number is the "
        "difference of the layer's cycles.",
        height=bar_height(names),
        traces=stacked_bars(names, series, "cycles"),
        layout=layout,
        keys=tuple(Key(cause, index, (index,)) for index, cause in enumerate(CAUSES)),
        table=Grid(
            ("layer", *CAUSES, "cycles"),
            tuple(
                (name, *(f"{values[index]:+,.1f}" for _, values in series), f"{after.cycles - before.cycles:+,}")
                for index, (name, before, after) in enumerate(pairs)
            ),
            definitions=dict.fromkeys(CAUSES, f"cycles of {run.label} - cycles of {first.label}"),
        ),
        numbers=Numbers(
            ("layer", *(f"{cause}_cycles" for cause in CAUSES), "cycles"),
            tuple(
                (name, *(values[index] for _, values in series), after.cycles - before.cycles)
                for index, (name, before, after) in enumerate(pairs)
            ),
        ),
    )


def _energy(comparison: Comparison) -> Figure:
    labels = [run.label for run in comparison.runs]
    by_part = [energy_by_part(run.result) for run in comparison.runs]
    parts = list(dict.fromkeys(part for one in by_part for part in one))
    series = [(part, [one.get(part, 0.0) / 1000 for one in by_part]) for part in parts]
    notes = [(sum(one.values()) / 1000, nanojoules(sum(one.values()))) for one in by_part]
    return Figure(
        name="energy",
        title="Energy by part",
        caption="Energy for one input in nJ: counts of the cycle model times energy per action. Each run's own report has every "
        "product with its source.",
        height=bar_height(labels),
        traces=stacked_bars(labels, series, "nJ"),
        layout=bar_layout(labels, "energy, nJ", notes),
        keys=tuple(Key(part, index % COLOURS, (index,)) for index, part in enumerate(parts)),
        table=Grid(
            ("run (nJ)", *parts, "total"),
            tuple(
                (label, *(nanojoules(one.get(part)) for part in parts), nanojoules(sum(one.values())))
                for label, one in zip(labels, by_part, strict=True)
            ),
        ),
        numbers=Numbers(
            ("run", *(f"{part}_pj" for part in parts)),
            tuple((label, *(one.get(part) for part in parts)) for label, one in zip(labels, by_part, strict=True)),
        ),
    )


def _area(comparison: Comparison) -> Figure:
    labels = [run.label for run in comparison.runs]
    areas: list[dict[str, float]] = []
    for run in comparison.runs:
        one: dict[str, float] = {}
        for term in run.result.area_terms:
            one[term.component] = one.get(term.component, 0.0) + term.area_um2 / 1e6
        areas.append(one)
    names = sorted(dict.fromkeys(n for one in areas for n in one), key=lambda n: -max(one.get(n, 0.0) for one in areas))
    notes = [(sum(one.values()), f"{sum(one.values()):.3f}") for one in areas]
    return Figure(
        name="area",
        title="Area by component",
        caption="Number of components times the area of one, in mm².",
        height=bar_height(labels),
        traces=stacked_bars(labels, [(name, [one.get(name, 0.0) for one in areas]) for name in names], "mm²"),
        layout=bar_layout(labels, "area, mm²", notes),
        keys=tuple(Key(MEMORY_NAMES.get(name, name).split(":")[0], i % COLOURS, (i,)) for i, name in enumerate(names)),
        table=Grid(
            ("run (mm²)", *names),
            tuple(
                (label, *(f"{one.get(n, 0.0):.4f}" for n in names)) for label, one in zip(labels, areas, strict=True)
            ),
        ),
        numbers=Numbers(
            ("run", *(f"{name}_mm2" for name in names)),
            tuple((label, *(one.get(name) for name in names)) for label, one in zip(labels, areas, strict=True)),
        ),
    )


def _accuracy(comparison: Comparison) -> Figure:
    known = [
        (run.label, accuracies(run.result)[-1], run.result.accuracy.images)
        for run in comparison.runs
        if accuracies(run.result)
    ]
    names = [f"{label} ({which})" for label, (which, _), _ in known]
    ends = [interval(value, images) if images else (value, value) for _, (_, value), images in known]
    traces = stacked_bars(names, [("accuracy", [100 * value for _, (_, value), _ in known])], "%")
    traces[0]["error_x"] = {
        "type": "data",
        "symmetric": False,
        "array": [100 * (high - value) for (_, (_, value), _), (_, high) in zip(known, ends, strict=True)],
        "arrayminus": [100 * (value - low) for (_, (_, value), _), (low, _) in zip(known, ends, strict=True)],
        "color": "var(--ink)",
        "thickness": 1.2,
    }
    notes = [(100 * high + 0.5, percent(value, 2)) for (_, (_, value), _), (_, high) in zip(known, ends, strict=True)]
    layout = bar_layout(names, "top-1 accuracy, %", notes)
    layout["xaxis"] |= {"range": [0, 112], "tickvals": [0, 20, 40, 60, 80, 100]}
    layout["meta"]["narrow"]["xaxis"] = {"range": [0, 130], "tickvals": [0, 50, 100]}
    return Figure(
        name="accuracy",
        title="Accuracy of the network that runs",
        caption="Top-1, with 95% confidence intervals (Wilson's score) for the number of images.",
        height=bar_height(names),
        traces=traces,
        layout=layout,
        keys=(),
        table=Grid(
            ("run", "network", "accuracy", "images", "95% from", "95% to"),
            tuple(
                (label, which, percent(value, 2), count(images), percent(low, 2), percent(high, 2))
                for (label, (which, value), images), (low, high) in zip(known, ends, strict=True)
            ),
            frozenset({0, 1}),
            {"accuracy": "right / images"},
        ),
        numbers=Numbers(
            ("run", "network", "accuracy", "images", "low_95", "high_95"),
            tuple(
                (label, which, value, images, low, high)
                for (label, (which, value), images), (low, high) in zip(known, ends, strict=True)
            ),
        ),
    )
