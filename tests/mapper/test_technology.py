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
from mapper.technology import Curve, Line, SramTable, load_technology

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
    curves = (Curve((6.0, 8.0), (0.0, 2.0), 0.5), Curve((6.0, 8.0), (1.0, 3.0), 0.5))
    table = SramTable((8, 32), {"read_pj": curves}, bits_exponent=1.0, smallest_bank_bits=8)
    assert table.at("read_pj", 64, 8) == 1
    assert table.at("read_pj", 128, 8) == 2
    assert table.at("read_pj", 64, 16) == same(2**0.5)
    assert table.at("read_pj", 128, 16) == same(2**1.5)


def test_beyond_the_ends_the_last_line_goes_on() -> None:
    curve = Curve((6.0, 7.0, 8.0), (0.0, 0.5, 1.5), 0.5)
    assert [curve.at(x) for x in (4.0, 6.5, 8.0, 10.0)] == [-1.0, 0.25, 1.5, 3.5]
    assert Curve((6.0, 7.0), (0.0, 2.0), 0.5).at(4.0) == -1.0, "no steeper than the limit"
    falling = Curve((6.0, 7.0), (1.0, 0.5), 0.5)
    assert (falling.at(4.0), falling.at(9.0)) == (1.0, 0.5), "never falling with size"


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


def test_narrower_than_the_table_goes_with_the_bits() -> None:
    bank = TECHNOLOGY.sram_table.bank
    assert bank(4096, 2).read_pj == same(bank(4096, 8).read_pj / 4)


def test_wide_words_are_split_in_banks() -> None:
    wide = TECHNOLOGY.sram(4096, 2048)
    assert wide.banks == 64
    one = TECHNOLOGY.sram_table.bank(4096, 32)
    assert wide.read_pj == same(wide.banks * one.read_pj)
    assert wide.area_um2 == same(wide.banks * one.area_um2)
    assert wide.leakage_mw == same(wide.banks * one.leakage_mw)
    assert wide.access_ns == one.access_ns


def test_banks_are_not_narrower_than_the_smallest() -> None:
    """63 bits take two whole banks of 32 bits, as 64 do; 32 bits take one."""
    assert TECHNOLOGY.sram(4096, 63) == TECHNOLOGY.sram(4096, 64)
    assert TECHNOLOGY.sram(4096, 64).banks == 2
    assert TECHNOLOGY.sram(4096, 32).banks == 1


def test_a_narrow_memory_is_one_bank() -> None:
    assert TECHNOLOGY.sram(1, 1).banks == 1
    assert TECHNOLOGY.sram(1024, 15).banks == 1


# Against published memories -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kibibytes", "one_bank", "as_used"), [(8, 0.61, 0.45), (32, 0.73, 0.46), (1024, 0.87, 0.78)])
def test_reads_against_horowitz_caches(kibibytes: int, one_bank: float, as_used: float) -> None:
    """CACTI's plain RAM reads for 0.6 to 0.9 of Horowitz's caches (which have tags to read, too) when it is one macro,
    and for
    0.45 to 0.8 when the word may be spread over banks, as it is in the energy model. So memory energy is rather low."""
    check = TECHNOLOGY.checks["cache"]
    published = dict(zip(check["kibibytes"], check["read_pj"], strict=True))[kibibytes]
    words = kibibytes * 1024 * 8 // check["bits"]
    # Tolerance: the ratios are stated with two digits.
    assert TECHNOLOGY.sram_table.bank(words, check["bits"]).read_pj / published == pytest.approx(one_bank, abs=0.005)
    assert TECHNOLOGY.sram(words, check["bits"]).read_pj / published == pytest.approx(as_used, abs=0.005)


def test_register_file_against_eyeriss() -> None:
    """512 bytes read 16 bits at a time: 0.72 pJ, against one 16-bit multiply-accumulate of Horowitz's arithmetic, 0.83
    pJ with a
    16-bit addition. Eyeriss has a ratio of 1 (65 nm); this one is 0.86."""
    check = TECHNOLOGY.checks["register_file"]
    bits = check["bits"]
    read = TECHNOLOGY.sram(check["bytes"] * 8 // bits, bits).read_pj
    mac = TECHNOLOGY.multiply_pj(bits, bits) + TECHNOLOGY.add_pj(bits)
    assert read == same(0.72001)
    assert mac == pytest.approx(0.833, abs=0.0005)
    assert read / mac / check["macs_per_access"] == pytest.approx(0.864, abs=0.0005)


# Refusals and sources -------------------------------------------------------------------------------------------------


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        call(*arguments)
    return f"{caught.type.__name__}: {caught.value}"


def test_refusals() -> None:
    sram = TECHNOLOGY.sram
    assert refusal(load_technology, 28) == "TechnologyError: no technology for a node of 28 nm; carried: 45 nm"
    assert refusal(sram, 0, 8) == "ValueError: words must be a positive integer, not 0"
    assert refusal(sram, 8, -1) == "ValueError: bits_per_word must be a positive integer, not -1"
    assert refusal(sram, 8.0, 8) == "TypeError: words must be an integer, not 8.0"
    assert refusal(sram, 8, True) == "TypeError: bits_per_word must be an integer, not True"


def test_refusal_names_the_devices_carried() -> None:
    memories: dict[str, Any] = {"45": {"itrs-lstp": {}, "itrs-hp": {}}, "90": {"itrs-hp": {}}}
    text = json.dumps({"columns": ["words"], "memories": memories})
    sram = {"node_nm": 90, "device": "itrs-lstp"}
    assert refusal(SramTable.load, text, sram, {}) == (
        "TechnologyError: no memories for 90 nm itrs-lstp; the table has 45 nm itrs-lstp, 45 nm itrs-hp, 90 nm itrs-hp"
    )


def test_every_group_of_numbers_has_a_source() -> None:
    assert [what for what, _ in TECHNOLOGY.sources] == [
        "clock", "sram", "register_file", "add", "multiply", "shifter", "check.cache", "check.register_file",
    ]  # fmt: skip
    assert dict(TECHNOLOGY.sources)["add"] == (
        "M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014, integer add, 45 nm, 0.9 V "
        "[45 nm]"
    )


def test_the_same_object_every_time() -> None:
    assert load_technology(45) is load_technology(45)


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


def test_render_keeps_the_numbers() -> None:
    assert json.loads(sram_table.render(TABLE)) == TABLE
