"""What the array runs: the program of a network, and the placement of its tensors in activation memory. All frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.models.quantization.network import HostProduct


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a tensor lies. Folded by (fy, fx), it is a grid of ``height / fy`` x ``width / fx`` pixels of ``channels * fy * fx``
    channels: channel c at row y and column x is folded channel ``(c * fy + y % fy) * fx + x % fx`` of folded pixel
    ``(y // fy, x // fx)``. The folded pixels take ``groups`` words each from ``base`` on, row by row; folded channel k is
    activation ``positions[k]`` of these words, counted over words of ``load_width`` activations. (Other tensors may lie in
    the same words.)"""

    name: str
    channels: int
    height: int
    width: int
    base: int
    groups: int
    positions: NDArray[np.int64]
    fold: tuple[int, int] = (1, 1)

    @property
    def grid(self) -> tuple[int, int]:
        """Folded pixels: height and width."""
        return self.height // self.fold[0], self.width // self.fold[1]

    @property
    def words(self) -> int:
        return self.grid[0] * self.grid[1] * self.groups


@dataclass(frozen=True, eq=False)
class LayerSchedule:
    """One pass-by-pass schedule, all that the cycle model needs.

    ``counts[p]`` (windows x rows) are the entries that each row issues in each window of pass p, ``words[p]`` (windows) the
    words the loader takes for it; both hold for every tile. ``tiles_y`` x ``tiles_x`` tiles of ``tile`` (height, width) pixels
    cover the ``out_height`` x ``out_width`` output; ``steps`` are the drain steps of one pixel in one pass.

    The loader may begin the layer while the last ``unneeded_tiles`` tiles of the layer before are not yet written, and
    take the first ``free_tiles`` tiles' words before all of them are (``skipstone.hw.design.ALL_TILES_FREE``: it need
    not wait for that layer at all). After a layer with ``pause`` the array waits for the host.
    """

    counts: tuple[NDArray[np.int64], ...]
    words: tuple[NDArray[np.int64], ...]
    tile: tuple[int, int]
    tiles_y: int
    tiles_x: int
    out_height: int
    out_width: int
    steps: int
    unneeded_tiles: int = 0
    free_tiles: int = 0
    pause: bool = False

    @property
    def passes(self) -> int:
        return len(self.counts)

    @property
    def tiles(self) -> int:
        return self.tiles_y * self.tiles_x

    @property
    def row_entries(self) -> NDArray[np.int64]:
        """Entries that each row issues in one tile of all passes."""
        total: NDArray[np.int64] = np.sum([counts.sum(axis=0) for counts in self.counts], axis=0)
        return total

    @property
    def load_words(self) -> int:
        """Words of the load list: of one tile of all passes."""
        return sum(int(words.sum()) for words in self.words)


class LayerWords(ABC):
    """What the memories hold for one layer. ``weights[r]`` are row r's packed entries and ``loads`` the packed load list, pass
    after pass; ``parameters`` are the packed requantization words (Python integers)."""

    @property
    @abstractmethod
    def weights(self) -> tuple[NDArray[Any], ...]: ...

    @property
    @abstractmethod
    def loads(self) -> NDArray[Any]: ...

    @property
    @abstractmethod
    def parameters(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, eq=False)
class LayerProgram:
    """One descriptor and what it points to.

    ``words`` are what the memories hold, ``descriptor`` is the packed layer descriptor (a Python integer). ``layers`` are the
    names of the network's layers that run together here. ``nnz`` counts nonzero weights once (not per tile), of
    ``stored_weights`` in all, and ``products`` the entries that stand for them in the rows' lists: as often as the output is
    folded. ``macs`` are the dense layers' multiply-accumulates; ``captures`` are the (word, column) pairs of one tile that the
    loader writes into windows; ``entry_bits`` is the width of a row's entry; ``uses_table`` says whether results are looked up
    in a table. ``outputs`` are the tensors written, ``complete`` those of them that are whole now. ``geometry`` is how windows
    slide over the (folded) input, ``split`` the part of the kernel that one window holds.
    """

    name: str
    kind: str
    layers: tuple[str, ...]
    macs: int
    nnz: int
    products: int
    stored_weights: int
    captures: int
    words: LayerWords
    descriptor: int
    schedule: LayerSchedule
    input: Placement
    outputs: tuple[Placement, ...]
    complete: tuple[Placement, ...]
    other: Placement | None
    geometry: Geometry
    split: KernelSplit
    entry_bits: int = 0
    uses_table: bool = False

    @property
    def weights(self) -> tuple[NDArray[Any], ...]:
        return self.words.weights

    @property
    def loads(self) -> NDArray[Any]:
        return self.words.loads

    @property
    def parameters(self) -> tuple[int, ...]:
        return self.words.parameters

    @property
    def row_entries(self) -> NDArray[np.int64]:
        """Words of ``weights`` of each row, fillers included."""
        return self.schedule.row_entries

    @property
    def encoded_bits(self) -> int:
        """Bits that the layer takes in the rows' weight memories, fillers included."""
        return int(self.row_entries.sum()) * self.entry_bits


@dataclass(frozen=True, eq=False)
class HostStep:
    """What the host computes when ``after`` layers have run: it reads ``inputs``, and writes ``output``. ``leaves``: the tensors
    side by side in each input."""

    after: int
    product: HostProduct
    inputs: tuple[Placement, ...]
    leaves: tuple[tuple[str, ...], ...]
    output: Placement


@dataclass(frozen=True)
class Search:
    """What the mapper looked at to find a program: ``foldings`` of the network compared by their bounds, ``schedules`` of layers
    and whole ``programs`` whose exact cycles it counted."""

    foldings: int
    schedules: int
    programs: int


@dataclass(frozen=True, eq=False)
class Program:
    """The whole network on one design. ``activation_words`` is the highest word used, plus one. ``tables`` and ``codebooks``
    hold the integers of each, in the order of their numbers. The array stops for every group of ``host_steps`` and is started
    again."""

    network: str
    design: Design
    layers: tuple[LayerProgram, ...]
    input: Placement
    outputs: tuple[Placement, ...]
    activation_words: int
    tables: tuple[tuple[int, ...], ...] = ()
    codebooks: tuple[tuple[int, ...], ...] = ()
    host_steps: tuple[HostStep, ...] = ()
    search: Search = field(default_factory=lambda: Search(0, 0, 0))

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


@dataclass(frozen=True, eq=False)
class Geometry:
    """How windows slide over the input. ``padding``: rows and columns before the image (negative: cropped). ``low`` and ``high``
    are the first and last input row and column that the output pixel (0, 0) reads."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def low(self) -> tuple[int, int]:
        return -self.padding[0], -self.padding[1]

    @property
    def high(self) -> tuple[int, int]:
        return (
            (self.kernel[0] - 1) * self.dilation[0] - self.padding[0],
            (self.kernel[1] - 1) * self.dilation[1] - self.padding[1],
        )


@dataclass(frozen=True)
class KernelSplit:
    """The rectangle of taps one window holds (``height`` x ``width``) and how many channel groups fit beside each other."""

    height: int
    width: int
    groups: int
