"""What the array runs: the program of a network, and the placement of its tensors in activation memory. All frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.design import Design


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a tensor lies: pixel (y, x) takes ``groups`` words from ``base + (y * width + x) * groups``; channel ``c`` is
    activation ``positions[c]`` of these words, counted over words of ``load_width`` activations."""

    name: str
    channels: int
    height: int
    width: int
    base: int
    groups: int
    positions: NDArray[np.int64]

    @property
    def words(self) -> int:
        return self.height * self.width * self.groups


@dataclass(frozen=True, eq=False)
class LayerSchedule:
    """One pass-by-pass schedule, all that the cycle model needs.

    ``counts[p]`` (windows x rows) are the entries that each row issues in each window of pass p, ``words[p]`` (windows) the
    words the loader takes for it; both hold for every tile. ``tiles_y`` x ``tiles_x`` tiles of ``tile`` (height, width) pixels
    cover the ``out_height`` x ``out_width`` output; ``steps`` are the drain steps of one pixel in one pass.
    """

    counts: tuple[NDArray[np.int64], ...]
    words: tuple[NDArray[np.int64], ...]
    tile: tuple[int, int]
    tiles_y: int
    tiles_x: int
    out_height: int
    out_width: int
    steps: int

    @property
    def passes(self) -> int:
        return len(self.counts)

    @property
    def tiles(self) -> int:
        return self.tiles_y * self.tiles_x


@dataclass(frozen=True, eq=False)
class LayerProgram:
    """One descriptor and what it points to.

    ``weights[r]`` are row r's packed entries and ``loads`` the packed load list, pass after pass; ``parameters`` are the
    packed requantization words and ``descriptor`` the packed layer descriptor (Python integers). ``nnz`` counts nonzero
    weights once (not per tile), of ``stored_weights`` in all; ``macs`` are the dense layer's multiply-accumulates;
    ``captures`` are the (word, column) pairs of one tile that the loader writes into windows; ``entry_bits`` is the width of a
    row's entry; ``uses_table`` says whether results are looked up in a table.
    """

    name: str
    kind: str
    macs: int
    nnz: int
    stored_weights: int
    captures: int
    weights: tuple[NDArray[Any], ...]
    loads: NDArray[Any]
    parameters: tuple[int, ...]
    descriptor: int
    schedule: LayerSchedule
    input: Placement
    output: Placement
    other: Placement | None
    entry_bits: int = 0
    uses_table: bool = False

    @property
    def encoded_bits(self) -> int:
        """Bits that the layer takes in the rows' weight memories, fillers included."""
        return sum(len(row) for row in self.weights) * self.entry_bits


@dataclass(frozen=True, eq=False)
class Program:
    """The whole network on one design. ``activation_words`` is the highest word used, plus one. ``tables`` and ``codebooks``
    hold the integers of each, in the order of their numbers."""

    network: str
    design: Design
    layers: tuple[LayerProgram, ...]
    input: Placement
    outputs: tuple[Placement, ...]
    activation_words: int
    tables: tuple[tuple[int, ...], ...] = ()
    codebooks: tuple[tuple[int, ...], ...] = ()

    def memory_images(self) -> dict[str, list[int]]:
        """The words of every program memory, by the memory's name (``weights0`` ... one per row); without ``tables`` or
        ``codebooks`` where the program has none."""
        images: dict[str, list[int]] = {
            "loads": [int(word) for layer in self.layers for word in layer.loads],
            "parameters": [word for layer in self.layers for word in layer.parameters],
            "descriptors": [layer.descriptor for layer in self.layers],
        }
        for name, lists, bits in (
            ("tables", self.tables, self.design.activation_bits),
            ("codebooks", self.codebooks, self.design.weight_bits),
        ):
            if lists:
                images[name] = [value & ((1 << bits) - 1) for values in lists for value in values]
        for row in range(self.design.rows):
            images[f"weights{row}"] = [int(word) for layer in self.layers for word in layer.weights[row]]
        return images
