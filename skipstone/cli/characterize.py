"""``skipstone characterize``: makes the carried characterization data again, where the tools are installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipstone.cli.console import console_for, progress_for, reporting_errors, writable, write_json
from skipstone.cli.options import Json, Out

if TYPE_CHECKING:
    from skipstone.mapper.results.technology_tables import Table


@reporting_errors
def characterize_command(
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part", metavar="cells|sram|fpga", help="What to characterize; again for several. Default: cells."
        ),
    ] = None,
    liberty: Annotated[
        Path | None,
        typer.Option(
            "--liberty",
            metavar="FILE[.gz]",
            help="Standard cells, for cells. Default: those of Debian's package qflow-tech-osu018.",
        ),
    ] = None,
    node: Annotated[
        int | None, typer.Option("--node", metavar="NM", help="The library's node, where its name does not say it.")
    ] = None,
    cacti: Annotated[
        Path | None, typer.Option("--cacti", metavar="FILE", help="The CACTI 7 binary in its own folder, for sram.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Cells: two designs and their layers only, to try it out.")
    ] = False,
    work: Annotated[
        Path | None, typer.Option("--work", metavar="DIR", help="Keeps finished steps; default: the cache folder.")
    ] = None,
    out: Out = Path("out"),
    json_file: Json = None,
) -> None:
    """Synthesize and simulate our gateware in standard cells, and fit energy, area, leakage and timing to it."""
    from skipstone.characterize.run import characterize, summary_lines

    with writable(out, json_file), progress_for(json_file) as progress:
        tables = characterize(
            part or ("cells",), liberty=liberty, node_nm=node, cacti=cacti, quick=quick, work=work, progress=progress
        )
        write_tables(tables, out, json_file)
    console = console_for(json_file)
    for table in tables.values():
        for line in summary_lines(table):
            console.print(line, markup=False, highlight=False)
    console.print(f"{', '.join(tables)} in {out}", markup=False, highlight=False)


def calibrate_command() -> None:
    """The former name of ``characterize``, which says the new one."""
    typer.echo("skipstone: calibrate is called characterize now: skipstone characterize", err=True)
    raise typer.Exit(2)


def write_tables(tables: dict[str, Table], out: Path, json_file: str | None) -> None:
    """Every table whole, or none."""
    from skipstone.files import write_files

    write_files({out / name: table.text() for name, table in tables.items()})
    if json_file is not None:
        from skipstone.mapper.results.characterization import CharacterizationResult

        documents = {name: table.to_dict() for name, table in tables.items()}
        write_json(CharacterizationResult(documents).to_dict(), json_file)
