"""Ranges of one tensor from its values: the criteria of calibration beside the plain minimum and maximum.

Each returns (low, high), the range of the quantizer's steps. Values outside are clipped. With ``symmetric``, which is
for quantizers with the zero point 0, ``low == -high``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.quantization.scales import activation_scale

Limits = tuple[float, float]
Values = NDArray[np.floating]

METHODS = "minmax, percentile:P (as percentile:99.99), mse, entropy"
ENTROPY_BINS = 2048
MOST_ENTROPY_BITS = 10
"""More bits leave the histogram with fewer than two bins for each level of a tensor without negative values."""
_SMOOTHING = 1e-4
_SHRINK = tuple(2.0 ** (-step / 16) for step in range(97))
"""Shares of a bound that the first search tries, down to 1/64."""
_NEAR = tuple(2.0 ** (step / 128) for step in range(-8, 9))
"""Factors of a bound that the second search tries."""
_ROUNDS = 4


def parse_method(method: str) -> tuple[str, float]:
    """The calibration method's name, and its percentile (100 for the others).

    Raises:
        SkipstoneError: No such method, or a percentile outside 50 to 100.
    """
    name, separator, value = method.partition(":")
    if method in ("minmax", "mse", "entropy"):
        return method, 100.0
    if name != "percentile" or not separator:
        raise SkipstoneError(
            f"no calibration method '{method}'; the methods are {METHODS}", parameter="calibration_method"
        )
    try:
        percentile = float(value)
    except ValueError:
        percentile = np.nan
    if not 50 < percentile <= 100:
        raise SkipstoneError(
            f"calibration '{method}': the percentile must be above 50 and at most 100, not {value}",
            parameter="calibration_method",
        )
    return name, percentile


def symmetric_limits(low: float, high: float) -> Limits:
    """The smallest symmetric range that contains ``low`` to ``high``."""
    most = max(abs(low), abs(high))
    return (-most, most)


def percentile_limits(values: Values, percentile: float, symmetric: bool = False) -> Limits:
    """The range without the outer ``100 - percentile`` percent of values, half at each end; symmetric: of magnitudes."""
    if symmetric:
        most = float(np.percentile(np.abs(values).astype(np.float64), percentile))
        return (-most, most)
    outer = (100 - percentile) / 2
    low, high = np.percentile(values.astype(np.float64), (outer, 100 - outer))
    return (float(low), float(high))


def mse_limits(values: Values, low: float, high: float, bits: int, symmetric: bool = False) -> Limits:
    """The range whose affine grid of ``bits`` has the least squared error on ``values``.

    The error is that of the quantizer's own scale and zero point, clipping included, and exact. Both bounds shrink
    together first, then each by itself until neither gains (at most four rounds), in steps of a sixteenth of an octave
    and then of 1/128. Of equal errors, the first range stays.

    Args:
        values: The tensor's values.
        low: The lowest bound that is tried.
        high: The highest bound that is tried.
        bits: Bits of the grid.
        symmetric: The range is ``-high`` to ``high``.
    """
    error = _Error(values, bits, symmetric)
    low, high = symmetric_limits(low, high) if symmetric else (min(low, 0.0), max(high, 0.0))
    best = (low, high)

    def least(candidates: list[Limits]) -> Limits:
        return min(
            [best, *((max(left, low), min(right, high)) for left, right in candidates)], key=lambda it: error(*it)
        )

    for factors in (_SHRINK, _NEAR):
        best = least([(best[0] * factor, best[1] * factor) for factor in factors])
        for _ in range(0 if symmetric else _ROUNDS):
            before = best
            # Far off, a bound is searched from its own end: shrinking both may have gone too far for one.
            end = high if factors is _SHRINK else best[1]
            best = least([(best[0], end * factor) for factor in factors])
            end = low if factors is _SHRINK else best[0]
            best = least([(end * factor, best[1]) for factor in factors])
            if best == before:
                break
    return best


def entropy_limits(values: Values, low: float, high: float, bits: int, symmetric: bool = False) -> Limits:
    """The clipping threshold with the least Kullback-Leibler divergence (Migacz, "8-bit Inference with TensorRT",
    2017).

    The histogram is of the magnitudes of ``values``, in 2,048 equal bins from 0 to the larger magnitude of ``low`` and
    ``high``; exact zeros are left out, as every grid has them. For each threshold of i bins, P is the first i bins, and
    its last bin also counts all beyond. Q is the same without what lies beyond, merged into as many levels as the grid
    has on a side and spread evenly over the bins of each level in which P has values. Empty bins of both are smoothed
    by 1e-4. The least divergence wins; of equal ones the smaller threshold. A value that many elements share (what a
    convolution makes of a black background) draws the threshold down to it, which can cost more than clipping gains.

    A tensor with values of both signs has ``2**(bits - 1)`` levels on a side, and the threshold bounds both sides. A
    tensor without negative (or positive) values has all ``2**bits`` on its side, unless ``symmetric``.

    Args:
        values: The tensor's values.
        low: The least value.
        high: The greatest value.
        bits: Bits of the grid.
        symmetric: The range is ``-high`` to ``high``.

    Raises:
        SkipstoneError: ``bits`` is above 10, for which the histogram is too coarse.
    """
    if bits > MOST_ENTROPY_BITS:
        raise SkipstoneError(
            f"entropy calibration takes activations of up to {MOST_ENTROPY_BITS} bits, not {bits}; "
            "take mse or percentile"
        )
    most = max(abs(low), abs(high))
    sizes = np.abs(values[values != 0]).astype(np.float64)
    if not sizes.size:
        return symmetric_limits(low, high) if symmetric else (low, high)
    one_sided = not symmetric and (low >= 0 or high <= 0)
    histogram, edges = np.histogram(sizes, ENTROPY_BINS, (0.0, most))
    threshold = float(edges[entropy_threshold(histogram, 1 << (bits if one_sided else bits - 1))])
    return (-threshold, threshold) if symmetric else (max(low, -threshold), min(high, threshold))


def entropy_threshold(histogram: NDArray[np.int64], levels: int) -> int:
    """How many of the bins of ``histogram`` (of magnitudes) to keep, from ``levels`` to all of them."""
    counts = histogram.astype(np.float64)
    total = float(counts.sum())
    cumulative = np.cumsum(counts)
    least, best = np.inf, len(counts)
    for bins in range(min(levels, len(counts)), len(counts) + 1):
        if not cumulative[bins - 1]:
            continue
        part = counts[:bins]
        reference = part.copy()
        reference[-1] += total - cumulative[bins - 1]
        used = reference > 0
        # Bins of one level lie together, so sums of levels are sums of runs.
        level = np.arange(bins) * levels // bins
        merged = np.bincount(level, part, levels)
        spread = np.bincount(level, used, levels)
        each = merged / np.maximum(spread, 1)
        candidate = np.where(used, each[level], 0)
        divergence = _divergence(_smoothed(reference), _smoothed(candidate))
        if divergence < least:
            least, best = divergence, bins
    return best


def _smoothed(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """A distribution with the sum 1 and without zeros, which take a little from the other bins."""
    zeros = counts == 0
    empty = int(zeros.sum())
    taken = _SMOOTHING * empty / (len(counts) - empty)
    raised = np.where(zeros, _SMOOTHING, np.maximum(counts - taken, _SMOOTHING))
    smoothed: NDArray[np.float64] = raised / raised.sum()
    return smoothed


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    return float(np.sum(p * np.log(p / q)))


class _Error:
    """Mean squared error of values on affine grids, by sums over the values nearest to each step."""

    def __init__(self, values: Values, bits: int, symmetric: bool) -> None:
        self._values = np.sort(values.astype(np.float64), axis=None)
        self._sums = np.concatenate([[0.0], np.cumsum(self._values)])
        self._squares = np.concatenate([[0.0], np.cumsum(np.square(self._values))])
        self._bits = bits
        self._symmetric = symmetric

    def __call__(self, low: float, high: float) -> float:
        scale, zero_point = activation_scale(low, high, self._bits, self._symmetric)
        steps = np.arange(1 << self._bits) - (1 << (self._bits - 1)) - zero_point
        ends = np.searchsorted(self._values, (steps[:-1] + 0.5) * scale)
        ends = np.concatenate([[0], ends, [len(self._values)]])
        real = steps * scale
        counts, sums, squares = np.diff(ends), np.diff(self._sums[ends]), np.diff(self._squares[ends])
        return float((squares - 2 * real * sums + np.square(real) * counts).sum()) / len(self._values)
