"""``skipstone sweep``: one or two parameters varied, everything else fixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipstone.cli.console import console_for, usable_cores, writable, write_json
from skipstone.cli.options import Json, Out
from skipstone.cli.request import Request, with_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


@with_request()
def sweep_command(
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="PARAMETER=A,B,...",
            help="A parameter of the design or of compression with its values, as load_width=4,8; once or twice.",
        ),
    ],
    *,
    request: Request,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="Count an FPGA's DSPs, block RAMs and LUTs too: ecp5."),
    ] = None,
    accuracy_images: Annotated[
        int, typer.Option("--accuracy-images", metavar="N", min=1, help="Evaluation images for each accuracy.")
    ] = 200,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", help="Worker processes; without it, one a core.")
    ] = None,
    out: Out = Path("out"),
    json_file: Json = None,
) -> None:
    """Vary one or two parameters, everything else fixed: what each value saves and costs; writes sweep.html."""
    from skipstone.explore.evaluate import EvaluationSettings
    from skipstone.explore.sweep import parse_parameters, sweep
    from skipstone.explore.variation import VariedDesign
    from skipstone.files import json_text, write_file
    from skipstone.flow.designs import stated_parameters
    from skipstone.hw.design import load_design
    from skipstone.mapper.fpga.resources import source as resources_source

    parameters = parse_parameters(set_)
    base = VariedDesign(load_design(request.design), stated_parameters(request.design), request.fit_memories)
    request.load_technology()
    settings = EvaluationSettings(
        accuracy_images=accuracy_images,
        technology=request.technology,
        frequency_mhz=request.frequency_mhz,
        device=device or EvaluationSettings.device,
    )
    resources_source(settings.device)
    aside = console_for("-")
    aside.print(f"reading {request.network} ...", style="dim", highlight=False, markup=False)
    with writable(out, json_file):
        with _progress(aside) as finished:
            result = sweep(
                request.network,
                base,
                parameters,
                request.options,
                settings,
                resources=device is not None,
                jobs=usable_cores() if jobs is None else jobs,
                finished=finished,
            )
        values = result.to_dict()
        from skipstone.reports.sweep.page import write_sweep

        write_sweep(result, out / "sweep.html")
        write_file(out / "sweep.json", json_text(values))
        if json_file is not None:
            write_json(values, json_file)
    from skipstone.reports.sweep.table import sweep_table
    from skipstone.reports.sweep.words import named, prices

    console = console_for(json_file)
    console.print(sweep_table(result))
    console.print()
    for sentence in prices(result):
        console.print(sentence, markup=False, highlight=False)
    console.print(
        f"over {named(result.points[result.reference])}; all else is the same. Page in {out / 'sweep.html'}, numbers in "
        f"{out / 'sweep.json'}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar; where there is no terminal, a line for each tenth."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(TextColumn("sweeping"), BarColumn(), MofNCompleteColumn(), console=console, transient=True) as bar:
        task = bar.add_task("sweeping", total=None)

        def finished(done: int, total: int) -> None:
            if not console.is_terminal and (done == total or done % max(1, total // 10) == 0):
                console.print(f"{done} of {total} points", style="dim", highlight=False)
            bar.update(task, completed=done, total=total)

        yield finished
