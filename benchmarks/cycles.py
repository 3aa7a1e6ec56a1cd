"""Every exact cycle figure of the sections, kept as data: ``expected_cycles.json`` holds the cycles of each case, a number a
layer, and ``python -m benchmarks --check`` maps every case again and compares. No case needs the RTL: the section
``exactness`` compares the same figures with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from benchmarks import coding, exactness, resnet8, text_direction
from benchmarks.costs import LayerCost, layer_costs
from benchmarks.settings import Settings, benchmark_design
from benchmarks.settings import text_direction as text_direction_network
from benchmarks.workloads import DENSITIES, GEMM_NONZEROS, NETWORKS, gemm
from skipstone.files import write_file
from skipstone.flow.prepare import CompressionOptions, prepare_network, short_name
from skipstone.hw.design import Design, built_in_designs, load_design
from skipstone.models.quantization.network import QuantizedNetwork

EXPECTED = Path(__file__).parent / "expected_cycles.json"
LARGE = ("resnet18", "resnet50", "text_direction")
"""Networks whose cases take seconds each."""


@dataclass(frozen=True)
class Case:
    """A network on a design.

    Args:
        name: NETWORK/COMPRESSION/DESIGN, the key in ``expected_cycles.json``.
        network: makes the quantized network.
        design: what it runs on; memories are enlarged where the network needs it.
    """

    name: str
    network: Callable[[], QuantizedNetwork]
    design: Design

    @property
    def quick(self) -> bool:
        """Whether the case takes well below a second."""
        return not self.name.startswith(LARGE)

    def costs(self) -> list[LayerCost]:
        """The cost of each layer, in the order in which the array computes them."""
        return layer_costs(self.network(), self.design)


@dataclass(frozen=True)
class Comparison:
    """The result of a check: names of the compared cases, names of those whose network is absent, and a line for each
    difference."""

    compared: tuple[str, ...]
    absent: tuple[str, ...]
    differences: tuple[str, ...]


def cases(settings: Settings, operators: str) -> Iterator[Case]:
    """All cases whose network is here; ``operators`` is the file of the network with every kind of layer."""
    for nonzeros in GEMM_NONZEROS:
        for name in ("gemm", "gemm128"):
            yield Case(f"gemm/{nonzeros}/{name}", _gemm(nonzeros), benchmark_design(name))
    path, input_range = settings.resnet8
    for network, low_high in {path: input_range, resnet8.CARRIED: (0.0, 1.0)}.items():
        for pruning in exactness.PRUNINGS:
            make = _prepared(network, CompressionOptions(prune=pruning, input_range=low_high))
            for name, design in built_in_designs().items():
                yield Case(f"{short_name(network)}/{pruning}/{name}", make, design)
    yield from _coded(operators)
    for pruning in exactness.FEW_PRUNINGS:
        make = _prepared(operators, CompressionOptions(prune=pruning, input_range=(-1.0, 1.0)))
        for name in exactness.SMALL_DESIGNS:
            yield Case(f"every_operator/{pruning}/{name}", make, load_design(name))
    yield from _text_direction()
    for name, build in NETWORKS.items():
        for density in DENSITIES:
            yield Case(f"{name}/{density:g}/resnet", _large(build, density), benchmark_design("resnet"))


def compare(settings: Settings, quick_only: bool = False) -> Comparison:
    """Maps the cases again and compares each layer's cycles with ``expected_cycles.json``.

    Args:
        settings: Where networks lie; ``progress`` is called with each case.
        quick_only: Leaves out networks that take seconds.

    Returns:
        What was compared, what is absent, and the differences.
    """
    expected = read_expected()
    compared: list[str] = []
    differences: list[str] = []
    with exactness.operators_file() as operators:
        for case in cases(settings, operators):
            if quick_only and not case.quick:
                continue
            settings.progress(case.name)
            compared.append(case.name)
            differences += _differences(case.name, expected.get(case.name), case.costs())
    absent = [] if quick_only else [name for name in expected if name not in compared]
    return Comparison(tuple(compared), tuple(absent), tuple(differences))


def record(settings: Settings) -> int:
    """Writes ``expected_cycles.json`` anew, after a deliberate change of the mapper.

    Cases whose network is not here stay as they are.

    Returns:
        The number of cases.
    """
    expected = read_expected()
    with exactness.operators_file() as operators:
        for case in cases(settings, operators):
            settings.progress(case.name)
            expected[case.name] = [cost.cycles for cost in case.costs()]
    lines = (f"{json.dumps(name)}: {json.dumps(layers, separators=(',', ':'))}" for name, layers in expected.items())
    write_file(EXPECTED, "{\n" + ",\n".join(lines) + "\n}\n")
    return len(expected)


def read_expected() -> dict[str, list[int]]:
    """The recorded cycles of each layer, by case."""
    return json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}


def _differences(case: str, expected: list[int] | None, costs: list[LayerCost]) -> list[str]:
    if expected is None:
        return [f"{case}: not in {EXPECTED.name}"]
    if len(expected) != len(costs):
        return [f"{case}: {len(costs)} layers, expected {len(expected)}"]
    return [
        f"{case}, {cost.name}: {cost.cycles:,} cycles, expected {cycles:,}"
        for cost, cycles in zip(costs, expected, strict=True)
        if cost.cycles != cycles
    ]


def _coded(operators: str) -> Iterator[Case]:
    """Weight codes and index codings on one design."""
    for pruning in coding.PRUNINGS:
        make = _prepared(resnet8.CARRIED, CompressionOptions(prune=pruning))
        for bits in coding.NETWORK_DELTA_BITS:
            design = load_design("edge").replace(index_coding="delta", delta_bits=bits)
            yield Case(f"{resnet8.CARRIED}/{pruning}/edge, delta {bits}", make, design)
    for (code, index), design in exactness.coded_designs().items():
        for name, path in ((resnet8.CARRIED, resnet8.CARRIED), ("every_operator", operators)):
            options = replace(exactness.CODES[code][0], prune=exactness.CODED_PRUNING, input_range=(-1.0, 1.0))
            yield Case(f"{name}/{exactness.CODED_PRUNING}, {code}/edge, {index}", _prepared(path, options), design)


def _text_direction() -> Iterator[Case]:
    network = text_direction_network()
    if network is None:
        return
    designs = [load_design(name) for name in (*exactness.SMALL_DESIGNS, text_direction.FIRST)]
    candidates = [benchmark_design(name) for name in text_direction.CANDIDATES]
    for pruning in exactness.FEW_PRUNINGS:
        options = CompressionOptions(prune=pruning, input_range=network.input_range, input_shape=network.input_shape)
        make = _prepared(network.path, options)
        for design in designs + candidates if pruning == "none" else designs[: len(exactness.SMALL_DESIGNS)]:
            yield Case(f"text_direction/{pruning}/{design.name}", make, design)


def _gemm(nonzeros: int) -> Callable[[], QuantizedNetwork]:
    return lambda: gemm(nonzeros)


def _large(build: Callable[[float], QuantizedNetwork], density: float) -> Callable[[], QuantizedNetwork]:
    return lambda: build(density)


def _prepared(network: str, options: CompressionOptions) -> Callable[[], QuantizedNetwork]:
    @lru_cache(maxsize=1)
    def make() -> QuantizedNetwork:
        return prepare_network(network, options).compressed

    return make
