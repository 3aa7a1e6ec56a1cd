"""Splits a layer's nonzeros over activation windows, and lists the words that each window loads.

A window holds a rectangle of kernel taps for a run of channel groups (words of ``load_width`` channels). Groups, taps
and windows without any nonzero are left out, so words that no column needs are never read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.program import KernelSplit

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Nonzeros:
    """The nonzero weights of a layer, in parallel arrays: output channel, input channel (or its position in memory), tap and
    value."""

    channel: Ints
    position: Ints
    ky: Ints
    kx: Ints
    value: Ints

    def select(self, chosen: NDArray[np.bool_] | Ints) -> Nonzeros:
        """Those of a mask, or of numbers."""
        fields = (self.channel, self.position, self.ky, self.kx, self.value)
        return Nonzeros(*(field[chosen] for field in fields))

    def at(self, positions: Ints) -> Nonzeros:
        """The same with ``positions[channel]`` in place of the input's channel."""
        return Nonzeros(self.channel, positions[self.position], self.ky, self.kx, self.value)


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Windows of one pass: ``window`` and ``slot`` of every nonzero, and the live (window, group, tap) triples to load.

    ``groups`` are the channel groups that windows are cut from, in order. ``taps`` columns: window, channel group, first
    slot of the group in the window, ky, kx, first ky and kx of the window's rectangle. ``windows`` is at least 1: a pass
    without nonzeros still has one window, of one word.
    """

    windows: int
    window: Ints
    slot: Ints
    taps: Ints
    groups: Ints


def split_kernel(design: Design, kernel: tuple[int, int], dilation: tuple[int, int]) -> KernelSplit:
    """The rectangle of taps that needs the fewest windows for the kernel. Any kernel fits, in the worst case tap by
    tap."""
    best: tuple[tuple[int, int, int], KernelSplit] | None = None
    for height in range(1, kernel[0] + 1):
        if (height - 1) * dilation[0] + 1 > design.reach:
            break
        for width in range(1, kernel[1] + 1):
            if (width - 1) * dilation[1] + 1 > design.reach or height * width > design.slots:
                break
            groups = design.slots // (height * width)
            parts = -(-kernel[0] // height) * -(-kernel[1] // width)
            # Fewest parts, since each loads its own region; then the most groups beside each other; then the widest.
            key = (parts, -groups, -width)
            if best is None or key < best[0]:
                best = key, KernelSplit(height, width, groups)
    assert best is not None, "one tap of one group always fits: the design checks window_depth against load_width"
    return best[1]


def plan_windows(
    design: Design, nonzeros: Nonzeros, split: KernelSplit, kernel: tuple[int, int], groups: Ints | None = None
) -> WindowPlan:
    """Windows of one pass.

    Args:
        design: The array.
        nonzeros: The nonzeros of the pass's output channels.
        split: The part of the kernel that a window holds.
        kernel: The kernel.
        groups: The channel groups that windows are cut from, in order; those with a nonzero if None. Windows without
            any nonzero are left out in any case.
    """
    if not len(nonzeros.channel):
        empty = np.zeros(0, np.int64)
        return WindowPlan(1, empty, empty, np.zeros((1, 7), np.int64), empty if groups is None else groups)
    nonzeros, tap_of = _distinct_taps(nonzeros, nonzeros.position, kernel)
    rank, groups = _rank(nonzeros.position // design.load_width, groups)
    window, windows = _cut(nonzeros, rank, split, kernel)
    first_slot = (rank % split.groups) * (split.height * split.width)
    slot = first_slot + (nonzeros.ky % split.height) * split.width + nonzeros.kx % split.width
    # Every live (window, slot) is one tap of one group; the slot identifies both within the window.
    place = window * design.slots + slot
    some = np.full(windows * design.slots, -1, np.int64)
    some[place] = np.arange(len(place))
    index = some[some >= 0]
    taps = np.stack(
        [
            window[index],
            groups[rank[index]],
            first_slot[index],
            nonzeros.ky[index],
            nonzeros.kx[index],
            nonzeros.ky[index] // split.height * split.height,
            nonzeros.kx[index] // split.width * split.width,
        ],
        axis=1,
    )
    return WindowPlan(windows, window[tap_of], slot[tap_of], taps, groups)


def windows_of(
    design: Design, nonzeros: Nonzeros, positions: Ints, split: KernelSplit, kernel: tuple[int, int]
) -> tuple[Ints, int]:
    """The window of each nonzero as :func:`plan_windows` makes them, and how many there are.

    Args:
        design: The array.
        nonzeros: The nonzeros.
        positions: For each of them, the place of its input channel in memory.
        split: The part of the kernel that a window holds.
        kernel: The kernel.
    """
    if not len(positions):
        return positions, 1
    nonzeros, tap_of = _distinct_taps(nonzeros, positions, kernel)
    rank, _ = _rank(nonzeros.position // design.load_width, None)
    window, windows = _cut(nonzeros, rank, split, kernel)
    return window[tap_of], windows


def _distinct_taps(nonzeros: Nonzeros, positions: Ints, kernel: tuple[int, int]) -> tuple[Nonzeros, Ints]:
    """One nonzero for each different tap of an input channel at ``positions``, in order, and the place of each nonzero's among
    them: windows and slots depend on nothing else, and there are as many nonzeros of a tap as output channels."""
    area = kernel[0] * kernel[1]
    numbers = positions
    if area > 1:
        numbers = positions * area
        numbers += nonzeros.ky * kernel[1]
        numbers += nonzeros.kx
    different, tap_of = _ranked(numbers)
    position, (ky, kx) = different // area, np.divmod(different % area, kernel[1])
    nothing = np.zeros(len(different), np.int64)
    return Nonzeros(nothing, position, ky, kx, nothing), tap_of


def _rank(group: Ints, groups: Ints | None) -> tuple[Ints, Ints]:
    """For each channel group its place among ``groups``, or among all of ``group``; and these."""
    if groups is not None:
        return np.searchsorted(groups, group), groups
    live_groups, rank = _ranked(group)
    return rank, live_groups


def _cut(nonzeros: Nonzeros, rank: Ints, split: KernelSplit, kernel: tuple[int, int]) -> tuple[Ints, int]:
    """The window of each nonzero, whose channel group has this rank, and how many there are."""
    parts_x = -(-kernel[1] // split.width)
    parts = -(-kernel[0] // split.height) * parts_x
    part = (nonzeros.ky // split.height) * parts_x + nonzeros.kx // split.width
    live_windows, window = _ranked((rank // split.groups) * parts + part)
    return window, len(live_windows)


def _ranked(numbers: Ints) -> tuple[Ints, Ints]:
    """The different numbers in order, and for each of ``numbers`` its place among them.

    The result is that of ``np.unique``, without sorting. Numbers must be small and not negative.
    """
    live = np.zeros(int(numbers.max()) + 1, np.int64)
    live[numbers] = 1
    return np.flatnonzero(live), (np.cumsum(live) - 1)[numbers]


@dataclass(frozen=True, eq=False)
class Words:
    """Words to load for one tile, in order: window, channel group, first slot, position in the region, and the same
    position counted from the window's first tap."""

    window: Ints
    group: Ints
    slot: Ints
    y: Ints
    x: Ints
    dy: Ints
    dx: Ints


def list_words(plan: WindowPlan, tile: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Words:
    """The union, over the tile's columns, of the words under the live taps; each word once per window.

    ``tile`` is (height, width) of the columns that have a pixel in at least one tile: an output smaller than the array's tile
    needs no words for the columns beyond it.
    """
    taps = plan.taps
    ty, tx = np.divmod(np.arange(tile[0] * tile[1], dtype=np.int64), tile[1])
    dy = (stride[0] * ty)[None] + (dilation[0] * (taps[:, 3] - taps[:, 5]))[:, None]
    dx = (stride[1] * tx)[None] + (dilation[1] * (taps[:, 4] - taps[:, 6]))[:, None]
    high_y, high_x = int(dy.max()) + 1, int(dx.max()) + 1
    # (window, first slot) identifies the group and the rectangle.
    slots = int(taps[:, 2].max()) + 1
    key = ((taps[:, 0] * slots + taps[:, 2])[:, None] * high_y + dy) * high_x + dx
    unique, index = np.unique(key, return_index=True)
    of = taps[index // len(ty)]
    word_dy, word_dx = (unique // high_x) % high_y, unique % high_x
    return Words(
        window=of[:, 0],
        group=of[:, 1],
        slot=of[:, 2],
        y=word_dy + dilation[0] * of[:, 5],
        x=word_dx + dilation[1] * of[:, 6],
        dy=word_dy,
        dx=word_dx,
    )
