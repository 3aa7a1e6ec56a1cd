"""Options that several commands take: the typed option of the command line, and the check of its text.

Nothing heavy is imported here before it is needed, so that ``--help`` is quick.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

T = TypeVar("T")

Network = Annotated[str, typer.Argument(metavar="NETWORK", help="An ONNX file, or the name of a carried network.")]
FloatNetwork = Annotated[
    str, typer.Argument(metavar="NETWORK", help="A float ONNX file, or the name of a carried network.")
]
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


def input_range_of(text: str) -> tuple[float, float]:
    """LOW and HIGH of ``LOW,HIGH``. Raises SkipstoneError unless LOW is below HIGH."""
    from skipstone.errors import SkipstoneError

    low, high = numbers("--input-range", text, float, "LOW,HIGH", 2)
    if not -1e30 <= low < high <= 1e30:
        raise SkipstoneError(f"--input-range must be LOW,HIGH with LOW below HIGH, both within 1e30, not {text}")
    return low, high


def input_shape_of(text: str | None) -> tuple[int, ...] | None:
    """The numbers of ``N,C,H,W``, or None."""
    return None if text is None else numbers("--input-shape", text, int, "N,C,H,W")


def numbers(option: str, text: str, kind: Callable[[str], T], form: str, count: int | None = None) -> tuple[T, ...]:
    """Numbers with commas between; ``count`` of them, or any number of them.

    Raises:
        SkipstoneError: ``text`` has not the ``form``.
    """
    from skipstone.errors import SkipstoneError

    try:
        values = tuple(kind(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or (count is not None and len(values) != count):
        raise SkipstoneError(f"{option} must be {form}, not '{text}'")
    return values
