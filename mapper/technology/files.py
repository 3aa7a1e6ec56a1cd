"""A technology file: TOML whose every entry names its source, checked by pydantic. Unknown keys are refused.

``skipstone.mapper.technology.technology`` computes a technology from it. The carried files are
``mapper/technology/data/technology_*nm.toml``; a user's own file has the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from skipstone.errors import TechnologyError
from skipstone.toml_files import parse_toml, read_toml, validated

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


class TechnologyKeys(BaseModel):
    """The base of all parts of a file: frozen, and without keys that are not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Entry(TechnologyKeys):
    """A part of the file with the source of its numbers."""

    source: Text


class Frequency(Entry):
    """The clock that is used where no other one is chosen."""

    mhz: Positive


class MemoryEntry(Entry):
    """Memories from a CACTI table.

    Attributes:
        table: A file beside this one, or the carried table.
        node_nm: The node of the table's memories. Where it is not this file's node, their numbers are scaled.
        device: The device of the table's memories.
        smallest_bank_bits: The fewest bits of a bank that a word is spread over.
        supply_v: The supply of the table's memories, from which they are scaled.
    """

    table: Text = "sram_cacti7.json"
    node_nm: Count
    device: Text
    smallest_bank_bits: Count
    supply_v: Positive | None = None


class RegisterFile(Entry):
    """Memories smaller than the table's: energy, area and time fall with these powers of words and bits at most."""

    words_exponent: NotNegative
    bits_exponent: NotNegative


class Logic(Entry):
    """Our own gateware at this node: a characterization, scaled to a supply and a kind of transistors.

    Attributes:
        characterization: A file of ``skipstone characterize`` beside this one, or None for the carried one (130 nm, 1.8
            V).
        supply_v: The supply to scale to.
        transistors: High-performance or low-power ones.
        area_factor: Replaces the scaling's factor of area; so do the other factors.
        delay_factor: See ``area_factor``.
        energy_factor: See ``area_factor``.
        leakage_factor: See ``area_factor``.
    """

    characterization: Text | None = None
    supply_v: Positive
    transistors: Literal["HP", "LP"] = "HP"
    area_factor: Positive | None = None
    delay_factor: Positive | None = None
    energy_factor: Positive | None = None
    leakage_factor: NotNegative | None = None


class OffChip(Entry):
    """The DRAM behind the host port: either a device, or the energies of a bit.

    Attributes:
        device: A device of ``mapper/technology/data/dram_energydram.json``.
        read_pj_per_bit: Energy of a bit read.
        write_pj_per_bit: Energy of a bit written.
    """

    device: Text | None = None
    read_pj_per_bit: NotNegative | None = None
    write_pj_per_bit: NotNegative | None = None


class ActionEntry(Entry):
    """A user's own energy of an action of a component, in place of the model's."""

    component: Text
    action: Text
    pj: NotNegative


class ComponentEntry(Entry):
    """A user's own area and leakage of a component, in place of the model's."""

    name: Text
    um2: NotNegative
    leakage_nw: NotNegative


class TechnologyFile(TechnologyKeys):
    """All parts of a technology file."""

    node_nm: Count
    name: Text
    frequency: Frequency
    memory: MemoryEntry
    register_file: RegisterFile
    logic: Logic
    off_chip: OffChip
    action: Annotated[tuple[ActionEntry, ...], Field(strict=False)] = ()
    component: Annotated[tuple[ComponentEntry, ...], Field(strict=False)] = ()


def read_technology_file(path: Path) -> TechnologyFile:
    """Reads a technology file.

    Raises:
        TechnologyError: It cannot be read, is not TOML, or has a wrong, unknown or missing key.
    """
    return _technology_of(read_toml(path, "technology file", TechnologyError), f"technology file {path}")


def parse_technology_file(text: str, where: str) -> TechnologyFile:
    """Reads the text of a technology file.

    Args:
        text: The TOML text.
        where: What the file is called at the beginning of messages.

    Raises:
        TechnologyError: It is not TOML, or has a wrong, unknown or missing key.
    """
    return _technology_of(parse_toml(text, where, TechnologyError), where)


def _technology_of(values: Mapping[str, Any], where: str) -> TechnologyFile:
    file = validated(TechnologyFile, values, where, TechnologyError)
    off_chip = file.off_chip
    stated = (off_chip.read_pj_per_bit is not None, off_chip.write_pj_per_bit is not None)
    if (off_chip.device is not None) == any(stated) or (any(stated) and not all(stated)):
        raise TechnologyError(f"{where}: [off_chip] takes either device, or read_pj_per_bit and write_pj_per_bit")
    if file.memory.node_nm != file.node_nm and file.memory.supply_v is None:
        raise TechnologyError(
            f"{where}: [memory] needs supply_v, the supply of the table's {file.memory.node_nm} nm memories, "
            f"to be scaled to {file.node_nm} nm"
        )
    return file


def files_of(path: Path) -> tuple[Path, ...]:
    """A technology file, and the memory table and the characterization beside it that it names: all it depends on."""
    file = read_technology_file(path)
    named = (file.memory.table, file.logic.characterization)
    return (path, *(path.parent / name for name in named if name and (path.parent / name).is_file()))
