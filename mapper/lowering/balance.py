"""Gives every output channel a pass, a row and an accumulator, so that the rows of the array are equally busy.

Channel order is free: the next layer's weights are indexed in the order in which the channels come out. Layers whose
outputs meet in an Add share one assignment, which is chosen for all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from skipstone.hw.design import Design

Ints = NDArray[np.int64]

ROUNDS = 2
"""How often every channel is given away anew."""
MOST_REFINED = 1 << 16
"""Channels times windows from which on rows are even without refinement."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """Where each output channel runs.

    Attributes:
        channel_pass: The pass of each channel.
        row: The row of each channel.
        accumulator: The accumulator of each channel.
        position: The place of each channel among the tensor's activations.
        passes: Passes of the layer.
        depth: Accumulators of a pass.
        steps: Drain steps of a pixel in a pass.
        groups: Words of a pixel.
    """

    channel_pass: Ints
    row: Ints
    accumulator: Ints
    position: Ints
    passes: int
    depth: int
    steps: int
    groups: int


def assign_channels(design: Design, load: NDArray[np.float64], order_key: Ints | None = None) -> Assignment:
    """Assigns channels to passes, rows and accumulators.

    Rows are made equal window by window, and not only in total (see ``_balanced``).

    Args:
        design: The array.
        load: Channels x features: the work of each channel in each window.
        order_key: Channels with close keys share a pass. Grouped layers read fewer words if channels of one input group
            stay together. Without it, channels of similar weight share a pass.
    """
    channels = load.shape[0]
    passes = -(-channels // (design.rows * design.accumulators))
    per_pass = -(-channels // passes)
    depth = -(-per_pass // design.rows)
    total = load.sum(axis=1)
    heaviest = np.argsort(-total, kind="stable")
    order = heaviest if order_key is None else np.argsort(order_key, kind="stable")
    channel_pass, row, accumulator = (np.zeros(channels, np.int64) for _ in range(3))
    for index in range(passes):
        members = order[index * per_pass : (index + 1) * per_pass]
        members = members[np.argsort(-total[members], kind="stable")]
        channel_pass[members] = index
        chosen = _balanced(load[members], design.rows, depth)
        row[members] = chosen
        # Within a row, heavier channels take lower accumulators.
        for each in range(design.rows):
            mine = members[chosen == each]
            accumulator[mine] = np.arange(len(mine))
    steps = design.steps(depth)
    lanes = design.requantizer_lanes
    in_pass = np.array([[design.position(r, a) for a in range(depth)] for r in range(design.rows)], np.int64)
    position = channel_pass * steps * lanes + in_pass[row, accumulator]
    return Assignment(
        channel_pass, row, accumulator, position, passes, depth, steps, -(-passes * steps * lanes // design.load_width)
    )


def _balanced(load: NDArray[np.float64], rows: int, depth: int) -> Ints:
    """The row of each channel, with no more than ``depth`` channels in any row.

    First each channel, from the heaviest on, is put where it adds least to the sum of squared loads. Then, repeatedly,
    one channel is taken from every row, and these are assigned anew where they add least. The better of both results is
    the one with the smaller window maxima.
    """
    channels = len(load)
    row = np.zeros(channels, np.int64)
    # What a channel would add to the sum of squares is its product with a row's load: those of rows add up from those
    # of channels. Loads are integers, so that all sums are exact in any order.
    products = load @ load.T
    cost = np.zeros((rows, channels))
    # Rows are filled evenly: no row takes an accumulator more than the drain steps of this pass anyway read.
    used, full = [0] * rows, np.zeros(rows)
    for channel in range(channels):
        best = int((cost[:, channel] + full).argmin())
        row[channel] = best
        used[best] += 1
        full[best] = np.inf if used[best] >= depth else used[best] * 1e-6
        cost[best] += products[channel]
    if rows == 1 or channels * load.shape[1] > MOST_REFINED:
        return row
    refined = row.copy()
    for _ in range(ROUNDS):
        # The channels of each row, in their order.
        slots = np.full((rows, depth), -1)
        order = np.argsort(refined, kind="stable")
        sizes = np.bincount(refined, minlength=rows)
        slots[refined[order], np.arange(channels) - np.repeat(np.cumsum(sizes) - sizes, sizes)] = order
        for index in range(depth):
            of = np.flatnonzero(slots[:, index] >= 0)
            if len(of) < 2:
                continue
            members = slots[of, index]
            cost[of] -= products[members]
            _, to = linear_sum_assignment(cost[np.ix_(of, members)])
            refined[members[to]] = of
            cost[of] += products[members[to]]
    return min(row, refined, key=lambda candidate: _maxima(_row_load(load, candidate, rows)))


def _row_load(load: NDArray[np.float64], row: Ints, rows: int) -> NDArray[np.float64]:
    """Rows x features."""
    total = np.zeros((rows, load.shape[1]))
    np.add.at(total, row, load)
    return total


def _maxima(row_load: NDArray[np.float64]) -> float:
    """The entries of rows that cannot drift apart at all, plus those of the fullest row."""
    return float(row_load.max(axis=0).sum() + row_load.sum(axis=1).max())
