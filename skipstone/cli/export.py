"""``skipstone export``: Verilog, memory images, program and testbench of a network on a design."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipstone.cli.console import console_for, progress_for, writable
from skipstone.cli.request import Request, with_request


@with_request("evaluation", "technology", "frequency")
def export_command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made if missing.")],
    request: Request,
) -> None:
    """Write the Verilog, the memory images, the program as JSON, and a testbench for any simulator."""
    design = request.load_design()
    with writable(out), progress_for(None) as progress:
        from skipstone.flow.export import export_network

        export = export_network(
            request.network, design, request.options, out=out, progress=progress, fit_memories=request.fit_memories
        )
    console = console_for(None)
    console.print(
        f"{len(export.files)} files in {out}: design {export.design.name}, activation ranges from {export.calibration}",
        markup=False,
    )
    if export.missing is not None:
        console.print(export.missing, markup=False)
    console.print(
        f"try: cd {out} && iverilog -g2005 -o testbench skipstone_array.v testbench.v && vvp testbench",
        markup=False,
    )
