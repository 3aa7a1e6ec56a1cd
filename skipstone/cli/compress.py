"""``skipstone compress``, ``sensitivity`` and ``recipes``: the command line's side of compression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from skipstone.cli.console import console_for, errors, progress_for, writable, write_json
from skipstone.compress.defaults import BITS, SPARSITIES

if TYPE_CHECKING:
    from skipstone.hw.design import Design
    from skipstone.mapper.results.compression import CompressionResult

T = TypeVar("T")

Network = Annotated[str, typer.Argument(metavar="NETWORK", help="A float ONNX file, or the name of a carried network.")]
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
Shape = Annotated[
    str | None,
    typer.Option("--input-shape", metavar="N,C,H,W", help="Shape of the input, where the file leaves it open."),
]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON; - is standard output.")
]


def compress_command(
    network: Network,
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
        typer.Option("--max-loss", metavar="POINTS", min=0, help="With --recipe auto: accuracy that may be lost."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="In place of the recipe's seed.")
    ] = None,
    input_shape: Shape = None,
    json_file: Json = None,
) -> None:
    """Prune, quantize, factorize, train: compress NETWORK by a recipe, with accuracy after each step and cycles on a design.

    Writes compressed.onnx, quantized.onnx and compression.json. Given again after an interruption, it goes on where it was.
    """
    with errors():
        from skipstone.errors import SkipstoneError

        if (recipe == "auto") != (max_loss is not None):
            raise SkipstoneError("--max-loss POINTS goes with --recipe auto, and only with it")
        chosen = _design(design)
        shape = _shape(input_shape)
        with writable(out, json_file), _quiet(), progress_for(json_file) as progress:
            if recipe == "auto":
                from skipstone.compress.auto import auto

                assert max_loss is not None
                compressed = auto(
                    network, data, out=out, max_loss=max_loss, design=chosen, input_shape=shape, seed=1 if seed is None else seed,
                    progress=progress,
                )  # fmt: skip
            else:
                from skipstone.compress.recipe import load_recipe, with_seed
                from skipstone.compress.run import compress

                steps = with_seed(load_recipe(recipe), seed)
                compressed = compress(
                    network, steps, data, out=out, design=chosen, input_shape=shape, progress=progress
                )
        _show(compressed.result, out, json_file)


def sensitivity_command(
    network: Network,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="NAME|FILE.npz|DIR", help="As for compress; a carried network brings its own."),
    ] = None,
    design: Annotated[
        str, typer.Option("--design", metavar="NAME|FILE.toml", help="Where cycles are counted.")
    ] = "edge",
    sparsities: Annotated[
        str, typer.Option("--sparsities", metavar="A,B,...", help="Shares of zeros, each from 0 to below 1.")
    ] = ",".join(map(str, SPARSITIES)),
    bits: Annotated[str, typer.Option("--bits", metavar="A,B,...", help="Bits of weights, each 2 to 16.")] = ",".join(
        map(str, BITS)
    ),
    images: Annotated[int, typer.Option("--images", metavar="N", min=1, help="Test images, at most.")] = 1000,
    input_shape: Shape = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")] = Path("out"),
    json_file: Json = None,
) -> None:
    """Accuracy against zeros and bits, layer by layer, beside the cycles saved; writes sensitivity.html, .csv and .json."""
    with errors():
        from skipstone.hw.design import load_design

        chosen = load_design(design)
        shares = _numbers("--sparsities", sparsities, float)
        widths = _numbers("--bits", bits, int)
        with writable(out, json_file), progress_for(json_file) as progress:
            from skipstone.compress.sensitivity import run_sensitivity

            result = run_sensitivity(
                network, data, chosen, shares, widths, out=out, images=images, input_shape=_shape(input_shape),
                progress=progress,
            )  # fmt: skip
        from skipstone.reports.compression.sensitivity import sensitivity_table

        console = console_for(json_file)
        console.print(sensitivity_table(result))
        console.print(sensitivity_table(result, "bits"))
        for note in result.notes:
            console.print(note, markup=False, highlight=False)
        console.print(f"sensitivity.html, .csv and .json in {out}", markup=False, highlight=False)
        if json_file is not None:
            write_json(result.to_dict(), json_file)


def recipes_command() -> None:
    """List the recipes that come with Skipstone."""
    with errors():
        from rich import box
        from rich.table import Table
        from rich.text import Text

        from skipstone.compress.recipe import load_recipe, recipe_names

        table = Table(box=box.SIMPLE_HEAD, show_edge=False)
        for heading in ("recipe", "steps", "what it does"):
            table.add_column(heading, overflow="fold")
        for name in recipe_names():
            loaded = load_recipe(name)
            table.add_row(name, Text(", ".join(step.do for step in loaded.step)), Text(loaded.description))
        table.add_row("auto", "", Text("Chooses steps by what it measures, within --max-loss points of accuracy."))
        console_for(None).print(table)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("compress")(compress_command)
    app.command("sensitivity")(sensitivity_command)
    app.command("recipes")(recipes_command)


def _design(name: str | None) -> Design | None:
    if name is None:
        return None
    from skipstone.hw.design import load_design

    return load_design(name)


def _shape(text: str | None) -> tuple[int, ...] | None:
    from skipstone.errors import SkipstoneError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SkipstoneError(f"--input-shape must be N,C,H,W, not '{text}'") from None


def _numbers(option: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    from skipstone.errors import SkipstoneError

    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise SkipstoneError(f"{option} must be numbers with commas between, not '{text}'") from None


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
    console.print(f"compressed.onnx, quantized.onnx and compression.json in {out}", markup=False, highlight=False)
    if json_file is not None:
        write_json(result.to_dict(), json_file)
