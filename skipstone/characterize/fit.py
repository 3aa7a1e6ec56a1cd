"""Fits measurements to features of the design: nonnegative least squares of relative errors.

What is fitted is linear in coefficients that cannot be negative: no feature takes area or energy away. Errors that are left are
part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skipstone.hw.design import Design
from skipstone.mapper.technology.logic_cells import FEATURES

PRODUCT = ("partial_products", "product_adder_bits", "product_multiplexer_bits")
STATIC: dict[str, dict[str, tuple[str, ...]]] = {
    "pe": {
        "area_um2": (
            "one",
            "partial_products",
            "product_adder_bits",
            "product_multiplexer_bits",
            "product_bits",
            "accumulator_bits",
            "activation_bits",
            "lane_bits",
        ),
        "clock_pj": ("one", "activation_bits", "product_bits"),
        "min_period_ns": ("one", "product_bits", "product_multiplexer_bits", "accumulator_bits", "lane_levels"),
    },
    "row": {
        "area_um2": ("one", "row_state_bits", "touched_bits", "column_bits", "value_bits", "delta_bits"),
        "clock_pj": ("one", "row_state_bits", "touched_bits", "delta_bits"),
        "min_period_ns": ("one", "column_levels", "row_levels"),
    },
    "loader": {
        "area_um2": ("one", "capture_bits", "tap_bits", "word_bits", "position_bits"),
        "clock_pj": ("one", "capture_bits", "word_bits", "position_bits"),
        "min_period_ns": ("one", "row_levels"),
    },
    "drain": {
        "area_um2": ("one", "walker_bits", "lane_value_bits", "row_choice_bits", "pixel_bits", "word_bits"),
        "clock_pj": ("one", "walker_bits", "lane_value_bits", "pixel_bits"),
        "min_period_ns": ("one", "column_levels", "row_levels"),
    },
    "requantizer": {
        "area_um2": ("one", "accumulator_bits", "activation_bits", "table_bits"),
        "clock_pj": ("one", "accumulator_bits", "activation_bits", "table_bits"),
        "min_period_ns": ("one", "accumulator_bits", "activation_bits"),
    },
    "controller": {
        "area_um2": ("one", "descriptor_bits"),
        "clock_pj": ("one", "descriptor_bits"),
        "min_period_ns": ("one",),
    },
}
"""Features of every quantity of one instance; leakage has those of area."""

ACTIONS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "pe": {
        "mac": ("macs", ("one", *PRODUCT)),
        "awake_mac": ("awake_macs", ("one", *PRODUCT, "accumulator_bits", "lane_bits")),
        "activation_bit": ("activation_bits", ("one", "operand_bits")),
    },
    "row": {
        "entry": ("weight_reads", ("one", "row_state_bits", "touched_bits")),
        "exposed_entry": ("exposed_entries", ("accumulator_bits",)),
        "step": ("activation_writes", ("one", "column_bits")),
    },
    "loader": {"word": ("load_list_reads", ("one", "capture_bits", "word_bits"))},
    "drain": {
        "step": ("activation_writes", ("one", "lane_value_bits")),
        "word": ("load_list_reads", ("one", "word_bits")),
        "exposed_entry": ("exposed_entries", ("accumulator_bits",)),
    },
    "requantizer": {
        "lane_step": ("requantizations", ("accumulator_bits", "activation_bits")),
        "exposed_entry": ("exposed_entries", ("accumulator_bits",)),
    },
    "controller": {},
}
"""Actions: the counter, and the features that its energy is fitted to. The drain and the requantizers follow the accumulator that
they would drain next while the rows still work on it, so that entries move them too."""


@dataclass(frozen=True)
class Fit:
    """``coefficients`` by feature; ``errors`` of each sample, as a share of what was measured."""

    coefficients: dict[str, float]
    errors: tuple[float, ...]

    @property
    def largest_error(self) -> float:
        """The largest absolute error, as a share of what was measured; 0 without samples."""
        return max((abs(error) for error in self.errors), default=0.0)

    @property
    def rms_error(self) -> float:
        """The root of the mean squared error, as a share of what was measured; 0 without samples."""
        return float(np.sqrt(np.mean(np.square(self.errors)))) if self.errors else 0.0


def nonnegative(columns: Sequence[str], rows: Sequence[Sequence[float]], measured: Sequence[float]) -> Fit:
    """Coefficients, none below zero, with the least sum of squared relative errors.

    Args:
        columns: A name for each coefficient.
        rows: For each sample the value of each column.
        measured: What each sample was measured as. Samples of 0 are left out.
    """
    from scipy.optimize import lsq_linear

    y = np.asarray(measured, float)
    a = np.asarray(rows, float).reshape(len(y), len(columns))
    keep = y > 0
    a, y = a[keep] / y[keep, None], np.ones(int(keep.sum()))
    if not len(y):
        return Fit({}, ())
    # Columns of one size: the solver's tolerance is absolute.
    size = np.where(np.abs(a).max(axis=0) > 0, np.abs(a).max(axis=0), 1.0)
    solved = lsq_linear(a / size, y, bounds=(0, np.inf), method="bvls", lsq_solver="exact", tol=1e-12).x
    solution = np.where(solved > 1e-9, solved, 0.0) / size
    errors = a @ solution - 1
    coefficients = {name: _rounded(value) for name, value in zip(columns, solution, strict=True) if value > 0}
    return Fit(coefficients, tuple(_rounded(error) for error in errors))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def fit_quantity(features: Sequence[str], samples: Sequence[tuple[Design, float]]) -> Fit:
    """Fits one quantity of one instance of a component over designs.

    Args:
        features: Keys of ``FEATURES``.
        samples: Designs and what was measured; equal samples count once.
    """
    rows = {(tuple(float(FEATURES[name](design)) for name in features), value) for design, value in samples}
    ordered = sorted(rows)
    return nonnegative(features, [row for row, _ in ordered], [value for _, value in ordered])


def fit_actions(
    component: str, samples: Sequence[tuple[Design, Mapping[str, int], float]]
) -> tuple[dict[str, dict[str, float]], Fit]:
    """Fits the energies of a component's actions.

    Args:
        component: A key of ``ACTIONS``.
        samples: Of each run the design, counts by counter, and energy (pJ).

    Returns:
        Coefficients (pJ) by action and feature, and the whole fit.
    """
    columns = [
        (action, counter, feature) for action, (counter, features) in ACTIONS[component].items() for feature in features
    ]
    rows = [
        [counts[counter] * float(FEATURES[feature](design)) for _, counter, feature in columns]
        for design, counts, _ in samples
    ]
    if not columns:
        return {}, Fit({}, ())
    fit = nonnegative([f"{action}/{feature}" for action, _, feature in columns], rows, [pj for _, _, pj in samples])
    coefficients: dict[str, dict[str, float]] = {action: {} for action in ACTIONS[component]}
    for name, value in fit.coefficients.items():
        action, _, feature = name.partition("/")
        coefficients[action][feature] = value
    return coefficients, fit
