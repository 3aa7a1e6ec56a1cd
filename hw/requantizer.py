"""One lane of the requantizer: accumulators in, clamped activations out, with an optional second tensor added and an
optional table looked up."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from skipstone.hw.design import Design
from skipstone.hw.host_memory import HostMemory, HostPort
from skipstone.hw.numbers import MAX_SHIFT, MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS, SHIFT_BITS

LATE = ("zero_point", "low", "high", "table", "use_table")
"""Fields of the parameter word that the last stages use."""


class Requantizer(wiring.Component):
    """``c = clamp(zero_point + ((acc + bias) * multiplier + (other - other_zero_point) * other_multiplier
    + (1 << (shift - 1))) >> shift, low, high)``, then ``q = tables[table][c + 2**(bits - 1)]`` with ``use_table``,
    else ``q = c``.

    Latency: ``LATENCY`` cycles; a design without tables has a register in their place. Throughput: one value a cycle, never
    refused.

    Args:
        design: the array's parameters.

    Members:
        accumulator: In(signed).
        constants: In(``Design.parameter``). All constants but ``other_zero_point``; they belong to the value and come with it.
            ``shift`` must be 1 to ``MAX_SHIFT``.
        other: In(activation). The value of the tensor that is added.
        add_other: In(1). Whether one is added; constant during a layer.
        other_zero_point: In(activation). Constant during a layer.
        q: Out(activation). The result.
        host_tables: In(HostPort), in designs with tables. The tables, one behind the other.
    """

    LATENCY = 6

    def __init__(self, design: Design) -> None:
        self.design = design
        activation = signed(design.activation_bits)
        tables = {"host_tables": In(HostPort(design.table_words, design.activation_bits))}
        super().__init__(
            {
                "accumulator": In(signed(design.accumulator_bits)),
                "constants": In(design.parameter.layout()),
                "other": In(activation),
                "add_other": In(1),
                "other_zero_point": In(activation),
                "q": Out(activation),
                **(tables if design.tables else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design = self.design
        # What the last stages take of the parameter word travels beside the value.
        late = data.StructLayout({name: member.shape for name, member in design.parameter.layout() if name in LATE})
        late1, late2, late3, late4 = (Signal(late, name=f"late{stage}") for stage in range(1, 5))
        m.d.sync += [late1[name].eq(self.constants[name]) for name in late.members]
        m.d.sync += [late2.eq(late1), late3.eq(late2), late4.eq(late3)]
        # Stage 1: bias and zero point.
        sum1 = Signal(signed(design.accumulator_bits + 1))
        other1 = Signal(signed(design.activation_bits + 1))
        multiplier1 = Signal(MULTIPLIER_BITS)
        other_multiplier1 = Signal(OTHER_MULTIPLIER_BITS)
        shift1 = Signal(SHIFT_BITS)
        m.d.sync += [
            sum1.eq(self.accumulator + self.constants.bias),
            other1.eq(Mux(self.add_other, self.other - self.other_zero_point, 0)),
            multiplier1.eq(self.constants.multiplier),
            other_multiplier1.eq(self.constants.other_multiplier),
            shift1.eq(self.constants.shift),
        ]
        # Stage 2: products and the rounding constant.
        product2 = Signal(signed(design.accumulator_bits + 1 + MULTIPLIER_BITS + 1))
        other2 = Signal(signed(design.activation_bits + 1 + OTHER_MULTIPLIER_BITS + 1))
        half2 = Signal(1 << SHIFT_BITS)
        shift2 = Signal(SHIFT_BITS)
        m.d.sync += [
            product2.eq(sum1 * multiplier1),
            other2.eq(other1 * other_multiplier1),
            half2.eq((1 << shift1) >> 1),
            shift2.eq(shift1),
        ]
        # Stage 3: one sum, so that there is one rounding.
        total3 = Signal(signed(max(len(product2), len(other2), MAX_SHIFT + 1) + 2))
        shift3 = Signal(SHIFT_BITS)
        m.d.sync += [total3.eq(product2 + other2 + half2), shift3.eq(shift2)]
        # Stage 4: arithmetic shift.
        shifted4 = Signal.like(total3)
        m.d.sync += shifted4.eq(total3 >> shift3)
        # Stage 5: zero point and clamp.
        placed = Signal(signed(len(shifted4) + 1))
        clamped5 = Signal(signed(design.activation_bits))
        m.d.comb += placed.eq(shifted4 + late4.zero_point)
        with m.If(placed < late4.low):
            m.d.sync += clamped5.eq(late4.low)
        with m.Elif(placed > late4.high):
            m.d.sync += clamped5.eq(late4.high)
        with m.Else():
            m.d.sync += clamped5.eq(placed)
        # Stage 6: the table, read synchronously, beside the value that passes it by.
        clamped6 = Signal.like(clamped5)
        m.d.sync += clamped6.eq(clamped5)
        m.d.comb += self.q.eq(clamped6)
        if design.tables:
            table5 = Signal.like(late4.table)
            use5 = Signal()
            use6 = Signal()
            m.d.sync += [table5.eq(late4.table), use5.eq(late4.use_table), use6.eq(use5)]
            m.submodules.tables = tables = HostMemory(design.table_words, design.activation_bits)
            connect(m, flipped(self.host_tables), tables.host)
            # Adding half of the range to a two's complement number turns its sign bit.
            place = Cat(clamped5[:-1], ~clamped5[-1], table5)
            m.d.comb += [tables.enable.eq(use5), tables.address.eq(place)]
            with m.If(use6):
                m.d.comb += self.q.eq(tables.word)
        return m
