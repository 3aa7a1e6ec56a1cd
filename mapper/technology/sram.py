"""Memories of any size at one node: a table made with CACTI, interpolated.

``skipstone characterize --part sram`` made the table (``mapper/technology/data/sram_cacti7.json``);
``skipstone.mapper.technology.technology`` asks for memories. The table's own points come out exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp2, log2

from skipstone.errors import TechnologyError
from skipstone.mapper.results.technology_tables import MemoryTable, SramRow
from skipstone.mapper.technology.scaling import Factors

QUANTITIES = ("read_pj", "write_pj", "leakage_mw", "area_um2", "access_ns")
AS_IT_IS = Factors()


@dataclass(frozen=True)
class Sram:
    """One memory, made of equal banks side by side. Every access uses all of them.

    Attributes:
        read_pj: Energy of a read.
        write_pj: Energy of a write.
        leakage_mw: Leakage of all banks.
        area_um2: Area of all banks.
        access_ns: Time of a read.
        banks: The number of banks.
    """

    read_pj: float
    write_pj: float
    leakage_mw: float
    area_um2: float
    access_ns: float
    banks: int = 1


@dataclass(frozen=True)
class Curve:
    """One quantity of the memories of one width, over the number of words.

    It is a straight line between the table's points, both axes logarithmic. Beyond either end the last line goes on,
    never falling with size, and below the first point never steeper than ``words_exponent``.
    """

    log_words: tuple[float, ...]
    log_values: tuple[float, ...]
    words_exponent: float

    def at(self, log_words: float) -> float:
        """The logarithm of the quantity for a memory of ``2 ** log_words`` words."""
        x, y = self.log_words, self.log_values
        right = min(max(bisect_right(x, log_words), 1), len(x) - 1)
        slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1])
        if log_words < x[0]:
            slope = min(max(slope, 0.0), self.words_exponent)
        elif log_words > x[-1]:
            slope = max(slope, 0.0)
        near = right - 1 if log_words < x[right] else right
        return y[near] + slope * (log_words - x[near])


@dataclass(frozen=True, eq=False)
class SramTable:
    """CACTI's memories of one node and device, interpolated. The table's points come out exactly.

    Between widths the interpolation is linear in the logarithms, as it is between numbers of words. Above the widest
    the line through the two nearest goes on. Below the narrowest everything goes with the bits to the power of
    ``bits_exponent``.

    **Register files**: CACTI refuses memories of a few words. Those with fewer words than the table's first row follow
    the line through its first two rows, but fall no faster than ``words_exponent`` allows. That is an estimate of a
    small SRAM, not of flip-flops; ``benchmarks/energy.py`` compares it with the register file of Eyeriss.

    Attributes:
        widths: Bits of a word that the table has.
        curves: By quantity, a curve for each width.
        bits_exponent: See above.
        smallest_bank_bits: The fewest bits of a bank where a word is spread over several.
        scale: Factors of every bank, for a node that CACTI does not have.
    """

    widths: tuple[int, ...]
    curves: Mapping[str, tuple[Curve, ...]]
    bits_exponent: float
    smallest_bank_bits: int
    scale: Factors = AS_IT_IS

    @classmethod
    def of(
        cls,
        table: MemoryTable,
        node_nm: int,
        device: str,
        smallest_bank_bits: int,
        words_exponent: float,
        bits_exponent: float,
        scale: Factors = AS_IT_IS,
    ) -> SramTable:
        """The memories of one node and device.

        Args:
            table: The content of a table's file.
            node_nm: The technology file's entry of that name; so are the following ones.
            device: See ``node_nm``.
            smallest_bank_bits: See ``node_nm``.
            words_exponent: See ``node_nm``.
            bits_exponent: See ``node_nm``.
            scale: Factors of every bank.

        Raises:
            TechnologyError: The table has no memories of that node and device, or too few to interpolate.
        """
        memories = table.memories
        if device not in memories.get(str(node_nm), {}):
            carried = ", ".join(f"{node} nm {name}" for node in memories for name in memories[node])
            raise TechnologyError(f"no memories for {node_nm} nm {device}; the table has {carried}")
        by_width = memories[str(node_nm)][device]
        widths = tuple(sorted(int(bits) for bits in by_width))
        columns = {name: index for index, name in enumerate(table.columns)}
        rows = [sorted(by_width[str(bits)]) for bits in widths]
        if len(rows) < 2 or min(map(len, rows)) < 2:
            raise TechnologyError(
                f"{node_nm} nm {device} has too few memories; interpolation needs two widths, and two of each width"
            )
        if any(value <= 0 for group in rows for row in group for value in row):
            raise TechnologyError(f"{node_nm} nm {device} has a memory with a value that is not positive")

        def logs(group: list[SramRow], column: str) -> tuple[float, ...]:
            return tuple(log2(row[columns[column]]) for row in group)

        curves = {
            quantity: tuple(Curve(logs(group, "words"), logs(group, quantity), words_exponent) for group in rows)
            for quantity in QUANTITIES
        }
        return cls(widths, curves, bits_exponent, smallest_bank_bits, scale)

    def at(self, quantity: str, words: float, bits: float) -> float:
        """A quantity of a single bank, one of ``QUANTITIES``, before ``scale``."""
        curves, x = self.curves[quantity], log2(words)
        right = min(max(bisect_right(self.widths, bits), 1), len(self.widths) - 1)
        low, high = log2(self.widths[right - 1]), log2(self.widths[right])
        below, above = curves[right - 1].at(x), curves[right].at(x)
        slope = (above - below) / (high - low)
        if bits < self.widths[0]:
            slope = self.bits_exponent
        elif bits > self.widths[-1]:
            slope = max(slope, 0.0)
        return exp2(below + slope * (log2(bits) - low))

    def bank(self, words: int, bits: float) -> Sram:
        """A memory that is a single bank."""
        read, write, leakage, area, access = (self.at(quantity, words, bits) for quantity in QUANTITIES)
        scale = self.scale
        return Sram(
            read * scale.energy,
            write * scale.energy,
            leakage * scale.leakage,
            area * scale.area,
            access * scale.delay,
        )

    def memory(self, words: int, bits: int) -> Sram:
        """A memory of ``words`` words of ``bits`` bits, in 1, 2, 4, ... equal banks: as many as read with the least
        energy.

        No bank is wider than the table. Where there are several, none is narrower than ``smallest_bank_bits``, and the
        rest of it stays unused. A single bank of CACTI's grows faster than its width: 1024 bits cost more than eight
        times 128, which nobody would build. Wires between the banks are not counted.
        """
        best, least = (1, float(bits)), float("inf")
        banks = 1
        while banks == 1 or bits / banks > self.smallest_bank_bits / 2:
            width = bits / banks if banks == 1 else max(bits / banks, float(self.smallest_bank_bits))
            if width <= self.widths[-1]:
                read = banks * self.at("read_pj", words, width)
                if read < least:
                    best, least = (banks, width), read
            banks *= 2
        banks, width = best
        bank = self.bank(words, width)
        return Sram(
            banks * bank.read_pj,
            banks * bank.write_pj,
            banks * bank.leakage_mw,
            banks * bank.area_um2,
            bank.access_ns,
            banks,
        )
