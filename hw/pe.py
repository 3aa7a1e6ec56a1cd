"""The processing element: a window memory, a multiplier of any kind and two banks of accumulators. Its row controls it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of


def load_layout(design: Design) -> data.StructLayout:
    """What tells one column to take a word: ``enable``, and ``address``, which counts words over all windows."""
    return data.StructLayout({"enable": 1, "address": width_of(design.windows * design.slots)})


class Pe(wiring.Component):
    """``accumulator[a] = (first ? 0 : accumulator[a]) + weight * window[address][lane]``, or the maximum of the products.

    The control arrives in stages, each registered in the row: ``x`` reads the window, ``m`` multiplies one cycle later, ``a``
    accumulates one cycle after that.

    Latency: counted from the row's issue, one cycle before ``x``, the accumulator shows the result after ``LATENCY`` cycles. A
    loaded word is readable one cycle after ``load``. Throughput: one entry and one loaded word a cycle, never refused.

    Args:
        design: the array's parameters.

    Members:
        load: In(load_layout). Whether and where ``load_word`` goes into the windows.
        load_word: In(activation word).
        x_valid: In(1). An entry reads its activation.
        x_address, x_lane: In. The word, counted over all windows, and the activation in it.
        m_valid: In(1). An entry is multiplied.
        m_weight: In. The multiplier's operand (``Multiplier.operand_bits``).
        a_valid: In(1). An entry is accumulated.
        a_first: In(1). It is the first one of its accumulator in its tile.
        a_maximum: In(1). The accumulator takes the maximum instead of the sum.
        a_address: In. The accumulator, counted over both banks.
        drain_address: In. The first accumulator that is read.
        values: Out(accumulators_per_step). The accumulators from there on, without delay.
    """

    LATENCY = timing.PE_LATENCY

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(
            {
                "load": In(load_layout(design)),
                "load_word": In(design.activation_word_bits),
                "x_valid": In(1),
                "x_address": In(width_of(design.windows * design.slots)),
                "x_lane": In(width_of(design.load_width)),
                "m_valid": In(1),
                "m_weight": In(design.products.operand_bits),
                "a_valid": In(1),
                "a_first": In(1),
                "a_maximum": In(1),
                "a_address": In(width_of(2 * design.bank_depth)),
                "drain_address": In(width_of(2 * design.bank_depth)),
                "values": Out(data.ArrayLayout(signed(design.accumulator_bits), design.accumulators_per_step)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design = self.design

        window = Memory(shape=unsigned(design.activation_word_bits), depth=design.windows * design.slots, init=[])
        m.submodules.window = window
        write = window.write_port()
        m.d.comb += [write.en.eq(self.load.enable), write.addr.eq(self.load.address), write.data.eq(self.load_word)]
        read = window.read_port(domain="comb")
        m.d.comb += read.addr.eq(self.x_address)

        # Lanes a power of two of bits apart: to select one takes a shift, where any other distance takes a
        # multiplication.
        bits = design.activation_bits
        stride = 1 << ceil_log2(bits)
        lanes = Cat(Cat(read.data.word_select(i, bits), Const(0, stride - bits)) for i in range(design.load_width))
        # The row's valid bits say when these mean something; a reset of theirs would only cost wires (and simulation
        # time).
        activation = Signal(signed(bits), reset_less=True)
        with m.If(self.x_valid):
            m.d.sync += activation.eq(lanes.word_select(self.x_lane, stride)[:bits].as_signed())

        product = Signal(signed(design.products.product_bits), reset_less=True)
        with m.If(self.m_valid):
            m.d.sync += product.eq(design.products.product(self.m_weight, activation))

        accumulators = Memory(shape=unsigned(design.accumulator_bits), depth=2 * design.bank_depth, init=[])
        m.submodules.accumulators = accumulators
        old_port = accumulators.read_port(domain="comb")
        new_port = accumulators.write_port()
        old = Signal(signed(design.accumulator_bits))
        m.d.comb += [
            old_port.addr.eq(self.a_address),
            old.eq(old_port.data.as_signed()),
            new_port.addr.eq(self.a_address),
            new_port.en.eq(self.a_valid),
        ]
        with m.If(self.a_first):
            m.d.comb += new_port.data.eq(product)
        with m.Elif(self.a_maximum):
            m.d.comb += new_port.data.eq(Mux(product > old, product, old))
        with m.Else():
            m.d.comb += new_port.data.eq(old + product)

        for index in range(design.accumulators_per_step):
            port = accumulators.read_port(domain="comb")
            # The bank's depth is a multiple of the accumulators read at once, so this never leaves the bank.
            m.d.comb += [port.addr.eq(self.drain_address + index), self.values[index].eq(port.data.as_signed())]
        return m
