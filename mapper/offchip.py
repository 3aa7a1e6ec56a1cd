"""What crosses the chip's edge: an inference's input and outputs every time, and the program once.

Weights are resident: they come from off-chip memory when the program is loaded, which ``loading`` counts apart and no inference
does. What the host does between layers (``HostStep``), and what it converts, is the host's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from hw.design import Design
from mapper.memory_list import memories
from mapper.program import Placement, Program
from mapper.technology import Technology


@dataclass(frozen=True)
class Traffic:
    """Bits read from and written to off-chip memory, and words of activation memory that the host port writes and reads for
    them (whole words, padded lanes included)."""

    read_bits: int
    write_bits: int
    host_writes: int
    host_reads: int


@dataclass(frozen=True)
class Loading:
    """Once, before the first inference: ``bits`` of the program read from off-chip memory and written into the memories."""

    bits: int
    energy_pj: float


def traffic(program: Program) -> Traffic:
    """Of one inference: the input and the outputs, once each, ``activation_bits`` a value."""
    bits = program.design.activation_bits
    return Traffic(
        read_bits=values(program.input) * bits,
        write_bits=sum(map(values, program.outputs)) * bits,
        host_writes=program.input.words,
        host_reads=sum(placed.words for placed in program.outputs),
    )


def loading(program: Program, design: Design, technology: Technology) -> Loading:
    """Of the program: every word of every memory image once. Tables go to all lanes and codebooks to all rows at once."""
    images = program.memory_images()
    sizes = {memory.name: memory for memory in memories(design)}
    bits, energy = 0, 0.0
    for image, words in images.items():
        name = "weights" if image.startswith("weights") else {"loads": "load_lists"}.get(image, image)
        memory = sizes[name]
        copies = memory.count if name in ("tables", "codebooks") else 1
        bits += len(words) * memory.bits
        energy += len(words) * copies * technology.sram(memory.words, memory.bits).write_pj
    return Loading(bits, energy + bits * technology.dram.read_pj_per_bit)


def values(placed: Placement) -> int:
    """Activations of a tensor."""
    return prod((placed.channels, placed.height, placed.width))
