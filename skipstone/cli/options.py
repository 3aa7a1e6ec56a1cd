"""Options that several commands take, and what they mean: the typed option of the command line, the check of its text.

Nothing heavy is imported here before it is needed, so that ``--help`` is quick.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from skipstone.flow.prepare import CompressionOptions
    from skipstone.hw.design import Design

Network = Annotated[str, typer.Argument(metavar="NETWORK", help="An ONNX file, or the name of a carried network.")]
DesignOption = Annotated[
    str, typer.Option("--design", metavar="NAME|FILE.toml", help="A built-in design, or a TOML file.")
]
Prune = Annotated[
    str,
    typer.Option(
        "--prune",
        metavar="METHOD:AMOUNT",
        help="unstructured:0.8, global:0.8, 2:4 (any N:M), filter:0.3 and the like, or none.",
    ),
]
WeightBits = Annotated[int, typer.Option("--weight-bits", metavar="N", help="Bits of weights, 2 to 16.")]
WeightCode = Annotated[
    str,
    typer.Option(
        "--weight-code",
        metavar="CODE",
        help="linear, power_of_two, additive_power_of_two, ternary, binary, or codebook:N (N values a layer).",
    ),
]
ActivationBits = Annotated[int, typer.Option("--activation-bits", metavar="N", help="Bits of activations, 2 to 16.")]
Calibration = Annotated[
    str | None, typer.Option("--calibration", metavar="IMAGES.npz", help="Images that activation ranges come from.")
]
CalibrationMethod = Annotated[
    str,
    typer.Option(
        "--calibration-method", metavar="METHOD", help="minmax, percentile:P (as percentile:99.99), mse, or entropy."
    ),
]
Evaluation = Annotated[
    str | None, typer.Option("--evaluation", metavar="IMAGES.npz", help="Labelled images to measure accuracy on.")
]
InputRange = Annotated[
    str,
    typer.Option("--input-range", metavar="LOW,HIGH", help="Range of the random input used where there are no images."),
]
InputShape = Annotated[
    str | None,
    typer.Option("--input-shape", metavar="N,C,H,W", help="Shape of the input, where the file leaves it open."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written; made if missing.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON; - is standard output.")
]
TechnologyOption = Annotated[
    str,
    typer.Option(
        "--technology",
        metavar="NODE|FILE.toml",
        help="Node in nm (130, 65, 45, 22), or a file: energy, area and clock.",
    ),
]
Frequency = Annotated[
    float | None,
    typer.Option("--frequency", metavar="MHZ", help="Clock; without it, the node's own, or what the design reaches."),
]
FitMemories = Annotated[
    bool, typer.Option("--fit-memories", help="Enlarge the design's memories to what the network needs, and say so.")
]


def compression_options(
    prune: str,
    weight_bits: int,
    weight_code: str,
    activation_bits: int,
    calibration: str | None,
    calibration_method: str,
    evaluation: str | None,
    input_range: str,
    input_shape: str | None,
) -> CompressionOptions:
    """The options as the library takes them; SkipstoneError where one is out of range."""
    from skipstone.errors import SkipstoneError
    from skipstone.flow.prepare import CompressionOptions
    from skipstone.models.quantization.scheme import QuantizationScheme

    scheme = QuantizationScheme.parse(weight_code, weight_bits, activation_bits, calibration_method)
    low, high = numbers("--input-range", input_range, float, "LOW,HIGH", 2)
    if not -1e30 <= low < high <= 1e30:
        raise SkipstoneError(f"--input-range must be LOW,HIGH with LOW below HIGH, both within 1e30, not {input_range}")
    shape = tuple(numbers("--input-shape", input_shape, int, "N,C,H,W", None)) if input_shape else None
    return CompressionOptions(
        prune=prune,
        scheme=scheme,
        calibration=calibration,
        evaluation=evaluation,
        input_range=(low, high),
        input_shape=shape,
    )


def numbers(option: str, text: str, kind: Callable[[str], Any], form: str, count: int | None) -> list[Any]:
    """Numbers with commas between; ``count`` of them, or any number of them."""
    from skipstone.errors import SkipstoneError

    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or (count is not None and len(found) != count):
        raise SkipstoneError(f"{option} must be {form}, not '{text}'")
    return found


def chosen_design(name: str, network: str, options: CompressionOptions) -> Design:
    """The design, with the widths and the multiplier that are asked for, or that a quantized network has, unless its file
    names its own."""
    from skipstone.flow.designs import fitted
    from skipstone.flow.prepare import stored_options
    from skipstone.hw.design import load_design

    chosen = load_design(name)
    options = stored_options(network, options)
    # What a file says about widths holds; where it says nothing, the options do, as for a built-in design.
    said = tomllib.loads(Path(name).read_text()) if name.endswith(".toml") else {}
    return fitted(chosen, options.scheme, fixed=said)
