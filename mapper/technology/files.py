"""A technology file: TOML whose every entry names its source, checked by pydantic. Unknown keys are refused.

``skipstone.mapper.technology.technology`` makes numbers of it. The carried files are
``mapper/technology/data/technology_*nm.toml``; a user's own has the same keys.
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


class Keys(BaseModel):
    """What all parts have in common: fixed once read, and no key but their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Entry(Keys):
    """A part of the file. ``source``: where its numbers come from."""

    source: Text


class Frequency(Entry):
    """The clock, unless another is asked for."""

    mhz: Positive


class MemoryEntry(Entry):
    """Memories from a CACTI table (``table``: a file beside this one, or the carried one): its ``node_nm`` and ``device``. A node
    that is not this file's is scaled from ``supply_v``, at which it runs. A word is spread over banks of no fewer than
    ``smallest_bank_bits``."""

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
    """Our own gateware at this node: a characterization (a file of ``skipstone characterize`` beside this one; without it,
    the carried one of 130 nm and 1.8 V), scaled to ``supply_v`` and ``transistors``. A factor that is given takes the place
    of the scaling's."""

    characterization: Text | None = None
    supply_v: Positive
    transistors: Literal["HP", "LP"] = "HP"
    area_factor: Positive | None = None
    delay_factor: Positive | None = None
    energy_factor: Positive | None = None
    leakage_factor: NotNegative | None = None


class OffChip(Entry):
    """The DRAM behind the host port: a ``device`` of ``mapper/technology/data/dram_energydram.json``, or the
    energies of a bit."""

    device: Text | None = None
    read_pj_per_bit: NotNegative | None = None
    write_pj_per_bit: NotNegative | None = None


class ActionEntry(Entry):
    """An energy of one's own for one action of one component, in place of the model's."""

    component: Text
    action: Text
    pj: NotNegative


class ComponentEntry(Entry):
    """Area and leakage of one's own for one component, in place of the model's."""

    name: Text
    um2: NotNegative
    leakage_nw: NotNegative


class TechnologyFile(Keys):
    """The whole file."""

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
    """Raises TechnologyError, one message, for a file that can't be read, is not TOML, or has a wrong, unknown or missing key."""
    return _technology_of(read_toml(path, "technology file", TechnologyError), f"technology file {path}")


def parse_technology_file(text: str, where: str) -> TechnologyFile:
    """The same from the file's ``text``; ``where`` begins the message."""
    return _technology_of(parse_toml(text, where, TechnologyError), where)


def _technology_of(values: Mapping[str, Any], where: str) -> TechnologyFile:
    file = validated(TechnologyFile, values, where, TechnologyError)
    off_chip = file.off_chip
    given = (off_chip.read_pj_per_bit is not None, off_chip.write_pj_per_bit is not None)
    if (off_chip.device is not None) == any(given) or (any(given) and not all(given)):
        raise TechnologyError(f"{where}: [off_chip] takes either device, or read_pj_per_bit and write_pj_per_bit")
    if file.memory.node_nm != file.node_nm and file.memory.supply_v is None:
        raise TechnologyError(
            f"{where}: [memory] needs supply_v, the supply of the table's {file.memory.node_nm} nm memories, "
            f"to be scaled to {file.node_nm} nm"
        )
    return file


def files_of(path: Path) -> tuple[Path, ...]:
    """A technology file, and the memory table and the characterization beside it that it names: all it depends on."""
    found = read_technology_file(path)
    named = (found.memory.table, found.logic.characterization)
    return (path, *(path.parent / name for name in named if name and (path.parent / name).is_file()))
