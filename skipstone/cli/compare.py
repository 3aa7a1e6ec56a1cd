"""``skipstone compare``: results of ``run`` and ``verify`` side by side, in the terminal, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipstone.cli.console import console_for, reporting_errors, writable, write_json
from skipstone.cli.options import Json, Out


@reporting_errors
def compare_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="A.json B.json ...", help="Files that run --json or verify --json wrote.")
    ],
    out: Out = Path("out"),
    json_file: Json = None,
) -> None:
    """Compare two or more runs: what was asked for differently, and what became of cycles, energy, area and accuracy.

    The first one is what the others are compared with. Writes comparison.html.
    """
    from skipstone.errors import SkipstoneError
    from skipstone.mapper.results.network import NetworkResult

    if len(files) < 2:
        raise SkipstoneError(f"compare needs at least two files, not {len(files)}")
    results = [NetworkResult.read(file) for file in files]
    from skipstone.reports.comparison.comparison import compare
    from skipstone.reports.comparison.page import write_comparison
    from skipstone.reports.comparison.tables import comparison_tables

    comparison = compare(list(zip(labels(files), results, strict=True)))
    with writable(out, json_file):
        write_comparison(comparison, out / "comparison.html")
        if json_file is not None:
            write_json(comparison.to_result().to_dict(), json_file)
    console = console_for(json_file)
    for table in comparison_tables(comparison):
        console.print(table)
        console.print()
    console.print(f"comparison in {out / 'comparison.html'}", markup=False)


def labels(files: list[Path]) -> list[str]:
    """A short name for each file: its stem; where these are not all different, the paths, and a number for equal ones."""
    for names in ([file.stem for file in files], [str(file.with_suffix("")) for file in files]):
        if len(set(names)) == len(names):
            return names
    return [f"{file.with_suffix('')} ({number})" for number, file in enumerate(files, 1)]
