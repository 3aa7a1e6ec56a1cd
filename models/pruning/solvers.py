"""Which weights of one layer go, and what the others become, so that its outputs change least: the algebra of second order.

With inputs x and H = E[x x^T] (damped), a filter w has the loss (w - target)^T H (w - target): the mean square error of its
outputs. ``second_order`` gathers H and walks the network. Weights in ``zeros`` go first, and stay zero whatever the target.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from skipstone.models.pruning.statistics import Real
from skipstone.models.pruning.structures import Integers, lowest

Mask = NDArray[np.bool_]
ADMM_STEPS = 40
ADMM_SCHEDULE = 30
"""Steps over which the zeros of ADMM become as many as they shall be, cubically; the mask stays for the rest."""
_LEAST = 1e-300


def greedy_obs(target: Real, hessians: Real, zeros: Mask, contests: Integers, counts: Integers) -> Mask:
    """Optimal Brain Surgeon, exact.

    Weights go one after another, each time the one that costs least when the rest of its row is solved anew:
    ``w_p^2 / [H^-1]_pp`` (Hassibi and Stork, 1993; row by row as in Frantar and Alistarh, Optimal Brain Compression, 2022).
    Time is K * D^3.

    Args:
        target: The weights, K x D.
        hessians: Groups x D x D.
        zeros: Weights that are zero already, K x D; they go first.
        contests: The contest of each weight, K x D: 0 for all, or other numbers in every row.
        counts: For each contest, how many weights go, or its ``zeros`` where they are more.

    Returns:
        Which weights to keep.
    """
    limits = _limits(zeros, contests, counts)
    keep = np.ones(target.shape, bool)
    queues = []
    inverses = np.linalg.inv(hessians)
    for row, values in enumerate(target):
        inverse = inverses[row * len(inverses) // len(target)]
        order, costs = _removals(values, inverse, zeros[row], contests[row], limits)
        if len(limits) > 1:
            keep[row, order] = False
        else:
            queues.append((order, costs))
    if queues:
        _merge(queues, keep, int(limits[0]))
    return keep


def admm(target: Real, hessians: Real, zeros: Mask, contests: Integers, counts: Integers) -> Mask:
    """As :func:`greedy_obs`, by alternating directions with one inverse for all rows.

    A little worse, for layers too large for the exact method (Boza, Fast and Effective Weight Update for Pruned Large Language
    Models, 2024). Time is D^3 + K * D^2.
    """
    groups, size = hessians.shape[:2]
    norm = np.sqrt(np.diagonal(hessians, axis1=1, axis2=2))[:, None]
    scaled = hessians / (norm.swapaxes(1, 2) * norm)
    goal = target.reshape(groups, -1, size) * norm
    inverse = np.linalg.inv(scaled + np.eye(size))
    pull = goal @ scaled
    solved, dual = goal, np.zeros_like(goal)
    keep = np.ones(goal.shape, bool)
    limits = _limits(zeros, contests, counts)
    gone = zeros.reshape(goal.shape)
    for step in range(ADMM_STEPS):
        proposed = solved + dual
        if step < ADMM_SCHEDULE:
            share = 1 - (1 - (step + 1) / ADMM_SCHEDULE) ** 3
            scores = np.where(gone, -1.0, np.abs(proposed)).ravel()
            some = np.rint(limits * share).astype(np.int64)
            keep = ~lowest(scores, contests.ravel(), some).reshape(goal.shape) & ~gone
        sparse = proposed * keep
        dual = proposed - sparse
        solved = (pull + sparse - dual) @ inverse
    return keep.reshape(target.shape)


def refit(target: Real, hessians: Real, keep: Mask) -> Real:
    """The weights of least loss among those that are zero where ``keep`` is not: ``H_SS^-1 (H target)_S`` in each row."""
    from scipy.linalg import solve

    result = np.zeros_like(target)
    for row, free in enumerate(keep):
        hessian = hessians[row * len(hessians) // len(target)]
        if free.any():
            pull = hessian[free] @ target[row]
            result[row, free] = solve(hessian[np.ix_(free, free)], pull, assume_a="pos")
    return result


def _limits(zeros: Mask, contests: Integers, counts: Integers) -> Integers:
    return np.maximum(counts, np.bincount(contests[zeros], minlength=len(counts)))


def _removals(row: Real, inverse: Real, zeros: Mask, contests: Integers, limits: Integers) -> tuple[Integers, Real]:
    """The weights of a row in the order in which they go, with their costs, until each contest has reached its limit.

    Taking weight p out of the inverse is a step of Cholesky's with pivot p: inverse - u u^T, so only the vectors u are kept.
    """
    left = limits.copy()
    count = int(np.minimum(left, np.bincount(contests, minlength=len(left))).sum())
    w, diagonal = row.copy(), np.diag(inverse).copy()
    closed = np.where(left[contests] > 0, 0.0, np.inf)
    order, costs = np.empty(count, np.int64), np.empty(count)
    taken = np.empty((count, len(row)))
    first = np.flatnonzero(zeros)
    for step in range(count):
        if step < len(first):
            p, cost = int(first[step]), -1.0
        else:
            score = w * w / diagonal + closed
            p = int(score.argmin())
            cost = float(score[p])
        u = inverse[p] - taken[:step, p] @ taken[:step]
        u /= np.sqrt(max(u[p], _LEAST))
        taken[step] = u
        w -= w[p] / u[p] * u
        diagonal = np.maximum(diagonal - u * u, _LEAST)
        w[p], diagonal[p], closed[p] = 0.0, 1.0, np.inf
        order[step], costs[step] = p, cost
        left[contests[p]] -= 1
        if not left[contests[p]]:
            closed[contests == contests[p]] = np.inf
    return order, costs


def _merge(queues: list[tuple[Integers, Real]], keep: Mask, count: int) -> None:
    """Takes ``count`` weights out of ``keep``, of all rows' next ones always the cheapest."""
    heap = [(float(costs[0]), row, 0) for row, (_, costs) in enumerate(queues) if len(costs)]
    heapq.heapify(heap)
    for _ in range(count):
        _, row, step = heapq.heappop(heap)
        order, costs = queues[row]
        keep[row, order[step]] = False
        if step + 1 < len(order):
            heapq.heappush(heap, (float(costs[step + 1]), row, step + 1))
