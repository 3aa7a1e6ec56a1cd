"""Real weights as integers of a code, with one scale per output channel: what each code can say, and how it is chosen.

The quantizer calls :func:`code_weights` for every layer with trained weights. A weight that is exactly 0 (pruned) stays 0
in every code.
"""

from __future__ import annotations

import warnings
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import SkipstoneError
from models.quantized import WeightCode

MAX_EXPONENT = 14
"""The largest power of two that a weight may be."""
_TERNARY_THRESHOLD = 0.7
"""Times the mean magnitude: Li, Zhang, Liu, "Ternary Weight Networks", 2016."""
_POWER_CANDIDATES = 2.0 ** (np.arange(-8, 3) / 4)
"""Scales tried for powers of two, in units of the one that makes the largest weight the largest power."""
_ITERATIONS = 30

Real = NDArray[np.float64]
Integers = NDArray[np.int64]


def value_bits(code: WeightCode, bits: int) -> int:
    """Bits of the signed integers that weights of ``code`` stand for."""
    if code == "power_of_two":
        return min((1 << (bits - 1)) - 1, MAX_EXPONENT) + 2
    return 2 if code in ("ternary", "binary") else bits


def code_weights(
    weights: NDArray[np.float32], bits: int, code: WeightCode, codebook_entries: int, lowest: Real, empty: Real
) -> tuple[Integers, Real]:
    """Integers and a scale (a float32 value) for each output channel, ``weights ~ integers * scale``.

    - ``linear``: the largest magnitude of a channel becomes ``2**(bits-1) - 1``.
    - ``power_of_two``: zero or ``+-2**e``, e from 0 to ``min(2**(bits-1) - 1, 14)``; of a few scales for each channel the
      one with the smallest squared error.
    - ``ternary``: magnitudes up to 0.7 of the channel's mean become 0 and the others +-1, times their mean (Li et al.,
      2016); the means are over the weights that pruning left.
    - ``binary``: the sign, times the mean magnitude of what pruning left (XNOR-Net, Rastegari et al., 2016).
    - ``codebook``: zero or one of ``codebook_entries`` integers of ``bits`` that the layer shares, by k-means.

    A scale is at least ``lowest``, which rounds a channel's weights as coarsely as its bias needs; a channel without
    weights has the scale ``empty``.
    """
    real = weights.astype(np.float64)
    flat = np.abs(real).reshape(len(real), -1)
    match code:
        case "linear" | "codebook":
            wanted = flat.max(axis=1) / ((1 << (bits - 1)) - 1)
        case "power_of_two":
            wanted = _power_of_two_scales(flat, value_bits(code, bits) - 2)
        case "ternary":
            wanted = _mean(flat, _kept(flat))
        case "binary":
            wanted = _mean(flat, flat > 0)
    raised = np.maximum(np.where(flat.max(axis=1) > 0, wanted, empty), lowest)
    scale = np.maximum(raised.astype(np.float32), np.finfo(np.float32).tiny).astype(np.float64)
    steps = real / scale.reshape(-1, 1, 1, 1)
    # A channel whose scale its bias raised has weights too small for the rules of these two codes.
    own = (raised == wanted).reshape(-1, 1, 1, 1)
    match code:
        case "linear":
            return _rounded(steps, (1 << (bits - 1)) - 1), scale
        case "power_of_two":
            return _nearest_power(steps, value_bits(code, bits) - 2).astype(np.int64), scale
        case "ternary":
            kept = np.sign(real) * _kept(flat).reshape(real.shape)
            return np.where(own, kept, _rounded(steps, 1)).astype(np.int64), scale
        case "binary":
            return np.where(own, np.sign(real), _rounded(steps, 1)).astype(np.int64), scale
        case "codebook":
            return _from_codebook(steps, (1 << (bits - 1)) - 1, codebook_entries), scale


def check_code(code: str, codebook_entries: int) -> None:
    """Refuses a code that does not exist, and a codebook without entries."""
    codes = get_args(WeightCode)
    if code not in codes:
        raise SkipstoneError(f"no weight code '{code}'; the codes are {', '.join(codes)}")
    if code == "codebook" and codebook_entries < 1:
        raise SkipstoneError(f"codebook_entries must be at least 1, not {codebook_entries}")


def _rounded(steps: Real, limit: int) -> Integers:
    rounded: Integers = np.clip(np.rint(steps), -limit, limit).astype(np.int64)
    return rounded


def _kept(flat: Real) -> NDArray[np.bool_]:
    """Which magnitudes a ternary code keeps."""
    kept: NDArray[np.bool_] = flat > _TERNARY_THRESHOLD * _mean(flat, flat > 0)[:, None]
    return kept


def _mean(flat: Real, chosen: NDArray[np.bool_]) -> Real:
    """The mean of the chosen magnitudes of each row; 0 where there are none."""
    mean: Real = (flat * chosen).sum(axis=1) / np.maximum(chosen.sum(axis=1), 1)
    return mean


def _power_of_two_scales(flat: Real, largest_exponent: int) -> Real:
    top = flat.max(axis=1) / 2.0**largest_exponent
    errors = []
    for factor in _POWER_CANDIDATES:
        scale = np.where(top > 0, top * factor, 1.0)[:, None]
        errors.append(np.square(flat - scale * _nearest_power(flat / scale, largest_exponent)).sum(axis=1))
    scales: Real = top * _POWER_CANDIDATES[np.argmin(errors, axis=0)]
    return scales


def _nearest_power(steps: Real, largest_exponent: int) -> Real:
    """The nearest of 0 and the powers of two, with the sign of ``steps``."""
    size = np.abs(steps)
    exponent = np.clip(np.floor(np.log2(np.maximum(size, 0.5) / 0.75)), 0, largest_exponent)
    nearest: Real = np.where(size < 0.5, 0.0, np.sign(steps) * 2.0**exponent)
    return nearest


def _from_codebook(steps: Real, limit: int, entries: int) -> Integers:
    """Every step's nearest of 0 and the codebook, which k-means makes from evenly spaced quantiles on."""
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
