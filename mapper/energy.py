"""Energy of a layer: its action counts times the energy of each action, part by part; and a proxy for the design's
area.

Takes what ``mapper.actions`` counts and what ``mapper.technology`` knows. Nothing here is measured on this project's
own gateware but the size of a shifter against an adder: memories are CACTI's, arithmetic is Horowitz's, and what neither of
them gives is left out and named here:
clock tree, pipeline registers, wires between blocks, the control of rows, the shifter and clamp of the requantizer, and
off-chip memory. Numbers are for comparing designs and networks, not for signing off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from hw.design import MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS, Design
from hw.multipliers import Additive, Linear, Shift
from mapper.actions import Actions
from mapper.technology import Sram, Technology

PARTS = ("multiply", "accumulate", "windows", "weights", "activations", "requantize", "control", "leakage")


@dataclass(frozen=True)
class Memory:
    """One kind of memory of a design: ``count`` copies of ``words`` words of ``bits`` bits."""

    name: str
    count: int
    words: int
    bits: int


def memories(design: Design) -> tuple[Memory, ...]:
    """All memories of the gateware, sized as it sizes them."""
    parameter_bits = design.parameter.width * design.requantizer_lanes
    lookups = []
    if design.codebook_words:
        lookups.append(Memory("codebooks", design.rows, design.codebook_words, design.weight_bits))
    if design.table_words:
        lookups.append(Memory("tables", design.requantizer_lanes, design.table_words, design.activation_bits))
    return (
        Memory("windows", design.pes, design.windows * design.slots, design.activation_word_bits),
        Memory("accumulators", design.pes, 2 * design.bank_depth, design.accumulator_bits),
        Memory("weights", design.rows, design.weight_entries, design.weight_entry.width),
        Memory("activations", 1, design.activation_words, design.activation_word_bits),
        Memory("parameters", 1, design.parameter_words, parameter_bits),
        Memory("load_lists", 1, design.load_entries, design.load_entry.width),
        Memory("descriptors", 1, design.layers, design.descriptor.width),
        *lookups,
    )


@dataclass(frozen=True)
class ProductCost:
    """Energy and area of one product of a PE."""

    pj: float
    um2: float


def product_cost(design: Design, technology: Technology) -> ProductCost:
    """A multiplication of ``weight_bits`` x ``activation_bits``; or, where the weight is a sign, the addition that negates an
    activation; where it is a power of two, the shifter behind that; and, where it is a sum of them, a shifter for each term
    and the additions."""
    kind = design.products
    if isinstance(kind, Linear):
        return ProductCost(
            technology.multiply_pj(kind.operand_bits, kind.activation_bits),
            technology.multiply_um2(kind.operand_bits, kind.activation_bits),
        )
    shifter = kind.multiplexer_bits if isinstance(kind, Shift | Additive) else 0
    adders = (kind.activation_bits + 1, *(kind.adder_bits if isinstance(kind, Additive) else ()))
    return ProductCost(
        sum(map(technology.add_pj, adders)) + technology.shift_pj(shifter),
        sum(map(technology.add_um2, adders)) + technology.shift_um2(shifter),
    )


@dataclass(frozen=True)
class ActionEnergy:
    """Energy of one action each, and the leakage of all memories."""

    multiply_pj: float
    add_pj: float
    accumulator_read_pj: float
    accumulator_write_pj: float
    window_read_pj: float
    window_write_pj: float
    weight_read_pj: float
    activation_read_pj: float
    activation_write_pj: float
    requantize_pj: float
    requantize_other_pj: float
    parameter_read_pj: float
    table_read_pj: float
    load_list_pj: float
    descriptor_read_pj: float
    leakage_mw: float


@lru_cache(maxsize=256)
def action_energy(design: Design, technology: Technology) -> ActionEnergy:
    """What one action costs; see ``layer_energy`` for the reading of each."""
    sizes = {memory.name: memory for memory in memories(design)}
    srams = {name: technology.sram(memory.words, memory.bits) for name, memory in sizes.items()}

    def part_of_word(name: str, parts: int) -> Sram:
        """The same bits seen as words of one part: what it costs to reach a part without the rest of its word."""
        return technology.sram(sizes[name].words * parts, sizes[name].bits // parts)

    sum_bits = design.accumulator_bits + 1
    other_bits = design.activation_bits + 1
    total_bits = sum_bits + MULTIPLIER_BITS
    return ActionEnergy(
        multiply_pj=product_cost(design, technology).pj,
        add_pj=technology.add_pj(design.accumulator_bits),
        accumulator_read_pj=srams["accumulators"].read_pj,
        accumulator_write_pj=srams["accumulators"].write_pj,
        window_read_pj=part_of_word("windows", design.load_width).read_pj,
        window_write_pj=srams["windows"].write_pj,
        weight_read_pj=srams["weights"].read_pj + (srams["codebooks"].read_pj if "codebooks" in srams else 0.0),
        activation_read_pj=srams["activations"].read_pj,
        activation_write_pj=part_of_word("activations", design.load_width // design.requantizer_lanes).write_pj,
        requantize_pj=technology.add_pj(sum_bits)
        + technology.multiply_pj(sum_bits, MULTIPLIER_BITS)
        + 2 * technology.add_pj(total_bits),
        requantize_other_pj=technology.add_pj(other_bits)
        + technology.multiply_pj(other_bits, OTHER_MULTIPLIER_BITS)
        + technology.add_pj(total_bits),
        parameter_read_pj=srams["parameters"].read_pj,
        table_read_pj=srams["tables"].read_pj if "tables" in srams else 0.0,
        load_list_pj=srams["load_lists"].read_pj
        + 2 * technology.add_pj(design.dimension_bits)
        + technology.add_pj(design.address_bits),
        descriptor_read_pj=srams["descriptors"].read_pj,
        leakage_mw=sum(memory.count * srams[memory.name].leakage_mw for memory in sizes.values()),
    )


def layer_energy(actions: Actions, design: Design, technology: Technology) -> dict[str, float]:
    """Energy of one layer in pJ for each of ``PARTS``.

    - ``multiply``: ``macs`` products, of ``weight_bits`` x ``activation_bits`` where PEs multiply (see ``product_cost``).
    - ``accumulate``: ``macs`` additions of ``accumulator_bits`` (the first of a tile overwrites and is charged as an
      addition), and reads and writes of the PE's accumulators, ``2 * bank_depth`` words of ``accumulator_bits``.
    - ``windows``: a read fetches one activation, as from a memory of the same capacity with one activation a word (the
      rest of the word is not charged: optimistic where the window is read word by word); a write writes a whole word of
      ``load_width`` activations into a memory of ``windows * slots`` words.
    - ``weights``: reads of a row's weight memory, ``weight_entries`` words of one entry, and, where weights are looked up,
      as many of the row's codebook memory. The index of an entry costs nothing, nor does the adder that a delta needs.
    - ``activations``: reads of whole words of activation memory; a write writes ``requantizer_lanes`` activations, as
      into a memory of the same capacity with words of that width.
    - ``requantize``: for each lane and step the bias' addition (``accumulator_bits + 1``), the product with the 16-bit
      multiplier, the rounding and the zero point (additions of the product's width); for each lane and step of a
      residual Add also the zero point's subtraction, the product with the 32-bit multiplier and its addition; and the
      parameter memory's reads, and, in a layer with a table, a read of the lane's tables for each lane and step. Steps of
      a residual Add are those that read activation memory beyond the load list.
    - ``control``: reads of the load list, with two coordinate additions and one address addition each, and one read of
      the layer's descriptor.
    - ``leakage``: all memories' leakage for ``cycles / frequency``; that of logic is not known and not counted.

    Every part but ``control`` (its descriptor) is linear in the counts. The energies themselves are from
    ``technology``; its ``sources`` name them. Memories that the gateware reads at more than one port are charged as
    with one.
    """
    e = action_energy(design, technology)
    other_steps = max(0, actions.activation_reads - actions.load_list_reads)
    milliwatt_microseconds_to_pj = 1e3
    return {
        "multiply": actions.macs * e.multiply_pj,
        "accumulate": actions.macs * e.add_pj
        + actions.accumulator_reads * e.accumulator_read_pj
        + actions.accumulator_writes * e.accumulator_write_pj,
        "windows": actions.window_reads * e.window_read_pj + actions.window_writes * e.window_write_pj,
        "weights": actions.weight_reads * e.weight_read_pj,
        "activations": actions.activation_reads * e.activation_read_pj
        + actions.activation_writes * e.activation_write_pj,
        "requantize": actions.requantizations * e.requantize_pj
        + other_steps * design.requantizer_lanes * e.requantize_other_pj
        + actions.parameter_reads * e.parameter_read_pj
        + actions.table_reads * e.table_read_pj,
        "control": actions.load_list_reads * e.load_list_pj + e.descriptor_read_pj,
        "leakage": e.leakage_mw * actions.cycles / technology.frequency_mhz * milliwatt_microseconds_to_pj,
    }


def area_um2(design: Design, technology: Technology) -> float:
    """Area of the design's memories and arithmetic in um2: a proxy, for comparing designs.

    Memories as CACTI lays them out, register files included; a multiplier (see ``product_cost``) and an adder a PE; two
    multipliers and five adders a requantizer lane (as in ``layer_energy``); the loader's three adders. Control, pipeline
    registers, multiplexers and wiring are left out, and second read ports cost nothing.
    """
    total = sum(memory.count * technology.sram(memory.words, memory.bits).area_um2 for memory in memories(design))
    pe = product_cost(design, technology).um2 + technology.add_um2(design.accumulator_bits)
    sum_bits, other_bits = design.accumulator_bits + 1, design.activation_bits + 1
    lane = (
        technology.multiply_um2(sum_bits, MULTIPLIER_BITS)
        + technology.multiply_um2(other_bits, OTHER_MULTIPLIER_BITS)
        + technology.add_um2(sum_bits)
        + technology.add_um2(other_bits)
        + 3 * technology.add_um2(sum_bits + MULTIPLIER_BITS)
    )
    loader = 2 * technology.add_um2(design.dimension_bits) + technology.add_um2(design.address_bits)
    return total + design.pes * pe + design.requantizer_lanes * lane + loader


def energy_sources(technology: Technology) -> list[tuple[str, str]]:
    """What each number of an energy report rests on: (what, source), for printing beside it."""
    return [("technology", technology.name), *technology.sources]
