"""Tables of a network's result for the terminal: per layer, in summary, and energy by part. Readable at 100 columns."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from skipstone.mapper.results.network import CAUSES, LayerResult, NetworkResult
from skipstone.reports.network.summary import (
    CHANGE_DEFINITIONS,
    count,
    density,
    energy_by_part,
    macs,
    nanojoules,
    nonzeros,
    outputs_text,
    percent,
    share,
    skipped_words_share,
    summary_rows,
    tile_text,
    utilization,
    verified,
)

SHOWN_CAUSES = tuple(cause for cause in CAUSES if cause != "overlap")


def layer_table(result: NetworkResult) -> Table:
    """A row for each layer, and a total. RTL cycles and outputs have columns only if the RTL ran on some layer."""
    rtl = any(layer.rtl_cycles is not None or layer.outputs_equal is not None for layer in result.layers)
    table = Table(
        title=cell(f"{result.network} on {result.design_name}"),
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
        show_footer=True,
    )
    table.add_column("layer", "total", overflow="fold", min_width=8)
    table.add_column("kind", overflow="fold", min_width=7, max_width=9)
    table.add_column("MACs", count(macs(result.layers)), justify="right", no_wrap=True)
    table.add_column("nnz", count(nonzeros(result.layers)), justify="right", no_wrap=True)
    table.add_column("dens.", percent(density(*result.layers), 0), justify="right", no_wrap=True)
    table.add_column("cycles", count(result.total_cycles), justify="right", no_wrap=True)
    if rtl:
        table.add_column("RTL", count(result.rtl_total_cycles), justify="right", no_wrap=True)
        table.add_column("out", justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    table.add_column("util.", percent(utilization(result)), justify="right", no_wrap=True)
    table.add_column("nJ", nanojoules(result.total_energy_pj), justify="right", no_wrap=True)
    table.add_column("tile", justify="right", no_wrap=True)
    for layer in result.layers:
        table.add_row(
            cell(layer.name),
            cell(layer.kind.replace("_", " ")),
            count(layer.macs),
            count(layer.nnz if layer.trained else None),
            percent(density(layer), 0),
            count(layer.model_cycles),
            *([_rtl_cycles(layer), _outputs(layer)] if rtl else []),
            "host" if layer.on_host else cell(layer.bound),
            percent(layer.utilization),
            nanojoules(layer.energy_pj),
            tile_text(layer),
            style="dim" if layer.on_host else None,
        )
    return table


def why_table(result: NetworkResult) -> Table:
    """A row for each layer: what its zeros save, and the share of its cycles that each cause takes."""
    table = Table(
        title=cell("why: what zeros save, and where the cycles go"),
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
        show_footer=True,
        caption="of: share of all MACs, and of all words to load; then shares of the layer's cycles, by cause "
        "(fill: less the overlap with the layer before)",
    )
    on_array = [layer for layer in result.layers if not layer.on_host]
    skipped_macs = sum(layer.skipped_macs or 0 for layer in on_array)
    skipped_words = sum(layer.skipped_words or 0 for layer in on_array)
    words = skipped_words + sum(layer.loaded_words or 0 for layer in on_array)
    table.add_column("layer", "total", overflow="fold", min_width=8)
    for heading, footer in (
        ("MACs skipped", count(skipped_macs)),
        ("of", percent(share(skipped_macs, sum(layer.macs for layer in on_array)), 0)),
        ("words skipped", count(skipped_words)),
        ("of", percent(share(skipped_words, words), 0)),
        *(
            (cause, percent(share(sum(_cycles(layer, cause) or 0.0 for layer in on_array), result.total_cycles)))
            for cause in SHOWN_CAUSES
        ),
    ):
        table.add_column(heading, footer, justify="right", no_wrap=True)
    for layer in result.layers:
        table.add_row(
            cell(layer.name),
            count(layer.skipped_macs),
            percent(share(layer.skipped_macs, layer.macs), 0),
            count(layer.skipped_words),
            percent(skipped_words_share(layer), 0),
            *(percent(share(_cycles(layer, cause), layer.model_cycles)) for cause in SHOWN_CAUSES),
            style="dim" if layer.on_host else None,
        )
    return table


def savings_table(result: NetworkResult) -> Table:
    """A row for each layer: its cycles alone, with and without its zeros, and what would save some of them."""
    table = Table(
        title=cell("what would help: cycles saved of a layer alone, of the exact model"),
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
        show_footer=True,
        caption="; ".join(f"{change}: {meaning}" for change, meaning in CHANGE_DEFINITIONS.items())
        + "; same tiles and windows; dense: every weight nonzero; total: in the network",
    )
    table.add_column("layer", "total", overflow="fold", min_width=8)
    for heading, footer in (
        ("dense", count(result.dense_total_cycles)),
        ("alone", count(result.total_cycles)),
        *((change, percent(share(result.savings.get(change), result.total_cycles))) for change in CHANGE_DEFINITIONS),
    ):
        table.add_column(heading, footer, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    for layer in result.layers:
        table.add_row(
            cell(layer.name),
            count(layer.dense_cycles),
            count(layer.alone_cycles),
            *(percent(share(layer.savings.get(change), layer.alone_cycles)) for change in CHANGE_DEFINITIONS),
            "host" if layer.on_host else cell(layer.bound),
            style="dim" if layer.on_host else None,
        )
    return table


def summary_table(result: NetworkResult) -> Table:
    """Totals, speed-up over dense, accuracy, verification, calibration and technology, each in a row."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    verdict = {True: "green", False: "bold red", None: ""}[verified(result)]
    for name, value in summary_rows(result):
        table.add_row(name, cell(value, verdict if name == "verified against RTL" else ""))
    return table


def energy_table(result: NetworkResult) -> Table:
    """Energy of the network by part, the largest part first, with shares."""
    parts = energy_by_part(result)
    total = sum(parts.values())
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, caption=cell(result.technology or "technology not stated"))
    table.add_column("part", "total", overflow="fold")
    table.add_column("energy (nJ)", nanojoules(total), justify="right", no_wrap=True)
    table.add_column("share", percent(1.0) if total else percent(None), justify="right", no_wrap=True)
    for part, energy_pj in parts.items():
        table.add_row(cell(part), nanojoules(energy_pj), percent(energy_pj / total if total else None))
    return table


def cell(text: str, style: str = "") -> Text:
    """A text that is shown as it is: not read as markup, its control characters replaced."""
    return Text("".join(c if c.isprintable() or c == "\n" else "�" for c in text), style=style)


def _cycles(layer: LayerResult, cause: str) -> float | None:
    """Cycles of a shown cause, fill less the overlap that shortens it; None on the host."""
    if layer.on_host:
        return None
    return layer.cycles_by_cause[cause] + (layer.cycles_by_cause["overlap"] if cause == "fill" else 0.0)


def _rtl_cycles(layer: LayerResult) -> Text:
    differs = layer.rtl_cycles is not None and layer.rtl_cycles != layer.model_cycles
    return Text(count(layer.rtl_cycles), style="bold red" if differs else "")


def _outputs(layer: LayerResult) -> Text:
    return Text(outputs_text(layer), style={True: "green", False: "bold red", None: ""}[layer.outputs_equal])
