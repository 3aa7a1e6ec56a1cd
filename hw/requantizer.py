"""One lane of the requantizer: accumulators in, clamped activations out, with an optional second tensor added."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.design import MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS, SHIFT_BITS, Design


class Requantizer(wiring.Component):
    """``q = clamp(zero_point + ((acc + bias) * multiplier + (other - other_zero_point) * other_multiplier
    + (1 << (shift - 1))) >> shift, low, high)``, one value a cycle, after ``LATENCY`` cycles.

    ``shift`` must be 1 to 47. With ``add_other`` low the second term is zero.
    """

    LATENCY = 5

    def __init__(self, design: Design) -> None:
        self.design = design
        activation = signed(design.activation_bits)
        super().__init__(
            {
                "accumulator": In(signed(design.accumulator_bits)),
                "parameter": In(design.parameter.layout()),
                "other": In(activation),
                "add_other": In(1),
                "other_zero_point": In(activation),
                "zero_point": In(activation),
                "low": In(activation),
                "high": In(activation),
                "q": Out(activation),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self.design
        # Stage 1: bias and zero point.
        sum1 = Signal(signed(design.accumulator_bits + 1))
        other1 = Signal(signed(design.activation_bits + 1))
        multiplier1, other_multiplier1 = Signal(MULTIPLIER_BITS), Signal(OTHER_MULTIPLIER_BITS)
        shift1 = Signal(SHIFT_BITS)
        m.d.sync += [
            sum1.eq(self.accumulator + self.parameter.bias),
            other1.eq(Mux(self.add_other, self.other - self.other_zero_point, 0)),
            multiplier1.eq(self.parameter.multiplier),
            other_multiplier1.eq(self.parameter.other_multiplier),
            shift1.eq(self.parameter.shift),
        ]
        # Stage 2: products and the rounding constant.
        product2 = Signal(signed(design.accumulator_bits + 1 + MULTIPLIER_BITS + 1))
        other2 = Signal(signed(design.activation_bits + 1 + OTHER_MULTIPLIER_BITS + 1))
        half2, shift2 = Signal(1 << SHIFT_BITS), Signal(SHIFT_BITS)
        m.d.sync += [
            product2.eq(sum1 * multiplier1),
            other2.eq(other1 * other_multiplier1),
            half2.eq((1 << shift1) >> 1),
            shift2.eq(shift1),
        ]
        # Stage 3: one sum, so that there is one rounding.
        total3 = Signal(signed(max(len(product2), len(other2), 48) + 2))
        shift3 = Signal(SHIFT_BITS)
        m.d.sync += [total3.eq(product2 + other2 + half2), shift3.eq(shift2)]
        # Stage 4: arithmetic shift.
        shifted4 = Signal.like(total3)
        m.d.sync += shifted4.eq(total3 >> shift3)
        # Stage 5: zero point and clamp.
        placed = Signal(signed(len(shifted4) + 1))
        m.d.comb += placed.eq(shifted4 + self.zero_point)
        with m.If(placed < self.low):
            m.d.sync += self.q.eq(self.low)
        with m.Elif(placed > self.high):
            m.d.sync += self.q.eq(self.high)
        with m.Else():
            m.d.sync += self.q.eq(placed)
        return m
