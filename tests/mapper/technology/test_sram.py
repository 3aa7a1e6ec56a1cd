"""Memories by CACTI's table: its points come out exactly, sizes between and beyond them follow its trend, and energy grows with
size and width."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import TechnologyError
from skipstone.mapper.results.technology_tables import SRAM_COLUMNS, MemoryTable
from skipstone.mapper.technology import sram_table
from skipstone.mapper.technology.scaling import Factors
from skipstone.mapper.technology.sram import Curve, SramTable
from skipstone.mapper.technology.technology import load_technology

TECHNOLOGY = load_technology()
TABLE: dict[str, Any] = json.loads(
    (resources.files("skipstone.mapper.technology") / "data" / "sram_cacti7.json").read_text()
)
ROWS = TABLE["memories"]["45"]["itrs-lstp"]
ROUNDING = 1e-12  # logarithm and back


def same(value: float) -> Any:
    return pytest.approx(value, rel=ROUNDING)


@pytest.mark.parametrize("bits", sorted(int(b) for b in ROWS))
def test_table_values_come_out(bits: int) -> None:
    for words, read, write, leakage, area, access in ROWS[str(bits)]:
        bank = TECHNOLOGY.sram_table.bank(words, bits)
        assert (bank.read_pj, bank.write_pj, bank.leakage_mw, bank.area_um2, bank.access_ns) == (
            same(read),
            same(write),
            same(leakage),
            same(area),
            same(access),
        )


def test_grid_is_whole() -> None:
    assert TABLE["columns"] == list(SRAM_COLUMNS)
    assert {int(node) for node in TABLE["memories"]} == set(sram_table.NODES_NM)
    for devices in TABLE["memories"].values():
        assert set(devices) == set(sram_table.DEVICES)
        for by_width in devices.values():
            assert {int(bits) for bits in by_width} == set(sram_table.WIDTHS)
            for bits, rows in by_width.items():
                assert tuple(row[0] for row in rows) == sram_table.grid_words(int(bits))
                assert all(value > 0 for row in rows for value in row)


def test_configuration_is_the_one_that_made_the_table() -> None:
    assert TABLE["configuration"] == sram_table.CONFIGURATION


def test_between_points_is_the_geometric_mean() -> None:
    curves = (Curve((6.0, 8.0), (0.0, 2.0), 0.5), Curve((6.0, 8.0), (1.0, 3.0), 0.5))
    table = SramTable((8, 32), {"read_pj": curves}, bits_exponent=1.0, smallest_bank_bits=8)
    assert table.at("read_pj", 64, 8) == 1
    assert table.at("read_pj", 128, 8) == 2
    assert table.at("read_pj", 64, 16) == same(2**0.5)
    assert table.at("read_pj", 128, 16) == same(2**1.5)


def test_beyond_the_ends_the_last_line_is_extended() -> None:
    curve = Curve((6.0, 7.0, 8.0), (0.0, 0.5, 1.5), 0.5)
    assert [curve.at(x) for x in (4.0, 6.5, 8.0, 10.0)] == [-1.0, 0.25, 1.5, 3.5]
    assert Curve((6.0, 7.0), (0.0, 2.0), 0.5).at(4.0) == -1.0, "no steeper than the limit"
    falling = Curve((6.0, 7.0), (1.0, 0.5), 0.5)
    assert (falling.at(4.0), falling.at(9.0)) == (1.0, 0.5), "never falling with size"


@settings(max_examples=200)
@given(st.integers(1, 1 << 20), st.integers(1, 1 << 20), st.integers(1, 2048))
def test_larger_memories_cost_no_less_to_read(words: int, more: int, bits: int) -> None:
    few, many = sorted((words, more))
    assert TECHNOLOGY.sram(few, bits).read_pj <= TECHNOLOGY.sram(many, bits).read_pj * (1 + ROUNDING)


@settings(max_examples=200)
@given(st.integers(1, 1 << 20), st.integers(1, 2048), st.integers(1, 2048))
def test_wider_words_cost_no_less_to_read(words: int, bits: int, more: int) -> None:
    narrow, wide = sorted((bits, more))
    assert TECHNOLOGY.sram(words, narrow).read_pj <= TECHNOLOGY.sram(words, wide).read_pj * (1 + ROUNDING)


def test_narrower_than_the_table_goes_with_the_bits() -> None:
    bank = TECHNOLOGY.sram_table.bank
    assert bank(4096, 2).read_pj == same(bank(4096, 8).read_pj / 4)


def test_wide_words_are_split_in_banks() -> None:
    wide = TECHNOLOGY.sram(4096, 2048)
    assert wide.banks == 64
    bank = TECHNOLOGY.sram_table.bank(4096, 32)
    assert wide.read_pj == same(wide.banks * bank.read_pj)
    assert wide.area_um2 == same(wide.banks * bank.area_um2)
    assert wide.leakage_mw == same(wide.banks * bank.leakage_mw)
    assert wide.access_ns == bank.access_ns


def test_banks_are_not_narrower_than_the_smallest() -> None:
    """63 bits take two whole banks of 32 bits, as 64 do; 32 bits take one."""
    assert TECHNOLOGY.sram(4096, 63) == TECHNOLOGY.sram(4096, 64)
    assert TECHNOLOGY.sram(4096, 64).banks == 2
    assert TECHNOLOGY.sram(4096, 32).banks == 1


def test_a_narrow_memory_is_one_bank() -> None:
    assert TECHNOLOGY.sram(1, 1).banks == 1
    assert TECHNOLOGY.sram(1024, 15).banks == 1


def test_a_scale_multiplies_every_bank() -> None:
    plain = TECHNOLOGY.sram_table
    scaled = dataclasses.replace(plain, scale=Factors(area=2, delay=3, energy=5, leakage=7))
    for words, bits in ((64, 8), (4096, 63), (27, 40)):
        memory, multiple = plain.memory(words, bits), scaled.memory(words, bits)
        assert (multiple.read_pj, multiple.write_pj) == (
            same(5 * memory.read_pj),
            same(5 * memory.write_pj),
        )
        assert (multiple.area_um2, multiple.access_ns) == (
            same(2 * memory.area_um2),
            same(3 * memory.access_ns),
        )
        assert (multiple.leakage_mw, multiple.banks) == (
            same(7 * memory.leakage_mw),
            memory.banks,
        )


def test_refusals() -> None:
    sram = TECHNOLOGY.sram
    for call, arguments, message in (
        (sram, (0, 8), "words must be a positive integer, not 0"),
        (sram, (8, -1), "bits_per_word must be a positive integer, not -1"),
        (sram, (8.0, 8), "words must be an integer, not 8.0"),
        (sram, (8, True), "bits_per_word must be an integer, not True"),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(*arguments)  # type: ignore[arg-type]
        assert str(caught.value) == message


def test_a_refusal_names_the_carried_devices() -> None:
    memories: dict[str, Any] = {"45": {"itrs-lstp": {}, "itrs-hp": {}}, "90": {"itrs-hp": {}}}
    table = MemoryTable.from_dict(TABLE | {"memories": memories})
    with pytest.raises(TechnologyError) as caught:
        SramTable.of(table, 90, "itrs-lstp", 32, 0.5, 1.0)
    assert str(caught.value) == (
        "no memories for 90 nm itrs-lstp; the table has 45 nm itrs-lstp, 45 nm itrs-hp, 90 nm itrs-hp"
    )


# The script that makes the table --------------------------------------------------------------------------------------

CACTI_SAYS = """    Access time (ns): 1.06377
    Cycle time (ns):  0.5
    Total dynamic read energy per access (nJ): 0.00613702
    Total dynamic write energy per access (nJ): 7.5e-03
    Total leakage power of a bank (mW): 0.5
    Total gate leakage power of a bank (mW): 2.5e-01
    Cache height x width (mm): 0.25 x 0.5
"""


def test_parse_output() -> None:
    assert sram_table.parse_output(CACTI_SAYS) == {
        "read_pj": same(6.13702),
        "write_pj": same(7.5),
        "leakage_mw": same(0.75),
        "area_um2": same(125000),
        "access_ns": same(1.06377),
    }
    assert sram_table.parse_output("ERROR: no valid data array organizations found\n") is None


def test_grid() -> None:
    assert sram_table.grid_words(8)[0] == 64
    assert sram_table.grid_words(8)[-1] == 4 << 20
    assert sram_table.grid_words(1024)[-1] == 32768
    text = sram_table.configuration(words=1024, bits=64, node_nm=45, device="itrs-lstp")
    assert text.startswith("-size (bytes) 8192\n-block size (bytes) 8\n-output/input bus width 64\n")
    assert "-technology (u) 0.045\n" in text


def test_made_as_carried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CACTI's answers become rows in the order of words; the text of the carried table is the one that is written."""
    answer = sram_table.parse_output(CACTI_SAYS)
    monkeypatch.setattr(sram_table, "run_cacti", lambda *_: answer)
    made = sram_table.make_table(tmp_path, nodes_nm=(45,), jobs=1)
    rows = made.memories["45"]["itrs-lstp"]["1024"]
    assert rows[0] == (64, 6.137, 7.5, 0.75, 125000.0, 1.0638)
    assert tuple(row[0] for row in rows) == sram_table.grid_words(1024)
    text = (resources.files("skipstone.mapper.technology") / "data" / "sram_cacti7.json").read_text()
    assert MemoryTable.from_text(text, "it").text() == text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"8": [[64, 1, 1, 1, 1, 1]]}, "too few memories"),
        ({"8": [[64, 1, 1, 1, 1, 1]] * 2, "16": [[64, 1, 1, 1, 1, 1], [128, 1, 0, 1, 1, 1]]}, "is not positive"),
    ],
)
def test_tables_that_cannot_be_interpolated(rows: dict[str, Any], message: str) -> None:
    table = MemoryTable.from_dict(TABLE | {"memories": {"45": {"itrs-lstp": rows}}})
    with pytest.raises(TechnologyError, match=message):
        SramTable.of(table, 45, "itrs-lstp", 32, 0.5, 1.0)
