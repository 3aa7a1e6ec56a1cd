"""The groups of each granularity against loops over the weights' indices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.structures import (
    GRANULARITIES,
    Granularity,
    contests,
    covers_filters,
    described,
    group_ids,
    lowest,
)
from tests.models.pruning.shapes import layers

Index = tuple[int, int, int, int]
BLOCK = (2, 3)


def key(layer: Conv, granularity: Granularity) -> Callable[[Index], tuple[int, ...]]:
    """What the weights of one group have in common, by definition."""
    size = len(layer.weights) // layer.groups
    return {
        "weight": lambda w: w,
        "nm": lambda w: w,
        "block": lambda w: (w[0] // size, w[0] % size // BLOCK[0], w[1] // BLOCK[1], w[2], w[3]),
        "kernel": lambda w: (w[0], w[1]),
        "stripe": lambda w: (w[0], w[2], w[3]),
        "shape": lambda w: (w[0] // size, w[1], w[2], w[3]),
        "input_channel": lambda w: (w[0] // size, w[1]),
        "filter": lambda w: (w[0],),
    }[granularity]


@pytest.mark.parametrize("granularity", GRANULARITIES)
@settings(max_examples=20)
@given(layer=layers())
def test_groups_are_what_the_definition_says_in_order_of_their_first_weight(
    layer: Conv, granularity: Granularity
) -> None:
    ids = group_ids(layer.weights.shape, granularity, layer.groups, BLOCK)
    numbers: dict[tuple[int, ...], int] = {}
    for index in np.ndindex(layer.weights.shape):
        expected = numbers.setdefault(key(layer, granularity)(index), len(numbers))  # type: ignore[arg-type]
        assert ids[index] == expected


@settings(max_examples=30)
@given(layers(), st.integers(1, 5))
def test_contests_of_n_of_m_are_runs_of_input_channels(layer: Conv, m: int) -> None:
    shape = layer.weights.shape
    where = contests(shape, "nm", group_ids(shape, "nm"), m).reshape(shape)
    for number in np.unique(where):
        k, c, i, j = np.nonzero(where == number)
        assert len(set(k)) == len(set(i)) == len(set(j)) == 1
        assert c.tolist() == list(range(c[0], min(c[0] + m, shape[1])))
        assert c[0] % m == 0


def test_contests_by_output() -> None:
    shape = (3, 2, 2, 1)
    ids = group_ids(shape, "kernel")
    assert contests(shape, "kernel", ids, by_output=True).tolist() == [0, 0, 1, 1, 2, 2]
    assert contests(shape, "kernel", ids).tolist() == [0] * 6
    with pytest.raises(SkipstoneError, match="groups of several output channels"):
        contests(shape, "shape", group_ids(shape, "shape"), by_output=True)


@pytest.mark.parametrize(
    ("shape", "granularity", "expected"),
    [
        ((4, 3, 1, 1), "kernel", "single weights"),
        ((4, 3, 1, 1), "stripe", "whole filters"),
        ((4, 3, 1, 1), "shape", "whole input channels"),
        ((4, 1, 3, 3), "kernel", "whole filters"),
        ((4, 1, 3, 3), "stripe", "single weights"),
        ((4, 1, 3, 3), "input_channel", "the whole layer"),
        ((4, 3, 3, 3), "kernel", None),
        ((4, 3, 3, 3), "filter", None),
        ((4, 3, 1, 1), "weight", None),
    ],
)
def test_equal_granularities_are_described(shape: Index, granularity: Granularity, expected: str | None) -> None:
    ids = group_ids(shape, granularity)
    assert described(shape, granularity, ids) == expected
    assert covers_filters(ids) == (expected in ("whole filters", "the whole layer") or granularity == "filter")


def test_lowest_breaks_ties_early_and_leaves_infinity() -> None:
    scores = np.array([1.0, 0.0, 1.0, np.inf, 0.0, 1.0])
    assert lowest(scores, np.zeros(6, np.int64), np.array([3])).tolist() == [True, True, False, False, True, False]
    assert lowest(scores, np.array([0, 0, 1, 1, 1, 1]), np.array([1, 4])).tolist() == [
        False,
        True,
        True,
        False,
        True,
        True,
    ]


def test_errors() -> None:
    with pytest.raises(SkipstoneError, match="5 output channels are not divisible into 2 groups"):
        group_ids((5, 1, 1, 1), "filter", 2)
    with pytest.raises(SkipstoneError, match="at least 1x1 channels, not 0x2"):
        group_ids((5, 1, 1, 1), "block", block=(0, 2))
