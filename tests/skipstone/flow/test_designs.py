"""Designs that are adapted to how a network is quantized."""

from __future__ import annotations

import pytest

from skipstone.flow.designs import fit_design
from skipstone.hw.design import MAX_ACCUMULATOR_BITS, load_design
from skipstone.models.quantization.scheme import QuantizationScheme


@pytest.mark.parametrize(
    ("code", "bits", "multiplier", "found_bits"),
    [
        ("linear", 4, "linear", 4),
        ("power_of_two", 4, "shift", 4),
        ("power_of_two", 8, "shift", 5),
        ("additive_power_of_two", 5, "additive", 5),
        ("ternary", 2, "sign", 2),
        ("binary", 2, "sign", 2),
        ("codebook", 8, "codebook", 8),
    ],
)
def test_the_multiplier_of_each_code(code, bits, multiplier, found_bits):
    design = fit_design(load_design("edge"), QuantizationScheme(bits, 8, code))
    assert (design.multiplier, design.weight_bits) == (multiplier, found_bits)
    # Products of up to 16 bits have the accumulators that the design has, longer ones room for 4096 of the largest.
    product = design.products.product_bits
    expected = load_design("edge").accumulator_bits if product <= 16 else min(MAX_ACCUMULATOR_BITS, product + 12)
    assert design.accumulator_bits == expected


@pytest.mark.parametrize(("values", "entries"), [(4, 4), (5, 8), (16, 16), (17, 32)])
def test_codebooks_are_powers_of_two(values, entries):
    assert fit_design(load_design("edge"), QuantizationScheme(8, 8, "codebook", values)).codebook_entries == entries


def test_fixed_parameters_are_not_changed():
    edge, ternary = load_design("edge"), QuantizationScheme(2, weight_code="ternary")
    assert fit_design(edge, ternary, fixed=("multiplier",)).multiplier == "linear"
    assert fit_design(edge, ternary, fixed=("accumulator_bits",)).accumulator_bits == edge.accumulator_bits
    assert fit_design(edge, QuantizationScheme()).accumulator_bits >= edge.accumulator_bits
