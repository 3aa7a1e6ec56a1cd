"""FPGA resources: counts worked out by hand, counts that must grow with the design, and the carried syntheses."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.errors import DesignError, TechnologyError
from skipstone.hw.design import Design, load_design
from skipstone.mapper.fpga.blocks import blocks
from skipstone.mapper.fpga.memories import KINDS, fpga_memories, mapped
from skipstone.mapper.fpga.resources import RESOURCES, devices, dsps, errors, hold_out, resources, source

TINY = load_design("tiny")
sizes = st.integers(1, 12)


@st.composite
def designs(draw):
    """Small arrays of every kind."""
    width = draw(st.integers(1, 6))
    try:
        return Design(
            "drawn",
            draw(sizes),
            draw(sizes),
            width * draw(st.integers(1, 12)),
            draw(st.integers(2, 6)),
            draw(sizes),
            width,
            draw(st.sampled_from([n for n in range(1, width + 1) if width % n == 0])),
            weight_bits=draw(st.integers(2, 12)),
            activation_bits=draw(st.integers(2, 10)),
            accumulator_bits=draw(st.integers(24, 40)),
            activation_words=draw(st.integers(2, 20000)),
            weight_entries=draw(st.integers(2, 20000)),
            layers=draw(st.integers(1, 100)),
            multiplier=draw(st.sampled_from(("linear", "sign", "codebook"))),
            index_coding=draw(st.sampled_from(("absolute", "delta"))),
            tables=draw(st.integers(0, 3)),
        )
    except DesignError as error:
        raise AssertionError(f"the strategy drew a design that cannot be: {error}") from None


def block_rams(words, bits, reads=1, enables=1):
    return mapped(words, bits, reads, True, enables, "ecp5").block_rams


def test_block_rams_by_hand():
    """A DP16KD is 16,384 bits of 1, 8,192 of 2, 4,096 of 4, 2,048 of 9, 1,024 of 18 or 512 of 36."""
    assert block_rams(512, 36) == 1
    assert block_rams(512, 37) == 2
    assert block_rams(1024, 18) == 1
    assert block_rams(1024, 36) == 2
    assert block_rams(2048, 27) == 3
    assert block_rams(16384, 20) == 20
    # One port writes, so that each read has a copy of its own.
    assert block_rams(1024, 18, reads=2) == 2
    # Nine bits are written together: parts of three take nine each.
    assert block_rams(512, 12, enables=4) == block_rams(512, 36)


def test_lut_ram_by_hand():
    """16 words of 4 bits a cell, a copy for each read."""
    window = mapped(27, 32, 1, False, 1, "ecp5")
    assert (window.kind, window.cells, window.luts) == ("TRELLIS_DPR16X4", 2 * 8, 2 * 8 * 6)
    accumulators = mapped(8, 24, 2, False, 1, "ecp5")
    assert (accumulators.cells, accumulators.multiplexed_bits) == (6 * 2, 0)


def test_a_memory_with_asynchronous_reads_takes_no_block_ram():
    assert mapped(1 << 14, 64, 1, False, 1, "ecp5").block_rams == 0


def test_a_memory_smaller_than_a_ram_stays_flip_flops():
    assert mapped(2, 1, 1, False, 1, "ecp5").flip_flops == 2


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        # 8x8 bits fit one multiplier; a requantizer's 25x17 and 9x33 bits take two each.
        ({}, 16 * 1 + 4 * 4 + 1),
        ({"multiplier": "sign"}, 4 * 4 + 1),
        # 41 bits take three.
        ({"accumulator_bits": 40}, 16 + 4 * 5 + 1),
        ({"accumulator_bits": 16}, 16 + 4 * 3 + 1),
        # Of the columns' offsets only 3 is no power of two; a stride of 1 needs none.
        ({"max_stride": 1}, 16 + 16),
        ({"cols": 8}, 32 + 16 + 4),
    ],
)
def test_dsps_by_hand(changes, count):
    assert dsps(TINY.replace(**changes)) == count


def test_a_pe_registers_its_activation_and_its_product():
    """Two registers, as the gateware's cells are counted elsewhere."""
    (pe,) = (block for block in blocks(TINY, "ecp5") if block.name == "pe")
    assert (pe.count, pe.flip_flops) == (16, 8 + 16)


def test_memories_have_the_bits_of_the_design():
    bits = {memory.name: memory.count * memory.words * memory.bits for memory in fpga_memories(TINY)}
    assert bits["activations"] == TINY.activation_words * 32
    assert bits["window"] == 16 * TINY.windows * TINY.window_depth * 8
    assert bits["accumulators"] == 16 * 2 * 8 * 24
    assert set(bits) == {"window", "accumulators", "weights", "loads", "parameters", "descriptors", "activations"}


@given(designs())
def test_more_columns_take_no_less(design):
    _takes_no_less(design, design.replace(cols=design.cols * 2))


@given(designs())
def test_more_rows_take_no_less(design):
    """With as many lanes as one row needs, so that rows never add to what is drained at once."""
    design = design.replace(requantizer_lanes=1)
    _takes_no_less(design, design.replace(rows=design.rows + 1))


@given(designs())
def test_wider_accumulators_take_no_less(design):
    _takes_no_less(design, design.replace(accumulator_bits=design.accumulator_bits + 1))


def _takes_no_less(smaller, larger):
    before, after = resources(smaller), resources(larger)
    for name in RESOURCES:
        assert getattr(before, name) <= getattr(after, name), name


@given(designs())
def test_counts_are_whole_and_positive(design):
    for value in dataclasses.astuple(resources(design)):
        assert type(value) is int
        assert value > 0


def test_errors_are_those_of_the_carried_syntheses():
    """Largest and mean, counted here once more; block RAMs are exact."""
    judged = hold_out("ecp5")
    off = [abs(held_out.modelled.luts - held_out.synthesized.luts) / held_out.synthesized.luts for held_out in judged]
    summary = errors("ecp5")
    assert summary["luts"].mean == pytest.approx(sum(off) / len(off))
    assert summary["luts"].largest == max(off)
    assert summary["block_rams"].largest == 0
    assert set(summary) == set(RESOURCES)


def test_the_source_names_tool_and_command():
    assert devices() == tuple(KINDS)
    for device in devices():
        assert source(device).startswith("Yosys ")
        assert "synth_" in source(device)


def test_an_unknown_device_is_refused():
    with pytest.raises(TechnologyError, match="unknown FPGA 'ice40'; known are ecp5"):
        resources(TINY, "ice40")
