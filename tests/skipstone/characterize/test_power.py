"""Energy of a netlist of three cells, added up by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipstone.characterize.liberty import read_liberty
from skipstone.characterize.power import CLOCK_FANOUT, block_power, clock_tree, energy_pj
from skipstone.characterize.synthesis import SynthesizedBlock
from tests.skipstone.characterize.cells import write_library


def chain() -> SynthesizedBlock:
    """in (bit 2) -> INV -> bit 3 -> NAND2 with itself -> bit 4 -> DFF -> out (bit 5); clk is bit 6."""
    return SynthesizedBlock(
        "chain",
        "chain",
        {"in": ("input", [2]), "out": ("output", [5]), "clk": ("input", [6])},
        {
            "g1": ("INV", {"A": [2], "Y": [3]}),
            "g2": ("NAND2", {"A": [3], "B": [3], "Y": [4]}),
            "g3": ("DFF", {"D": [4], "C": [6], "Y": [5]}),
        },
        {},
    )


def test_transitions_by_hand(tmp_path: Path) -> None:
    power = block_power(chain(), read_liberty(write_library(tmp_path)))
    # A pin has 0.002 pF, and its wire as much: half of C V^2 is 0.008 pJ at 2 V. Inside: 0.010 + 0.020 * load / 0.1 pF.
    assert power.net_pj[2] == pytest.approx(0.008)
    assert power.net_pj[3] == pytest.approx(2 * 0.008 + 0.010 + 0.2 * 0.008)
    assert power.net_pj[4] == pytest.approx(0.008 + 0.010 + 0.2 * 0.004)
    # The output of the block has no pin in it: it is given one of the smallest.
    assert power.net_pj[5] == pytest.approx(0.008 + 0.010 + 0.2 * 0.004)
    assert 6 not in power.net_pj
    assert energy_pj(power, {3: 10, 4: 1}) == pytest.approx(10 * 0.0276 + 0.0188)
    assert power.delays_ps == {"g1": 116, "g2": 108, "g3": 108}


def test_area_leakage_and_clock_by_hand(tmp_path: Path) -> None:
    library = read_liberty(write_library(tmp_path))
    power = block_power(chain(), library)
    assert (power.area_um2, power.leakage_nw) == (pytest.approx(1 + 2 + 6), pytest.approx(0.5 + 1 + 3))
    assert (power.cells, power.flip_flops) == (3, 1)
    # Two edges: 0.005 pJ inside and half of 0.002 pF at 2 V each.
    assert power.clock_pins_pj == pytest.approx(2 * (0.005 + 0.004))
    # No clock buffer in this library: a sixteenth of a branch's wire, as large as its sixteen pins.
    assert power.clock_pj - power.clock_pins_pj == pytest.approx(4 * 0.002)


def test_a_clock_tree_has_a_buffer_for_every_clock_fanout_sinks(tmp_path: Path) -> None:
    path = write_library(tmp_path)
    path.write_text(path.read_text().replace("cell (INV)", "cell (CLKBUF1)"))
    library = read_liberty(path)
    sinks = [(library.cells["DFF"], "C")] * CLOCK_FANOUT**2
    energy, area, leakage = clock_tree(library, sinks)
    assert (area, leakage) == (pytest.approx(CLOCK_FANOUT + 1), pytest.approx((CLOCK_FANOUT + 1) / 2))
    half = clock_tree(library, sinks[: CLOCK_FANOUT**2 // 2])
    assert half[0] < energy
    assert clock_tree(library, []) == (0.0, 0.0, 0.0)
