"""Real weights as integers of a code, with one scale per output channel: the values of each code, and how they are
chosen.

The quantizer calls :func:`code_weights` for every layer with trained weights. A weight that is exactly 0 (pruned) stays
0 in every code.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.grids import WeightCode

MAX_EXPONENT = 14
"""The largest power of two that a weight may be."""
ADDITIVE_BITS = (3, 5, 7)
"""Widths of additive powers of two: a sign and one to three terms of 2 bits."""
_TERNARY_THRESHOLD = 0.7
"""Times the mean magnitude: Li, Zhang, Liu, "Ternary Weight Networks", 2016."""
_LEVEL_CANDIDATES = 2.0 ** (np.arange(-8, 3) / 4)
"""Scales tried for powers of two and their sums, in units of the one that makes the largest weight the largest level."""
_ITERATIONS = 30

Real = NDArray[np.float64]
Integers = NDArray[np.int64]


def value_bits(code: WeightCode, bits: int) -> int:
    """Bits of the signed integers that weights of ``code`` stand for.

    Raises:
        SkipstoneError: The code cannot have so many bits.
    """
    if code in ("power_of_two", "additive_power_of_two"):
        return int(weight_levels(code, bits)[-1]).bit_length() + 1
    return 2 if code in ("ternary", "binary") else bits


def weight_levels(code: WeightCode, bits: int) -> Real:
    """The magnitudes of a code whose levels are fixed, integers from 0 upward.

    - ``power_of_two``: 0 and ``2**e``, e from 0 to ``min(2**(bits-1) - 1, 14)``.
    - ``additive_power_of_two``: sums of ``n = (bits - 1) / 2`` terms; term i is 0 or ``2**-(i + j*n)`` with j of 0, 1,
      2, in units of the smallest, ``2**-(3*n - 1)`` (Li, Dong, Wang, "Additive Powers-of-Two Quantization", 2020, with
      terms of 2 bits). All of the ``4**n`` sums differ.

    Raises:
        SkipstoneError: It is another code, or the code cannot have so many bits.
    """
    if code == "power_of_two":
        return np.array([0.0, *(2.0**e for e in range(min((1 << (bits - 1)) - 1, MAX_EXPONENT) + 1))])
    if code != "additive_power_of_two":
        raise SkipstoneError(f"weight code '{code}' has no fixed levels; power_of_two and additive_power_of_two have")
    check_bits(code, bits)
    n = (bits - 1) // 2
    terms = [(0.0, *(2.0 ** (3 * n - 1 - i - j * n) for j in range(3))) for i in range(n)]
    return np.array(sorted(sum(chosen) for chosen in itertools.product(*terms)))


def code_weights(
    weights: NDArray[np.float32], bits: int, code: WeightCode, codebook_entries: int, lowest: Real, empty: Real
) -> tuple[Integers, Real]:
    """Rounds weights to integers of a code, with a scale for each output channel: ``weights ~ integers * scale``.

    - ``linear``: the largest magnitude of a channel becomes ``2**(bits-1) - 1``.
    - ``power_of_two``: zero or ``+-2**e``, e from 0 to ``min(2**(bits-1) - 1, 14)``; of a few scales for each channel
      the one with the smallest squared error.
    - ``additive_power_of_two``: plus or minus a sum of powers of two (:func:`weight_levels`), with the scale chosen
      likewise.
    - ``ternary``: magnitudes up to 0.7 of the channel's mean become 0 and the others +-1, times their mean (Li et al.,
      2016); the means are over the weights that are not pruned.
    - ``binary``: the sign, times the mean magnitude of the weights that are not pruned (XNOR-Net, Rastegari et al.,
      2016).
    - ``codebook``: zero or one of ``codebook_entries`` integers of ``bits`` that the layer shares, by k-means.

    Args:
        weights: K x C/groups x kh x kw.
        bits: Bits of the integers.
        code: The code.
        codebook_entries: Nonzero values of the codebook, for ``codebook``.
        lowest: For each channel the least scale, which rounds its weights as coarsely as its bias needs.
        empty: For each channel the scale if it has no nonzero weights.

    Returns:
        The integers, and the scale of each channel as a float32 value.
    """
    real = weights.astype(np.float64)
    flat = np.abs(real).reshape(len(real), -1)
    match code:
        case "linear" | "codebook":
            exact_scale = flat.max(axis=1) / ((1 << (bits - 1)) - 1)
        case "power_of_two" | "additive_power_of_two":
            exact_scale = _level_scales(flat, weight_levels(code, bits))
        case "ternary":
            exact_scale = _mean(flat, _above_threshold(flat))
        case "binary":
            exact_scale = _mean(flat, flat > 0)
    raised = np.maximum(np.where(flat.max(axis=1) > 0, exact_scale, empty), lowest)
    scale = np.maximum(raised.astype(np.float32), np.finfo(np.float32).tiny).astype(np.float64)
    steps = real / scale.reshape(-1, 1, 1, 1)
    # A channel whose scale its bias raised has weights too small for the rules of these two codes.
    exact = (raised == exact_scale).reshape(-1, 1, 1, 1)
    match code:
        case "linear":
            return _rounded(steps, (1 << (bits - 1)) - 1), scale
        case "power_of_two" | "additive_power_of_two":
            return _nearest_level(steps, weight_levels(code, bits)).astype(np.int64), scale
        case "ternary":
            signs = np.sign(real) * _above_threshold(flat).reshape(real.shape)
            return np.where(exact, signs, _rounded(steps, 1)).astype(np.int64), scale
        case "binary":
            return np.where(exact, np.sign(real), _rounded(steps, 1)).astype(np.int64), scale
        case "codebook":
            return _from_codebook(steps, (1 << (bits - 1)) - 1, codebook_entries), scale


def check_bits(code: str, bits: int) -> None:
    """Refuses weight bits that ``code`` cannot have."""
    if code == "additive_power_of_two" and bits not in ADDITIVE_BITS:
        raise SkipstoneError(
            f"weight_bits must be 3, 5 or 7 with weight code additive_power_of_two (a sign and terms of 2 bits), not {bits}",
            parameter="weight_bits",
        )


def _rounded(steps: Real, limit: int) -> Integers:
    rounded = np.rint(steps)
    result: Integers = np.clip(rounded, -limit, limit, out=rounded).astype(np.int64)
    return result


def _above_threshold(flat: Real) -> NDArray[np.bool_]:
    """Which magnitudes a ternary code does not round to zero."""
    above: NDArray[np.bool_] = flat > _TERNARY_THRESHOLD * _mean(flat, flat > 0)[:, None]
    return above


def _mean(flat: Real, chosen: NDArray[np.bool_]) -> Real:
    """The mean of the chosen magnitudes of each row; 0 where there are none."""
    mean: Real = (flat * chosen).sum(axis=1) / np.maximum(chosen.sum(axis=1), 1)
    return mean


def _level_scales(flat: Real, levels: Real) -> Real:
    """For each row the candidate whose nearest levels have the smallest squared error; the smallest of equal ones."""
    top = flat.max(axis=1) / levels[-1]
    errors = []
    for factor in _LEVEL_CANDIDATES:
        scale = np.where(top > 0, top * factor, 1.0)[:, None]
        errors.append(np.square(flat - scale * _nearest_level(flat / scale, levels)).sum(axis=1))
    scales: Real = top * _LEVEL_CANDIDATES[np.argmin(errors, axis=0)]
    return scales


def _nearest_level(steps: Real, levels: Real) -> Real:
    """The nearest of ``levels``, of two the larger, with the sign of ``steps``."""
    bounds = (levels[1:] + levels[:-1]) / 2
    nearest: Real = np.sign(steps) * levels[np.searchsorted(bounds, np.abs(steps), side="right")]
    return nearest


def _from_codebook(steps: Real, limit: int, entries: int) -> Integers:
    """The nearest of 0 and the codebook for every step. k-means makes the codebook, starting from evenly spaced
    quantiles."""
    used = steps[steps != 0]
    if not used.size:
        return np.zeros(steps.shape, np.int64)
    from scipy.cluster.vq import kmeans2

    start = np.unique(np.quantile(used, (np.arange(entries) + 0.5) / entries))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a centre without weights stays where it was
        centres = kmeans2(used[:, None], start[:, None], iter=_ITERATIONS, minit="matrix")[0].ravel()
    # A centre near 0 is a value all the same: zero costs no entry.
    near = np.where(np.abs(centres) < 1, np.where(centres < 0, -1, 1), centres)
    book = np.unique([0, *_rounded(near, limit).tolist()])
    bounds = (book[1:] + book[:-1]) / 2
    nearest: Integers = book[np.searchsorted(bounds, steps)].astype(np.int64)
    return nearest
