"""Optimal Brain Surgeon against all supports of a tiny row, and against its own definition solved again for each step."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.models.pruning.solvers import admm, greedy_obs, refit
from skipstone.models.pruning.statistics import Real


def problem(rows: int, size: int, groups: int, seed: int) -> tuple[Real, Real]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, size, 3 * size)) @ np.diag(rng.uniform(0.1, 2, 3 * size))
    return rng.normal(size=(rows * groups, size)), x @ x.swapaxes(1, 2) / x.shape[2] + 0.01 * np.eye(size)


def loss(target: Real, hessian: Real, weights: Real) -> float:
    return float((weights - target) @ hessian @ (weights - target))


def best(target: Real, hessian: Real, remaining: list[int]) -> Real:
    """The least squares on a support, computed differently: a Cholesky factor is the matrix of a linear regression."""
    root = np.linalg.cholesky(hessian).T
    result = np.zeros(len(target))
    result[remaining] = np.linalg.lstsq(root[:, remaining], root @ target, rcond=None)[0]
    return result


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(2, 6), st.integers(1, 2), st.integers(0, 99), st.data())
def test_each_step_takes_the_weight_that_costs_least(
    rows: int, size: int, groups: int, seed: int, data: st.DataObject
) -> None:
    target, hessians = problem(rows, size, groups, seed)
    count = data.draw(st.integers(0, target.size))
    keep = np.ones(target.shape, bool)
    for _ in range(count):
        costs = {}
        for row, column in zip(*np.nonzero(keep), strict=True):
            hessian = hessians[row // rows]
            remaining = np.flatnonzero(keep[row])
            before = loss(target[row], hessian, best(target[row], hessian, list(remaining)))
            after = loss(target[row], hessian, best(target[row], hessian, [k for k in remaining if k != column]))
            costs[row, column] = after - before
        keep[min(costs, key=costs.__getitem__)] = False
    none = np.zeros(target.shape, bool)
    got = greedy_obs(target, hessians, none, np.zeros(target.shape, np.int64), np.array([count]))
    np.testing.assert_array_equal(got, keep)
    weights = refit(target, hessians, got)
    for row in range(len(target)):
        expected = best(target[row], hessians[row // rows], list(np.flatnonzero(keep[row])))
        np.testing.assert_allclose(weights[row], expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_one_removal_is_the_best_of_all_and_four_are_near(seed: int) -> None:
    target, hessians = problem(1, 8, 1, seed)
    none, where = np.zeros((1, 8), bool), np.zeros((1, 8), np.int64)
    for count, factor in ((1, 1 + 1e-9), (4, 1.5)):
        every = [
            loss(target[0], hessians[0], best(target[0], hessians[0], list(k)))
            for k in combinations(range(8), 8 - count)
        ]
        for choose, allowed in ((greedy_obs, factor), (admm, 3.0)):
            keep = choose(target, hessians, none, where, np.array([count]))
            assert keep.sum() == 8 - count
            got = loss(target[0], hessians[0], refit(target, hessians, keep)[0])
            assert min(every) * (1 - 1e-9) <= got <= min(every) * allowed


@pytest.mark.parametrize("choose", [greedy_obs, admm])
def test_zeros_stay_and_count(choose: object) -> None:
    target, hessians = problem(3, 6, 2, 0)
    zeros = np.zeros(target.shape, bool)
    zeros[1] = True
    zeros[2, :4] = True
    where = np.zeros(target.shape, np.int64)
    for count, expected in ((20, 20), (3, 10)):
        keep = choose(target, hessians, zeros, where, np.array([count]))  # type: ignore[operator]
        assert (~keep).sum() == expected
        assert not keep[zeros].any()


@pytest.mark.parametrize("choose", [greedy_obs, admm])
def test_contests_within_rows(choose: object) -> None:
    target, hessians = problem(4, 6, 1, 3)
    cells = np.arange(24).reshape(4, 6) // 3
    keep = choose(target, hessians, np.zeros((4, 6), bool), cells, np.full(8, 2))  # type: ignore[operator]
    assert (np.bincount(cells[keep], minlength=8) == 1).all()


def test_uncorrelated_inputs_make_it_magnitude_times_input() -> None:
    """With a diagonal H nothing compensates for a pruned weight: the loss is H_pp w_p^2, Wanda's score squared."""
    rng = np.random.default_rng(4)
    target, diagonal = rng.normal(size=(5, 7)), rng.uniform(0.1, 3, 7)
    none, where = np.zeros((5, 7), bool), np.zeros((5, 7), np.int64)
    expected = np.ones(35, bool)
    expected[np.argsort(np.square(target) * diagonal, axis=None)[:17]] = False
    keep = greedy_obs(target, np.diag(diagonal)[None], none, where, np.array([17]))
    np.testing.assert_array_equal(keep.ravel(), expected)
    np.testing.assert_allclose(refit(target, np.diag(diagonal)[None], keep), target * keep)
