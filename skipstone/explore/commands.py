"""``skipstone explore``: the command line's side of the design-space exploration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipstone.console import console_for, errors, writable
from skipstone.options import (
    ActivationBits,
    Calibration,
    CalibrationMethod,
    Evaluation,
    InputRange,
    InputShape,
    Network,
    Out,
    WeightBits,
    compression_options,
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("explore")(explore_command)


def explore_command(
    network: Network,
    space: Annotated[
        Path | None, typer.Option("--space", metavar="FILE.toml", help="Search space; without it, the default one.")
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=1, help="Finished trials the study shall hold.")
    ] = 100,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Worker processes.")] = 1,
    study: Annotated[
        Path | None, typer.Option("--study", metavar="FILE.db", help="SQLite study; continued if it exists.")
    ] = None,
    weight_bits: WeightBits = 8,
    activation_bits: ActivationBits = 8,
    calibration: Calibration = None,
    calibration_method: CalibrationMethod = "minmax",
    evaluation: Evaluation = None,
    input_range: InputRange = "0,1",
    input_shape: InputShape = None,
    accuracy_images: Annotated[
        int, typer.Option("--accuracy-images", metavar="N", min=1, help="Evaluation images for each accuracy.")
    ] = 200,
    out: Out = Path("out"),
) -> None:
    """Search designs and compression together for cycles, energy, area and accuracy; writes exploration.html."""
    with errors():
        options = compression_options(
            "none",
            weight_bits,
            "linear",
            activation_bits,
            calibration,
            calibration_method,
            evaluation,
            input_range,
            input_shape,
        )
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from mapper.space import load_space
        from reports.pareto import pareto_table, write_exploration
        from skipstone.explore.search import explore as search

        loaded = load_space(space)
        storage = study or out / "study.db"
        console = console_for(None)
        aside = console_for("-")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with writable(out, storage), Progress(*columns, console=aside, transient=True) as bar:
            task = bar.add_task("exploring", total=trials)

            def finished(done: int, front: int) -> None:
                if not aside.is_terminal and done % max(1, trials // 10) == 0:
                    aside.print(f"{done} of {trials} trials ...", style="dim", highlight=False)
                bar.update(task, completed=done, description=f"exploring, {front} on the front")

            found = search(
                network,
                loaded,
                options,
                trials=trials,
                jobs=jobs,
                storage=storage,
                images=accuracy_images,
                finished=finished,
            )
        explanation = f"Activation ranges: {found.calibration}. Memories of each design are sized to the network."
        if any(point.accuracy is not None for point in found.points):
            explanation += f" Accuracy on at most {accuracy_images} evaluation images (--accuracy-images)."
        if found.problems:
            explanation += f" {len(found.problems)} choices cannot be built or mapped; the first: {found.problems[0]}"
        console.print(pareto_table(found.points))
        console.print(explanation, markup=False, highlight=False)
        write_exploration(found.points, out / "exploration.html", explanation=explanation)
        console.print(
            f"{len(found.points)} points of {loaded.size:,}; study in {storage}, plot in {out / 'exploration.html'}",
            markup=False,
        )
