"""A sweep as a table for the terminal, readable at 120 columns."""

from __future__ import annotations

from rich import box
from rich.table import Table

from skipstone.mapper.results.sweep import SweepResult
from skipstone.reports.network.tables import cell
from skipstone.reports.sweep.words import columns, remark, value_texts


def sweep_table(result: SweepResult) -> Table:
    """A row for each point: the values of its parameters, its figures, the change over the reference below them, remarks."""
    shown = columns(result)
    remarks = [remark(result, point) for point in result.points]
    table = Table(
        title=cell(f"{result.network} on {result.design}"),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for name in result.parameters:
        table.add_column(cell(name.replace("_", "\n", 1)), justify="right", overflow="fold")
    for column in shown:
        heading = column.metric.title.replace(", ", "\n").replace(" a ", "\na ")
        table.add_column(cell(heading), justify="right", no_wrap=True)
    if any(remarks):
        table.add_column("", overflow="fold", min_width=24)
    for number, (point, text) in enumerate(zip(result.points, remarks, strict=True)):
        table.add_row(
            *map(cell, value_texts(point)),
            *("\n".join(column.texts(result, number)).strip() for column in shown),
            *([cell(text)] if any(remarks) else []),
        )
    return table
