"""Tensors as words of activation memory: how the host writes an input and reads a result.

A word holds ``load_width`` activations, the first in its least significant bits; ``Placement`` says which activation of which
word holds which value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.program import Placement


def pack_words(placement: Placement, design: Design, values: NDArray[np.int64]) -> list[int]:
    """The memory words of a tensor, folded pixel after folded pixel; activations of other tensors in them are 0.

    Args:
        placement: where the tensor lies.
        design: gives ``load_width`` and ``activation_bits``.
        values: the tensor (channels x height x width); values are taken modulo ``2**activation_bits``.

    Returns:
        ``placement.words`` words, the first of which belongs to address ``placement.base``.
    """
    grid = (placement.grid[0] * placement.grid[1], placement.groups * design.load_width)
    lanes = np.zeros(grid, np.int64)
    lanes[:, placement.positions] = _folded(values, placement.fold)
    mask = (1 << design.activation_bits) - 1
    words = []
    for row in (lanes.reshape(-1, design.load_width) & mask).tolist():
        word = 0
        for lane in reversed(row):
            word = (word << design.activation_bits) | lane
        words.append(word)
    return words


def write_words(placement: Placement, design: Design, values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Addresses and words that the host writes: of a pixel's words only those that hold the tensor.

    Args:
        placement: where the tensor lies.
        design: gives ``load_width`` and ``activation_bits``.
        values: the tensor (channels x height x width).

    Returns:
        (address, word) pairs in the order of addresses.
    """
    own_words = set(np.unique(placement.positions // design.load_width).tolist())
    words = pack_words(placement, design, values)
    return [(placement.base + index, word) for index, word in enumerate(words) if index % placement.groups in own_words]


def unpack_words(placement: Placement, design: Design, words: Sequence[int]) -> NDArray[np.int64]:
    """The tensor that memory words hold; the inverse of ``pack_words`` for values of ``activation_bits``.

    Args:
        placement: where the tensor lies.
        design: gives ``load_width`` and ``activation_bits``.
        words: the ``placement.words`` words from address ``placement.base`` on.

    Returns:
        The tensor (channels x height x width), signed.
    """
    bits, mask, sign = design.activation_bits, (1 << design.activation_bits) - 1, 1 << (design.activation_bits - 1)
    lanes = np.array(
        [[(word >> (lane * bits)) & mask for lane in range(design.load_width)] for word in words], np.int64
    ).reshape(placement.grid[0] * placement.grid[1], -1)
    lanes = np.where(lanes & sign, lanes - (mask + 1), lanes)
    return _unfolded(lanes[:, placement.positions], placement)


def _folded(values: NDArray[np.int64], fold: tuple[int, int]) -> NDArray[np.int64]:
    """A tensor (channels x height x width) as folded pixels x folded channels."""
    channels, height, width = values.shape
    split = values.reshape(channels, height // fold[0], fold[0], width // fold[1], fold[1])
    return split.transpose(1, 3, 0, 2, 4).reshape(-1, channels * fold[0] * fold[1])


def _unfolded(values: NDArray[np.int64], placement: Placement) -> NDArray[np.int64]:
    """Folded pixels x folded channels as a tensor (channels x height x width)."""
    (rows, columns), (fy, fx) = placement.grid, placement.fold
    split = values.reshape(rows, columns, placement.channels, fy, fx)
    return split.transpose(2, 0, 3, 1, 4).reshape(placement.channels, placement.height, placement.width)
