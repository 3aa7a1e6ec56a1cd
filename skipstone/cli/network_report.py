"""What ``run`` and ``verify`` show of a result: tables in the terminal, and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skipstone.cli.console import console_for, write_json

if TYPE_CHECKING:
    from skipstone.mapper.results.network import NetworkResult


def show_result(result: NetworkResult, out: Path, json_file: str | None) -> None:
    """Prints the tables and, where it was asked for, writes the result as JSON."""
    from skipstone.reports.network.tables import energy_table, layer_table, savings_table, summary_table, why_table

    console = console_for(json_file)
    console.print(layer_table(result))
    console.print()
    console.print(why_table(result))
    console.print()
    console.print(savings_table(result))
    console.print(energy_table(result))
    console.print(summary_table(result))
    console.print(f"report in {out / 'report.html'}", markup=False)
    if json_file is not None:
        write_json(result.to_dict(), json_file)
