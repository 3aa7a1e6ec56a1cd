"""How the PEs multiply: for each kind, what a weight's code is, how wide the product is, and the gateware that makes it.

A design names its kind (``Design.multiplier``). Design, rows, PEs, mapper, energy model and FPGA model ask the kind's object,
so that a new kind is a class here and a line in :data:`MULTIPLIERS` (``docs/tutorials/add-a-multiplier.md``). All is plain
integers, except for ``product``, which alone imports Amaranth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from amaranth.hdl import Value


@dataclass(frozen=True)
class Multiplier(ABC):
    """A kind of multiplier, for the widths of one design.

    Members:
        code_bits: Width of the code in a list entry.
        operand_bits: Width of what a PE gets: the code, or what the row looks up for it.
        activation_bits: Width of the signed activation.
        zero_code: Whether the code 0 says 0. The entries of other kinds have a bit that marks a filler.
        signed_code: Whether the code is a two's complement number.
        looked_up: Whether the row looks the operand up in the layer's codebook.
        weight_codes: The weight codes of networks whose weights this kind can say.
        widths: The ``weight_bits`` that a design may have; None for all.
        widths_text: The same for messages.
    """

    zero_code: ClassVar[bool] = False
    signed_code: ClassVar[bool] = False
    looked_up: ClassVar[bool] = False
    weight_codes: ClassVar[tuple[str, ...]]
    widths: ClassVar[Collection[int] | None] = None
    widths_text: ClassVar[str] = ""

    code_bits: int
    operand_bits: int
    activation_bits: int

    @classmethod
    def of(cls, weight_bits: int, activation_bits: int, codebook_entries: int) -> Self:
        """The kind for a design's parameters."""
        return cls(weight_bits, weight_bits, activation_bits)

    @property
    @abstractmethod
    def product_bits(self) -> int:
        """Width of the signed product."""

    @property
    def values(self) -> tuple[int, ...] | None:
        """The integers that the codes 0, 1, ... stand for; None where they are the codes themselves, or looked up."""
        return None

    @property
    def values_text(self) -> str:
        """The weights that ``values`` allow, for messages: "1 or -1"."""
        assert self.values is not None
        return f"integers from {min(self.values)} to {max(self.values)}"

    @abstractmethod
    def product(self, operand: Value, activation: Value) -> Value:
        """The signed product, combinationally.

        Args:
            operand: ``operand_bits`` bits, unsigned.
            activation: signed.
        """

    # What it costs, for the models of energy, area and FPGA resources.

    @property
    def partial_products(self) -> int:
        """Bits of the partial products of a full multiplication; 0 where nothing multiplies."""
        return 0

    @property
    def negated_bits(self) -> int:
        """Bits of the activation's negation; 0 where nothing is negated."""
        return 0

    @property
    def adder_bits(self) -> int:
        """Bits of further additions inside the multiplier."""
        return 0

    @property
    def multiplexer_bits(self) -> int:
        """Multiplexers of one bit."""
        return 0


class Linear(Multiplier):
    """The code is the weight, a signed integer; one full multiplier in each PE."""

    zero_code = True
    signed_code = True
    weight_codes = ("linear",)

    @property
    def product_bits(self) -> int:
        return self.operand_bits + self.activation_bits

    @property
    def partial_products(self) -> int:
        return self.operand_bits * self.activation_bits

    def product(self, operand: Value, activation: Value) -> Value:
        return operand.as_signed() * activation


class Codebook(Linear):
    """The code is a place in the layer's codebook, which the row looks up once for all of its PEs. They multiply fully."""

    zero_code = False
    signed_code = False
    looked_up = True
    weight_codes = ("codebook",)

    @classmethod
    def of(cls, weight_bits: int, activation_bits: int, codebook_entries: int) -> Self:
        return cls((codebook_entries - 1).bit_length(), weight_bits, activation_bits)


class Shift(Multiplier):
    """The code is a sign above an exponent, the weight ``+-2**exponent``: a PE negates and shifts, nothing multiplies."""

    weight_codes = ("power_of_two",)
    widths = range(2, 6)
    widths_text = "2 to 5 with multiplier shift (a sign and an exponent)"

    @property
    def largest_exponent(self) -> int:
        return (1 << (self.code_bits - 1)) - 1

    @property
    def negated_bits(self) -> int:
        return self.activation_bits + 1

    @property
    def multiplexer_bits(self) -> int:
        """The shifter's: a stage for each bit of the exponent, as wide as the stages before it can have shifted."""
        return sum(self.activation_bits + (2 << stage) for stage in range(self.code_bits - 1))

    @property
    def product_bits(self) -> int:
        # One more than the exponent adds: the lowest activation, negated.
        return self.activation_bits + 1 + self.largest_exponent

    @property
    def values(self) -> tuple[int, ...]:
        exponents = range(self.largest_exponent + 1)
        return (*(1 << exponent for exponent in exponents), *(-(1 << exponent) for exponent in exponents))

    @property
    def values_text(self) -> str:
        return f"powers of two, plus or minus 1 to {max(self.values)}"

    def product(self, operand: Value, activation: Value) -> Value:
        from amaranth.hdl import Mux

        return Mux(operand[-1], -activation, activation) << operand[:-1]


class Additive(Multiplier):
    """The code is a sign above ``terms`` fields of 2 bits, the weight plus or minus their sum: field t, counted from the
    lowest, is 0 or ``2**(t + terms * (field - 1))``. A PE negates, shifts once for each term, and adds.

    The levels are those of Li, Dong, Wang, "Additive Powers-of-Two Quantization", 2020, with terms of 2 bits. The sign of
    0 has no meaning; the code 0 is the one that says 0.
    """

    zero_code = True
    weight_codes = ("additive_power_of_two",)
    widths = (3, 5, 7)
    widths_text = "3, 5 or 7 with multiplier additive (a sign and terms of 2 bits)"

    @property
    def terms(self) -> int:
        return (self.code_bits - 1) // 2

    @property
    def negated_bits(self) -> int:
        return self.activation_bits + 1

    @property
    def multiplexer_bits(self) -> int:
        """For all terms: nothing or the activation, shifted once or twice, and one of the two."""
        bits = self.negated_bits
        return self.terms * (bits + (bits + self.terms) + (bits + 2 * self.terms))

    @property
    def adder_bits(self) -> int:
        """The additions that join the terms."""
        return self.product_bits * (self.terms - 1)

    @property
    def product_bits(self) -> int:
        # The largest weight has 3 bits a term, the uppermost of them set.
        return self.activation_bits + 3 * self.terms

    @property
    def values(self) -> tuple[int, ...]:
        magnitudes = [
            sum(1 << t + self.terms * (field - 1) for t in range(self.terms) if (field := code >> 2 * t & 3))
            for code in range(1 << 2 * self.terms)
        ]
        return (*magnitudes, *(-magnitude for magnitude in magnitudes))

    @property
    def values_text(self) -> str:
        return f"additive powers of two of {self.code_bits} bits, plus or minus 1 to {max(self.values)}"

    def product(self, operand: Value, activation: Value) -> Value:
        from amaranth.hdl import Mux

        signed = Mux(operand[-1], -activation, activation)
        shifted = []
        for t in range(self.terms):
            field = operand[2 * t : 2 * t + 2]
            far = Mux(field[0], signed << 2 * self.terms, signed << self.terms)
            shifted.append(Mux(field[1], far, Mux(field[0], signed, 0)) << t)
        return sum(shifted[1:], shifted[0])


class Sign(Multiplier):
    """The code is one bit, the weight +1 or -1: a PE adds or subtracts the activation. ``weight_bits`` does not matter."""

    weight_codes = ("ternary", "binary")

    @classmethod
    def of(cls, weight_bits: int, activation_bits: int, codebook_entries: int) -> Self:
        return cls(1, 1, activation_bits)

    @property
    def product_bits(self) -> int:
        return self.activation_bits + 1

    @property
    def negated_bits(self) -> int:
        return self.activation_bits + 1

    @property
    def values(self) -> tuple[int, ...]:
        return (1, -1)

    @property
    def values_text(self) -> str:
        return "1 or -1"

    def product(self, operand: Value, activation: Value) -> Value:
        from amaranth.hdl import Mux

        return Mux(operand[0], -activation, activation)


MULTIPLIERS: dict[str, type[Multiplier]] = {
    "linear": Linear,
    "shift": Shift,
    "additive": Additive,
    "sign": Sign,
    "codebook": Codebook,
}
"""The kinds by name, as a design's ``multiplier`` says it."""
