"""The report of one network on one design: a single HTML file for a browser, offline, in light and dark."""

from __future__ import annotations

import html
from pathlib import Path

from mapper.results import CAUSES, LayerResult, NetworkResult
from reports.figures import Grid
from reports.network_figures import network_figures
from reports.page import Card, cards_html, figure_html, rows_html, table_html, write_page
from reports.summary import (
    BOUND_DEFINITIONS,
    CAUSE_DEFINITIONS,
    NONE,
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
    verification_text,
    verified,
)

DEFINITIONS = (
    ("MACs", "multiply-accumulates of the layer with every weight, zeros included, for one input"),
    ("nonzeros", "weights that are not zero; only these are stored and take cycles"),
    ("density", "nonzeros over weights"),
    (
        "cycles",
        "clock cycles of the array, from a model that equals the RTL cycle for cycle; the host's work is not in them",
    ),
    ("MACs skipped", "multiply-accumulates with a zero weight, which take no cycle"),
    ("words loaded", "words (of the load width) that the loader takes from activation memory into the windows"),
    ("words skipped", "words that the loader would take besides, with the same tile and passes, were no weight zero"),
    ("stall cycles", "cycles in which rows do nothing: balance, load, drain and fill, mean of the rows"),
    ("dense cycles", "the same network, unpruned, on the same array"),
    ("speed-up", "dense cycles over cycles"),
    ("utilization", "useful multiply-accumulates (nonzero weight, pixel in the image) over PEs times cycles"),
    (
        "energy",
        "for one input: actions counted by the cycle model times energy per action; sources under technology",
    ),
    ("area (proxy)", "area of PEs and memories from the same sources; not a layout"),
    ("tile", "output pixels, height x width, that the array's columns compute together"),
    ("passes", "how often the layer's input is walked, a group of output channels each time"),
    ("windows", "parts of the input (runs of channels, some kernel taps) that a pass is cut into"),
    ("MACs per byte", "useful multiply-accumulates for each byte that the loader moves"),
    ("verified", "the RTL ran in simulation and its cycles and outputs were compared with the model's, bit for bit"),
)


def write_report(result: NetworkResult, path: Path, explanation: str = "") -> None:
    """Writes the report to ``path``, whole or not at all; OSError where that can't be done.

    ``explanation`` is plain text for a section of its own, line breaks kept.
    """
    figures = network_figures(result)
    sections = [
        ("summary", "Summary", _summary(result)),
        *(
            [("explanation", "Explanation", f'<p class="explanation">{html.escape(explanation)}</p>')]
            if explanation
            else []
        ),
        ("layers", "Layers", _layers(result)),
        *((figure.name, figure.title, figure_html(figure)) for figure in figures),
        ("about", "About these numbers", _about(result)),
    ]
    name, design = html.escape(result.network), html.escape(result.design)
    header = f'<h1>{name} on {design}</h1><p class="lead">{html.escape(_headline(result))}</p>'
    write_page(path, f"{result.network} on {result.design}: Skipstone report", sections, header, figures)


def _headline(result: NetworkResult) -> str:
    factor = speedup(result)
    against = f", {factor:.2f} times as fast as the unpruned network on the same array" if factor is not None else ""
    return (
        f"One input takes {count(result.total_cycles)} cycles{against}, and {nanojoules(result.total_energy_pj)} nJ. "
        f"The array's {result.parameters['rows'] * result.parameters['cols']} PEs do useful work in "
        f"{percent(utilization(result))} of their cycles."
    )


def _summary(result: NetworkResult) -> str:
    factor = speedup(result)
    accuracy = result.accuracy
    best = next(
        (
            (value, name)
            for value, name in (
                (accuracy.compressed, "compressed network"),
                (accuracy.quantized, "quantized network"),
                (accuracy.float, "float network"),
            )
            if value is not None
        ),
        None,
    )
    verdict = verified(result)
    verdict_style = {True: "good", False: "bad", None: ""}[verdict]
    verdict_value = (
        "yes"
        if verdict
        else "NO"
        if verdict is False
        else "in part"
        if verification_text(result)[:2] == "in"
        else "not run"
    )
    images = f"{result.images_verified:,} image" + ("" if result.images_verified == 1 else "s")
    cards = [
        Card("cycles", count(result.total_cycles), f"dense: {count(result.dense_total_cycles)}"),
        Card("speed-up over dense", NONE if factor is None else f"{factor:.2f}x", "same array, unpruned"),
        Card("utilization", percent(utilization(result)), "of the PEs' cycles"),
        Card("energy", f"{nanojoules(result.total_energy_pj)} nJ", "for one input"),
        Card(
            "accuracy",
            percent(best[0], 2) if best else NONE,
            f"{best[1]}, {accuracy.images:,} images" if best else "no data",
        ),
        Card("verified against RTL", verdict_value, images if result.images_verified else "model only", verdict_style),
    ]
    return cards_html(cards) + rows_html(summary_rows(result))


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
    grid = Grid(header, tuple(row(number, layer) for number, layer in enumerate(result.layers, 1)), frozenset(text))
    classes = ["host" if layer.on_host else "" for layer in result.layers]
    return table_html(grid, "Layers", classes, footer)


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
    return (
        f"<h3>Calibration</h3><p>{html.escape(result.calibration or 'not stated')}</p>"
        f"<h3>Technology</h3><p>{html.escape(result.technology or 'not stated')}</p>{rows_html(list(result.sources))}"
        f"<h3>Definitions</h3>{rows_html(DEFINITIONS)}"
        f"<h3>Causes of cycles</h3>{rows_html([(cause, CAUSE_DEFINITIONS[cause]) for cause in CAUSES])}"
        f"<h3>Bounds</h3>{rows_html(list(BOUND_DEFINITIONS.items()))}"
        f"<h3>Design parameters</h3>{table_html(parameters, 'Design parameters')}"
        + (
            f"<details><summary>Actions counted, layer by layer</summary>{table_html(counted, 'Actions')}</details>"
            if actions
            else ""
        )
    )
