"""Loading the program: once, from off-chip memory into the chip's memories, before the first inference.

Weights stay on the chip, so no inference pays for them. What each inference moves is counted in
``skipstone.mapper.energy.traffic``.
"""

from __future__ import annotations

from dataclasses import dataclass

from skipstone.hw.design import Design
from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.program import Program
from skipstone.mapper.technology.technology import Technology


@dataclass(frozen=True)
class Loading:
    """The transfer of a program onto the chip, once before the first inference.

    Attributes:
        bits: Bits read from off-chip memory and written into the memories.
        energy_pj: Energy of both.
    """

    bits: int
    energy_pj: float


def loading(program: Program, design: Design, technology: Technology) -> Loading:
    """Computes what it takes to load a program.

    Every word of every memory image is read once. Tables are written to all lanes and codebooks to all rows at once.

    Args:
        program: The compiled network.
        design: The design whose memories are written.
        technology: The node, with its DRAM.
    """
    sizes = {memory.name: memory for memory in chip_memories(design)}
    bits, energy = 0, 0.0
    for image, words in program.image_words().items():
        name = "weights" if image.startswith("weights") else {"loads": "load_lists"}.get(image, image)
        memory = sizes[name]
        copies = memory.count if name in ("tables", "codebooks") else 1
        bits += words * memory.bits
        energy += words * copies * technology.sram(memory.words, memory.bits).write_pj
    return Loading(bits, energy + bits * technology.dram.read_pj_per_bit)
