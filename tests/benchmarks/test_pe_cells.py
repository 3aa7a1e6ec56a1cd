"""Cell counts: what follows from the pipeline, and what no synthesis can change."""

import pytest

from benchmarks.pe_cells import Adder, Cells, Product, cells, designs
from skipstone.hw.pe import Pe


def test_an_adder_of_one_bit():
    """Without its carry it is an XOR."""
    assert cells(Adder(1)) == Cells(1, 0, 0)


@pytest.mark.parametrize(
    ("name", "flip_flops"),
    [
        ("linear, 8-bit weights", 8 + 16),
        ("shift, 5-bit codes", 8 + 8 + 1 + 15),
        ("additive, 5-bit codes", 8 + 8 + 6),
        ("sign, 1-bit codes", 8 + 8 + 1),
        ("codebook, 4-bit codes of 8-bit integers", 8 + 16),
    ],
)
def test_a_pe_registers_its_activation_and_its_product(name, flip_flops):
    """Nothing else of it is registers; windows and accumulators stay memories."""
    pe, product = cells(Pe(designs()[name])), cells(Product(designs()[name]))
    assert (pe.flip_flops, pe.memories) == (flip_flops, 2)
    assert (product.flip_flops, product.memories) == (0, 0)
    assert product.gates < pe.gates


def test_shifting_takes_less_than_multiplying():
    kinds = designs()
    gates = [
        cells(Product(kinds[name])).gates
        for name in ("sign, 1-bit codes", "shift, 4-bit codes", "additive, 5-bit codes", "linear, 8-bit weights")
    ]
    assert gates == sorted(gates)
