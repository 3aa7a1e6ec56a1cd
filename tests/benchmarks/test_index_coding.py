"""Bits for each nonzero: properties of any encoding, and counts by hand."""

import numpy as np
import pytest

from benchmarks.index_coding import WINDOWS, bits_per_nonzero, bound, entry_bits
from skipstone.hw.design import Design

DESIGN = Design("coded", 2, 2, 8, 2, 2, 4, 2)


def test_dense_by_hand() -> None:
    """Dense, every delta is 0: no escapes. 8 bits of value, 3 to leave, 1 for the last one; and 4 of the index, or the delta."""
    (dense,) = entry_bits(DESIGN, [1.0], [1, 5])
    assert dense.absolute == 8 + 3 + 1 + 4
    assert dense.delta == {1: 8 + 3 + 1 + 1, 5: 8 + 3 + 1 + 5}
    assert (dense.bound, min(dense.delta, key=dense.delta.__getitem__)) == (8, 1)


def test_one_nonzero_by_hand() -> None:
    """The last of 16 places: index 15, 3 escapes of 2 bits. Every row enters the list, and leaves 7 windows at once."""
    mask = np.zeros((2, WINDOWS, 2, 2, 4), bool)
    mask[0, 0, 1, 1, 3] = True
    design = DESIGN.replace(index_coding="delta", delta_bits=2, leave_bits=4)
    assert bits_per_nonzero(design, mask) == (1 + 3 + 1) * (8 + 2 + 4 + 1)
    assert np.isnan(bits_per_nonzero(design, mask & False))


def test_bound() -> None:
    """At one half a position costs one bit for each place, two for each nonzero; without any choice it costs nothing."""
    assert bound(0.5, 8) == 10
    assert bound(1.0, 8) == 8
    assert bound(0.25, 0) == pytest.approx(4 * (0.25 * 2 + 0.75 * np.log2(4 / 3)))


@pytest.mark.parametrize("multiplier", ["linear", "sign", "additive"])
def test_nothing_beats_the_bound(multiplier: str) -> None:
    for bits in entry_bits(
        DESIGN.replace(multiplier=multiplier, weight_bits=7, rows=16), [0.1, 0.5, 0.9], [1, 2, 3, 4]
    ):
        assert min(bits.absolute, *bits.delta.values()) > bits.bound
