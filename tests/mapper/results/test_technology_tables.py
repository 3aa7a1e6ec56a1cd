"""The carried tables are documents of their kinds, in the text that is written."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import pytest

from skipstone.mapper.results.schemas import schema_of
from skipstone.mapper.results.technology_tables import DramTable, FpgaTable, GatewareTable, MemoryTable, Table

CARRIED: dict[str, type[Table]] = {
    "dram_energydram.json": DramTable,
    "fpga_ecp5.json": FpgaTable,
    "gateware_sky130.json": GatewareTable,
    "sram_cacti7.json": MemoryTable,
}


def text_of(name: str) -> str:
    return (resources.files("skipstone.mapper.technology") / "data" / name).read_text()


def test_every_carried_table_is_one() -> None:
    names = {file.name for file in (resources.files("skipstone.mapper.technology") / "data").iterdir()}
    assert {name for name in names if name.endswith(".json")} == set(CARRIED)


@pytest.mark.parametrize("name", CARRIED)
def test_read_and_written_again(name: str) -> None:
    assert CARRIED[name].from_text(text_of(name), name).text() == text_of(name)


@pytest.mark.parametrize("name", CARRIED)
def test_as_the_schema_says(name: str) -> None:
    jsonschema.validate(json.loads(text_of(name)), schema_of(CARRIED[name]))
