"""How an ONNX tensor's elements lie in one of our (channels, height, width) tensors.

ONNX networks rearrange (Flatten, Reshape, Transpose, ...) between layers; the array never does. The importer therefore
carries, for every ONNX tensor, an integer array of its shape that holds each element's flat index in the tensor it
views. A rearranging node is that operation done to the index array, and a node that computes asks here what it sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.layers import Shape


@dataclass(frozen=True, eq=False)
class View:
    """How ONNX sees one of our tensors.

    Members:
        tensor: Our tensor's name.
        shape: Its shape, (channels, height, width).
        index: Of ONNX's shape; the flat index in our tensor of every element.
        exclusive: Whether a single node reads the tensor, which is no output of the network: then the layer that makes it
            may do that node's work too.
    """

    tensor: str
    shape: Shape
    index: NDArray[np.int64]
    exclusive: bool

    @property
    def pixels(self) -> int:
        """Pixels of a channel."""
        return self.shape[1] * self.shape[2]

    def rearranged(self, index: NDArray[np.int64]) -> View:
        """The same tensor seen in another order."""
        return replace(self, index=index)

    def is_whole(self) -> bool:
        """Whether every element of the tensor is seen once."""
        size = math.prod(self.shape)
        if self.index.size != size:
            return False
        return bool((np.bincount(self.index.ravel(), minlength=size) == 1).all())

    def is_image(self) -> bool:
        """Whether ONNX sees the tensor as it is, 1 x channels x height x width."""
        return self.index.shape == (1, *self.shape) and self.is_flat()

    def is_flat(self) -> bool:
        """Whether the elements come in the tensor's own order."""
        return bool(np.array_equal(self.index.ravel(), np.arange(math.prod(self.shape))))

    def is_rows(self) -> bool:
        """Whether the last axis is the channels, and the axes before it together the pixels in order."""
        flat = np.arange(math.prod(self.shape)).reshape(self.shape[0], self.pixels).T
        return self.index.shape[-1] == self.shape[0] and np.array_equal(self.index.reshape(-1, self.shape[0]), flat)

    def is_vector(self) -> bool:
        """Whether it is one row (all axes but the last are 1) of all elements, in any order."""
        return bool(self.index.size == self.index.shape[-1] == math.prod(self.shape))

    def channel_axis(self) -> int | None:
        """The axis along which the channel, and only the channel, changes; None if there is no such axis.

        For a tensor of one channel any axis of size 1 serves. A part of a tensor has none.
        """
        if self.index.size != math.prod(self.shape):
            return None
        for axis in range(self.index.ndim):
            lines = np.moveaxis(self.index, axis, -1).reshape(-1, self.index.shape[axis])
            expected = lines[:, :1] % self.pixels + np.arange(self.shape[0]) * self.pixels
            if lines.shape[1] == self.shape[0] and np.array_equal(lines, expected):
                return axis
        return None

    def per_channel(self, constant: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """``constant``, spread over the view, as one value a channel; None if it varies or does not fit."""
        try:
            spread = np.broadcast_to(constant, self.index.shape)
        except ValueError:
            return None
        flat = np.empty(math.prod(self.shape), dtype=np.float32)
        flat[self.index.ravel()] = spread.ravel()
        values = flat.reshape(self.shape[0], self.pixels)
        return values[:, 0].copy() if bool((values == values[:, :1]).all()) else None

    def spatial_mean_index(self, axes: tuple[int, ...], keep: bool) -> NDArray[np.int64] | None:
        """The index array of the mean over ``axes``, into a tensor of one pixel for each channel.

        Args:
            axes: Axes of the view, none negative.
            keep: Whether they stay, with size 1.

        Returns:
            None if the axes are not exactly the pixels.
        """
        others = [axis for axis in range(self.index.ndim) if axis not in axes]
        rows = math.prod(self.index.shape[axis] for axis in others)
        lines = np.transpose(self.index, (*others, *axes)).reshape(rows, -1)
        channels = lines // self.pixels
        if lines.shape[1] != self.pixels or not bool((channels == channels[:, :1]).all()):
            return None
        shape = [1 if axis in axes else size for axis, size in enumerate(self.index.shape)]
        return channels[:, 0].reshape(shape if keep else [self.index.shape[axis] for axis in others])


def image_index(shape: Shape) -> NDArray[np.int64]:
    """The index array of a tensor that ONNX sees as it is."""
    return np.arange(math.prod(shape)).reshape(1, *shape)


def rows_index(lead: tuple[int, ...], channels: int) -> NDArray[np.int64]:
    """The index array of a tensor whose channels are ONNX's last axis and whose pixels are the axes ``lead``."""
    return np.ascontiguousarray(np.arange(channels * math.prod(lead)).reshape(channels, -1).T).reshape(*lead, channels)
