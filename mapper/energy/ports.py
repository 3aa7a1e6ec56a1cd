"""The memories of a design as the gateware sizes them, and how often their ports read when nothing is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

from skipstone.hw.design import Design


@dataclass(frozen=True)
class ChipMemory:
    """One kind of memory of a design.

    Attributes:
        name: What it holds.
        count: Copies of it on the chip.
        words: Words of each copy.
        bits: Bits of a word.
        always_read: Read ports of each copy without an enable, which read a word in every cycle, needed or not.
    """

    name: str
    count: int
    words: int
    bits: int
    always_read: int = 0


def chip_memories(design: Design) -> tuple[ChipMemory, ...]:
    """Lists all memories of the gateware.

    Windows and accumulators are read without a clock: their outputs follow the address. All others have clocked ports.
    Those of the weights, codebooks, activations (two), parameters, load lists and descriptors have no enable (``hw``:
    ``read_port(domain="sync")`` with ``en`` left at 1); those of the tables have one.
    """
    lookups = []
    if design.codebook_words:
        lookups.append(ChipMemory("codebooks", design.rows, design.codebook_words, design.weight_bits, 1))
    if design.table_words:
        lookups.append(ChipMemory("tables", design.requantizer_lanes, design.table_words, design.activation_bits))
    return (
        ChipMemory("windows", design.pes, design.windows * design.slots, design.activation_word_bits),
        ChipMemory("accumulators", design.pes, 2 * design.bank_depth, design.accumulator_bits),
        ChipMemory("weights", design.rows, design.weight_entries, design.weight_entry.width, 1),
        ChipMemory("activations", 1, design.activation_words, design.activation_word_bits, 2),
        ChipMemory("parameters", 1, design.parameter_words, design.parameter.width * design.requantizer_lanes, 1),
        ChipMemory("load_lists", 1, design.load_entries, design.load_entry.width, 1),
        ChipMemory("descriptors", 1, design.layers, design.descriptor.width, 1),
        *lookups,
    )
