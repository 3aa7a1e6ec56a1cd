"""The tables behind a technology, one kind of file each; all but DRAM's are written by ``skipstone characterize``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from skipstone.files import table_text
from skipstone.mapper.results.document import Document, Number

Coefficients = Mapping[str, Number]
SramColumns = tuple[
    Literal["words"],
    Literal["read_pj"],
    Literal["write_pj"],
    Literal["leakage_mw"],
    Literal["area_um2"],
    Literal["access_ns"],
]
SramRow = tuple[int, Number, Number, Number, Number, Number]
SRAM_COLUMNS: SramColumns = ("words", "read_pj", "write_pj", "leakage_mw", "area_um2", "access_ns")


class Table(Document):
    """A document of many like entries, written with one entry a line, so that a change of the file can be read."""

    DEPTH: ClassVar[int] = 1
    """The depth of objects and lists whose members get lines of their own."""

    def text(self) -> str:
        """The text of the file."""
        return table_text(self.to_dict(), self.DEPTH)


@dataclass(frozen=True)
class ActionCoefficients:
    """The energy of an action.

    Attributes:
        counter: The field of ``skipstone.mapper.counters.Actions`` that counts it.
        pj: Coefficients of the energy in pJ, by feature of the design.
    """

    counter: str
    pj: Coefficients


@dataclass(frozen=True)
class ComponentCoefficients:
    """The quantities of one instance of a component, as coefficients by feature of the design.

    Attributes:
        area_um2: Area, with its share of the clock tree.
        leakage_nw: Leakage.
        clock_pj: Energy of the clock in a cycle.
        min_period_ns: The longest path; empty where it was not timed.
        actions: Energies by action.
    """

    area_um2: Coefficients
    leakage_nw: Coefficients
    clock_pj: Coefficients
    min_period_ns: Coefficients
    actions: Mapping[str, ActionCoefficients]


@dataclass(frozen=True)
class GatewareTable(Table):
    """Our gateware in the cells of one library: what the energy and area model reads, and how it was measured.

    Attributes:
        source: Tools, library and corner.
        made_by: The command that writes the file.
        library: The library's name.
        node_nm: The library's node.
        voltage: The library's supply in V.
        tools: Versions by tool.
        assumptions: What was assumed, by subject.
        components: Coefficients by component.
        operand_share: The mean share of an activation's bits that a multiply-accumulate sees, over the layers seen.
        glitch_factors: Energy of all transitions over that of settled ones, by component.
        fits: Errors of the fits on what they saw, by component and quantity.
        held_out: The PE array's energy on each run that the fit never saw.
        layers_left_out: The PE array's energy on each layer, by a fit of the other layers.
        runs: Every gate-level run.
        designs: Every synthesized design.
    """

    KIND: ClassVar[str] = "gateware"
    SCHEMA: ClassVar[int] = 1

    source: str
    made_by: str
    library: str
    node_nm: int
    voltage: Number
    tools: Mapping[str, str]
    assumptions: Mapping[str, str]
    components: Mapping[str, ComponentCoefficients]
    operand_share: Number
    glitch_factors: Mapping[str, Number]
    fits: Mapping[str, Mapping[str, Any]]
    held_out: tuple[Mapping[str, Any], ...]
    layers_left_out: tuple[Mapping[str, Any], ...]
    runs: tuple[Mapping[str, Any], ...]
    designs: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class MemoryTable(Table):
    """Memories by CACTI: their energy, leakage, area and access time.

    Attributes:
        source: The tool and its version.
        made_by: The command that writes the file.
        configuration: What CACTI was asked, with names where numbers stood.
        columns: What the values of a row are.
        memories: Rows in the order of words, by node in nm, device and bits of a word.
    """

    KIND: ClassVar[str] = "sram"
    SCHEMA: ClassVar[int] = 1
    DEPTH: ClassVar[int] = 4

    source: str
    made_by: str
    configuration: str
    columns: SramColumns
    memories: Mapping[str, Mapping[str, Mapping[str, tuple[SramRow, ...]]]]


@dataclass(frozen=True)
class SynthesizedDesign:
    """A design that the fit of FPGA resources never saw.

    Attributes:
        design: The design's parameters.
        synthesized: What Yosys reports for it, by resource.
    """

    design: Mapping[str, Any]
    synthesized: Mapping[str, int]


@dataclass(frozen=True)
class FpgaTable(Table):
    """The model of what an array takes of an FPGA.

    Attributes:
        source: Tool, version, command and designs.
        made_by: The command that writes the file.
        luts_per_bit: Look-up tables for each bit of logic, by what the logic does.
        kept_in_whole: The share of a block's look-up tables that remains in the whole array, by block.
        hold_out: Designs that the fit never saw.
    """

    KIND: ClassVar[str] = "fpga"
    SCHEMA: ClassVar[int] = 1

    source: str
    made_by: str
    luts_per_bit: Coefficients
    kept_in_whole: Coefficients
    hold_out: tuple[SynthesizedDesign, ...]


@dataclass(frozen=True)
class DramDevice:
    """Energies of a DRAM's bit.

    Attributes:
        read_pj_per_bit: Energy of a bit read.
        write_pj_per_bit: Energy of a bit written.
        source: Where the numbers come from.
    """

    read_pj_per_bit: Number
    write_pj_per_bit: Number
    source: str


@dataclass(frozen=True)
class DramTable(Table):
    """Energies of the bits of off-chip memories.

    Attributes:
        made_by: The command that writes the file.
        devices: Energies by device.
    """

    KIND: ClassVar[str] = "dram"
    SCHEMA: ClassVar[int] = 1
    DEPTH: ClassVar[int] = 2

    made_by: str
    devices: Mapping[str, DramDevice]
