"""What ``run`` and ``verify`` show and write of a result: tables in the terminal, ``report.html``, JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skipstone.cli.console import console_for, write_json

if TYPE_CHECKING:
    from skipstone.mapper.program import Program
    from skipstone.mapper.results.network import NetworkResult

TIMELINE_EVENTS = 20_000
"""Most events of the schedule in a report; what is left out is said there."""


def write_report(result: NetworkResult, program: Program, out: Path) -> None:
    """Writes ``report.html`` into ``out``, with the schedule's first events."""
    from skipstone.mapper.timing.timeline import network_timeline
    from skipstone.reports.network.report import write_report
    from skipstone.reports.network.timeline import timeline_figures

    timeline = network_timeline(program, limit=TIMELINE_EVENTS)
    write_report(result, out / "report.html", figures=timeline_figures(timeline, result))


def show_result(result: NetworkResult, out: Path, json_file: str | None) -> None:
    """Prints the tables and, where it was asked for, writes the result as JSON."""
    from skipstone.reports.network.tables import energy_table, layer_table, summary_table, why_table

    console = console_for(json_file)
    console.print(layer_table(result))
    console.print()
    console.print(why_table(result))
    console.print(energy_table(result))
    console.print(summary_table(result))
    console.print(f"report in {out / 'report.html'}", markup=False)
    if json_file is not None:
        write_json(result.to_dict(), json_file)
