"""``skipstone run``: a network compressed, mapped and costed, without the RTL."""

from __future__ import annotations

from pathlib import Path

from skipstone.cli.console import interruption, progress_for, writable
from skipstone.cli.network_report import show_result
from skipstone.cli.options import Json, Out
from skipstone.cli.request import Request, with_request


@with_request()
def run_command(request: Request, out: Out = Path("out"), json_file: Json = None) -> None:
    """Compress NETWORK, map it onto the array and cost it exactly: cycles, energy, accuracy; writes report.html."""
    design = request.load_design()
    with writable(out, json_file), progress_for(json_file) as progress:
        from skipstone.flow.evaluate import evaluate
        from skipstone.flow.report import write_network_report

        with interruption("nothing was written"):
            evaluated = evaluate(
                request.network,
                design,
                request.options,
                progress,
                fit_memories=request.fit_memories,
                technology=request.load_technology(),
            )
        progress("writing the report")
        write_network_report(evaluated.result, evaluated.cost.program, out / "report.html")
    show_result(evaluated.result, out, json_file)
