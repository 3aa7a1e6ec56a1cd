"""A part of a tensor as ONNX sees it: which channels, and which grid of their pixels.

Split, Slice and Gather take parts of tensors, and a Concat of such parts is one again. As long as they are only seen, nothing is
computed. A layer that reads one asks :func:`selection` for the layers that select it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.layers import Concat, Layer, Pair, Select, Shape
from skipstone.models.onnx_io.arrangement import View

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Run:
    """Channels side by side that take the same pixels."""

    channels: Ints
    offset: Pair
    stride: Pair


@dataclass(frozen=True, eq=False)
class Selection:
    """What a view sees of its tensor.

    Attributes:
        view: The view.
        runs: The channels in ONNX's order, side by side.
        size: Height and width of each.
        index: How ONNX sees the selected tensor.
    """

    view: View
    runs: tuple[_Run, ...]
    size: Pair
    index: Ints

    @property
    def shape(self) -> Shape:
        """Shape of the selected tensor."""
        return (sum(len(run.channels) for run in self.runs), *self.size)

    @property
    def is_all(self) -> bool:
        """Whether it is the whole tensor in its own order."""
        everything = np.arange(self.view.shape[0])
        return self.shape == self.view.shape and np.array_equal(self.runs[0].channels, everything)

    def add(self, add: Callable[[Layer], str]) -> View:
        """Adds the layers that select the tensor by ``add``, which gives a layer's name."""
        _, height, width = self.view.shape
        names = []
        for run in self.runs:
            everything = self.size == (height, width)
            names.append(
                add(
                    Select(
                        name="",
                        inputs=(self.view.tensor,),
                        channels=run.channels,
                        offset=run.offset,
                        stride=(1, 1) if everything else run.stride,
                        size=None if everything else self.size,
                    )
                )
            )
        tensor = names[0] if len(names) == 1 else add(Concat(name="", inputs=tuple(names)))
        return View(tensor, self.shape, self.index, exclusive=False)


def selection(view: View) -> Selection | None:
    """Finds which channels and pixels a view sees; None where they are no such part."""
    ndim = view.index.ndim
    for axis in dict.fromkeys(axis for axis in (1, ndim - 1, *range(ndim)) if axis < ndim):
        selected = _along(view, axis)
        if selected is not None:
            return selected
    return None


def space_to_depth(view: View) -> tuple[Pair, Ints] | None:
    """Whether a view, 1 x channels x height x width, has every pixel of each block of the tensor as a channel.

    Returns:
        The block's height and width, and for each of the view's channels: the tensor's channel, the row and the column in the
        block. None for any other view.
    """
    _, height, width = view.shape
    if view.index.ndim != 4 or len(view.index) != 1 or view.index.size != math.prod(view.shape):
        return None
    _, _, rows, columns = view.index.shape
    block = (height // rows, width // columns)
    if (rows * block[0], columns * block[1]) != (height, width):
        return None
    first = view.index[0, :, 0, 0]
    y = np.arange(rows)[:, None] * block[0] * width
    expected = first[:, None, None] + y + np.arange(columns) * block[1]
    channel, row, column = first // (height * width), first // width % height, first % width
    if not np.array_equal(view.index[0], expected) or row.max() >= block[0] or column.max() >= block[1]:
        return None
    if len(np.unique(first)) != len(first):
        return None
    return block, np.stack([channel, row, column], axis=1)


def _along(view: View, axis: int) -> Selection | None:
    """The selection with the channels along ``axis``."""
    others = [size for place, size in enumerate(view.index.shape) if place != axis]
    lines = np.moveaxis(view.index, axis, 0).reshape(view.index.shape[axis], -1)
    if not lines.size:
        return None
    channel, pixel = np.divmod(lines, view.pixels)
    if not (channel == channel[:, :1]).all():
        return None
    starts = np.flatnonzero(np.append(True, (pixel[1:] != pixel[:-1]).any(axis=1)))
    runs, sizes = [], set()
    for start, stop in zip(starts, [*starts[1:], len(pixel)], strict=True):
        grid = _grid(pixel[start], view.shape[2])
        if grid is None:
            return None
        offset, stride, size = grid
        sizes.add(size)
        runs.append(_Run(channel[start:stop, 0].copy(), offset, stride))
    if len(sizes) > 1:
        return None
    index = np.arange(lines.size).reshape(len(lines), *others)
    return Selection(view, tuple(runs), sizes.pop(), np.moveaxis(index, 0, axis))


def _grid(pixels: Ints, width: int) -> tuple[Pair, Pair, Pair] | None:
    """The offset, the stride and the size of a grid of pixels in order; None for any others."""
    rows, columns = np.divmod(pixels, width)
    across = int(np.argmax(rows != rows[0])) or len(rows)
    if len(pixels) % across:
        return None
    sizes, steps = (len(pixels) // across, across), []
    for places in (rows[::across], columns[:across]):
        step = int(places[1] - places[0]) if len(places) > 1 else 1
        if step < 1 or not np.array_equal(places, places[0] + step * np.arange(len(places))):
            return None
        steps.append(step)
    expected = (rows[::across, None] * width + columns[None, :across]).ravel()
    if not np.array_equal(pixels, expected):
        return None
    return (int(rows[0]), int(columns[0])), (steps[0], steps[1]), sizes
