"""Encoded sizes, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skipstone.models.quantization.encoded_size import encoded_bits, encoded_bytes, value_code_bits

SCALES = 2 * 32
"""Two output channels."""


def layer(*values: int) -> np.ndarray:
    return np.array(values, np.int64).reshape(2, -1, 1, 1)


@pytest.mark.parametrize(
    ("values", "code", "bits", "expected"),
    [
        ((1, 2, 3, 4), "linear", 8, 4 * 8),  # dense; as a bitmap 4 + 4 * 8
        ((1, 0, 3, 4), "linear", 8, 4 + 3 * 8),  # the bitmap is 28, dense 32
        ((1, 2, 3, 0), "linear", 2, 4 * 2),  # the bitmap is 10
        ((0, 0, 0, 0), "linear", 8, 4),  # nothing but the bitmap
        ((1, -1, 1, -1), "ternary", 2, 4),  # signs alone
        ((1, 0, 1, -1), "ternary", 2, 4 + 3),  # a bit whether zero, then signs; dense is 8
        ((0, 0, 0, 1), "ternary", 2, 4 + 1),
        ((1, -1, -1, 1), "binary", 2, 4),
        ((4, 0, 2, 8), "power_of_two", 4, 4 + 3 * 4),  # zero is one of the values, so dense is 16
        ((4, 1, 2, 8), "power_of_two", 4, 16),
        ((7, 7, -3, 7), "codebook", 8, 4 * 1 + 2 * 8),  # two values: a bit each, and the book
        ((7, 0, -3, 7), "codebook", 8, 4 + 3 * 1 + 2 * 8),  # dense is 8 + 16
        ((7, 7, 7, 7), "codebook", 8, 4 * 1 + 8),
    ],
)
def test_by_hand(values, code, bits, expected):
    assert encoded_bits(layer(*values), code, bits) == expected + SCALES


def test_whole_bytes_are_rounded_up():
    assert encoded_bytes(layer(1, -1, 1, -1), "binary", 2) == (4 + 64 + 7) // 8 == 9


@pytest.mark.parametrize(("entries", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (16, 4), (17, 5)])
def test_a_place_in_a_codebook(entries, bits):
    assert value_code_bits("codebook", 8, entries) == bits


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(-7, 7), min_size=1, max_size=60),
    st.sampled_from(["linear", "power_of_two", "ternary", "codebook"]),
)
def test_never_more_than_the_bitmap_and_less_with_a_zero_more(values, code):
    integers = np.sign(values) if code == "ternary" else np.array(values)
    column = integers.astype(np.int64).reshape(1, -1, 1, 1)
    each = value_code_bits(code, 4, len(np.unique(column[column != 0])))
    book = 4 * len(np.unique(column[column != 0])) if code == "codebook" else 0
    assert encoded_bits(column, code, 4) <= column.size + np.count_nonzero(column) * each + book + 32
    fewer = column.copy()
    fewer[0, 0] = 0
    if np.count_nonzero(column) < column.size:
        assert encoded_bits(fewer, code, 4) <= encoded_bits(column, code, 4)
