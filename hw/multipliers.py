"""How the PEs multiply: for each kind, what a weight's code is, how wide the product is, and the gateware that makes
it.

A design names its kind (``Design.multiplier``); rows, PEs, mapper and energy model ask the object that stands for
it. Plain
integers, except for ``product``, which alone imports Amaranth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from amaranth.hdl import Value


@dataclass(frozen=True)
class Multiplier(ABC):
    """One kind. ``code_bits``: width of the code in a list entry; ``operand_bits``: of what a PE is given, which is
    the code
    itself unless the row looks it up (``looked_up``); ``product_bits``: of the signed product. ``values`` are the
    integers
    of the codes 0, 1, ... where the kind fixes them. Only a kind with ``zero_code`` can say 0, with the code 0: the
    entries of
    the others have a bit that says that they are fillers. ``signed_code``: the code is a two's complement number.
    """

    zero_code: ClassVar[bool] = False
    signed_code: ClassVar[bool] = False
    looked_up: ClassVar[bool] = False

    code_bits: int
    operand_bits: int
    activation_bits: int

    @property
    @abstractmethod
    def product_bits(self) -> int: ...

    @property
    def values(self) -> tuple[int, ...] | None:
        return None

    @abstractmethod
    def product(self, operand: Value, activation: Value) -> Value:
        """The signed product of ``operand`` (unsigned bits) and ``activation`` (signed), combinationally."""


class Linear(Multiplier):
    """The code is the weight, a signed integer; one full multiplier in each PE."""

    zero_code = True
    signed_code = True

    @property
    def product_bits(self) -> int:
        return self.operand_bits + self.activation_bits

    def product(self, operand: Value, activation: Value) -> Value:
        return operand.as_signed() * activation


class Codebook(Linear):
    """The code is a place in the layer's codebook, which the row looks up once for all of its PEs; they multiply
    fully."""

    zero_code = False
    signed_code = False
    looked_up = True


class Shift(Multiplier):
    """The code is a sign above an exponent, the weight ``+-2**exponent``: a PE negates and shifts, nothing
    multiplies."""

    @property
    def largest_exponent(self) -> int:
        return (1 << (self.code_bits - 1)) - 1

    @property
    def multiplexer_bits(self) -> int:
        """Multiplexers of one bit in the shifter: a stage for each bit of the exponent, as wide as what it may have
        shifted."""
        return sum(self.activation_bits + (2 << stage) for stage in range(self.code_bits - 1))

    @property
    def product_bits(self) -> int:
        # One more than the exponent adds: the lowest activation, negated.
        return self.activation_bits + 1 + self.largest_exponent

    @property
    def values(self) -> tuple[int, ...]:
        exponents = range(self.largest_exponent + 1)
        return (*(1 << exponent for exponent in exponents), *(-(1 << exponent) for exponent in exponents))

    def product(self, operand: Value, activation: Value) -> Value:
        from amaranth.hdl import Mux

        return Mux(operand[-1], -activation, activation) << operand[:-1]


class Additive(Multiplier):
    """The code is a sign above ``terms`` fields of 2 bits, the weight plus or minus their sum: field t, counted from
    the lowest,
    is 0 or ``2**(t + terms * (field - 1))``. A PE negates, shifts once for each term, and adds.

    The levels are those of Li, Dong, Wang, "Additive Powers-of-Two Quantization", 2020, with terms of 2 bits. The
    sign of
    0 has no meaning; the code 0 is the one that says 0.
    """

    zero_code = True

    @property
    def terms(self) -> int:
        return (self.code_bits - 1) // 2

    @property
    def multiplexer_bits(self) -> int:
        """Multiplexers of one bit for all terms: nothing or the activation, once or twice shifted, and one of the
        two."""
        negated_bits = self.activation_bits + 1
        return self.terms * (negated_bits + (negated_bits + self.terms) + (negated_bits + 2 * self.terms))

    @property
    def adder_bits(self) -> tuple[int, ...]:
        """Widths of the additions that join the terms."""
        return (self.product_bits,) * (self.terms - 1)

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
    """The code is one bit, the weight +1 or -1: a PE adds or subtracts the activation."""

    @property
    def product_bits(self) -> int:
        return self.activation_bits + 1

    @property
    def values(self) -> tuple[int, ...]:
        return (1, -1)

    def product(self, operand: Value, activation: Value) -> Value:
        from amaranth.hdl import Mux

        return Mux(operand[0], -activation, activation)


MULTIPLIERS: dict[str, Callable[[int, int, int], Multiplier]] = {
    "linear": lambda weight, activation, entries: Linear(weight, weight, activation),
    "shift": lambda weight, activation, entries: Shift(weight, weight, activation),
    "additive": lambda weight, activation, entries: Additive(weight, weight, activation),
    "sign": lambda weight, activation, entries: Sign(1, 1, activation),
    "codebook": lambda weight, activation, entries: Codebook((entries - 1).bit_length(), weight, activation),
}
"""The kinds by name; each makes its object from ``weight_bits``, ``activation_bits`` and ``codebook_entries``."""
SHIFT_WEIGHT_BITS = (2, 5)
"""A sign and an exponent of 1 to 4 bits."""
ADDITIVE_WEIGHT_BITS = (3, 5, 7)
"""A sign and one to three terms of 2 bits."""
