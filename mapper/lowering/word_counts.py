"""Counts how many words a tile loads for each window, without listing them.

The choice of a tile shape and the cycle model need only the counts. ``skipstone.mapper.lowering.windows.list_words``
lists the words themselves.

In a window, channel groups side by side whose nonzeros lie at the same taps load equally many words, and there are few
different sets of taps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from skipstone.mapper.lowering.windows import WindowPlan
from skipstone.mapper.program import KernelSplit

Ints = NDArray[np.int64]
_CODE_BITS = 62
"""Places of a rectangle of taps up to which a set of them is one integer."""


class WordCounts:
    """Counts for the windows of one pass, for any tile. ``tile`` is (height, width) of the columns that have a pixel in at least
    one tile, as for ``list_words``."""

    def __init__(self, plan: WindowPlan, split: KernelSplit, dilation: tuple[int, int]) -> None:
        taps = plan.taps
        self._extents = tuple(
            (taken - 1) * step + 1 for taken, step in zip((split.height, split.width), dilation, strict=True)
        )
        self._dilation = dilation
        self._windows = plan.windows
        height, width = self._extents
        place = dilation[0] * (taps[:, 3] - taps[:, 5]) * width + dilation[1] * (taps[:, 4] - taps[:, 6])
        # The taps of a group stand together, and a window's groups differ in their first slot.
        starts = np.flatnonzero(np.append(True, (taps[1:, 0] != taps[:-1, 0]) | (taps[1:, 2] != taps[:-1, 2])))
        self._window_of = taps[starts, 0]
        if height * width <= _CODE_BITS:
            codes, self._set_of = np.unique(np.add.reduceat(np.int64(1) << place, starts), return_inverse=True)
            sets = codes[:, None] >> np.arange(height * width) & 1
        else:
            self._set_of = np.arange(len(starts))
            sets = np.zeros((len(starts), height * width), np.int64)
            sets[np.repeat(self._set_of, np.diff(np.append(starts, len(taps)))), place] = 1
        self._sets = sets.reshape(-1, height, width).astype(np.float32)

    def by_window(self, tile: tuple[int, int], stride: tuple[int, int]) -> Ints:
        """Words of each window."""
        counts = np.count_nonzero(self._reached(tile, stride), axis=(1, 2))
        words = np.bincount(self._window_of, weights=counts[self._set_of], minlength=self._windows)
        return words.astype(np.int64)

    def captures(self, tile: tuple[int, int], columns: tuple[int, int], stride: tuple[int, int]) -> int:
        """(word, column) pairs of one tile's words that are written into windows: those whose offset from the pixel of one of the
        array's ``columns`` (height, width) is a tap of the window's rectangle."""
        hits = []
        for axis, extent in enumerate(self._extents):
            taps = (np.arange(extent) % self._dilation[axis] == 0).astype(np.float32)
            hits.append(
                (taps @ _spread(extent, stride[axis], columns[axis]))[: extent + stride[axis] * (tile[axis] - 1)]
            )
        each = np.einsum("syx,y,x->s", self._reached(tile, stride).astype(np.float64), hits[0], hits[1])
        return int(np.rint(each)[self._set_of].sum())

    def _reached(self, tile: tuple[int, int], stride: tuple[int, int]) -> NDArray[np.bool_]:
        """For each set of taps the positions in the tile's region (height x width) under a tap of one of the columns."""
        across, down = (
            _spread(extent, step, count) for extent, step, count in zip(self._extents, stride, tile, strict=True)
        )
        reached: NDArray[np.bool_] = (across.T @ self._sets @ down) > 0
        return reached


@lru_cache(maxsize=4096)
def _spread(extent: int, stride: int, count: int) -> NDArray[np.float32]:
    """Ones where a tap at offset i, seen from pixel t of ``count``, lies at ``i + stride * t`` along one axis."""
    result = np.zeros((extent, extent + stride * (count - 1)), np.float32)
    tap, pixel = np.indices((extent, count))
    np.add.at(result, (tap, tap + stride * pixel), 1)
    result.flags.writeable = False
    return result
