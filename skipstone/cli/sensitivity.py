"""``skipstone sensitivity``: what each layer's zeros and bits cost in accuracy, and save in cycles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipstone.cli.console import console_for, progress_for, reporting_errors, writable, write_json
from skipstone.cli.options import FloatNetwork, InputShape, Json, input_shape_of, numbers
from skipstone.compress.defaults import BITS, SPARSITIES

NUMBERS = "numbers with commas between"


@reporting_errors
def sensitivity_command(
    network: FloatNetwork,
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
    input_shape: InputShape = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")] = Path("out"),
    json_file: Json = None,
) -> None:
    """Accuracy against zeros and bits, layer by layer, beside the cycles saved; writes sensitivity.html, .csv and .json."""
    from skipstone.hw.design import load_design

    chosen = load_design(design)
    shares = numbers("--sparsities", sparsities, float, NUMBERS)
    widths = numbers("--bits", bits, int, NUMBERS)
    with writable(out, json_file), progress_for(json_file) as progress:
        from skipstone.compress.sensitivity import run_sensitivity

        result = run_sensitivity(
            network, data, chosen, shares, widths, out=out, images=images, input_shape=input_shape_of(input_shape),
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
