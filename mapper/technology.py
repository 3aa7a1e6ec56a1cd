"""Energy and area of memories and arithmetic at one node: numbers from data files, each with its source.

Everything that ``mapper.energy`` multiplies its counts by comes from here. The numbers stand in ``mapper/data``:
``technology_45nm.toml`` (arithmetic, clock) and ``sram_cacti7.json`` (memories, made by ``mapper.sram_table``).
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from math import exp2, log2
from typing import Any

DEFAULT_NODE_NM = 45
QUANTITIES = ("read_pj", "write_pj", "leakage_mw", "area_um2", "access_ns")


class TechnologyError(ValueError):
    """A node or a memory that the carried numbers do not cover; the text says what is carried."""


@dataclass(frozen=True)
class Sram:
    """One memory: ``banks`` equal ones side by side, all used by every access. Leakage and area are of the whole."""

    read_pj: float
    write_pj: float
    leakage_mw: float
    area_um2: float
    access_ns: float
    banks: int = 1


@dataclass(frozen=True)
class Line:
    """``y = fixed + slope * x`` through two published points."""

    fixed: float
    slope: float

    @classmethod
    def through(cls, x: tuple[float, float], y: tuple[float, float]) -> Line:
        slope = (y[1] - y[0]) / (x[1] - x[0])
        return cls(y[0] - slope * x[0], slope)

    def at(self, x: float) -> float:
        return self.fixed + self.slope * x


@dataclass(frozen=True)
class Curve:
    """One quantity of the memories of one width against the number of words: straight lines between the table's points,
    both axes logarithmic. Beyond either end the last line goes on, never falling with size, and below the first point
    never steeper than ``words_exponent``."""

    log_words: tuple[float, ...]
    log_values: tuple[float, ...]
    words_exponent: float

    def at(self, log_words: float) -> float:
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
    """CACTI's memories of one node and device. ``bank(words, bits)`` is one macro; the table's points come out exactly.

    Between widths the interpolation is linear in the logarithms too. Above the widest the line through the two nearest
    goes on; below the narrowest everything goes with the bits to the power of ``bits_exponent``.

    **Register files**: CACTI refuses memories of a few words, so those with fewer words than the table's first row
    follow the line through its first two rows, but fall no faster than ``words_exponent`` allows. That is an estimate,
    of a small SRAM and not of flip-flops; ``check.register_file`` of the technology holds it against the register file
    of Eyeriss.
    """

    widths: tuple[int, ...]
    curves: Mapping[str, tuple[Curve, ...]]
    bits_exponent: float
    smallest_bank_bits: int

    @classmethod
    def load(cls, text: str, sram: Mapping[str, Any], register_file: Mapping[str, Any]) -> SramTable:
        """``text`` is the JSON table; ``sram`` and ``register_file`` are the technology file's parts of these names."""
        table = json.loads(text)
        memories, node_nm, device = table["memories"], sram["node_nm"], sram["device"]
        if device not in memories.get(str(node_nm), {}):
            carried = ", ".join(f"{node} nm {name}" for node in memories for name in memories[node])
            raise TechnologyError(f"no memories for {node_nm} nm {device}; the table has {carried}")
        by_width = memories[str(node_nm)][device]
        widths = tuple(sorted(int(bits) for bits in by_width))
        columns = {name: index for index, name in enumerate(table["columns"])}
        rows = [sorted(by_width[str(bits)]) for bits in widths]

        def logs(group: list[list[float]], column: str) -> tuple[float, ...]:
            return tuple(log2(row[columns[column]]) for row in group)

        curves = {
            quantity: tuple(
                Curve(logs(group, "words"), logs(group, quantity), register_file["words_exponent"]) for group in rows
            )
            for quantity in QUANTITIES
        }
        return cls(widths, curves, register_file["bits_exponent"], sram["smallest_bank_bits"])

    def at(self, quantity: str, words: float, bits: float) -> float:
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
        read, write, leakage, area, access = (self.at(quantity, words, bits) for quantity in QUANTITIES)
        return Sram(read, write, leakage, area, access)

    def memory(self, words: int, bits: int) -> Sram:
        """``words`` of ``bits``, the word spread over 1, 2, 4, ... equal banks: as many as read with the least energy.

        No bank is wider than the table, and where there are several none is narrower than ``smallest_bank_bits`` (the
        rest of it stays unused). A single bank of CACTI's grows faster than its width: 1024 bits cost more than eight
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
        one = self.bank(words, width)
        return Sram(
            banks * one.read_pj,
            banks * one.write_pj,
            banks * one.leakage_mw,
            banks * one.area_um2,
            one.access_ns,
            banks,
        )


@dataclass(frozen=True, eq=False)
class Technology:
    """One node. ``sources`` are (what, source and node) of every group of numbers.

    Additions are linear in their bits: 8 and 32 bits as published, 2.9 fJ and 4.2 um2 for each bit at 45 nm.
    Multiplications are linear in the product of their widths. As published at 45 nm, 32x32 bits cost 15.5 times the
    energy of 8x8 bits and 12.4 times the area, where sixteen times the partial products would be 16: so both lines have
    a small fixed part (3% and 24% of 8x8), which a multiplier narrower than 8x8 is charged too. A bit of a shifter's
    multiplexers is ``shifter_adder_bits`` bits of an addition.
    """

    node_nm: int
    name: str
    frequency_mhz: float
    add_energy: Line
    add_area: Line
    multiply_energy: Line
    multiply_area: Line
    shifter_adder_bits: float
    sram_table: SramTable
    checks: Mapping[str, Mapping[str, Any]]
    sources: tuple[tuple[str, str], ...]

    def add_pj(self, bits: int) -> float:
        return self.add_energy.at(bits)

    def add_um2(self, bits: int) -> float:
        return self.add_area.at(bits)

    def multiply_pj(self, bits: int, other_bits: int) -> float:
        return self.multiply_energy.at(bits * other_bits)

    def multiply_um2(self, bits: int, other_bits: int) -> float:
        return self.multiply_area.at(bits * other_bits)

    def shift_pj(self, multiplexer_bits: int) -> float:
        return self.add_energy.slope * self.shifter_adder_bits * multiplexer_bits

    def shift_um2(self, multiplexer_bits: int) -> float:
        return self.add_area.slope * self.shifter_adder_bits * multiplexer_bits

    def sram(self, words: int, bits_per_word: int) -> Sram:
        """A memory with one read/write port (see ``SramTable.memory``)."""
        for name, value in (("words", words), ("bits_per_word", bits_per_word)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value}")
        return self.sram_table.memory(words, bits_per_word)


@cache
def load_technology(node_nm: int = DEFAULT_NODE_NM) -> Technology:
    """The carried numbers of ``node_nm``; the same object every time."""
    folder = resources.files("mapper") / "data"
    files = technology_files(folder)
    if node_nm not in files:
        carried = ", ".join(f"{node} nm" for node in files)
        raise TechnologyError(f"no technology for a node of {node_nm} nm; carried: {carried}")
    values = tomllib.loads(files[node_nm].read_text())
    sram = values["sram"]

    def line(operation: str, quantity: str, power: int) -> Line:
        low, high = values[operation]["bits"]
        return Line.through((low**power, high**power), tuple(values[operation][quantity]))

    return Technology(
        node_nm=values["node_nm"],
        name=values["name"],
        frequency_mhz=values["clock"]["frequency_mhz"],
        sram_table=SramTable.load((folder / sram["table"]).read_text(), sram, values["register_file"]),
        checks=values["check"],
        sources=tuple(sources(values)),
        add_energy=line("add", "energy_pj", 1),
        add_area=line("add", "area_um2", 1),
        multiply_energy=line("multiply", "energy_pj", 2),
        multiply_area=line("multiply", "area_um2", 2),
        shifter_adder_bits=values["shifter"]["adder_bits"],
    )


def technology_files(folder: Traversable) -> dict[int, Traversable]:
    found = ((re.fullmatch(r"technology_(\d+)nm\.toml", entry.name), entry) for entry in folder.iterdir())
    return dict(sorted((int(match[1]), entry) for match, entry in found if match))


def sources(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            if "source" in value:
                yield f"{prefix}{name}", f"{value['source']} [{value['node_nm']} nm]"
            else:
                yield from sources(value, f"{prefix}{name}.")
