"""What crosses the chip's edge in an inference: the input and the outputs.

Weights are loaded once (``skipstone.mapper.energy.offchip``). What the host does between layers (``HostStep``) and what
it converts is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from skipstone.mapper.program import Placement, Program


@dataclass(frozen=True)
class Traffic:
    """Transfers of one inference.

    Attributes:
        read_bits: Bits read from off-chip memory.
        write_bits: Bits written to off-chip memory.
        host_writes: Words of activation memory that the host port writes, padded lanes included.
        host_reads: Words of activation memory that the host port reads, padded lanes included.
    """

    read_bits: int
    write_bits: int
    host_writes: int
    host_reads: int


def traffic(program: Program) -> Traffic:
    """Counts the transfers of one inference: the input and the outputs once each, ``activation_bits`` a value."""
    bits = program.design.activation_bits
    return Traffic(
        read_bits=values(program.input) * bits,
        write_bits=sum(map(values, program.outputs)) * bits,
        host_writes=program.input.words,
        host_reads=sum(placed.words for placed in program.outputs),
    )


def values(placed: Placement) -> int:
    """The number of activations of a tensor."""
    return prod((placed.channels, placed.height, placed.width))
