"""Tables of a comparison for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from skipstone.reports.comparison.comparison import Comparison
from skipstone.reports.comparison.rows import difference_rows, layer_rows, metric_rows
from skipstone.reports.network.tables import cell


def comparison_tables(comparison: Comparison) -> list[Table]:
    """The metrics of each run, the options and parameters that differ, and cycles layer by layer."""
    labels = [run.label for run in comparison.runs]
    return [
        _table("", ("", *labels), metric_rows(comparison)),
        *([_table("what differs", ("", *labels), difference_rows(comparison))] if comparison.differences else []),
        _table("cycles of each layer", ("layer", *labels), layer_rows(comparison)),
    ]


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(
        title=cell(title) if title else None, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False
    )
    for index, text in enumerate(header):
        table.add_column(cell(text), justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(text) for text in row))
    return table
