"""A technology file: TOML whose every entry names its source, checked by pydantic. Unknown keys are refused.

``skipstone.mapper.technology.technology`` makes numbers of it. The carried files are
``mapper/technology/data/technology_*nm.toml``; a user's own has the same keys.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from skipstone.errors import TechnologyError

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
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise TechnologyError(f"technology file {path} is not text") from None
    except OSError as error:
        raise TechnologyError(f"can't read technology file {path}: {error.strerror or error}") from None
    return parse_technology_file(text, f"technology file {path}")


def parse_technology_file(text: str, where: str) -> TechnologyFile:
    """The same from the file's ``text``; ``where`` begins the message."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TechnologyError(f"{where} is not TOML: {error}") from None
    try:
        found = TechnologyFile.model_validate(values)
    except ValidationError as error:
        mistakes = "; ".join(explained(one) for one in error.errors())
        raise TechnologyError(f"{where}: {mistakes}") from None
    off_chip = found.off_chip
    given = (off_chip.read_pj_per_bit is not None, off_chip.write_pj_per_bit is not None)
    if (off_chip.device is not None) == any(given) or (any(given) and not all(given)):
        raise TechnologyError(f"{where}: [off_chip] takes either device, or read_pj_per_bit and write_pj_per_bit")
    if found.memory.node_nm != found.node_nm and found.memory.supply_v is None:
        raise TechnologyError(
            f"{where}: [memory] needs supply_v, the supply of the table's {found.memory.node_nm} nm memories, "
            f"to be scaled to {found.node_nm} nm"
        )
    return found


def explained(error: ErrorDetails) -> str:
    """One of pydantic's mistakes: where, and what would do."""
    place = error["loc"]
    parts = [str(place[0])] if place else []
    if len(place) > 1 and isinstance(place[1], int):
        parts = [f"{place[0]} {place[1] + 1}"]
    section = f"[{parts[0]}] " if len(place) > 1 and parts else ""
    key = place[-1] if place else ""
    match error["type"]:
        case "missing":
            return f"{section}{key} is missing"
        case "extra_forbidden":
            return f"{section}unknown key '{key}'; it takes {', '.join(known_keys(place[:-1]))}"
        case "string_too_short":
            return f"{section}{key} must not be empty"
    context: Mapping[str, Any] = error.get("ctx", {})
    wanted = {
        "greater_than": f"above {context.get('gt')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "literal_error": str(context.get("expected")),
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text",
        "model_type": "a table of keys",
        "tuple_type": "written as [[...]], each with its keys below",
    }.get(error["type"], error["msg"])
    return f"{section}{key} must be {wanted}, not {error['input']!r}"


def known_keys(place: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that a part of the file takes."""
    parts: dict[str, type[Keys]] = {
        "frequency": Frequency,
        "memory": MemoryEntry,
        "register_file": RegisterFile,
        "logic": Logic,
        "off_chip": OffChip,
        "action": ActionEntry,
        "component": ComponentEntry,
    }
    part = parts.get(str(place[0]), TechnologyFile) if place else TechnologyFile
    return tuple(part.model_fields)


def files_of(path: Path) -> tuple[Path, ...]:
    """A technology file, and the memory table and the characterization beside it that it names: all it depends on."""
    found = read_technology_file(path)
    named = (found.memory.table, found.logic.characterization)
    return (path, *(path.parent / name for name in named if name and (path.parent / name).is_file()))
