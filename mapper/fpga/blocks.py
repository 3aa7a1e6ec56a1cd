"""What the array's blocks have in registers and in logic, counted from the design's parameters as the gateware
declares them.

``blocks`` gives, for every kind of block, how many there are, its flip-flops and the sizes (in bits) of what its logic
does: words selected, sums, comparisons. ``skipstone.mapper.fpga.resources`` multiplies the sizes by look-up tables a
bit, fitted to Yosys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from skipstone.hw.design import FREE_TILES_BITS, Design
from skipstone.hw.fields import width_of
from skipstone.hw.numbers import MAX_SHIFT, MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS, SHIFT_BITS
from skipstone.mapper.fpga.memories import FpgaMemory, fpga_memories, mapped

PASS_BITS = 16
BLOCK_OF = {
    "window": "pe", "accumulators": "pe", "weights": "row", "codebooks": "row", "loads": "loader", "parameters": "drain",
    "descriptors": "controller", "activations": "array", "tables": "requantizer",
}  # fmt: skip
"""The kind of block that each memory belongs to."""


@dataclass(frozen=True)
class BlockSizes:
    """One kind of block: how often the array has it, and the sizes of what is in it.

    Attributes:
        name: The kind of block.
        count: Equal blocks of this kind.
        flip_flops: Registers of one block.
        logic: Bits of logic of one block, by what the logic does.
    """

    name: str
    count: int
    flip_flops: int
    logic: dict[str, float]


def memory_flip_flops(memory: FpgaMemory, device: str) -> int:
    """Counts the registers that Yosys adds to one memory.

    In LUT RAM it adds the output register, in block RAM the delayed write and the word read past it. A memory in
    neither consists of registers.
    """
    mapping = mapped(memory.words, memory.bits, memory.reads, memory.synchronous, memory.enables, device)
    if mapping.read_first:
        return delayed_bits(memory) + memory.bits + memory.reads * (memory.enables + mapping.select_bits)
    return mapping.flip_flops + (memory.bits * memory.reads if memory.synchronous else 0)


def delayed_bits(memory: FpgaMemory) -> int:
    """Registers of a write that is delayed by a cycle: address, word and enables."""
    return width_of(memory.words) + memory.bits + memory.enables


def memory_logic(memory: FpgaMemory, device: str) -> dict[str, float]:
    """Sizes of the logic around one memory, in bits.

    The logic selects words of several RAMs or registers, reads words past a delayed write, and compares addresses.
    """
    mapping = mapped(memory.words, memory.bits, memory.reads, memory.synchronous, memory.enables, device)
    logic: dict[str, float] = {"memory: words chosen": mapping.multiplexed_bits}
    if mapping.read_first:
        logic["memory: words read past a write"] = memory.bits * memory.reads
        logic["memory: addresses compared"] = width_of(memory.words) * memory.reads
    return logic


def blocks(design: Design, device: str) -> Iterator[BlockSizes]:
    """Yields every kind of block of the array, with the logic and registers of its memories."""
    memories_by_name = {memory.name: memory for memory in fpga_memories(design)}
    for name, count, flip_flops, logic in _blocks(design):
        for memory_name, memory in memories_by_name.items():
            if BLOCK_OF[memory_name] == name:
                flip_flops += memory_flip_flops(memory, device)
                for size, bits in memory_logic(memory, device).items():
                    logic[size] = logic.get(size, 0) + bits
        yield BlockSizes(name, count, flip_flops, logic)


def _blocks(design: Design) -> Iterator[tuple[str, int, int, dict[str, float]]]:
    d = design
    kind = d.products
    dimension, address, region = d.dimension_bits, d.address_bits, d.region_bits
    window_address = width_of(d.windows * d.slots)
    lane, accumulator = width_of(d.load_width), width_of(2 * d.bank_depth)
    word = d.activation_word_bits
    total = max(d.accumulator_bits + MULTIPLIER_BITS, d.activation_bits + OTHER_MULTIPLIER_BITS, MAX_SHIFT - 1) + 4
    lanes = d.requantizer_lanes
    blocks, steps = d.load_width // lanes, d.steps_per_accumulator
    shapes = len(d.tile_shapes)

    logic: dict[str, float] = {
        "pe: accumulator": d.accumulator_bits,
        "pe: lanes selected": d.activation_bits * (d.load_width - 1),
        "pe: product": kind.product_bits,
    }
    if kind.negated_bits:
        logic["pe: activation negated"] = kind.negated_bits
        logic["pe: activation shifted"] = kind.multiplexer_bits
        logic["pe: terms added"] = kind.adder_bits
    yield "pe", d.pes, d.activation_bits + kind.product_bits, logic

    held = max(width_of(d.windows + 1), d.leave_bits) + 2
    entries, index = width_of(d.weight_entries), d.weight_index.width if d.index_coding == "delta" else 0
    flip_flops = 2 * entries + 4 * dimension + PASS_BITS + 2 * held + width_of(d.windows) + 2 * d.bank_depth + index
    flip_flops += window_address + lane + 3 * accumulator + kind.operand_bits + 21
    flip_flops += width_of(d.codebooks) if d.codebook_words else kind.operand_bits
    logic = {
        "row: one": 1,
        "row: counters": 2 * entries + 4 * dimension + PASS_BITS + 2 * held,
        "row: accumulators touched": 2 * d.bank_depth,
        "row: columns drained": d.accumulator_bits * d.accumulators_per_step * (d.cols - 1),
        "row: touched words drained": 2 * d.bank_depth * d.accumulators_per_step,
        "row: words cleared": d.accumulator_bits * d.accumulators_per_step,
        "row: index": index,
        "row: windows": d.windows + (1 << d.leave_bits),
    }
    yield "row", d.rows, flip_flops, logic

    flip_flops = 2 * width_of(d.load_entries) + 8 + PASS_BITS + 2 * dimension + 2 * (dimension + 1) + 3 * address
    flip_flops += FREE_TILES_BITS + width_of(d.windows) + 2 * region + 2 * (dimension + 2) + window_address + word
    logic = {
        "loader: one": 1,
        "loader: positions": 10 * dimension,
        "loader: addresses": 4 * address + 2 * width_of(d.load_entries),
        "loader: word": word,
    }
    yield "loader", 1, flip_flops, logic
    logic = {
        "capture: taps": 2 * d.reach * (d.tap_bits + 1),
        "capture: origins": 2 * region * shapes if d.cols > 1 else 0,
        "capture: distances": 2 * (region + 1) if d.cols > 1 else 0,
        "capture: address": window_address,
    }
    strides = (1 << d.descriptor.width_of("stride_y")) - 1
    origins = sum(2 * min(region, (strides * col).bit_length()) for col in range(d.cols))
    flip_flops = origins + 2 * d.cols * region + 2 * (d.cols - 1) + 2 * d.cols * (1 + window_address)
    logic = {size: bits * d.cols for size, bits in logic.items()}
    yield "captures", 1, flip_flops, logic

    chosen = min(lanes, d.rows * d.accumulators_per_step) * d.accumulator_bits
    column = width_of(d.cols)
    flip_flops = (
        2 + PASS_BITS + 4 * dimension + 3 * column + 16 + width_of(steps) + width_of(d.bank_depth) + 2 * address
    )
    flip_flops += 3 * width_of(blocks) + 2 * width_of(d.parameter_words) + 1 + chosen + 8 * address
    flip_flops += 7 * (3 + address + width_of(blocks)) + d.descriptor.width_of("wait_tiles")
    logic = {
        "drain: one": 1,
        "drain: counters": PASS_BITS + 4 * dimension + 16,
        "drain: addresses": 8 * address + 2 * address,
        "drain: tile": 3 * column + 2 * width_of(d.parameter_words),
        "drain: accumulators chosen": chosen * (steps - 1),
        "drain: other words chosen": lanes * d.activation_bits * (blocks - 1),
        "drain: tiles written": d.descriptor.width_of("wait_tiles"),
    }
    yield "drain", 1, flip_flops, logic
    table = (d.tables - 1).bit_length() + 1 if d.tables else 0
    flip_flops = 4 * (3 * d.activation_bits + table) + d.accumulator_bits + 1 + d.activation_bits + 1
    flip_flops += MULTIPLIER_BITS + OTHER_MULTIPLIER_BITS + 2 * SHIFT_BITS + d.accumulator_bits + MULTIPLIER_BITS + 2
    flip_flops += (
        d.activation_bits + OTHER_MULTIPLIER_BITS + 2 + total - 2 + SHIFT_BITS + 2 * total + 2 * d.activation_bits
    )
    flip_flops += table + 1 if d.tables else 0
    logic = {
        "requantizer: one": 1,
        "requantizer: sum": total,
        "requantizer: accumulator": d.accumulator_bits,
        "requantizer: split product": d.accumulator_bits if d.accumulator_bits + 1 > 18 else 0,
        "requantizer: twice split product": d.accumulator_bits if d.accumulator_bits + 1 > 35 else 0,
        "requantizer: activation": d.activation_bits,
        "requantizer: tables": d.activation_bits if d.tables else 0,
    }
    yield "requantizer", lanes, flip_flops, logic

    flip_flops = 9 + width_of(d.layers + 1) + width_of(d.layers) + 2 * d.descriptor.width
    yield "controller", 1, flip_flops, {"controller: descriptor": d.descriptor.width, "controller: one": 1}
    logic = {
        "array: word written": word,
        "array: rows": d.rows,
        "array: addresses": 2 * address,
    }
    yield "array", 1, 0, logic


def shared_flip_flops(design: Design, device: str) -> int:
    """Counts the registers that single blocks have and the whole array does not.

    Fields of the descriptor that only the loader and the rows read are not stored for the drain. All memories that only
    the host writes share one delayed write.
    """
    names = [field.name for field in design.descriptor.fields]
    unread = {"maximum", "codebook", "tile_shape", "tiles"} | set(
        names[names.index("wait_tiles") : names.index("steps")]
    )
    saved = sum(field.width for field in design.descriptor.fields if field.name in unread)
    delayed: list[tuple[int, int, int]] = []
    for memory in fpga_memories(design):
        mapping = mapped(memory.words, memory.bits, memory.reads, memory.synchronous, memory.enables, device)
        if mapping.read_first and memory.name != "activations":
            delayed.append((memory.count, 2 * memory.bits, width_of(memory.words)))
    if delayed:
        saved += sum(count * (bits + address) for count, bits, address in delayed)
        saved -= max(bits for _, bits, _ in delayed) + max(address for _, _, address in delayed)
    return saved
