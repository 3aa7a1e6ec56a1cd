"""Weight scales of the linear code, one for each output channel: from the largest weight, or with the least squared
error.

The result is a graph whose layers have grids, which the quantizer uses as they are. A weight of exactly 0 stays 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightGrid
from skipstone.models.graph.layers import Conv
from skipstone.models.ptq.chosen import Bits, bits_of, chosen_layers

WeightRange = Literal["max", "mse"]

_CANDIDATES = np.linspace(1.0, 0.02, 99)
"""Shares of the largest magnitude that the search for the least error begins with."""
_REFINEMENTS = 10


def with_weight_range(
    graph: Graph,
    bits: Bits,
    weight_range: WeightRange = "max",
    layers: Iterable[str] | None = None,
) -> Graph:
    """Rounds the weights of layers to the nearest step of the linear code's grid.

    Args:
        graph: The float graph.
        bits: Bits of weights, 2 to 16, for all layers or by the layer's name.
        weight_range: How scales are chosen (:func:`weight_scales`).
        layers: Names of the layers; None for all that have weights and no grid yet.

    Raises:
        SkipstoneError: Bits are out of range, a layer has no weights, or ``bits`` does not name it.
    """
    chosen = chosen_layers(graph, layers)
    return graph.with_grids(
        {layer.name: nearest_grid(layer, bits_of(layer.name, bits), weight_range) for layer in chosen}
    )


def nearest_grid(layer: Conv, bits: int, weight_range: WeightRange = "max") -> WeightGrid:
    """The nearest step of the linear code for each weight, at the scales of ``weight_range``."""
    scale = weight_scales(layer.weights, bits, weight_range)
    limit = (1 << (bits - 1)) - 1
    steps = layer.weights.astype(np.float64) / scale.reshape(-1, 1, 1, 1)
    integers = np.clip(np.rint(steps), -limit, limit).astype(np.int64)
    return WeightGrid(integers=integers, scale=scale, code="linear", bits=bits)


def weight_scales(weights: NDArray[np.float32], bits: int, weight_range: WeightRange = "max") -> NDArray[np.float64]:
    """The scale of each output channel, for integers from ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1``.

    - ``max``: the largest magnitude of a channel is the largest integer.
    - ``mse``: the least sum of ``(w - s * q)**2``, found from 99 shares of that scale; the best then follows its own
      least-squares fit ``s = <w, q> / <q, q>`` while that gains.

    A channel without weights has the median of the others' scales, for its bias (1 where there are none).

    Args:
        weights: K x C x kh x kw.
        bits: Bits of the integers.
        weight_range: ``max`` or ``mse``.

    Returns:
        The scales as float32 values, K.
    """
    if weight_range not in get_args(WeightRange):
        raise SkipstoneError(f"no weight range '{weight_range}'; the ranges are {', '.join(get_args(WeightRange))}")
    limit = (1 << (bits - 1)) - 1
    real = weights.astype(np.float64).reshape(len(weights), -1)
    top = np.abs(real).max(axis=1) / limit
    used = top > 0
    if not used.any():
        return np.ones(len(weights))
    scale = np.where(used, top, 1.0)
    if weight_range == "mse":
        scale = _least_squares(real, scale, limit)
    scale = np.where(used, scale, np.median(scale[used]))
    return np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny).astype(np.float64)


def _least_squares(real: NDArray[np.float64], top: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    def steps(scale: NDArray[np.float64]) -> NDArray[np.float64]:
        rounded: NDArray[np.float64] = np.clip(np.rint(real / scale[:, None]), -limit, limit)
        return rounded

    def error(scale: NDArray[np.float64]) -> NDArray[np.float64]:
        squared: NDArray[np.float64] = np.square(real - scale[:, None] * steps(scale)).sum(axis=1)
        return squared

    best, least = top, error(top)
    candidates = [top * share for share in _CANDIDATES[1:]]
    for candidate in candidates:
        now = error(candidate)
        best, least = np.where(now < least, candidate, best), np.minimum(now, least)
    for _ in range(_REFINEMENTS):
        q = steps(best)
        power = np.square(q).sum(axis=1)
        fitted = np.where(power > 0, (real * q).sum(axis=1) / np.maximum(power, 1), best)
        fitted = np.where(fitted > 0, fitted, best)
        now = error(fitted)
        best, least = np.where(now < least, fitted, best), np.minimum(now, least)
    return best
