"""The energy model compared with published figures: its PE and memories with Horowitz's and Eyeriss's, and the energy
of a network's multiply-accumulate with chips of that class."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.document import Section, percent, table
from benchmarks.settings import Settings
from skipstone.flow.prepare import CompressionOptions, prepare_network, sample_inputs
from skipstone.hw.design import Design, load_design
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.mapper.energy.area import area_terms
from skipstone.mapper.energy.clock import timing
from skipstone.mapper.energy.energy import PARTS, energy_by_part, layer_terms, rates
from skipstone.mapper.energy.operands import IMAGES, operands_of
from skipstone.mapper.technology.technology import Technology, load_technology
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.toml_files import read_toml

NETWORK = "resnet8_fashion"
PRUNINGS = ("none", "unstructured:0.5", "unstructured:0.8")
NODES = (130, 65, 45, 22)


def published() -> dict[str, Any]:
    """``published_energy.toml``."""
    return read_toml(Path(__file__).parent / "published_energy.toml", "table")


def line(bits: list[float], values: list[float], at: float) -> float:
    """The value at ``at`` on the straight line through two published points."""
    return values[0] + (values[1] - values[0]) / (bits[1] - bits[0]) * (at - bits[0])


@dataclass(frozen=True)
class Mac:
    """A multiply-accumulate's energy and area, without memories and clock."""

    pj: float
    um2: float


def horowitz_mac(figures: dict[str, Any], bits: int, sum_bits: int) -> Mac:
    """A product of ``bits`` x ``bits`` (linear in its partial products) and an addition of ``sum_bits`` (linear in its
    bits)."""
    low, high = figures["bits"]
    squares = [low * low, high * high]
    return Mac(
        line(squares, figures["multiply_pj"], bits * bits) + line([low, high], figures["add_pj"], sum_bits),
        line(squares, figures["multiply_um2"], bits * bits) + line([low, high], figures["add_um2"], sum_bits),
    )


def model_mac(design: Design, technology: Technology) -> Mac:
    """A PE's logic: what it switches for a useful multiply-accumulate, registers and the activation's selection
    included.

    The activation has the mean size of the characterization.
    """
    bits = technology.gateware.table.operand_share * design.activation_bits
    counts = {"macs": 1.0, "awake_macs": 1.0, "activation_bits": bits}
    pj = sum(rate.pj * rate.per * counts[rate.counter] for rate in rates(design, technology) if rate.part == "pe")
    (um2,) = (term.um2 for term in area_terms(design, technology) if term.component == "pe")
    return Mac(pj, um2)


def with_bits(design: Design, bits: int) -> Design:
    """``design`` with operands of ``bits`` and accumulators with 8 bits to spare above a product."""
    return design.replace(weight_bits=bits, activation_bits=bits, accumulator_bits=2 * bits + 8)


@dataclass(frozen=True)
class Run:
    """A network on a design: its cost, and its energy in pJ by part."""

    cost: NetworkCost
    parts: dict[str, float]

    @property
    def dense_macs(self) -> int:
        return sum(layer.macs for layer in self.cost.program.layers)

    @property
    def useful_macs(self) -> int:
        return sum(actions.useful_macs for actions in self.cost.actions)

    @property
    def on_chip_pj(self) -> float:
        return sum(value for part, value in self.parts.items() if part != "off_chip")

    @property
    def milliwatts(self) -> float:
        return self.on_chip_pj / self.cost.price.latency_us * 1e-3


def run(design: Design, technology: Technology, pruning: str, bits: int = 8) -> Run:
    """The carried network with ``bits`` on ``design``."""
    options = CompressionOptions(prune=pruning, scheme=QuantizationScheme(bits, bits), input_range=(0.0, 1.0))
    prepared = prepare_network(NETWORK, options)
    network = prepared.compressed
    operands = operands_of(network, sample_inputs(prepared, IMAGES))
    mapped = cost(network, design, technology, memories="enlarged", operands=operands)
    terms = (layer_terms(actions, mapped.design, mapped.technology) for actions in mapped.actions)
    return Run(mapped, energy_by_part(chain.from_iterable(terms)))


def arithmetic_table(figures: dict[str, Any]) -> str:
    technology = load_technology(figures["node_nm"])
    rows = []
    for bits in (8, 16):
        design = with_bits(load_design("edge"), bits)
        theirs, ours = horowitz_mac(figures, bits, design.accumulator_bits), model_mac(design, technology)
        for what, of_theirs, of_ours in (("pJ", theirs.pj, ours.pj), ("um2", theirs.um2, ours.um2)):
            name = f"{bits}x{bits}-bit product, {design.accumulator_bits}-bit sum, {what}"
            rows.append((name, f"{of_theirs:.3g}", f"{of_ours:.3g}", f"{of_ours / of_theirs:.2f}"))
    return table(("of `edge`'s PE at 45 nm", "Horowitz, arithmetic alone", "this model, whole PE", "ratio"), rows)


def memory_table(figures: dict[str, Any], register_file: dict[str, Any]) -> str:
    technology = load_technology(figures["node_nm"])
    rows = []
    for kibibytes, theirs in zip(figures["cache_kibibytes"], figures["cache_pj"], strict=True):
        bits = figures["cache_bits"]
        words = kibibytes * 1024 * 8 // bits
        single_bank, spread = technology.sram_table.bank(words, bits).read_pj, technology.sram(words, bits).read_pj
        rows.append(
            (
                f"{kibibytes} KiB, {bits} bits",
                f"{theirs:g}",
                f"{single_bank:.2f}",
                f"{spread:.2f}",
                f"{spread / theirs:.2f}",
            )
        )
    bits = register_file["bits"]
    small = technology.sram(register_file["bytes"] * 8 // bits, bits).read_pj
    design = with_bits(load_design("edge"), bits)
    mac = model_mac(design, technology).pj * register_file["macs_per_access"]
    rows.append(
        (f"0.5 KiB, {bits} bits (Eyeriss: one MAC)", f"{mac:.2f}", f"{small:.2f}", f"{small:.2f}", f"{small / mac:.2f}")
    )
    return table(("a read at 45 nm, pJ", "published", "one macro", "as used, in banks", "ratio"), rows)


def chip_table(figures: dict[str, Any]) -> str:
    rows = []
    for chip in figures["chip"]:
        pj = chip["milliwatts"] * 1e9 / (chip["inferences_per_second"] * chip["macs"])
        rows.append((chip["name"], f"{chip['node_nm']} nm", chip["bits"], f"{pj:.2f}", chip["what"]))
    for chip in figures["peak"]:
        rows.append(
            (chip["name"], f"{chip['node_nm']} nm", chip["bits"], f"{2 / chip['tops_per_watt']:.2f}", chip["what"])
        )
    technology = load_technology(65)
    for name, bits, pruning in (
        *(("wide", 16, pruning) for pruning in PRUNINGS[:2]),
        *(("wide", 8, pruning) for pruning in PRUNINGS),
        *(("edge", 8, pruning) for pruning in PRUNINGS),
    ):
        design = load_design(name)
        inference = run(with_bits(design, bits) if bits != 8 else design, technology, pruning, bits)
        rows.append(
            (
                f"this model, `{name}`, zeros {pruning}",
                "65 nm",
                str(bits),
                f"{inference.on_chip_pj / inference.dense_macs:.2f}",
                f"{inference.on_chip_pj / inference.useful_macs:.2f} for each one done; "
                f"{inference.milliwatts:.1f} mW at {inference.cost.technology.frequency_mhz:g} MHz",
            )
        )
    return table(("chip", "node", "bits", "pJ for a dense MAC", "how"), rows, left=3)


def node_table(settings: Settings) -> str:
    rows = []
    for node in NODES:
        settings.progress(f"energy at {node} nm")
        inference = run(load_design("edge"), load_technology(node), PRUNINGS[1])
        area = inference.cost.price.area_um2 / 1e6
        shares = [percent(inference.parts[part] / sum(inference.parts.values())) for part in PARTS]
        fmax = timing(inference.cost.design, inference.cost.technology).fmax_mhz
        rows.append(
            (f"{node} nm", f"{sum(inference.parts.values()) / 1e3:,.0f}", f"{area:.2f}", f"{fmax:.0f}", *shares)
        )
    return table(("node", "nJ", "mm2", "fmax, MHz", *PARTS), rows)


def measure(settings: Settings) -> Section:
    figures = published()
    horowitz = figures["horowitz"]
    sources = [horowitz["source"], figures["eyeriss_register_file"]["source"]]
    sources += [f"{chip['name']}: {chip['source']}" for chip in (*figures["chip"], *figures["peak"])]
    text = (
        "Our logic is synthesized to 130 nm cells and scaled; Horowitz's figures are of arithmetic alone, so that a PE, with its "
        "registers and the selection of one activation of a word, must cost more.\n\n"
        + arithmetic_table(horowitz)
        + "\nHorowitz's memories are caches, with tags; ours are CACTI's plain memories of a low-standby-power process.\n\n"
        + memory_table(horowitz, figures["eyeriss_register_file"])
        + "\nWhole chips. Only the order of magnitude compares: theirs are measured silicon with wires, pads and placement, on "
        "larger networks with other reuse; ours is a model of cells and memories, without wires, on a ResNet-8 whose weights are "
        "all on the chip. Eyeriss has 16 bits and skips no zero weights. DRAM is in none of them.\n\n"
        + chip_table(figures)
        + "\nThe carried network on `edge`, half its weights zero, at each carried node: energy of one input, and what for.\n\n"
        + node_table(settings)
        + "\nSources: "
        + "; ".join(sources)
        + ".\n"
    )
    return Section("energy", "Energy against published figures", text)
