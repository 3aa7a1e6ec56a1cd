"""The carried numbers: published points come out exactly, memories grow with size and width, and how far CACTI and the
published memories are apart is stated."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper import sram_table
from mapper.technology import Curve, Line, SramTable, TechnologyError, load_technology

TECHNOLOGY = load_technology()
TABLE: dict[str, Any] = json.loads((resources.files("mapper") / "data" / "sram_cacti7.json").read_text())
ROWS = TABLE["memories"]["45"]["itrs-lstp"]
ROUNDING = 1e-12  # logarithm and back


def same(value: float) -> Any:
    return pytest.approx(value, rel=ROUNDING)


# Arithmetic -----------------------------------------------------------------------------------------------------------


def test_horowitz_points() -> None:
    t = TECHNOLOGY
    assert (t.add_pj(8), t.add_pj(32)) == (same(0.03), same(0.1))
    assert (t.multiply_pj(8, 8), t.multiply_pj(32, 32)) == (same(0.2), same(3.1))
    assert (t.add_um2(8), t.add_um2(32)) == (same(36), same(137))
    assert (t.multiply_um2(8, 8), t.multiply_um2(32, 32)) == (same(282), same(3495))


def test_between_the_points() -> None:
    t = TECHNOLOGY
    assert t.add_pj(20) == same((0.03 + 0.1) / 2)
    assert t.multiply_pj(4, 16) == same(0.2)
    # 544 = 17 x 32 lies halfway between 64 and 1024.
    assert t.multiply_pj(17, 32) == t.multiply_pj(32, 17) == same((0.2 + 3.1) / 2)


def test_fixed_part_is_small() -> None:
    """The lines almost go through zero: 3% of an 8x8 product, 24% of its area."""
    assert TECHNOLOGY.multiply_energy.fixed / TECHNOLOGY.multiply_pj(8, 8) == pytest.approx(0.033, abs=0.001)
    assert TECHNOLOGY.multiply_area.fixed / TECHNOLOGY.multiply_um2(8, 8) == pytest.approx(0.240, abs=0.001)
    assert TECHNOLOGY.add_energy.fixed > 0
    assert TECHNOLOGY.add_area.fixed > 0


def test_line() -> None:
    line = Line.through((1, 3), (10, 20))
    assert [line.at(x) for x in (0, 1, 2, 3)] == [5, 10, 15, 20]


# Memories -------------------------------------------------------------------------------------------------------------


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
    assert TABLE["columns"] == list(sram_table.COLUMNS)
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
    table = SramTable((8, 32), {"read_pj": (Curve((6.0, 8.0), (0.0, 2.0)), Curve((6.0, 8.0), (1.0, 3.0)))})
    assert table.at("read_pj", 64, 8) == 1
    assert table.at("read_pj", 128, 8) == 2
    assert table.at("read_pj", 64, 16) == same(2**0.5)
    assert table.at("read_pj", 128, 16) == same(2**1.5)


def test_beyond_the_ends_the_last_line_goes_on() -> None:
    curve = Curve((6.0, 7.0, 8.0), (0.0, 0.5, 1.5))
    assert [curve.at(x) for x in (4.0, 6.5, 8.0, 10.0)] == [-1.0, 0.25, 1.5, 3.5]
    assert Curve((6.0, 7.0), (1.0, 0.5)).at(4.0) == 1.0


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1 << 20), st.integers(1, 1 << 20), st.integers(1, 2048))
def test_larger_memories_cost_no_less_to_read(words: int, more: int, bits: int) -> None:
    few, many = sorted((words, more))
    assert TECHNOLOGY.sram(few, bits).read_pj <= TECHNOLOGY.sram(many, bits).read_pj * (1 + ROUNDING)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1 << 20), st.integers(1, 2048), st.integers(1, 2048))
def test_wider_words_cost_no_less_to_read(words: int, bits: int, more: int) -> None:
    narrow, wide = sorted((bits, more))
    assert TECHNOLOGY.sram(words, narrow).read_pj <= TECHNOLOGY.sram(words, wide).read_pj * (1 + ROUNDING)


def test_wide_words_are_split_in_banks() -> None:
    wide = TECHNOLOGY.sram(4096, 2048)
    assert wide.banks > 1
    one = TECHNOLOGY.sram_table.bank(4096, 2048 / wide.banks)
    assert wide.read_pj == same(wide.banks * one.read_pj)
    assert wide.area_um2 == same(wide.banks * one.area_um2)
    assert wide.leakage_mw == same(wide.banks * one.leakage_mw)
    assert wide.access_ns == one.access_ns


def test_a_narrow_memory_is_one_bank() -> None:
    assert TECHNOLOGY.sram(1, 1).banks == 1
    assert TECHNOLOGY.sram(1024, 15).banks == 1


# Against published memories -------------------------------------------------------------------------------------------
