"""How far a layer may run ahead: which of its tiles read only what the layer before has already written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skipstone.hw.design import ALL_TILES_FREE
from skipstone.mapper.program import LayerSchedule


@dataclass(frozen=True)
class Overlap:
    """How far a layer may run ahead of the one before it.

    Attributes:
        unneeded_tiles: The loader may begin while so many last tiles of the layer before are not written.
        free_tiles: It may take the words of so many first tiles before all tiles of the layer before are written.
    """

    unneeded_tiles: int
    free_tiles: int


NOTHING = Overlap(0, 0)
INDEPENDENT = Overlap(0, ALL_TILES_FREE)


@dataclass(frozen=True)
class Footprint:
    """The input rows and columns that one output pixel reads: ``stride * pixel + low`` to ``stride * pixel + high``."""

    stride: tuple[int, int]
    low: tuple[int, int]
    high: tuple[int, int]


def overlap(before: LayerSchedule, after: LayerSchedule, footprint: Footprint, most_unwritten: int) -> Overlap:
    """The overlap of two layers, where the second reads what the first writes, pixel by pixel in the order of its
    tiles.

    Args:
        before: The first layer.
        after: The second layer.
        footprint: What an output pixel of the second layer reads.
        most_unwritten: The most tiles that can be unwritten when the loader comes to the second layer. Waiting for
            tiles before those would gain nothing, and fewer tiles could pass.
    """
    needed = _needed(before, after, footprint)
    all_before = before.tiles
    threshold = max(int(needed[0]), all_before - most_unwritten)
    unneeded = all_before - threshold
    if unneeded <= 0:
        return NOTHING
    # Tiles read ever later pixels, but the first tile of a lower row may need less than the last one above it.
    too_early = np.flatnonzero(needed > threshold)
    tiles = int(too_early[0]) if len(too_early) else after.tiles
    if not len(too_early) and after.passes > 1:
        tiles = ALL_TILES_FREE - 1
    return Overlap(unneeded, min(tiles, ALL_TILES_FREE - 1))


def _needed(before: LayerSchedule, after: LayerSchedule, footprint: Footprint) -> np.ndarray:
    """For each tile of ``after`` in order, how many tiles of the last pass of ``before`` hold all that it reads."""
    reached = []
    sizes = ((before.out_height, after.out_height), (before.out_width, after.out_width))
    for axis, (size, out_size) in enumerate(sizes):
        tiles = after.tiles_y if axis == 0 else after.tiles_x
        last_pixel = np.minimum((np.arange(tiles) + 1) * after.tile[axis], out_size) - 1
        last_read = np.clip(footprint.stride[axis] * last_pixel + footprint.high[axis], 0, size - 1)
        reached.append(last_read // before.tile[axis])
    tile_rows, tile_columns = np.meshgrid(*reached, indexing="ij")
    return np.asarray(tile_rows * before.tiles_x + tile_columns + 1).ravel()
