"""Whole networks through the RTL over prunings, designs, weight codes, multipliers and index codings: every layer's
cycles and every output compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from benchmarks.document import Section, table
from benchmarks.settings import TEXT_DIRECTION_ABSENT, Settings, text_direction
from benchmarks.workloads import every_operator
from skipstone.flow.prepare import CompressionOptions, short_name
from skipstone.flow.verify import Verification, verify_network
from skipstone.hw.design import Design, load_design
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.quantization.scheme import QuantizationScheme

CARRIED = "resnet8_fashion"
PRUNINGS = ("none", "unstructured:0.5", "unstructured:0.8", "unstructured:0.9", "2:4")
FEW_PRUNINGS = ("none", "unstructured:0.8")
DESIGNS = ("tiny", "edge", "wide")
SMALL_DESIGNS = ("tiny", "edge")
CODED_ON = "edge"
CODED_PRUNING = "unstructured:0.5"
CODES = {
    "linear, 4 bit": (CompressionOptions(scheme=QuantizationScheme(4)), {"weight_bits": 4}),
    "power_of_two, 4 bit": (
        CompressionOptions(scheme=QuantizationScheme(4, weight_code="power_of_two")),
        {"weight_bits": 4, "multiplier": "shift"},
    ),
    "additive_power_of_two, 5 bit": (
        CompressionOptions(scheme=QuantizationScheme(5, weight_code="additive_power_of_two")),
        {"weight_bits": 5, "multiplier": "additive"},
    ),
    "ternary": (CompressionOptions(scheme=QuantizationScheme(weight_code="ternary")), {"multiplier": "sign"}),
    "binary": (CompressionOptions(scheme=QuantizationScheme(weight_code="binary")), {"multiplier": "sign"}),
    "codebook:16": (CompressionOptions(scheme=QuantizationScheme(weight_code="codebook")), {"multiplier": "codebook"}),
}
"""How weights are quantized, and what the design needs for them."""
INDEX_CODINGS = {
    "absolute": {"index_coding": "absolute"},
    "delta, 4 bit": {"index_coding": "delta", "delta_bits": 4},
}
TABLES = 4
"""Of the design with other multipliers, so that one build runs both networks."""


@dataclass(frozen=True)
class Case:
    """A network with its input, and its prunings and designs."""

    path: str
    options: CompressionOptions
    prunings: tuple[str, ...]
    designs: tuple[str, ...]


def measure(settings: Settings) -> Section:
    with operators_file() as operators:
        uniform, uniform_exact = _networks(settings, operators)
        coded, coded_exact = _codes(settings, operators)
    absent = "" if text_direction() else f"PP-OCR's text direction classifier is not here: `{TEXT_DIRECTION_ABSENT}`. "
    text = (
        f"Inputs of each: {settings.images}. Verilator under cocotb. `every_operator` has each kind of layer (see "
        f"`benchmarks/workloads.py`). {absent}Memories are enlarged where a network needs it.\n\n"
        + table(
            ("network", "pruning", "design", "outputs", "model cycles", "RTL cycles", "cycles/s", "exact"),
            uniform,
            left=4,
        )
        + f"\nKinds of multipliers, weight codes and index codings, on `{CODED_ON}`, {CODED_PRUNING}, one image each:\n\n"
        + table(
            ("network", "weights", "multiplier", "index", "outputs", "model cycles", "RTL cycles", "exact"),
            coded,
            left=5,
        )
    )
    return Section("exactness", "Whole networks in the RTL", text, uniform_exact and coded_exact)


@contextmanager
def operators_file() -> Iterator[str]:
    """The network with every kind of layer, as an ONNX file."""
    with tempfile.TemporaryDirectory(prefix="skipstone-bench-") as folder:
        path = Path(folder) / "every_operator.onnx"
        onnx.save(to_onnx(every_operator()), path)
        yield str(path)


def coded_designs() -> dict[tuple[str, str], Design]:
    """The design for each weight code and index coding."""
    base = load_design(CODED_ON).replace(tables=TABLES)
    return {
        (code, index): base.replace(**changes, **indexing)
        for code, (_, changes) in CODES.items()
        for index, indexing in INDEX_CODINGS.items()
    }


def _networks(settings: Settings, operators: str) -> tuple[list[tuple[object, ...]], bool]:
    path, input_range = settings.resnet8
    cases = {
        CARRIED: Case(CARRIED, CompressionOptions(), PRUNINGS, DESIGNS),
        short_name(path): Case(path, CompressionOptions(input_range=input_range), PRUNINGS, DESIGNS),
        "every_operator": Case(operators, CompressionOptions(input_range=(-1.0, 1.0)), FEW_PRUNINGS, SMALL_DESIGNS),
    }
    if classifier := text_direction():
        options = CompressionOptions(input_range=classifier.input_range, input_shape=classifier.input_shape)
        cases["text direction"] = Case(classifier.path, options, FEW_PRUNINGS, SMALL_DESIGNS)
    rows, exact = [], True
    for name, case in cases.items():
        for pruning in case.prunings:
            for design in case.designs:
                settings.progress(f"{name}, {pruning}, {design}")
                options = replace(case.options, prune=pruning)
                done = verify_network(
                    case.path, load_design(design), options, images=settings.images, fit_memories=True
                )
                counts = (done.result.total_cycles, done.result.rtl_total_cycles or 0, round(done.cycles_per_second))
                rows.append((name, pruning, design, _equal_layers(done), *counts, done.exact))
                exact &= done.exact
    return rows, exact


def _codes(settings: Settings, operators: str) -> tuple[list[tuple[object, ...]], bool]:
    rows, exact = [], True
    for (code, index), design in coded_designs().items():
        for name, path in ((CARRIED, CARRIED), ("every_operator", operators)):
            settings.progress(f"{name}, {code}, {index}")
            options = replace(CODES[code][0], prune=CODED_PRUNING, input_range=(-1.0, 1.0))
            done = verify_network(path, design, options)
            counts = (done.result.total_cycles, done.result.rtl_total_cycles or 0)
            rows.append((name, code, design.multiplier, index, _equal_layers(done), *counts, done.exact))
            exact &= done.exact
    return rows, exact


def _equal_layers(done: Verification) -> str:
    array = [layer for layer in done.result.layers if not layer.on_host]
    return f"{sum(bool(layer.outputs_equal) for layer in array)} of {len(array)} layers equal"
