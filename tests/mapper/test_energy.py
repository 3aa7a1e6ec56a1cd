"""Energy is counts times energies: each part from the counts it depends on and no others, checked against numbers
worked out by hand from the technology."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.design import Design, built_in_designs
from mapper.actions import Actions
from mapper.energy import PARTS, area_um2, energy_sources, layer_energy, memories, product_cost
from mapper.technology import load_technology

TECHNOLOGY = load_technology()
COUNTS = [field.name for field in dataclasses.fields(Actions)]
NOTHING = Actions(**dict.fromkeys(COUNTS, 0))
DESIGN = Design(
    "d", rows=4, cols=4, window_depth=36, windows=3, accumulators=8, load_width=4, requantizer_lanes=2, tables=3
)
ROUNDING = 1e-12  # of the order of summation

DEPENDS = {
    "multiply": {"macs"},
    "accumulate": {"macs", "accumulator_reads", "accumulator_writes"},
    "windows": {"window_reads", "window_writes"},
    "weights": {"weight_reads"},
    "activations": {"activation_reads", "activation_writes"},
    "requantize": {"requantizations", "parameter_reads", "activation_reads", "load_list_reads", "table_reads"},
    "control": {"load_list_reads"},
    "leakage": {"cycles"},
}


def energy(**counts: int) -> dict[str, float]:
    """Above what no action at all costs: the descriptor's read."""
    without = layer_energy(NOTHING, DESIGN, TECHNOLOGY)
    spent = layer_energy(dataclasses.replace(NOTHING, **counts), DESIGN, TECHNOLOGY)
    return {part: spent[part] - without[part] for part in spent}


def test_parts() -> None:
    assert tuple(layer_energy(NOTHING, DESIGN, TECHNOLOGY)) == PARTS
    assert set(DEPENDS) == set(PARTS)


def test_without_actions_only_the_descriptor_is_read() -> None:
    spent = layer_energy(NOTHING, DESIGN, TECHNOLOGY)
    assert spent["control"] == TECHNOLOGY.sram(DESIGN.layers, DESIGN.descriptor.width).read_pj
    assert {part: value for part, value in spent.items() if value} == {"control": spent["control"]}


@pytest.mark.parametrize("count", COUNTS)
def test_each_count_costs_in_its_parts_only(count: str) -> None:
    # Load list entries read activation memory; alone they would hide a residual Add's reads.
    counts = {count: 1000} | ({"activation_reads": 1000} if count == "load_list_reads" else {})
    spent = {part for part, value in energy(**counts).items() if value}
    assert spent == {part for part, needs in DEPENDS.items() if needs & set(counts)} - (
        {"requantize"} if count == "load_list_reads" else set()
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1 << 30), min_size=len(COUNTS), max_size=len(COUNTS)), st.integers(2, 9))
def test_linear_in_the_counts(values: list[int], times: int) -> None:
    actions = Actions(*values)
    once = layer_energy(actions, DESIGN, TECHNOLOGY)
    descriptor = layer_energy(NOTHING, DESIGN, TECHNOLOGY)["control"]
    many = layer_energy(Actions(*(value * times for value in values)), DESIGN, TECHNOLOGY)
    for part in PARTS:
        fixed = descriptor if part == "control" else 0
        assert many[part] - fixed == pytest.approx(times * (once[part] - fixed), rel=1e-9, abs=1e-6)


def test_arithmetic_by_hand() -> None:
    """An 8x8 product costs 0.2 pJ; 24 bits of addition lie two thirds of the way from 8 (0.03 pJ) to 32 (0.1 pJ)."""
    spent = energy(macs=3000)
    assert spent["multiply"] == pytest.approx(600, rel=ROUNDING)
    assert spent["accumulate"] == pytest.approx(3000 * (0.03 + 0.07 * 2 / 3), rel=ROUNDING)


def test_requantizer_by_hand() -> None:
    """25 + 16 bits: 25-bit addition, 25x16 product, two 41-bit additions; a residual Add's 9x32 product, 9-bit and
    41-bit
    additions, for both lanes of a step."""

    def add(bits: int) -> float:
        return 0.03 + 0.07 / 24 * (bits - 8)

    def multiply(bits: int) -> float:
        return 0.2 + 2.9 / 960 * (bits - 64)

    assert energy(requantizations=10)["requantize"] == pytest.approx(
        10 * (add(25) + multiply(400) + 2 * add(41)), rel=ROUNDING
    )
    assert energy(activation_reads=15, load_list_reads=10)["requantize"] == pytest.approx(
        5 * 2 * (add(9) + multiply(288) + add(41)), rel=ROUNDING
    )


def test_memories_by_hand() -> None:
    """3 windows of 9 words of 4 activations, 2 banks of 8 accumulators of 24 bits, and the others as named in the
    design."""
    sram = TECHNOLOGY.sram

    def close(value: float) -> Any:
        return pytest.approx(value, rel=1e-9)

    assert energy(window_reads=7)["windows"] == close(7 * sram(108, 8).read_pj)
    assert energy(window_writes=7)["windows"] == close(7 * sram(27, 32).write_pj)
    assert energy(accumulator_reads=7)["accumulate"] == close(7 * sram(16, 24).read_pj)
    assert energy(accumulator_writes=7)["accumulate"] == close(7 * sram(16, 24).write_pj)
    assert energy(weight_reads=7)["weights"] == close(7 * sram(16384, 8 + 4 + 2 + 3 + 3 + 1).read_pj)
    assert energy(activation_reads=7)["activations"] == close(7 * sram(8192, 32).read_pj)
    assert energy(activation_writes=7)["activations"] == close(7 * sram(16384, 16).write_pj)
    assert energy(parameter_reads=7)["requantize"] == close(7 * sram(256, 2 * (24 + 16 + 6 + 32 + 3 * 8 + 3)).read_pj)
    assert energy(table_reads=7)["requantize"] == close(7 * sram(768, 8).read_pj)
    lists = sram(4096, DESIGN.load_entry.width).read_pj
    adders = 2 * TECHNOLOGY.add_pj(DESIGN.dimension_bits) + TECHNOLOGY.add_pj(13)
    assert energy(load_list_reads=7)["control"] == close(7 * (lists + adders))


def test_leakage_by_hand() -> None:
    """1 mW for 1 us is 1 nJ: at 500 MHz, 500 cycles of the memories' milliwatts are as many nanojoules."""
    assert TECHNOLOGY.frequency_mhz == 500
    milliwatts = sum(m.count * TECHNOLOGY.sram(m.words, m.bits).leakage_mw for m in memories(DESIGN))
    assert energy(cycles=500)["leakage"] == pytest.approx(1000 * milliwatts, rel=ROUNDING)


def test_memories_are_those_of_the_gateware() -> None:
    assert {m.name: (m.count, m.words) for m in memories(DESIGN)} == {
        "windows": (16, 27),
        "accumulators": (16, 16),
        "weights": (4, 16384),
        "activations": (1, 8192),
        "parameters": (1, 256),
        "load_lists": (1, 4096),
        "descriptors": (1, 64),
        "tables": (2, 768),
    }
    looked_up = DESIGN.replace(multiplier="codebook", codebooks=5, tables=0)
    assert {m.name: (m.count, m.words, m.bits) for m in memories(looked_up)}["codebooks"] == (4, 80, 8)
    assert "tables" not in {m.name for m in memories(looked_up)}


def test_products_by_hand() -> None:
    """A sign costs the negation of 8 bits, which takes 9: 0.03 pJ and 36 um2 for 8 bits, 0.07 pJ and 101 um2 for 24 more. An
    exponent of 2 bits is shifted by in two stages of 10 and 12 bits, of 0.24 bits of an adder each. A sum shifts once a
    term. A weight that is looked up costs a product and a read of 16 codebooks of 16 entries in the row."""

    def cost(**changes: Any) -> tuple[float, float]:
        one = product_cost(DESIGN.replace(**changes), TECHNOLOGY)
        return one.pj, one.um2

    assert cost() == cost(multiplier="codebook") == pytest.approx((0.2, 282), rel=ROUNDING)
    sign = (0.03 + 0.07 / 24, 36 + 101 / 24)
    assert cost(multiplier="sign") == pytest.approx(sign, rel=ROUNDING)
    shifter = (0.07 / 24 * 0.24 * 22, 101 / 24 * 0.24 * 22)
    assert cost(multiplier="shift", weight_bits=3) == pytest.approx(
        (sign[0] + shifter[0], sign[1] + shifter[1]), rel=ROUNDING
    )
    # One term: 0 or 9 bits, 10 and 11 shifted. Two: each 0 or 9 bits, 11 and 13; and an addition of 14 bits.
    one, two = (0.24 / 24 * (9 + 10 + 11), 0.24 / 24 * 2 * (9 + 11 + 13))
    assert cost(multiplier="additive", weight_bits=3) == pytest.approx(
        (sign[0] + 0.07 * one, sign[1] + 101 * one), rel=ROUNDING
    )
    assert cost(multiplier="additive", weight_bits=5) == pytest.approx(
        (sign[0] + 0.03 + 0.07 * (6 / 24 + two), sign[1] + 36 + 101 * (6 / 24 + two)), rel=ROUNDING
    )
    design = DESIGN.replace(multiplier="codebook")
    reads = dataclasses.replace(NOTHING, weight_reads=7)
    assert layer_energy(reads, design, TECHNOLOGY)["weights"] == pytest.approx(
        7 * (TECHNOLOGY.sram(16384, 4 + 1 + 4 + 2 + 3 + 3 + 1).read_pj + TECHNOLOGY.sram(256, 8).read_pj), rel=ROUNDING
    )


@pytest.mark.parametrize("name", list(built_in_designs()))
def test_wider_weights_cost_more(name: str) -> None:
    design = built_in_designs()[name].replace(weight_bits=4)
    actions = Actions(*(1000 for _ in COUNTS))
    narrow = layer_energy(actions, design, TECHNOLOGY)
    wide = layer_energy(actions, design.replace(weight_bits=8), TECHNOLOGY)
    assert {part for part in PARTS if wide[part] > narrow[part]} == {"multiply", "weights", "leakage"}
    assert area_um2(design, TECHNOLOGY) < area_um2(design.replace(weight_bits=8), TECHNOLOGY)


def test_area_of_one_more_column() -> None:
    """Only PEs: one more in each of the 4 rows, with its two memories, an 8x8 multiplier (282 um2) and a 24-bit adder;
    and a
    coordinate of a load list entry or descriptor may get wider, which here it does not."""
    more = DESIGN.replace(cols=5, max_stride=4)
    per_row = area_um2(more, TECHNOLOGY) - area_um2(DESIGN, TECHNOLOGY)
    others = sum(
        m.count * TECHNOLOGY.sram(m.words, m.bits).area_um2 - n.count * TECHNOLOGY.sram(n.words, n.bits).area_um2
        for m, n in zip(memories(more), memories(DESIGN), strict=True)
        if m.name not in ("windows", "accumulators")
    )
    pe = TECHNOLOGY.sram(27, 32).area_um2 + TECHNOLOGY.sram(16, 24).area_um2 + 282 + 36 + 101 * 2 / 3
    assert more.dimension_bits == DESIGN.dimension_bits
    assert per_row == pytest.approx(4 * pe + others, rel=1e-9)


def test_sources_open_with_the_technology() -> None:
    listed = energy_sources(TECHNOLOGY)
    assert listed[0] == ("technology", TECHNOLOGY.name)
    assert listed[1:] == list(TECHNOLOGY.sources)
    assert all(what and source for what, source in listed)
