"""The ends of a network: how its file sees our input and output tensors.

Our tensors are (channels, height, width). A file may have its input channels last, or end in a Reshape or Transpose. Such an
end is an :class:`Arrangement` of one of our tensors, which whoever reads or writes files, images or results goes by.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError

FileShape = tuple[int, ...]
"""ONNX's shape of a tensor, the batch of 1 included."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How ONNX sees the elements of a tensor of ours.

    Attributes:
        shape: ONNX's shape.
        index: For each of ONNX's elements in order, its place in our tensor, which is flat in channel, height, width order;
            None for the tensor's own order.
    """

    shape: FileShape
    index: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.index is not None and self.index.shape != (math.prod(self.shape),):
            raise SkipstoneError(f"an index of shape {self.index.shape} can't arrange a tensor as {self.shape}")

    @classmethod
    def of_index(cls, index: NDArray[np.int64]) -> Arrangement:
        """The arrangement of an array of ONNX's shape that holds each element's place in our tensor."""
        flat = index.ravel()
        return cls(index.shape, None if np.array_equal(flat, np.arange(flat.size)) else flat.copy())

    @property
    def order(self) -> NDArray[np.int64]:
        """``index``, also where it is left out."""
        return np.arange(math.prod(self.shape)) if self.index is None else self.index

    @property
    def batched(self) -> bool:
        """Whether the first axis is a batch of 1, so that any batch will do."""
        return self.shape[:1] == (1,)

    @property
    def permutes(self) -> bool:
        """Whether every element of our tensor is there once, as far as the index tells."""
        return self.index is None or bool((np.sort(self.index) == np.arange(self.index.size)).all())

    def inverse(self, shape: FileShape) -> Arrangement:
        """How the one who has ONNX's elements sees our tensor, in ONNX's words of ``shape``; only if this ``permutes``."""
        return Arrangement(shape, None if self.index is None else np.argsort(self.index))

    @property
    def sample_shape(self) -> FileShape:
        """ONNX's shape of one image, without the batch of 1."""
        return self.shape[1:] if self.batched else self.shape

    def from_file(self, values: NDArray[Any]) -> NDArray[Any]:
        """The inverse of :meth:`to_file`: N x elements of our tensor; only if this ``permutes``."""
        flat = values.reshape(len(values), -1)
        return flat if self.index is None else flat[:, np.argsort(self.index)]

    def to_file(self, values: NDArray[Any]) -> NDArray[Any]:
        """Our ``values``, N x channels x height x width, as N x ONNX's shape without its batch of 1."""
        flat = values.reshape(len(values), -1)
        arranged = flat if self.index is None else flat[:, self.index]
        return arranged.reshape(len(values), *self.sample_shape)


@dataclass(frozen=True, eq=False)
class End:
    """An input or output of a file: ONNX's ``name``, and how it sees our tensor."""

    name: str
    arrangement: Arrangement

    @property
    def shape(self) -> FileShape:
        """ONNX's shape, the batch of 1 included."""
        return self.arrangement.shape

    def is_plain(self, shape: FileShape) -> bool:
        """Whether it is a tensor of ONNX's ``shape`` as it is."""
        return self.arrangement.index is None and self.shape == shape


@dataclass(frozen=True, eq=False)
class Ends:
    """The input and the outputs of a file, in its order. Several outputs may be one tensor."""

    input: End
    outputs: tuple[End, ...]

    def __post_init__(self) -> None:
        names = [self.input.name, *(end.name for end in self.outputs)]
        if twice := sorted({name for name in names[1:] if names[1:].count(name) > 1}):
            raise SkipstoneError(f"outputs of one name, {', '.join(twice)}")


def strides(index: NDArray[np.int64]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Finds the axes whose transposition an index is.

    Args:
        index: Flat, of a permutation.

    Returns:
        The sizes of the axes of our tensor, and their order in the index's; None for what no Transpose does. Our tensor reshaped
        to the sizes, and its axes put into the order, has the elements as the index has them.
    """
    if not index.size or index[0]:
        return None
    sizes, steps, rest = [], [], index
    while rest.size > 1:
        step = int(rest[1])
        regular = rest == np.arange(rest.size) * step
        size = rest.size if regular.all() else int(regular.argmin())
        if rest.size % size:
            return None
        sizes.append(size)
        steps.append(step)
        rest = rest[::size]
    # From the slowest axis to the fastest, in our tensor and in the index.
    sizes, steps = sizes[::-1], steps[::-1]
    ours = sorted(range(len(sizes)), key=lambda axis: -steps[axis])
    axes = tuple(sizes[axis] for axis in ours)
    order = tuple(ours.index(axis) for axis in range(len(sizes)))
    arranged = np.arange(index.size).reshape(axes).transpose(order).ravel()
    return (axes, order) if math.prod(axes) == index.size and np.array_equal(arranged, index) else None


def transposition(source: FileShape, arrangement: Arrangement) -> tuple[int, ...] | None:
    """The ``perm`` with which one Transpose of a tensor of ``source`` is ``arrangement``; None where none is."""
    if len(source) != len(arrangement.shape) or arrangement.index is None:
        return None
    places = np.arange(math.prod(source)).reshape(source)
    for perm in itertools.permutations(range(1, len(source))):
        axes = (0, *perm)
        moved = places.transpose(axes)
        if moved.shape == arrangement.shape and np.array_equal(moved.ravel(), arrangement.index):
            return axes
    return None
