"""``skipstone compress``: a network compressed by a recipe, or by one found by measuring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipstone.cli.console import console_for, interruption, progress_for, reporting_errors, writable, write_json
from skipstone.cli.options import FloatNetwork, InputShape, Json, input_shape_of

if TYPE_CHECKING:
    from skipstone.hw.design import Design
    from skipstone.mapper.results.compression import CompressionResult

Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="NAME|FILE.npz|DIR",
        help="fashion-mnist, fashion-mnist:DIR, mnist-5k, a folder of IDX files, an .npz file, or a carried network's name.",
    ),
]
DesignName = Annotated[
    str | None,
    typer.Option("--design", metavar="NAME|FILE.toml", help="Also count cycles and energy on this design."),
]


@reporting_errors
def compress_command(
    network: FloatNetwork,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", metavar="FILE.toml|NAME", help="The steps; 'skipstone recipes' lists those that come along."
        ),
    ],
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written; made if missing.")],
    design: DesignName = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            "--max-loss",
            metavar="POINTS",
            min=0,
            help="With --recipe auto: what accuracy may lose (points).",
        ),
    ] = None,
    max_epochs: Annotated[
        int | None,
        typer.Option(
            "--max-epochs", metavar="N", min=0, help="With --recipe auto: the search trains for N epochs at most."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="What accuracy is: top-1 (for classes), top-K (as top-5), mean-squared-error (for values), mean-absolute-error.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="In place of the recipe's seed.")
    ] = None,
    input_shape: InputShape = None,
    json_file: Json = None,
) -> None:
    """Prune, quantize, factorize, train: compress NETWORK by a recipe, with accuracy after each step and cycles on a design.

    Writes compressed.onnx, quantized.onnx, compression.json and report.html. Given again after an interruption, it goes on
    where it was.
    """
    from skipstone.errors import SkipstoneError

    if (recipe == "auto") != (max_loss is not None):
        raise SkipstoneError("--max-loss POINTS goes with --recipe auto, and only with it")
    if max_epochs is not None and recipe != "auto":
        raise SkipstoneError("--max-epochs goes with --recipe auto, and only with it")
    chosen = _design(design)
    shape = input_shape_of(input_shape)
    remains = f"steps that are done are kept in {out / 'checkpoints'}, and the same command goes on from there"
    with writable(out, json_file), interruption(remains), _quiet(), progress_for(json_file) as progress:
        if recipe == "auto":
            from skipstone.compress.auto import auto

            assert max_loss is not None
            compressed = auto(
                network, data, out=out, max_loss=max_loss, design=chosen, input_shape=shape, max_epochs=max_epochs,
                metric=metric, seed=1 if seed is None else seed, progress=progress,
            )  # fmt: skip
        else:
            from skipstone.compress.recipe import load_recipe, with_seed
            from skipstone.compress.run import compress

            steps = with_seed(load_recipe(recipe), seed)
            compressed = compress(
                network, steps, data, out=out, design=chosen, input_shape=shape, metric=metric, progress=progress
            )
    _show(compressed.result, out, json_file)


def _design(name: str | None) -> Design | None:
    if name is None:
        return None
    from skipstone.hw.design import load_design

    return load_design(name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that PyTorch's packages print for their developers."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _show(result: CompressionResult, out: Path, json_file: str | None) -> None:
    from skipstone.reports.compression.tables import size_table, step_table, summary_table

    console = console_for(json_file)
    console.print(step_table(result))
    for number, step in enumerate(result.steps, start=1):
        for note in step.notes:
            console.print(f"step {number}: {note}", markup=False, highlight=False)
    for decision in result.decisions:
        console.print(decision, markup=False, highlight=False)
    console.print()
    console.print(size_table(result))
    console.print(summary_table(result))
    console.print(
        f"compressed.onnx, quantized.onnx, compression.json and report.html in {out}", markup=False, highlight=False
    )
    if json_file is not None:
        write_json(result.to_dict(), json_file)
