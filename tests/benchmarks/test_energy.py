"""The comparison with published figures: the published points are met, and the tables name both sides."""

import pytest

from benchmarks.energy import arithmetic_table, horowitz_mac, line, memory_table, model_mac, published, with_bits
from skipstone.hw.design import load_design
from skipstone.mapper.technology.technology import load_technology

FIGURES = published()
HOROWITZ = FIGURES["horowitz"]


def test_published_points_are_met():
    """Linear between them: 24 bits of addition lie two thirds of the way from 8 to 32, a 16x16 product a fifth."""
    assert horowitz_mac(HOROWITZ, 8, 8).pj == pytest.approx(0.2 + 0.03)
    assert horowitz_mac(HOROWITZ, 32, 32).um2 == pytest.approx(3495 + 137)
    assert horowitz_mac(HOROWITZ, 16, 24).pj == pytest.approx(0.2 + 2.9 / 5 + 0.03 + 0.07 * 2 / 3)
    assert line([1.0, 10.0], [3.0, 21.0], 2.0) == 5


def test_eyeriss_by_hand():
    """278 mW at 35 images of 666 million multiply-accumulates a second are 11.9 pJ each."""
    chip = FIGURES["chip"][0]
    assert chip["milliwatts"] * 1e-3 / (chip["inferences_per_second"] * chip["macs"]) == pytest.approx(
        11.93e-12, rel=1e-3
    )


def test_memories_against_published_ones():
    """CACTI's plain RAM reads for 0.6 to 0.9 of Horowitz's caches (which have tags to read, too) when it is one macro, and for
    0.45 to 0.8 when the word may be spread over banks, as it is in the energy model: memory energy is rather low."""
    technology = load_technology(45)
    for kibibytes, one_bank, as_used in ((8, 0.61, 0.45), (32, 0.73, 0.46), (1024, 0.87, 0.78)):
        theirs = dict(zip(HOROWITZ["cache_kibibytes"], HOROWITZ["cache_pj"], strict=True))[kibibytes]
        words = kibibytes * 1024 * 8 // 64
        # Tolerance: the ratios are stated with two digits.
        assert technology.sram_table.bank(words, 64).read_pj / theirs == pytest.approx(one_bank, abs=0.005)
        assert technology.sram(words, 64).read_pj / theirs == pytest.approx(as_used, abs=0.005)


def test_a_register_file_costs_about_a_multiply_accumulate():
    """Eyeriss says as much as one, of 16 bits: 0.72 pJ against Horowitz's 0.83 with an addition of 16 bits."""
    check = FIGURES["eyeriss_register_file"]
    read = load_technology(45).sram(check["bytes"] * 8 // 16, 16).read_pj
    assert read / horowitz_mac(HOROWITZ, 16, 16).pj == pytest.approx(0.864, abs=0.0005)


def test_wider_products_cost_more():
    edge, technology = load_design("edge"), load_technology(45)
    macs = [model_mac(with_bits(edge, bits), technology) for bits in (4, 8, 16)]
    assert macs == sorted(macs, key=lambda mac: mac.pj)
    assert macs == sorted(macs, key=lambda mac: mac.um2)


def test_tables_name_both_sides():
    assert "Horowitz, arithmetic alone | this model, whole PE | ratio" in arithmetic_table(HOROWITZ)
    assert memory_table(HOROWITZ, FIGURES["eyeriss_register_file"]).count("\n") == 2 + 4
