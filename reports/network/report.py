"""The report of one network on one design: a single HTML file for a browser, offline, light and dark, and its numbers as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skipstone.mapper.results.network import CAUSES, LayerResult, NetworkResult
from skipstone.reports.network.balance import balance_figures
from skipstone.reports.network.cards import cards
from skipstone.reports.network.compression import compression_figures
from skipstone.reports.network.cycles import cycles_figure, utilization_figure
from skipstone.reports.network.definitions import CAUSE_FORMULAS, LAYER_COLUMNS, SAVINGS_COLUMNS, TERMS
from skipstone.reports.network.energy import area_costs, energy_costs
from skipstone.reports.network.findings import findings
from skipstone.reports.network.memories import memory_figures
from skipstone.reports.network.roofline import roofline_figure
from skipstone.reports.network.summary import (
    BOUND_DEFINITIONS,
    CAUSE_DEFINITIONS,
    CHANGE_DEFINITIONS,
    count,
    decimals,
    density,
    macs,
    nanojoules,
    nonzeros,
    outputs_text,
    percent,
    share,
    speedup,
    summary_rows,
    tile_text,
    utilization,
)
from skipstone.reports.web.figures import Figure, Grid
from skipstone.reports.web.page import FIGURES, TABLE, Card, Page, Section, write_page

TEMPLATES = "reports/network/templates"

Rows = tuple[tuple[str, str], ...]
"""Names and values."""


@dataclass(frozen=True)
class NetworkSummary:
    """The head of the report: large figures, questions with their answers, and all figures in a list."""

    cards: tuple[Card, ...]
    findings: tuple[tuple[str, tuple[str, ...]], ...]
    rows: Rows


@dataclass(frozen=True)
class NetworkAbout:
    """What the numbers rest on and what their names mean."""

    calibration: str
    technology: str
    sources: Rows
    definitions: Rows
    causes: Rows
    bounds: Rows
    parameters: Grid
    actions: Grid


def write_report(result: NetworkResult, path: Path, explanation: str = "", figures: Sequence[Figure] = ()) -> None:
    """Writes the report and its CSV files, whole or not at all.

    Args:
        result: what the report is about.
        path: of the HTML file; the CSV files go to a folder beside it.
        explanation: plain text for a section of its own, line breaks kept.
        figures: of the schedule (``timeline_figures``), for a section of their own.

    Raises:
        OSError: a file can't be written.
    """
    write_page(report_page(result, explanation, figures), path)


def report_page(result: NetworkResult, explanation: str = "", figures: Sequence[Figure] = ()) -> Page:
    """The page that :func:`write_report` writes."""
    energy, area = energy_costs(result), area_costs(result)
    costs = f"{TEMPLATES}/costs.html.j2"
    groups = (
        ("cycles", "Cycles", FIGURES, (cycles_figure(result), utilization_figure(result)), None),
        ("schedule", "Schedule", FIGURES, tuple(figures), None),
        ("rows", "Work of the rows", FIGURES, balance_figures(result), None),
        ("roofline", "Roofline", FIGURES, (roofline_figure(result),), None),
        ("energy", "Energy", costs, energy.figures, energy),
        ("area", "Area", costs, area.figures, area),
        ("memory", "Memory map", FIGURES, memory_figures(result), None),
        ("compression", "Compression and accuracy", FIGURES, compression_figures(result), None),
    )
    return Page(
        title=f"{result.network} on {result.design_name}: Skipstone report",
        heading=f"{result.network} on {result.design_name}",
        lead=_lead(result),
        sections=(
            Section("summary", "Summary", f"{TEMPLATES}/summary.html.j2", _summary(result)),
            *(
                [Section("explanation", "Explanation", f"{TEMPLATES}/explanation.html.j2", explanation)]
                if explanation
                else []
            ),
            Section("layers", "Layers", TABLE, _layers(result)),
            Section("savings", "What would help", TABLE, _savings(result)),
            *(
                Section(f"section-{name}", heading, template, content or drawn)
                for name, heading, template, drawn, content in groups
                if drawn
            ),
            Section("about", "About these numbers", f"{TEMPLATES}/about.html.j2", _about(result)),
        ),
        figures=tuple(figure for _, _, _, drawn, _ in groups for figure in drawn),
    )


def _lead(result: NetworkResult) -> str:
    factor = speedup(result)
    against = (
        f", {factor:.2f} times as fast as the same network with every weight nonzero on the same array"
        if factor is not None
        else ""
    )
    return (
        f"One input takes {count(result.total_cycles)} cycles{against}, and {nanojoules(result.total_energy_pj)} nJ. "
        f"The array's {result.parameters['rows'] * result.parameters['cols']} PEs do useful work in "
        f"{percent(utilization(result))} of their cycles."
        + (f" Memories of the design were enlarged for it: {result.enlarged}." if result.enlarged else "")
    )


def _summary(result: NetworkResult) -> NetworkSummary:
    return NetworkSummary(tuple(cards(result)), tuple(findings(result)), tuple(summary_rows(result)))


def _layers(result: NetworkResult) -> Grid:
    """A row for each layer, and a footer with the network's sums."""
    rtl = any(layer.rtl_cycles is not None or layer.outputs_equal is not None for layer in result.layers)
    notes = any(layer.note for layer in result.layers)
    header = (
        *("layer", "#", "kind", "bound", "MACs", "nonzeros", "density", "cycles"),
        *(("RTL cycles", "RTL outputs") if rtl else ()),
        *(
            "cycles alone",
            "dense cycles",
            "utilization",
            "MACs skipped",
            "words loaded",
            "words skipped",
            "stall cycles",
        ),
        *("energy, nJ", "tile", "passes", "windows", "MACs per byte"),
        *(("note",) if notes else ()),
    )
    text = {0, 2, 3} | ({len(header) - 1} if notes else set())

    def row(number: int, layer: LayerResult) -> tuple[str, ...]:
        return (
            layer.name,
            str(number),
            layer.kind,
            "host" if layer.on_host else layer.bound,
            count(layer.macs),
            count(layer.nnz if layer.trained else None),
            percent(density(layer)),
            count(layer.model_cycles),
            *((count(layer.rtl_cycles), outputs_text(layer)) if rtl else ()),
            count(layer.alone_cycles),
            count(layer.dense_cycles),
            percent(layer.utilization),
            count(layer.skipped_macs),
            count(layer.loaded_words),
            count(layer.skipped_words),
            count(layer.stall_cycles),
            nanojoules(layer.energy_pj),
            tile_text(layer),
            count(layer.passes),
            count(layer.windows),
            decimals(layer.operations_per_byte),
            *((layer.note,) if notes else ()),
        )

    footer = (
        *("total", "", "", "", count(macs(result.layers)), count(nonzeros(result.layers))),
        *(percent(density(*result.layers)), count(result.total_cycles)),
        *((count(result.rtl_total_cycles), "") if rtl else ()),
        *("", count(result.dense_total_cycles), percent(utilization(result))),
        *(
            count(sum(getattr(layer, name) or 0 for layer in result.layers))
            for name in ("skipped_macs", "loaded_words", "skipped_words", "stall_cycles")
        ),
        nanojoules(result.total_energy_pj),
        *("", "", "", ""),
        *(("",) if notes else ()),
    )
    rows = tuple(row(number, layer) for number, layer in enumerate(result.layers, 1))
    styles = tuple("host" if layer.on_host else "" for layer in result.layers)
    return Grid(header, rows, frozenset(text), LAYER_COLUMNS, footer, styles)


def _savings(result: NetworkResult) -> Grid:
    """A row for each layer: the cycles that each change would save it, and their shares; a footer with the network's."""
    header = (
        "layer",
        "bound",
        "cycles alone",
        *(f"{change}{unit}" for change in CHANGE_DEFINITIONS for unit in ("", ", %")),
    )

    def saved(savings: dict[str, int], cycles: int | None) -> tuple[str, ...]:
        values = [savings.get(change) for change in CHANGE_DEFINITIONS]
        return tuple(text for value in values for text in (count(value), percent(share(value, cycles))))

    rows = tuple(
        (
            layer.name,
            "host" if layer.on_host else layer.bound,
            count(layer.alone_cycles),
            *saved(layer.savings, layer.alone_cycles),
        )
        for layer in result.layers
    )
    footer = ("total, in the network", "", count(result.total_cycles), *saved(result.savings, result.total_cycles))
    styles = tuple("host" if layer.on_host else "" for layer in result.layers)
    return Grid(header, rows, frozenset({0, 1}), SAVINGS_COLUMNS, footer, styles)


def _about(result: NetworkResult) -> NetworkAbout:
    actions = tuple(dict.fromkeys(action for layer in result.layers for action in layer.actions))
    return NetworkAbout(
        calibration=result.calibration or "not stated",
        technology=result.technology or "not stated",
        sources=result.sources,
        definitions=(*LAYER_COLUMNS.items(), *TERMS),
        causes=tuple((cause, f"{CAUSE_DEFINITIONS[cause]}: {CAUSE_FORMULAS[cause]}") for cause in CAUSES),
        bounds=tuple(BOUND_DEFINITIONS.items()),
        parameters=Grid(("parameter", "value"), tuple((name, str(value)) for name, value in result.parameters.items())),
        actions=Grid(
            ("layer", *(action.replace("_", " ") for action in actions)),
            tuple(
                (layer.name, *(count(layer.actions.get(action)) for action in actions))
                for layer in result.layers
                if layer.actions
            ),
        ),
    )
