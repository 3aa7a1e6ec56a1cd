"""The one definition of requantization, on values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.models.graph.layers import output_size
from skipstone.models.quantization.network import requantize


def array_of(value: int) -> np.ndarray:
    return np.array([value], dtype=np.int64)


@pytest.mark.parametrize(
    ("accumulator", "expected"),
    # times 3/8: 4 -> 1.5 rounds up, -4 -> -1.5 rounds up to -1, 5 -> 1.875, 100 is clamped to 7, -100 to -8
    [(0, 0), (4, 2), (-4, -1), (5, 2), (-5, -2), (100, 7), (-100, -8)],
)
def test_rounds_halves_up_and_clamps(accumulator: int, expected: int) -> None:
    assert requantize(array_of(accumulator), array_of(0), array_of(3), array_of(3), 0, -8, 7)[0] == expected


def test_other_is_added_before_the_one_rounding() -> None:
    # 0.5 + 0.5 is 1: rounding each would give 2.
    assert requantize(array_of(1), array_of(0), array_of(1), array_of(1), 0, -8, 7, array_of(1), array_of(1))[0] == 1


def test_bias_and_zero_point() -> None:
    # (10 - 4) / 2 = 3, plus zero point -5.
    assert requantize(array_of(10), array_of(-4), array_of(1), array_of(1), -5, -8, 7)[0] == -2


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**16 - 1), st.integers(1, 47))
def test_is_floor_of_the_exact_quotient_plus_a_half(accumulator: int, multiplier: int, shift: int) -> None:
    wide = 1 << 60
    got = int(requantize(array_of(accumulator), array_of(0), array_of(multiplier), array_of(shift), 0, -wide, wide)[0])
    assert got == (2 * accumulator * multiplier + 2**shift) // 2 ** (shift + 1)


@given(
    st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)
)
def test_output_size_counts_kernel_positions(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int
) -> None:
    span = dilation * (kernel - 1)
    positions = [p for p in range(-before, size + after, stride) if p + span < size + after]
    assert max(0, output_size(size, kernel, stride, before, after, dilation)) == len(positions)
