"""The design points that characterization synthesizes and the layers that it simulates: those that the fit sees, and those
that it never sees."""

from __future__ import annotations

from dataclasses import dataclass

from skipstone.characterize.crops import Crop
from skipstone.hw.design import Design, load_design
from skipstone.models.quantization.scheme import QuantizationScheme

FLOAT = "resnet8_fashion"


def designs() -> dict[str, Design]:
    """Every synthesized design by name: shapes, words, accumulators and widths, and each kind of multiplier."""
    tiny = load_design("tiny")
    small = tiny.replace(rows=2, requantizer_lanes=2)
    designs = {
        "tiny": tiny,
        "weights4": small.replace(weight_bits=4),
        "bits4": small.replace(weight_bits=4, activation_bits=4, accumulator_bits=20),
        "shift4": small.replace(multiplier="shift", weight_bits=4),
        "additive5": small.replace(multiplier="additive", weight_bits=5),
        "sign": small.replace(multiplier="sign"),
        "codebook": small.replace(multiplier="codebook"),
        "words8": tiny.replace(
            rows=3,
            cols=6,
            load_width=8,
            window_depth=72,
            windows=4,
            accumulators=4,
            requantizer_lanes=4,
            accumulator_bits=21,
        ),
        "weights6": small.replace(weight_bits=6),
        "shift3": small.replace(multiplier="shift", weight_bits=3),
        "additive7": small.replace(multiplier="additive", weight_bits=7),
        "delta": small.replace(index_coding="delta"),
        "weights16": small.replace(weight_bits=16, accumulator_bits=32),
        "activations16": small.replace(activation_bits=16, accumulator_bits=40),
        "tables2": small.replace(tables=2),
        "columns8": tiny.replace(rows=2, cols=8, requantizer_lanes=2),
        "edge": load_design("edge"),
        "square": load_design("square"),
        "wide": load_design("wide"),
    }
    return {name: design.replace(name=name, description="") for name, design in designs.items()}


@dataclass(frozen=True)
class Point:
    """A cropped layer on a design; ``held_out`` from the fit, only compared with it."""

    design: str
    crop: Crop
    held_out: bool = False


def _shift(bits: int) -> QuantizationScheme:
    return QuantizationScheme(bits, weight_code="power_of_two")


def _additive(bits: int) -> QuantizationScheme:
    return QuantizationScheme(bits, weight_code="additive_power_of_two")


def _crop(layer: str, size: int, width: int, channels: int, prune: str = "none", **more: object) -> Crop:
    at = {"stem": (8, 8), "blocks.0.conv1": (8, 8), "blocks.0.conv2": (10, 9)}.get(layer, (2, 2))
    return Crop(FLOAT, prune, layer, size, width, channels, at[0], at[1], **more)  # type: ignore[arg-type]


def points() -> tuple[Point, ...]:
    """What is simulated. Crops, images and most amounts of zeros differ between what is fitted and what is held out; each
    layer is in both, but with other data."""
    ternary, codebook = QuantizationScheme(weight_code="ternary"), QuantizationScheme(weight_code="codebook")
    return (
        Point("tiny", _crop("blocks.0.conv1", 4, 6, 16, "unstructured:0.5")),
        Point("tiny", _crop("blocks.2.conv2", 4, 4, 16, "unstructured:0.8")),
        Point("tiny", _crop("blocks.1.conv1", 4, 4, 16)),
        Point("tiny", _crop("stem", 8, 8, 16, "unstructured:0.5")),
        Point("tiny", _crop("blocks.2.shortcut", 6, 6, 32)),
        Point("words8", _crop("blocks.0.conv2", 4, 6, 12, "unstructured:0.5")),
        Point("words8", _crop("blocks.1.conv2", 4, 6, 12, "unstructured:0.8")),
        Point("weights4", _crop("blocks.0.conv1", 4, 4, 8, "unstructured:0.5", scheme=QuantizationScheme(4))),
        Point("weights4", _crop("blocks.1.conv2", 4, 4, 8, "unstructured:0.8", scheme=QuantizationScheme(4))),
        Point("bits4", _crop("blocks.0.conv1", 4, 4, 8, "unstructured:0.5", scheme=QuantizationScheme(4, 4))),
        Point("bits4", _crop("blocks.1.conv2", 4, 4, 8, "unstructured:0.8", scheme=QuantizationScheme(4, 4))),
        Point("shift4", _crop("blocks.0.conv1", 4, 4, 8, "unstructured:0.5", scheme=_shift(4))),
        Point("shift4", _crop("blocks.1.conv2", 4, 4, 8, "unstructured:0.8", scheme=_shift(4))),
        Point("additive5", _crop("blocks.0.conv1", 4, 4, 8, "unstructured:0.5", scheme=_additive(5))),
        Point("additive5", _crop("blocks.1.conv2", 4, 4, 8, "unstructured:0.8", scheme=_additive(5))),
        Point("sign", _crop("blocks.0.conv1", 4, 4, 8, scheme=ternary)),
        Point("sign", _crop("blocks.2.shortcut", 6, 6, 16, scheme=ternary)),
        Point("codebook", _crop("blocks.0.conv1", 4, 4, 8, "unstructured:0.5", scheme=codebook)),
        Point("tiny", _crop("blocks.0.conv2", 4, 5, 16, "unstructured:0.7", image=3)),
        Point("tiny", _crop("blocks.1.conv2", 4, 4, 8, "2:4", image=5)),
        Point("tiny", _crop("blocks.2.conv1", 6, 6, 16, "unstructured:0.9", image=7)),
        Point("tiny", _crop("blocks.1.shortcut", 8, 8, 32, image=9)),
        Point("words8", _crop("blocks.0.conv1", 4, 6, 12, "unstructured:0.6", image=2)),
        Point("words8", _crop("blocks.2.conv1", 6, 6, 12, "unstructured:0.9", image=4)),
        Point("weights4", _crop("blocks.0.conv2", 4, 4, 8, "unstructured:0.5", scheme=QuantizationScheme(4), image=6)),
        Point("shift4", _crop("blocks.1.conv1", 5, 5, 8, "unstructured:0.5", scheme=_shift(4), image=8)),
        Point("tiny", _crop("blocks.1.conv1", 6, 6, 8, "unstructured:0.5", image=11), True),
        Point("tiny", _crop("stem", 8, 8, 8, image=13), True),
        Point("tiny", _crop("blocks.2.conv2", 4, 4, 16, "unstructured:0.9", image=15), True),
        Point("words8", _crop("blocks.1.conv2", 4, 6, 6, "2:4", image=17), True),
        Point("words8", _crop("blocks.2.shortcut", 7, 6, 12, "unstructured:0.3", image=19), True),
        Point(
            "weights6",
            _crop("blocks.0.conv2", 4, 4, 8, "unstructured:0.7", scheme=QuantizationScheme(6), image=21),
            True,
        ),
        Point("additive7", _crop("blocks.1.conv1", 6, 6, 8, "unstructured:0.6", scheme=_additive(7), image=23), True),
        Point("shift3", _crop("blocks.1.conv2", 4, 4, 8, "unstructured:0.7", scheme=_shift(3), image=25), True),
        Point("delta", _crop("blocks.2.conv1", 7, 7, 8, "unstructured:0.6", image=27), True),
        Point("columns8", _crop("blocks.0.conv1", 4, 8, 8, "unstructured:0.4", image=29), True),
    )


GLITCH_POINT = points()[2]
"""The run that is also made without delays."""


def timed_designs() -> tuple[str, ...]:
    """Designs whose longest paths are found: every kind of multiplier, and shapes up to 8 x 8."""
    return (
        "tiny",
        "weights4",
        "bits4",
        "shift4",
        "sign",
        "words8",
        "weights16",
        "activations16",
        "columns8",
        "additive7",
        "codebook",
        "edge",
    )
