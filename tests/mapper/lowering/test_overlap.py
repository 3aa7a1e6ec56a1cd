"""How far layers may run ahead, against a list of the pixels that every tile reads and writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.hw.design import ALL_TILES_FREE
from skipstone.mapper.lowering.overlap import NOTHING, Footprint, Overlap, overlap
from skipstone.mapper.program import Geometry, LayerSchedule

FOOTPRINT_1X1 = Footprint((1, 1), (0, 0), (0, 0))


def schedule(size: tuple[int, int], tile: tuple[int, int], passes: int = 1) -> LayerSchedule:
    counts = np.ones((1, 1), np.int64)
    return LayerSchedule(
        (counts,) * passes, (counts[0],) * passes, tile, -(-size[0] // tile[0]), -(-size[1] // tile[1]), *size, steps=1
    )


def tiles(schedule: LayerSchedule) -> list[list[tuple[int, int]]]:
    """The output pixels of every tile of a pass, in the order of the tiles."""
    return [
        [
            (y, x)
            for y in range(ty * schedule.tile[0], min((ty + 1) * schedule.tile[0], schedule.out_height))
            for x in range(tx * schedule.tile[1], min((tx + 1) * schedule.tile[1], schedule.out_width))
        ]
        for ty in range(schedule.tiles_y)
        for tx in range(schedule.tiles_x)
    ]


def needed(before: LayerSchedule, after: LayerSchedule, geometry: Geometry) -> list[int]:
    """For every tile of ``after``, how many tiles of ``before`` must be written: all up to the last one with a pixel under a
    tap; 0 where all taps are outside."""
    written_in = {pixel: index for index, pixels in enumerate(tiles(before)) for pixel in pixels}
    result = []
    for pixels in tiles(after):
        read = {
            (
                y * geometry.stride[0] - geometry.padding[0] + ky * geometry.dilation[0],
                x * geometry.stride[1] - geometry.padding[1] + kx * geometry.dilation[1],
            )
            for y, x in pixels
            for ky in range(geometry.kernel[0])
            for kx in range(geometry.kernel[1])
        }
        result.append(max((written_in[pixel] + 1 for pixel in read if pixel in written_in), default=0))
    return result


@st.composite
def neighbours(draw) -> tuple[LayerSchedule, LayerSchedule, Geometry]:
    sides = st.integers(1, 14)
    tile = st.sampled_from([(1, 4), (2, 2), (4, 1), (1, 6), (2, 3), (3, 2), (1, 1), (5, 5)])
    pairs = [
        st.tuples(st.integers(low, high), st.integers(low, high)) for low, high in ((1, 4), (1, 3), (-3, 3), (1, 3))
    ]
    geometry = Geometry(*(draw(pair) for pair in pairs))
    before = schedule((draw(sides), draw(sides)), draw(tile), draw(st.integers(1, 2)))
    after = schedule((draw(sides), draw(sides)), draw(tile), draw(st.integers(1, 3)))
    return before, after, geometry


def overlap_of(before: LayerSchedule, after: LayerSchedule, geometry: Geometry, most: int) -> Overlap:
    return overlap(before, after, Footprint(geometry.stride, geometry.low, geometry.high), most)


@settings(max_examples=300)
@given(neighbours(), st.integers(1, 9))
def test_no_tile_reads_pixels_that_may_be_unwritten(drawn, most):
    """Safe: a tile that may start reads only pixels of tiles that have been waited for, in every pass."""
    before, after, geometry = drawn
    got = overlap_of(before, after, geometry, most)
    waited_for = before.tiles - got.unneeded_tiles
    every_pass = needed(before, after, geometry) * after.passes
    assert all(tiles_needed <= waited_for for tiles_needed in every_pass[: got.free_tiles])
    # The loader could not wait for no tile at all, nor for one that is written anyway.
    assert waited_for >= 1
    assert got.unneeded_tiles <= most
    assert got == NOTHING or 1 <= got.free_tiles < ALL_TILES_FREE


@settings(max_examples=300)
@given(neighbours(), st.integers(1, 9))
def test_layers_wait_for_no_more_than_they_need(drawn, most):
    """Useful: where taps leave no pixel out and every tile has a tap inside the image, the first tile waits for exactly what it
    needs, and the first tile that may not start needs more than that."""
    before, after, geometry = drawn
    geometry = replace(geometry, dilation=(1, 1), stride=tuple(map(min, geometry.kernel, geometry.stride)))
    least = needed(before, after, geometry)
    got = overlap_of(before, after, geometry, most)
    if min(least) == 0:
        return
    threshold = max(least[0], before.tiles - most)
    assert before.tiles - got.unneeded_tiles == threshold
    if threshold == before.tiles:
        assert got == NOTHING
    elif max(least) > threshold:
        assert got.free_tiles == next(tile for tile, count in enumerate(least) if count > threshold)
    else:
        assert got.free_tiles >= after.tiles


def test_a_pointwise_layer_follows_tile_by_tile():
    """Six tiles of the same shape, of which four may be unwritten: the layer begins when two are written, and stops before the
    third."""
    layer = schedule((6, 4), (1, 4))
    assert overlap(layer, layer, FOOTPRINT_1X1, 4) == Overlap(4, 2)
    assert overlap(layer, layer, FOOTPRINT_1X1, 9) == Overlap(5, 1)


def test_a_3x3_layer_needs_a_row_of_tiles_more():
    """Rows of tiles one pixel high and two wide: the first tile reads two rows of two tiles."""
    layer = schedule((6, 4), (1, 2))
    around = Footprint((1, 1), (-1, -1), (1, 1))
    assert overlap(layer, layer, around, 99) == Overlap(12 - 4, 2)


def test_a_global_layer_waits_for_everything():
    everything = Footprint((1, 1), (0, 0), (5, 3))
    assert overlap(schedule((6, 4), (1, 4)), schedule((1, 1), (1, 4)), everything, 99) == NOTHING


def test_all_passes_are_free_where_the_last_tiles_are_not_read():
    """The lower half is cropped away, so that no tile of any pass waits for it."""
    before, after = schedule((8, 4), (1, 4)), schedule((4, 4), (1, 4), passes=3)
    assert overlap(before, after, FOOTPRINT_1X1, 4) == Overlap(4, ALL_TILES_FREE - 1)
    assert overlap(before, replace(after, counts=after.counts[:1]), FOOTPRINT_1X1, 4) == Overlap(4, 4)
