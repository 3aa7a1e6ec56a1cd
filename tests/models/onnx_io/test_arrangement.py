"""Views of a tensor, against NumPy doing the same to the numbers themselves."""

from __future__ import annotations

import numpy as np

from skipstone.models.onnx_io.arrangement import View, image_index, rows_index

SHAPE = (3, 4, 5)
IMAGE = View("t", SHAPE, image_index(SHAPE), exclusive=True)
LAST = IMAGE.rearranged(IMAGE.index.transpose(0, 2, 3, 1))


def test_kinds_of_views() -> None:
    assert IMAGE.is_image()
    assert IMAGE.is_flat()
    assert not IMAGE.is_rows()
    assert not IMAGE.is_vector()
    assert LAST.is_rows()
    assert not LAST.is_image()
    assert not LAST.is_flat()
    assert LAST.rearranged(LAST.index.reshape(1, -1)).is_vector()
    assert View("t", SHAPE, rows_index((20,), 3), True).is_rows()


def test_channel_axis() -> None:
    assert IMAGE.channel_axis() == 1
    assert LAST.channel_axis() == 3
    # Axes of equal size that are not the channels, and channels mixed with pixels.
    square = View("t", (4, 4, 4), image_index((4, 4, 4)), True)
    assert square.channel_axis() == 1
    assert IMAGE.rearranged(IMAGE.index.reshape(1, 12, 5)).channel_axis() is None


def test_per_channel() -> None:
    values = np.array([1, 2, 3], np.float32)
    assert IMAGE.per_channel(values.reshape(3, 1, 1)).tolist() == [1, 2, 3]
    assert LAST.per_channel(values).tolist() == [1, 2, 3]
    assert LAST.per_channel(np.float32(7)).tolist() == [7, 7, 7]
    assert IMAGE.per_channel(np.arange(5, dtype=np.float32)) is None
    assert IMAGE.per_channel(np.ones((2, 1, 1), np.float32)) is None


def test_spatial_mean() -> None:
    assert IMAGE.spatial_mean_index((2, 3), keep=True).shape == (1, 3, 1, 1)
    assert LAST.spatial_mean_index((1, 2), keep=False).tolist() == [[0, 1, 2]]
    assert LAST.spatial_mean_index((2, 3), keep=False) is None
