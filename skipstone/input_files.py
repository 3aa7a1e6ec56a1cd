"""What all text files that a user names have in common, TOML and JSON: they are read, and refused where no program can use them.

A file from elsewhere may hold anything: gigabytes, numbers of any size, tables of any depth. All that is refused here, before
anything computes with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skipstone.errors import SkipstoneError

LARGEST_INTEGER = (1 << 63) - 1
LARGEST_FLOAT = 1e30
"""Magnitudes that a file may hold. Nothing that is counted or measured is larger, and what is computed from it stays finite."""
DEEPEST = 64
"""How deep tables and lists may lie in each other."""


def read_text(path: Path, where: str, error: type[SkipstoneError], largest: int) -> str:
    """The text of a file that a user names.

    Args:
        path: The file.
        where: What messages call it.
        error: What to raise.
        largest: Bytes of the largest file that is read.

    Raises:
        SkipstoneError: It is larger.
        UnicodeDecodeError: It is not UTF-8.
        OSError: It can't be read.
    """
    with open(path, "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise error(f"{where} is larger than {largest >> 20} MiB; it must be another file")
    return content.decode("utf-8")


def check_values(values: Mapping[str, Any], where: str, error: type[SkipstoneError], infinite: bool = False) -> None:
    """Refuses values of a TOML or JSON file that no program can compute with, wherever they lie in it.

    Args:
        values: The file's tables, lists and plain values.
        where: The file, which begins the message.
        error: What to raise.
        infinite: Let NaN and infinity pass, which TOML has, for who reads the values to judge.

    Raises:
        SkipstoneError: A number is NaN or larger than ``LARGEST_INTEGER`` or ``LARGEST_FLOAT``, text is no Unicode, or tables
            and lists lie deeper in each other than ``DEEPEST``.
    """
    level: list[tuple[tuple[str | int, ...], Any]] = [((), values)]
    for _ in range(DEEPEST):
        inner: list[tuple[tuple[str | int, ...], Any]] = []
        for place, value in level:
            if isinstance(value, dict):
                for key in value:
                    _check_text(key, place, where, error)
                inner += [((*place, key), each) for key, each in value.items()]
            elif isinstance(value, list):
                inner += [((*place, index), each) for index, each in enumerate(value) if not isinstance(each, bool)]
            elif isinstance(value, str):
                _check_text(value, place, where, error)
            elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
                raise error(f"{where}: {place_text(place)} is an integer of more than 64 bits")
            elif (
                isinstance(value, float)
                and not abs(value) <= LARGEST_FLOAT
                and not (infinite and not math.isfinite(value))
            ):
                raise error(
                    f"{where}: {place_text(place)} must be a finite number of at most {LARGEST_FLOAT:g}, not {value}"
                )
        level = inner
        if not level:
            return
    raise error(f"{where} is nested too deeply: more than {DEEPEST} tables or lists in each other")


def _check_text(text: str, place: tuple[str | int, ...], where: str, error: type[SkipstoneError]) -> None:
    if "\0" in text:
        raise error(f"{where}: a text at {place_text(place)} has a zero byte")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise error(f"{where}: a text at {place_text(place)} is not Unicode: it has half of a surrogate pair")


def place_text(place: Sequence[str | int]) -> str:
    """Where a value lies in a file, as ``layers[0].macs``; cut where it is long."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    return shortened(text or "its top", 100)


def shortened(text: str, length: int) -> str:
    """``text``, with its middle left out where it is longer than ``length``."""
    half = (length - 5) // 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"
