"""What crosses the chip's edge in an inference: the input and the outputs. Weights are resident
(``skipstone.mapper.energy.offchip``).

What the host does between layers (``HostStep``), and what it converts, is the host's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from skipstone.mapper.program import Placement, Program


@dataclass(frozen=True)
class Traffic:
    """Bits read from and written to off-chip memory, and words of activation memory that the host port writes and reads
    for them (whole words, padded lanes included)."""

    read_bits: int
    write_bits: int
    host_writes: int
    host_reads: int


def traffic(program: Program) -> Traffic:
    """Of one inference: the input and the outputs, once each, ``activation_bits`` a value."""
    bits = program.design.activation_bits
    return Traffic(
        read_bits=values(program.input) * bits,
        write_bits=sum(map(values, program.outputs)) * bits,
        host_writes=program.input.words,
        host_reads=sum(placed.words for placed in program.outputs),
    )


def values(placed: Placement) -> int:
    """Activations of a tensor."""
    return prod((placed.channels, placed.height, placed.width))
