"""Fits recover the coefficients behind the samples, never find negative energies, and report their errors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.characterize.fit import ACTIONS, STATIC, fit_actions, fit_quantity, nonnegative
from skipstone.hw.design import load_design
from skipstone.mapper.technology.logic_cells import FEATURES


@settings(max_examples=25)
@given(st.lists(st.floats(0.1, 50), min_size=3, max_size=3), st.integers(0, 1000))
def test_exact_samples_give_their_coefficients(truth: list[float], seed: int) -> None:
    import numpy as np

    rows = np.random.default_rng(seed).uniform(1, 10, (8, 3))
    fit = nonnegative(("a", "b", "c"), rows.tolist(), (rows @ truth).tolist())
    assert [fit.coefficients[name] for name in "abc"] == pytest.approx(truth, rel=1e-3)
    assert fit.largest_error < 1e-4


def test_coefficients_are_never_negative() -> None:
    fit = nonnegative(("one", "x"), [[1, 1], [1, 2], [1, 3]], [3, 2, 1])
    assert all(value >= 0 for value in fit.coefficients.values())
    assert fit.largest_error > 0.1


def test_errors_are_relative() -> None:
    fit = nonnegative(("one",), [[1], [1]], [1, 3])
    # The least sum of (c / 1 - 1)^2 and (c / 3 - 1)^2 is at c = 1.2.
    assert fit.coefficients["one"] == pytest.approx(1.2)
    assert fit.errors == pytest.approx((0.2, -0.6))


def test_equal_designs_count_once() -> None:
    tiny = load_design("tiny")
    other = tiny.replace(weight_entries=64, name="other")
    fit = fit_quantity(("one", "descriptor_bits"), [(tiny, 5.0), (other, 5.0), (tiny, 5.0)])
    assert len(fit.errors) == 1


def test_actions_are_told_apart_by_their_counts() -> None:
    tiny = load_design("tiny")
    bits = FEATURES["column_bits"](tiny)
    counts = [{"weight_reads": a, "exposed_entries": 0, "activation_writes": b} for a, b in ((5, 1), (1, 5), (3, 3))]
    samples = [(tiny, count, 2.0 * count["weight_reads"] + 0.5 * bits * count["activation_writes"]) for count in counts]
    actions, fit = fit_actions("row", samples)
    entry = sum(value * FEATURES[name](tiny) for name, value in actions["entry"].items())
    step = sum(value * FEATURES[name](tiny) for name, value in actions["step"].items())
    assert (entry, step) == (pytest.approx(2.0, rel=1e-3), pytest.approx(0.5 * bits, rel=1e-3))
    assert fit.largest_error < 1e-4


def test_every_feature_that_a_fit_names_exists() -> None:
    named = {name for part in STATIC.values() for features in part.values() for name in features}
    named |= {name for part in ACTIONS.values() for _, features in part.values() for name in features}
    assert named <= FEATURES.keys()
