"""What every unit bench stands on: the unit's ports, driven and read cycle by cycle, and the design under test.

A cycle runs from one rising edge to the next. Inputs of a cycle are set at its falling edge and outputs are read after
that, when everything has settled; so a combinational output answers the inputs of the same cycle, and a register shows
the effect of a cycle's inputs in the next one.
"""

import json
import os
from collections.abc import Iterable, Mapping

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from cocotb.types import Logic

from skipstone.hw.design import Design

PERIOD_NS = 2
DESIGN_VARIABLE = "SKIPSTONE_BENCH_DESIGN"
"""Environment variable that hands the design's parameters (JSON) to a bench."""


def design_of_bench() -> Design:
    return Design(**json.loads(os.environ[DESIGN_VARIABLE]))


class Ports:
    """The ports of one unit. ``cycle`` is the number of the cycle that is being driven or read."""

    def __init__(self, dut, inputs: tuple[str, ...]) -> None:
        self.dut = dut
        self.inputs = {name: dut[name] for name in inputs}
        self.masks = {name: (1 << len(handle)) - 1 for name, handle in self.inputs.items()}
        self.values = dict.fromkeys(inputs, 0)
        self.cycle = 0

    async def reset(self) -> None:
        """Starts the clock, holds the reset for two cycles and enters cycle 0 with all inputs zero."""
        Clock(self.dut.clk, PERIOD_NS, unit="ns", impl="gpi").start()
        for handle in self.inputs.values():
            handle.value = 0
        self.dut.rst.value = 1
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.values = dict.fromkeys(self.inputs, 0)
        self.cycle = 0

    async def drive(self, values: Mapping[str, int]) -> None:
        """Sets inputs (those not named keep their value) and lets the cycle settle; outputs may be read then."""
        for name, value in values.items():
            value &= self.masks[name]
            if self.values[name] != value:
                self.values[name] = value
                self.inputs[name].value = value
        await ReadOnly()

    async def next(self) -> None:
        """Enters the next cycle."""
        await FallingEdge(self.dut.clk)
        self.cycle += 1

    async def write_memory(self, port: str, words: Iterable[int]) -> None:
        """Writes words from address 0 on over the ``HostPort`` ``port``, one a cycle; then one cycle without a write."""
        for address, word in enumerate(words):
            await self.drive({f"{port}__write": 1, f"{port}__address": address, f"{port}__data": word})
            await self.next()
        await self.drive({f"{port}__write": 0})
        await self.next()

    def read(self, name: str) -> int:
        value = self.dut[name].value
        return int(value) if isinstance(value, Logic) else value.to_unsigned()

    def read_signed(self, name: str) -> int:
        return self.dut[name].value.to_signed()


def host_port(name: str) -> tuple[str, ...]:
    """The inputs of a ``HostPort``."""
    return tuple(f"{name}__{member}" for member in ("write", "address", "data"))


def field(word: int, index: int, width: int) -> int:
    """The ``index``-th of equally wide unsigned parts of ``word``, counted from the least significant bit."""
    return (word >> (index * width)) & ((1 << width) - 1)


def signed(value: int, width: int) -> int:
    """``value`` modulo 2**width, as a two's complement number."""
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def weight_of(design: Design, operand: int) -> int:
    """The integer that a PE of ``design`` multiplies by when it is given ``operand``."""
    if design.multiplier == "shift":
        sign, exponent = divmod(operand, 1 << (design.weight_bits - 1))
        return -(2**exponent) if sign else 2**exponent
    if design.multiplier == "additive":
        terms = (design.weight_bits - 1) // 2
        powers = (field(operand, term, 2) for term in range(terms))
        total = sum(2 ** (term + (power - 1) * terms) for term, power in enumerate(powers) if power)
        return -total if operand >> (design.weight_bits - 1) else total
    if design.multiplier == "sign":
        return (1, -1)[operand]
    return signed(operand, design.weight_bits)


def operand_bits(design: Design) -> int:
    return 1 if design.multiplier == "sign" else design.weight_bits


def operand_ends(design: Design) -> tuple[int, ...]:
    """The operands at both ends of every field: of a number, of an exponent or of terms under either sign; and the one for
    1 or -1."""
    top = 1 << (operand_bits(design) - 1)
    return tuple(sorted({0, 1, top, top - 1, 2 * top - 1}))


def operand_one(design: Design) -> int:
    """The operand that stands for 1."""
    return 0 if design.multiplier in ("shift", "sign") else 1
