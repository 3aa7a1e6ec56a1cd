"""The program's way onto the chip: once, from off-chip memory into the memories, before the first inference.

Weights are resident, so that no inference pays for it; what each inference moves is
``skipstone.mapper.energy.traffic``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from skipstone.hw.design import Design
from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.program import Program
from skipstone.mapper.technology.technology import Technology


@dataclass(frozen=True)
class Loading:
    """Once, before the first inference: ``bits`` of the program read from off-chip memory and written into the
    memories."""

    bits: int
    energy_pj: float


def loading(program: Program, design: Design, technology: Technology) -> Loading:
    """Of the program: every word of every memory image once. Tables go to all lanes and codebooks to all rows at
    once."""
    images = program.memory_images()
    sizes = {memory.name: memory for memory in chip_memories(design)}
    bits, energy = 0, 0.0
    for image, words in images.items():
        name = "weights" if image.startswith("weights") else {"loads": "load_lists"}.get(image, image)
        memory = sizes[name]
        copies = memory.count if name in ("tables", "codebooks") else 1
        bits += len(words) * memory.bits
        energy += len(words) * copies * technology.sram(memory.words, memory.bits).write_pj
    return Loading(bits, energy + bits * technology.dram.read_pj_per_bit)
