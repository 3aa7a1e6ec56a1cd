"""How Yosys maps one memory of the gateware to block RAMs, to LUT RAMs or to flip-flops.

``mapped`` follows the costs that Yosys' pass ``memory_libmap`` minimizes, with the sizes and costs of its library
files, so that counts of block RAMs come out as Yosys reports them. ``fpga_memories`` lists the memories of a design,
each with its ports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from skipstone.hw.design import Design


@dataclass(frozen=True)
class FpgaMemory:
    """Equal memories of a design, each with one write port.

    Attributes:
        name: What they hold.
        count: How many there are.
        words: Words of each.
        bits: Bits of a word.
        reads: Read ports of each.
        synchronous: The word that is read comes a cycle later.
        enables: Parts of a word that are written independently.
    """

    name: str
    count: int
    words: int
    bits: int
    reads: int
    synchronous: bool
    enables: int = 1


@dataclass(frozen=True)
class RamKind:
    """A kind of RAM cell of a device.

    Attributes:
        name: The cell's name.
        address_bits: The cell has ``1 << address_bits`` bits (LUT RAMs: words).
        widths: Bits of a word that it can have.
        byte: Bits that are written together.
        cost: Its cost in the library file.
        shared_cost: The part of the cost that unused bits do not cost.
        least_write: Bits that the write port takes at least.
        synchronous: The word that is read comes a cycle later.
        spare_reads: Read ports beside the write port.
        block_rams: Block RAMs that it takes.
        luts: Look-up tables that it takes.
    """

    name: str
    address_bits: int
    widths: tuple[int, ...]
    byte: int
    cost: int
    shared_cost: int = 0
    least_write: int = 0
    synchronous: bool = False
    spare_reads: int = 1
    block_rams: int = 0
    luts: int = 0


@dataclass(frozen=True)
class MappedMemory:
    """One memory as Yosys maps it.

    Attributes:
        kind: The kind of RAM cell, or ``flip_flops``.
        cells: Cells of that kind.
        block_rams: Block RAMs of the device.
        luts: Look-up tables of LUT RAM.
        flip_flops: Memory bits in flip-flops.
        multiplexed_bits: Bits that are selected between RAMs one above the other.
        select_bits: Bits of the address that select them.
        read_first: Logic delays writes so that a read sees the old word.
    """

    kind: str
    cells: int
    block_rams: int
    luts: int
    flip_flops: int
    multiplexed_bits: int
    select_bits: int
    read_first: bool


KINDS: dict[str, tuple[RamKind, ...]] = {
    "ecp5": (
        # lutrams_trellis.txt. nextpnr-ecp5 places it in 4 LUTs, and its write decoder in 2 more.
        RamKind("TRELLIS_DPR16X4", 4, (4,), 0, 4, luts=6),
        # brams_16kd.txt
        RamKind("DP16KD", 14, (1, 2, 4, 9, 18), 9, 128, synchronous=True, block_rams=1),
        RamKind("PDPW16KD", 14, (1, 2, 4, 9, 18, 36), 9, 128, least_write=36, synchronous=True, block_rams=1),
    ),
}
MULTIPLEXER, DECODER, EMULATION = 0.5, 0.5, 2
"""Costs of the logic that has to be added, as in memory_libmap.cc."""


def fpga_memories(design: Design) -> Iterator[FpgaMemory]:
    """Yields every memory of the array, as the gateware declares it."""
    d = design
    yield FpgaMemory("window", d.pes, d.windows * d.slots, d.activation_word_bits, 1, False)
    yield FpgaMemory("accumulators", d.pes, 2 * d.bank_depth, d.accumulator_bits, 1 + d.accumulators_per_step, False)
    yield FpgaMemory("weights", d.rows, d.weight_entries, d.weight_entry.width, 1, True)
    yield FpgaMemory("loads", 1, d.load_entries, d.load_entry.width, 1, True)
    yield FpgaMemory("parameters", 1, d.parameter_words, d.parameter.width * d.requantizer_lanes, 1, True)
    yield FpgaMemory("descriptors", 1, d.layers, d.descriptor.width, 1, True)
    blocks = d.load_width // d.requantizer_lanes
    yield FpgaMemory("activations", 1, d.activation_words, d.activation_word_bits, 2, True, blocks)
    if d.table_words:
        yield FpgaMemory("tables", d.requantizer_lanes, d.table_words, d.activation_bits, 1, True)
    if d.codebook_words:
        yield FpgaMemory("codebooks", d.rows, d.codebook_words, d.products.operand_bits, 1, True)


@lru_cache(maxsize=4096)
def mapped(words: int, bits: int, reads: int, synchronous: bool, enables: int, device: str) -> MappedMemory:
    """Finds the cheapest mapping of one memory. Flip-flops are one of the possibilities."""
    best_cost, best = (
        float(words * bits),
        MappedMemory("flip_flops", 0, 0, 0, words * bits, (words - 1) * bits * reads, 0, False),
    )
    for kind in KINDS[device]:
        if not synchronous and kind.synchronous:
            continue
        copies = -(-reads // kind.spare_reads)
        # A block RAM does not promise the old word where the word being written is read: writes are delayed and
        # compared.
        read_first = kind.synchronous
        emulation = reads * (4 if read_first else 1) + (3 if read_first else 0)
        for place, width in enumerate(kind.widths):
            if width < min(kind.least_write, kind.byte):
                continue
            depth = 1 << kind.address_bits - place if len(kind.widths) > 1 else 1 << kind.address_bits
            above = -(-words // depth)
            byte = min(kind.byte or width, width)
            part = -(-(bits // enables) // byte) * byte
            cells = -(-above * enables * part // width)
            multiplexed = (above - 1) * bits * reads
            cost = (
                (kind.cost - kind.shared_cost) * cells * copies
                + kind.shared_cost * above * bits / width * copies
                + MULTIPLEXER * multiplexed
                + DECODER * (above * enables if above > 1 else 0)
                + EMULATION * emulation
            )
            if cost < best_cost:
                best_cost = cost
                best = MappedMemory(
                    kind.name, cells * copies, cells * copies * kind.block_rams, cells * copies * kind.luts, 0,
                    multiplexed,
                    (above - 1).bit_length(), read_first,
                )  # fmt: skip
    return best
