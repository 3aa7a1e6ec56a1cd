"""``skipstone verify``: as ``run``, and the whole network through the RTL; exit code 1 on any difference."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipstone.cli.console import console_for, interruption, progress_for, writable
from skipstone.cli.network_report import show_result
from skipstone.cli.options import Json, Out
from skipstone.cli.request import Request, with_request

if TYPE_CHECKING:
    from skipstone.flow.verify import Verification

SIMULATORS = ("verilator", "icarus")


@with_request()
def verify_command(
    request: Request,
    out: Out = Path("out"),
    json_file: Json = None,
    images: Annotated[int, typer.Option("--images", metavar="N", min=1, help="Inputs to run through the RTL.")] = 1,
    waves: Annotated[
        Path | None, typer.Option("--waves", metavar="FILE.fst", help="Record every signal (slow, large).")
    ] = None,
    simulator: Annotated[
        str, typer.Option("--simulator", metavar="NAME", help="verilator, or icarus (slow; small designs).")
    ] = "verilator",
) -> None:
    """Like run, then the whole network through the RTL under cocotb: every cycle and every output compared."""
    design = request.load_design()
    if simulator not in SIMULATORS:
        from skipstone.errors import SimulationError

        raise SimulationError(f"unknown simulator '{simulator}'; there are {' and '.join(SIMULATORS)}")
    if waves is not None and waves.suffix != ".fst":
        raise OSError(errno.EINVAL, "waves are written in the FST format; name a file that ends in .fst", str(waves))
    with writable(out, json_file, waves), progress_for(json_file) as progress:
        from skipstone.flow.evaluate import evaluate
        from skipstone.flow.report import write_network_report
        from skipstone.flow.verify import verify_evaluated

        with interruption("nothing was written; simulators that were built are kept for the next time"):
            evaluated = evaluate(
                request.network,
                design,
                request.options,
                progress,
                fit_memories=request.fit_memories,
                technology=request.load_technology(),
            )
            verification = verify_evaluated(evaluated, images, waves, simulator, progress)
        progress("writing the report")
        write_network_report(verification.result, evaluated.cost.program, out / "report.html")
    show_result(verification.result, out, json_file)
    _show_verdict(verification, json_file)
    if waves is not None:
        console_for(json_file).print(f"waves in {waves}", highlight=False, markup=False)
    if not verification.exact:
        raise typer.Exit(1)


def _show_verdict(verification: Verification, json_file: str | None) -> None:
    """A line for each layer, then whether all is exact."""
    console = console_for(json_file)
    result = verification.result
    for layer in result.layers:
        if layer.on_host:
            console.print(f"{layer.name}: on the host, not in the RTL", highlight=False, markup=False)
            continue
        cycles = "cycles equal" if layer.rtl_cycles == layer.model_cycles else "CYCLES DIFFER"
        outputs = "outputs equal"
        if not layer.outputs_equal:
            first = verification.differences.get(layer.name)
            outputs = f"OUTPUTS DIFFER: {first}" if first else "DID NOT FINISH"
        console.print(
            f"{layer.name}: model {layer.model_cycles}, RTL {layer.rtl_cycles}, {cycles}, {outputs}",
            highlight=False,
            markup=False,
        )
    if verification.error:
        console.print(verification.error, highlight=False, markup=False)
    verdict = "EXACT" if verification.exact else "NOT EXACT"
    console.print(
        f"{verdict}: {result.images_verified} image{'s' * (result.images_verified != 1)}, "
        f"{result.rtl_total_cycles} RTL cycles each, {verification.cycles_per_second:,.0f} cycles/s",
        highlight=False,
    )
