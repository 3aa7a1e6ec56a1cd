"""Counts what the hardware does for a layer: the same events as in the cycle model, times how often they happen.

Every count is exact for the RTL as it stands: columns outside the image still multiply, and words outside the image still
pass the loader.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from hw.design import Design
from mapper.program import LayerProgram


@dataclass(frozen=True)
class Actions:
    """Actions of one layer for one input.

    ``macs``: multiply-accumulates done by PEs, idle columns included. ``useful_macs``: those whose pixel is in the image and
    whose weight is not zero. ``window_reads``: activations read by PEs; ``window_writes``: words written into windows of PEs.
    ``accumulator_reads``/``accumulator_writes``: accumulators, drain included. ``weight_reads``: entries read from the rows'
    weight memories. ``load_list_reads``: entries of the load list. ``activation_reads``/``activation_writes``: words
    (``load_width`` activations) read from, and parts of words (``requantizer_lanes`` activations) written to activation
    memory. ``parameter_reads``: requantization words. ``requantizations``: lanes times steps. ``table_reads``: the same, in
    layers that look up a table. ``cycles``: for leakage.
    """

    macs: int
    useful_macs: int
    window_reads: int
    window_writes: int
    accumulator_reads: int
    accumulator_writes: int
    weight_reads: int
    load_list_reads: int
    activation_reads: int
    activation_writes: int
    parameter_reads: int
    requantizations: int
    table_reads: int
    cycles: int

    def __add__(self, other: Actions) -> Actions:
        return Actions(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


def count_actions(layer: LayerProgram, design: Design, cycles: int) -> Actions:
    """Actions of ``layer``; ``cycles`` as the cycle model gives them."""
    schedule = layer.schedule
    tiles = schedule.tiles
    pixels = schedule.out_height * schedule.out_width
    issued = sum(int(counts.sum()) for counts in schedule.counts)
    macs = layer.products * tiles * design.cols
    words = sum(int(count.sum()) for count in schedule.words) * tiles
    steps = pixels * schedule.steps * schedule.passes
    drained = steps * min(design.requantizer_lanes, design.rows * design.accumulators_per_step)
    return Actions(
        macs=macs,
        useful_macs=layer.products * pixels,
        window_reads=macs,
        window_writes=layer.captures * tiles * design.rows,
        # The first product of an accumulator in a tile overwrites it, which the read port does not know.
        accumulator_reads=macs + drained,
        accumulator_writes=macs,
        weight_reads=issued * tiles,
        load_list_reads=words,
        activation_reads=words + (steps if layer.other is not None else 0),
        activation_writes=steps,
        parameter_reads=steps,
        requantizations=steps * design.requantizer_lanes,
        table_reads=steps * design.requantizer_lanes if layer.uses_table else 0,
        cycles=cycles,
    )


def count_captures(
    dy: np.ndarray,
    dx: np.ndarray,
    tile: tuple[int, int],
    stride: tuple[int, int],
    taps_y: np.ndarray,
    taps_x: np.ndarray,
) -> int:
    """How many (word, column) pairs of one tile's load list are written into windows: those whose offset from the column's
    pixel is a tap. ``taps_y``/``taps_x`` (reach) say which offsets are taps."""
    reach = len(taps_y)

    def hits(offsets: np.ndarray, count: int, step: int, taps: np.ndarray) -> np.ndarray:
        distance = offsets[:, None] - step * np.arange(count)[None]
        inside = (distance >= 0) & (distance < reach)
        return np.asarray((inside & taps[np.clip(distance, 0, reach - 1)]).sum(axis=1))

    return int((hits(dy, tile[0], stride[0], taps_y) * hits(dx, tile[1], stride[1], taps_x)).sum())
