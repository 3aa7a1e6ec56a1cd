"""``skipstone trace``: the exact schedule as a trace for Perfetto, and waves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipstone.cli.console import console_for, progress_for, writable
from skipstone.cli.options import Out
from skipstone.cli.request import Request, with_request


@with_request("evaluation", "technology", "frequency")
def trace_command(
    layer: Annotated[
        str, typer.Option("--layer", metavar="NAME[,NAME...]|all", help="Layers whose events are written.")
    ] = "all",
    *,
    request: Request,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="EVENTS",
            min=1,
            help="Most events (at least a tile of every layer); what is left out is said.",
        ),
    ] = 500_000,
    gzip: Annotated[bool, typer.Option("--gzip", help="Write trace.json.gz, which Perfetto opens as well.")] = False,
    waves: Annotated[
        bool,
        typer.Option("--waves", help="Also run one input through the RTL and write trace.fst with the same times."),
    ] = False,
    out: Out = Path("out"),
) -> None:
    """Write the exact schedule as a trace for ui.perfetto.dev: loader, windows, rows with the causes of waits, drain."""
    design = request.load_design()
    with writable(out), progress_for(None) as progress:
        from skipstone.flow.trace import trace_network

        trace = trace_network(
            request.network,
            design,
            request.options,
            layers=layer,
            limit=limit,
            out=out,
            compressed=gzip,
            waves=waves,
            progress=progress,
            fit_memories=request.fit_memories,
        )
    console = console_for(None)
    timeline, time = trace.timeline, trace.time

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    for index in timeline.chosen:
        span = timeline.layers[index]
        begin, end = time.at_ns(span, span.load_begin) / 1000, time.at_ns(span, span.written + 1) / 1000
        tiles = f"; first {span.recorded:,} of {span.tiles:,} tiles" if span in timeline.cut else ""
        say(f"{span.name}: cycles {span.load_begin:,} to {span.written:,}, {begin:,.3f} to {end:,.3f} us{tiles}")
    if timeline.cut:
        left_out = sum(span.tiles - span.recorded for span in timeline.cut)
        say(
            f"left out by --limit {limit}: events of {left_out:,} tiles in {len(timeline.cut)} layers; "
            "the layers' own begins and ends are exact"
        )
    size = f"{trace.size_bytes / 1e6:,.2f} MB"
    say(f"{len(timeline.events):,} events in {trace.path} ({size}); open it in ui.perfetto.dev")
    starts = ", ".join(f"{start:,} ns" for start in time.start_ns)
    say(f"time base: {time.cycle_ns} ns a cycle, cycle 0 at {starts}, as in the waves of the first image")
    if trace.waves is not None:
        say(f"waves in {trace.waves}: every layer took the model's cycles")
