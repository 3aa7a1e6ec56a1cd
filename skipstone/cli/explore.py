"""``skipstone explore``: the command line's side of the design-space exploration."""

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

    from skipstone.explore.search import Status
    from skipstone.mapper.results.exploration import ExplorationResult

PROBLEMS = 3
"""Reasons why choices have no cost that are printed."""


@with_request("design", "prune", "fit_memories")
def explore_command(
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="NAME|FILE.toml", help="Search space; without it, the default one."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", metavar="N", help="Choices to try, each a different one.")] = 100,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            metavar="METRIC",
            help="cycles, latency_us, energy_pj, area_um2, power_mw, accuracy, dsps, block_rams or luts; repeatable.",
        ),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option("--constraint", metavar="LIMIT", help="A limit, as 'area_mm2<=2' or 'accuracy>=90%'; repeatable."),
    ] = None,
    sampler: Annotated[str, typer.Option("--sampler", metavar="NAME", help="nsga2, nsga3 or random.")] = "nsga2",
    population: Annotated[int, typer.Option("--population", metavar="N", help="Choices of a generation.")] = 24,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the sampler.")] = 0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", help="Worker processes; without it, one a core.")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask", metavar="ADDRESS", help="Scheduler of a Dask cluster that evaluates, as tcp://host:8786."
        ),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study", metavar="FILE.db", help="SQLite file that keeps evaluations; gone on with if it exists."
        ),
    ] = None,
    *,
    request: Request,
    accuracy_images: Annotated[
        int, typer.Option("--accuracy-images", metavar="N", min=1, help="Evaluation images for each accuracy.")
    ] = 200,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="FPGA whose DSPs, block RAMs and LUTs are counted.")
    ] = "ecp5",
    write: Annotated[
        str,
        typer.Option(
            "--write",
            metavar="best|front|none|N,...",
            help="Points whose design and network are written, to be run, verified or exported.",
        ),
    ] = "best",
    out: Out = Path("out"),
    json_file: Json = None,
) -> None:
    """Search designs and compression together for cycles, energy, area and accuracy; writes exploration.html."""
    from dataclasses import replace

    from skipstone.explore.evaluate import EvaluationSettings
    from skipstone.explore.picked import check_which, chosen_points, write_points
    from skipstone.explore.search import cache_beside, explore
    from skipstone.explore.space import load_space
    from skipstone.files import json_text, write_file
    from skipstone.mapper.fpga.resources import source as resources_source

    check_which(write)
    request.load_technology()
    resources_source(device)
    loaded = load_space(space)
    settings = EvaluationSettings(
        accuracy_images=accuracy_images,
        device=device,
        technology=request.technology,
        frequency_mhz=request.frequency_mhz,
    )
    storage = study or out / "study.db"
    aside = console_for("-")
    aside.print(f"reading {request.network}, starting workers ...", style="dim", highlight=False, markup=False)
    with writable(out, storage, json_file):
        with _progress(aside, trials) as finished:
            result = explore(
                request.network,
                loaded,
                request.options,
                settings,
                storage=storage,
                trials=trials,
                objectives=objective or (),
                constraints=constraint or (),
                sampler=sampler,
                seed=seed,
                population=population,
                jobs=usable_cores() if jobs is None else jobs,
                dask=dask,
                finished=finished,
                notice=lambda text: aside.print(text, markup=False, highlight=False, soft_wrap=True),
            )
        values = result.to_dict()
        write_file(out / "exploration.json", json_text(values))
        if json_file is not None:
            write_json(values, json_file)
        _write_page(result, out / "exploration.html")
        console = console_for(json_file)
        _show(result, console, storage, out)
        settings = settings if settings.store else replace(settings, store=str(cache_beside(storage)))
        points = chosen_points(result, write)
        for written in write_points(result, points, request.network, request.options, settings, out / "points"):
            console.print(f"point {written.point.number} ({written.why}):", markup=False, highlight=False)
            console.print(f"  {written.command}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress(console: Console, trials: int) -> Iterator[Callable[[Status], None]]:
    """A bar; where there is no terminal, a line for each tenth."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("exploring", total=trials)

        def finished(status: Status) -> None:
            rate = status.evaluated / status.seconds if status.seconds > 0 else 0.0
            description = f"{rate:.1f} a second, {status.feasible} feasible, {status.front} on the front"
            if not console.is_terminal and status.trials % max(1, trials // 10) == 0:
                console.print(f"{status.trials} of {trials} trials: {description}", style="dim", highlight=False)
            bar.update(task, completed=status.trials, description=description)

        yield finished


def _write_page(result: ExplorationResult, path: Path) -> None:
    from skipstone.reports.exploration.page import write_exploration

    write_exploration(result, path)


def _show(result: ExplorationResult, console: Console, storage: Path, out: Path) -> None:
    """The front as a table, and what else a reader must know."""
    from skipstone.reports.exploration.pareto import pareto_table

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    console.print(pareto_table(result))
    if result.problems:
        reasons = sorted(result.problems.items(), key=lambda item: (-item[1], item[0]))
        say(f"{sum(result.problems.values()):,} of {result.trials:,} choices can't be built or mapped:")
        for text, count in reasons[:PROBLEMS]:
            say(f"  {count:,}: {text}")
        if len(reasons) > PROBLEMS:
            say(f"  and {len(reasons) - PROBLEMS:,} other reasons, in exploration.json")
    if result.exhausted:
        say(f"the space has no more than these {result.trials:,} choices")
    if result.hypervolume:
        say(f"hypervolume {result.hypervolume[-1][1]:.4f} of the box between the best and the worst of each objective")
    accuracy = ""
    if result.accuracy_images:
        # Of an accuracy of 90%, as a rule of thumb; the interval of each is in the page's definitions.
        points = 100 * (0.9 * 0.1 / result.accuracy_images) ** 0.5
        accuracy = (
            f" Accuracy on the first {result.accuracy_images:,} images: a standard error of {points:.1f} points at 90%."
        )
    say(f"Activation ranges: {result.calibration}. Technology: {result.technology}.{accuracy}")
    say(
        f"{len(result.points):,} points in {out / 'exploration.json'}, page in {out / 'exploration.html'}; study in {storage}"
    )
