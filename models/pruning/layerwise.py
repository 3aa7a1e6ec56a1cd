"""Layer by layer: each layer is solved on calibration images, with its input as the layers before, already pruned, give it.

``second_order`` and ``reconstruction`` say what a layer becomes; the walk through the network is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.statistics import Moments, Real, input_moments

Solve = Callable[[Conv, "Problem"], NDArray[np.float64] | None]


class Problem:
    """Least squares of one layer: find weights w (K x D) so that w x matches ``old z`` on the inputs x that the layer sees.

    z is x moved towards the dense network's inputs by the share ``correction``.
    ``hessians`` (groups x D x D) are E[x x^T] with ``damping`` times its mean diagonal added; with ``bias_correction`` of
    x less its mean, since the bias then takes over the mean. ``target`` (K x D) is the best w without any zeros.
    """

    def __init__(self, layer: Conv, moments: Moments, damping: float, correction: float, bias_correction: bool) -> None:
        rows = len(layer.weights) // layer.groups
        old = layer.weights.reshape(layer.groups, rows, -1).astype(np.float64)
        second, cross = moments.second, moments.cross
        if bias_correction:
            second = second - moments.mean[:, :, None] * moments.mean[:, None]
            cross = cross - moments.reference_mean[:, :, None] * moments.mean[:, None]
        size = second.shape[1]
        strength = damping * np.trace(second, axis1=1, axis2=2) / size
        self.hessians: Real = second + np.where(strength > 0, strength, 1.0)[:, None, None] * np.eye(size)
        pull = correction * (old @ (cross - second))
        self.target: Real = (old + pull @ np.linalg.inv(self.hessians)).reshape(layer.groups * rows, size)
        mean = moments.mean + correction * (moments.reference_mean - moments.mean)
        self._target_output = (old @ mean[:, :, None]).ravel()
        self._mean = moments.mean
        self._bias_correction = bias_correction

    def bias(self, layer: Conv, weights: Real) -> NDArray[np.float32]:
        """The bias beside the new ``weights`` (K x D): it takes over what the mean input gave and gives no more."""
        if not self._bias_correction:
            return layer.bias
        output = weights.reshape(len(self._mean), -1, weights.shape[1]) @ self._mean[:, :, None]
        return np.asarray(layer.bias + self._target_output - output.ravel(), dtype=np.float32)


def layer_by_layer(
    graph: Graph,
    images: Images,
    solve: Solve,
    skip: Collection[str] = (),
    damping: float = 0.01,
    correction: float = 0.0,
    bias_correction: bool = True,
) -> Graph:
    """``graph`` with the weights (K x D, float64) that ``solve`` gives each layer in turn; None leaves a layer as it is."""
    if not damping > 0:
        raise SkipstoneError(f"damping must be above 0, not {damping:g}")
    if not 0 <= correction <= 1:
        raise SkipstoneError(f"correction must be from 0 to 1, not {correction:g}")
    current = graph
    for layer in graph.convs:
        if layer.name in skip:
            continue
        moments = input_moments(current, layer, images, graph if correction and current is not graph else None)
        problem = Problem(layer, moments, damping, correction, bias_correction)
        weights = solve(layer, problem)
        if weights is None:
            continue
        current = current.with_weights({layer.name: weights.reshape(layer.weights.shape).astype(np.float32)})
        solved = current.layer(layer.name)
        assert isinstance(solved, Conv)
        new = replace(solved, bias=problem.bias(layer, weights))
        current = replace(current, layers=tuple(new if old is solved else old for old in current.layers))
    return current
