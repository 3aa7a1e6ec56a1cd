"""The report of one network on one design: a single HTML file for a browser, offline, light and dark, and its numbers as CSV."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from skipstone.mapper.results.network import CAUSES, LayerResult, NetworkResult
from skipstone.reports.network.balance import balance_figures
from skipstone.reports.network.cards import cards
from skipstone.reports.network.compression import compression_figures
from skipstone.reports.network.cycles import cycles_figure, utilization_figure
from skipstone.reports.network.definitions import CAUSE_FORMULAS, LAYER_COLUMNS, TERMS
from skipstone.reports.network.energy import area_figure, component_figure, drill_down_html, energy_figure
from skipstone.reports.network.findings import findings
from skipstone.reports.network.memories import memory_figures
from skipstone.reports.network.roofline import roofline_figure
from skipstone.reports.network.summary import (
    BOUND_DEFINITIONS,
    CAUSE_DEFINITIONS,
    count,
    decimals,
    density,
    macs,
    nanojoules,
    outputs_text,
    percent,
    speedup,
    summary_rows,
    tile_text,
    utilization,
)
from skipstone.reports.web.figures import Figure, Grid
from skipstone.reports.web.page import cards_html, figure_html, rows_html, table_html, write_page

Section = tuple[str, str, str]
"""Its id in the page, its heading, its HTML."""


def write_report(result: NetworkResult, path: Path, explanation: str = "", figures: Sequence[Figure] = ()) -> None:
    """Writes the report to ``path`` and its CSV files beside it, whole or not at all; OSError where that can't be done.

    ``explanation`` is plain text for a section of its own, line breaks kept. ``figures`` (the schedule as a timeline) get a
    section of theirs.
    """
    groups = [
        ("cycles", "Cycles", [cycles_figure(result), utilization_figure(result)], ""),
        ("schedule", "Schedule", list(figures), ""),
        ("rows", "Work of the rows", list(balance_figures(result)), ""),
        ("roofline", "Roofline", [roofline_figure(result)], ""),
        ("energy", "Energy", _known([energy_figure(result), component_figure(result)]), _energy_details(result)),
        ("area", "Area", _known([area_figure(result)]), _area_details(result)),
        ("memory", "Memory map", list(memory_figures(result)), ""),
        ("compression", "Compression and accuracy", list(compression_figures(result)), ""),
    ]
    sections = [
        ("summary", "Summary", _summary(result)),
        *(
            [("explanation", "Explanation", f'<p class="explanation">{html.escape(explanation)}</p>')]
            if explanation
            else []
        ),
        ("layers", "Layers", _layers(result)),
        *(
            (f"section-{name}", heading, "".join(_titled(one, heading) for one in drawn) + more)
            for name, heading, drawn, more in groups
            if drawn
        ),
        ("about", "About these numbers", _about(result)),
    ]
    name, design = html.escape(result.network), html.escape(result.design)
    header = f'<h1>{name} on {design}</h1><p class="lead">{html.escape(_headline(result))}</p>'
    title = f"{result.network} on {result.design}: Skipstone report"
    write_page(path, title, sections, header, [figure for _, _, drawn, _ in groups for figure in drawn])


def _known(figures: Sequence[Figure | None]) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _titled(figure: Figure, heading: str) -> str:
    own = "" if figure.title == heading else f'<h3 id="{figure.name}">{html.escape(figure.title)}</h3>'
    return own + figure_html(figure)


def _headline(result: NetworkResult) -> str:
    factor = speedup(result)
    against = f", {factor:.2f} times as fast as the unpruned network on the same array" if factor is not None else ""
    return (
        f"One input takes {count(result.total_cycles)} cycles{against}, and {nanojoules(result.total_energy_pj)} nJ. "
        f"The array's {result.parameters['rows'] * result.parameters['cols']} PEs do useful work in "
        f"{percent(utilization(result))} of their cycles."
    )


def _summary(result: NetworkResult) -> str:
    said = "".join(
        f"<dt>{html.escape(question)}</dt><dd>{_said(answers)}</dd>" for question, answers in findings(result)
    )
    rows = rows_html(summary_rows(result))
    return (
        f'{cards_html(cards(result))}<dl class="rows findings">{said}</dl>'
        f"<details><summary>all figures of the summary</summary>{rows}</details>"
    )


def _said(answers: tuple[str, ...]) -> str:
    if len(answers) == 1:
        return html.escape(answers[0])
    return "<ol>" + "".join(f"<li>{html.escape(answer)}</li>" for answer in answers) + "</ol>"


def _layers(result: NetworkResult) -> str:
    rtl = any(layer.rtl_cycles is not None or layer.outputs_equal is not None for layer in result.layers)
    notes = any(layer.note for layer in result.layers)
    header = (
        *("layer", "#", "kind", "bound", "MACs", "nonzeros", "density", "cycles"),
        *(("RTL cycles", "RTL outputs") if rtl else ()),
        *("dense cycles", "utilization", "MACs skipped", "words loaded", "words skipped", "stall cycles"),
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
            count(layer.nnz),
            percent(density(layer)),
            count(layer.model_cycles),
            *((count(layer.rtl_cycles), outputs_text(layer)) if rtl else ()),
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
        *("total", "", "", "", count(macs(result.layers)), count(sum(layer.nnz for layer in result.layers))),
        *(percent(density(*result.layers)), count(result.total_cycles)),
        *((count(result.rtl_total_cycles), "") if rtl else ()),
        *(count(result.dense_total_cycles), percent(utilization(result))),
        *(
            count(sum(getattr(layer, what) or 0 for layer in result.layers))
            for what in ("skipped_macs", "loaded_words", "skipped_words", "stall_cycles")
        ),
        nanojoules(result.total_energy_pj),
        *("", "", "", ""),
        *(("",) if notes else ()),
    )
    rows = tuple(row(number, layer) for number, layer in enumerate(result.layers, 1))
    grid = Grid(header, rows, frozenset(text), LAYER_COLUMNS)
    classes = ["host" if layer.on_host else "" for layer in result.layers]
    return table_html(grid, "Layers", classes, footer)


def _energy_details(result: NetworkResult) -> str:
    """Every product of the energy's sum, part by part, and where prices come from."""
    details = drill_down_html(result)
    used = {term.source for layer in result.layers for term in layer.energy_terms}
    return f"<h3>Energy, product by product</h3>{details}{_sources(result, used)}" if details else ""


def _area_details(result: NetworkResult) -> str:
    return _sources(result, {term.source for term in result.area_terms})


def _sources(result: NetworkResult, used: set[str]) -> str:
    """The texts of the sources that are used."""
    rows = [(key, text) for key, text in result.sources if key in used]
    return (
        f'<details class="columns"><summary>sources of these numbers</summary>{rows_html(rows)}</details>'
        if rows
        else ""
    )


def _about(result: NetworkResult) -> str:
    actions = tuple(dict.fromkeys(action for layer in result.layers for action in layer.actions))
    counted = Grid(
        ("layer", *(action.replace("_", " ") for action in actions)),
        tuple(
            (layer.name, *(count(layer.actions.get(action)) for action in actions))
            for layer in result.layers
            if layer.actions
        ),
    )
    parameters = Grid(("parameter", "value"), tuple((name, str(value)) for name, value in result.parameters.items()))
    causes = [(cause, f"{CAUSE_DEFINITIONS[cause]}: {CAUSE_FORMULAS[cause]}") for cause in CAUSES]
    return (
        f"<h3>Calibration</h3><p>{html.escape(result.calibration or 'not stated')}</p>"
        f"<h3>Technology</h3><p>{html.escape(result.technology or 'not stated')}</p>{rows_html(list(result.sources))}"
        f"<h3>Definitions</h3>{rows_html([*LAYER_COLUMNS.items(), *TERMS])}"
        f"<h3>Causes of cycles</h3>{rows_html(causes)}"
        f"<h3>Bounds</h3>{rows_html(list(BOUND_DEFINITIONS.items()))}"
        f"<h3>Design parameters</h3>{table_html(parameters, 'Design parameters')}"
        + (
            f"<details><summary>Actions counted, layer by layer</summary>{table_html(counted, 'Actions')}</details>"
            if actions
            else ""
        )
    )
