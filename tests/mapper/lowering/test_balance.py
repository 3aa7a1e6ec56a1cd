"""Channel assignments: each channel its own place, rows filled evenly, and balanced window by window."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.mapper.lowering.balance import assign_channels

DESIGNS = (
    Design("a", 4, 4, 36, 3, 4, 4, 4),
    Design("b", 3, 6, 20, 2, 2, 4, 2),
    Design("c", 2, 5, 32, 5, 3, 8, 8),
    Design("d", 5, 1, 7, 2, 1, 1, 1),
)


@settings(max_examples=100)
@given(st.sampled_from(DESIGNS), st.integers(1, 70), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_every_channel_has_a_place_of_its_own(design, channels, features, seed):
    load = np.random.default_rng(seed).integers(0, 30, (channels, features)).astype(float)
    got = assign_channels(design, load)
    places = set(zip(got.channel_pass.tolist(), got.row.tolist(), got.accumulator.tolist(), strict=True))
    assert len(places) == channels
    assert len(set(got.position.tolist())) == channels
    assert got.passes == -(-channels // (design.rows * design.accumulators))
    assert got.row.max() < design.rows
    assert got.accumulator.max() < design.accumulators
    assert got.position.max() < got.groups * design.load_width
    assert got.position.max() < got.passes * got.steps * design.requantizer_lanes


def test_rows_are_equal_where_that_is_possible():
    """Eight channels of work 1 to 8 on four rows of two: 8+1, 7+2, 6+3, 5+4."""
    load = np.arange(1, 9, dtype=float)[:, None]
    got = assign_channels(DESIGNS[0], load)
    assert [load[got.row == row].sum() for row in range(4)] == [9, 9, 9, 9]


def test_windows_are_balanced_and_not_only_totals():
    """Four channels that work in window 0 and four that work in window 1: every row gets one of each."""
    load = np.array([[6.0, 0.0]] * 4 + [[0.0, 6.0]] * 4)
    got = assign_channels(DESIGNS[0], load)
    for row in range(4):
        assert load[got.row == row].sum(axis=0).tolist() == [6.0, 6.0]


def test_order_key_keeps_groups_in_one_pass():
    """32 channels in 2 passes of 16: with a key, the pass follows the key and not the work."""
    load = np.random.default_rng(0).integers(1, 9, (32, 1)).astype(float)
    key = np.arange(32) // 4
    got = assign_channels(DESIGNS[0], load, key)
    assert got.channel_pass.tolist() == [0] * 16 + [1] * 16
