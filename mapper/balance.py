"""Gives every output channel a pass, a row and an accumulator, so that the rows of the array are equally busy.

Channel order is free: the next layer's weights are indexed in whatever order the channels come out. Layers whose outputs
meet in an Add share one assignment, found for all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.design import Design

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Assignment:
    """Per output channel: ``channel_pass``, ``row``, ``accumulator`` and ``position`` (among the tensor's activations).
    ``passes`` passes of ``depth`` accumulators, which take ``steps`` drain steps a pixel; ``groups`` words hold one pixel."""

    channel_pass: Ints
    row: Ints
    accumulator: Ints
    position: Ints
    passes: int
    depth: int
    steps: int
    groups: int


def assign_channels(design: Design, load: NDArray[np.float64], order_key: Ints | None = None) -> Assignment:
    """Assigns ``load.shape[0]`` channels; ``load`` (channels x features) is the work of each channel in each window.

    Heaviest channels first, each to the row where it adds least to the sum of squared loads, so that rows are equal window
    by window and not only in total. ``order_key`` (channels), where given, decides which channels share a pass (grouped
    layers read fewer words if channels of one input group stay together); otherwise channels of like weight do.
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
        row_load = np.zeros((design.rows, load.shape[1]))
        used = np.zeros(design.rows, np.int64)
        # Rows are filled evenly: no row takes an accumulator more than the drain steps of this pass anyway read.
        for channel in members:
            cost = row_load @ load[channel] + np.where(used >= depth, np.inf, used * 1e-6)
            best = int(np.argmin(cost))
            row[channel], accumulator[channel] = best, used[best]
            used[best] += 1
            row_load[best] += load[channel]
    steps = design.steps(depth)
    lanes = design.requantizer_lanes
    in_pass = np.array([[design.position(r, a) for a in range(depth)] for r in range(design.rows)], np.int64)
    position = channel_pass * steps * lanes + in_pass[row, accumulator]
    return Assignment(
        channel_pass, row, accumulator, position, passes, depth, steps, -(-passes * steps * lanes // design.load_width)
    )
