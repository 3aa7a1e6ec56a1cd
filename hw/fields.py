"""Bit fields, once for both sides: ``pack`` makes the integer that goes into a memory, ``layout`` the gateware's view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaranth.lib.data import StructLayout


def width_of(count: int) -> int:
    """Bits of an index into ``count`` things; at least 1, since a signal of width 0 has no bit to read."""
    return max(1, (count - 1).bit_length())


@dataclass(frozen=True)
class Field:
    """One field of a word.

    Attributes:
        name: the field's name.
        width: in bits.
        signed: whether the value is a two's complement number.
    """

    name: str
    width: int
    signed: bool = False

    @property
    def low(self) -> int:
        """The least value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest value."""
        return (1 << (self.width - self.signed)) - 1


@dataclass(frozen=True)
class Fields:
    """The fields of a word, from the least significant bit upward."""

    fields: tuple[Field, ...]

    @property
    def width(self) -> int:
        """Bits of the word."""
        return sum(field.width for field in self.fields)

    def width_of(self, name: str) -> int:
        """Bits of the field ``name``."""
        return next(field.width for field in self.fields if field.name == name)

    def pack(self, values: Mapping[str, int]) -> int:
        """The word that holds a value in every field.

        Args:
            values: by the fields' names, for exactly these fields.

        Raises:
            KeyError: a field is missing or unknown.
            ValueError: a value does not fit its field.
        """
        unknown = set(values) - {field.name for field in self.fields}
        if unknown:
            raise KeyError(f"no such fields: {', '.join(sorted(unknown))}")
        word, offset = 0, 0
        for field in self.fields:
            value = int(values[field.name])
            if not field.low <= value <= field.high:
                raise ValueError(f"{field.name} must be {field.low} to {field.high}, not {value}")
            word |= (value & ((1 << field.width) - 1)) << offset
            offset += field.width
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """The values of all fields in a word, by name; the inverse of ``pack``."""
        values: dict[str, int] = {}
        for field in self.fields:
            value = word & ((1 << field.width) - 1)
            if field.signed and value >> (field.width - 1):
                value -= 1 << field.width
            values[field.name] = value
            word >>= field.width
        return values

    def layout(self) -> StructLayout:
        """The same fields as a layout of Amaranth's."""
        from amaranth.hdl import signed, unsigned
        from amaranth.lib.data import StructLayout

        return StructLayout(
            {field.name: signed(field.width) if field.signed else unsigned(field.width) for field in self.fields}
        )
