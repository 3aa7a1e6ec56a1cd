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
        from skipstone.flow.export import export_files, write_export
        from skipstone.flow.prepare import prepare_network
        from skipstone.mapper.cost import cost

        prepared = prepare_network(request.network, request.options, progress)
        progress("mapping")
        mapped = cost(prepared.compressed, design, memories="enlarged" if request.fit_memories else "of_design")
        progress("generating the Verilog")
        files = export_files(prepared, mapped)
        write_export(files, out)
    console = console_for(None)
    console.print(
        f"{len(files)} files in {out}: design {mapped.design.name}, "
        f"activation ranges from {prepared.compressed.calibration}",
        markup=False,
    )
    if note := files.get("quantized.onnx.missing.txt"):
        console.print(str(note).strip(), markup=False)
    console.print(
        f"try: cd {out} && iverilog -g2005 -o testbench skipstone_array.v testbench.v && vvp testbench",
        markup=False,
    )
