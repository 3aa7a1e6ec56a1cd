"""What the array runs: the program of a network, and the places of its tensors in activation memory. All frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.models.quantization.network import HostProduct


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a tensor lies in activation memory.

    Folded by (fy, fx), a tensor is a grid of ``height / fy`` x ``width / fx`` pixels of ``channels * fy * fx``
    channels: channel c at row y and column x is folded channel ``(c * fy + y % fy) * fx + x % fx`` of folded pixel ``(y
    // fy, x // fx)``. Other tensors may lie in the same words.

    Attributes:
        name: The tensor's name.
        channels: Channels before folding.
        height: Rows before folding.
        width: Columns before folding.
        base: Address of its first word. Folded pixels follow each other row by row.
        groups: Words of each folded pixel.
        positions: For each folded channel its activation in these words, counted over words of ``load_width``
            activations.
        fold: (fy, fx).
    """

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
        """Words that the tensor takes."""
        return self.grid[0] * self.grid[1] * self.groups


@dataclass(frozen=True, eq=False)
class LayerSchedule:
    """The schedule of one layer, pass by pass: all that the cycle model needs.

    Attributes:
        counts: For each pass, the entries that each row issues in each window of a tile (windows x rows).
        words: For each pass, the words that the loader takes for each window of a tile (windows).
        tile: Height and width of a tile in pixels.
        tiles_y: Rows of tiles that cover the output.
        tiles_x: Columns of tiles that cover the output.
        out_height: Rows of the output.
        out_width: Columns of the output.
        steps: Drain steps of one pixel in one pass.
        unneeded_tiles: The loader may begin the layer while so many last tiles of the layer before are not yet written.
        free_tiles: The loader may take the words of so many first tiles before all tiles of the layer before are
            written; with ``skipstone.hw.design.ALL_TILES_FREE`` it does not wait for that layer at all.
        pause: The array waits for the host after the layer.
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
        """The number of passes."""
        return len(self.counts)

    @property
    def tiles(self) -> int:
        """Tiles of one pass."""
        return self.tiles_y * self.tiles_x

    @property
    def row_entries(self) -> NDArray[np.int64]:
        """Entries that each row issues in one tile of all passes."""
        total: NDArray[np.int64] = np.sum([counts.sum(axis=0) for counts in self.counts], axis=0)
        return total

    @property
    def load_words(self) -> int:
        """Words of the load list: those of one tile of all passes."""
        return sum(int(words.sum()) for words in self.words)


class LayerWords(ABC):
    """What the memories hold for one layer."""

    @property
    @abstractmethod
    def weights(self) -> tuple[NDArray[Any], ...]:
        """The packed entries of each row, pass after pass."""

    @property
    @abstractmethod
    def loads(self) -> NDArray[Any]:
        """The packed load list, pass after pass."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[int, ...]:
        """The packed requantization words, as Python integers."""


@dataclass(frozen=True, eq=False)
class LayerProgram:
    """The program of one workload: a descriptor and what it points to.

    Attributes:
        name: The workload's name.
        kind: The kind of its layers.
        layers: Names of the network's layers that run together here.
        macs: Multiply-accumulates of the dense layers.
        nnz: Nonzero weights, each counted once and not once a tile.
        products: Entries that stand for nonzero weights in the rows' lists: each weight has as many as pixels are
            folded into one of the output.
        stored_weights: All weights, zeros included.
        captures: (word, column) pairs of one tile that the loader writes into windows.
        words: What the memories hold.
        descriptor: The packed layer descriptor, a Python integer.
        schedule: The schedule, for the cycle model.
        input: The tensor that is read.
        outputs: The tensors that are written.
        complete: Those of them whose last pixels are written here.
        other: The tensor that is added, or None.
        geometry: How windows slide over the (folded) input.
        split: The part of the kernel that one window holds.
        groups: For each pass, the channel groups of the input that windows are cut from, in order.
        entry_bits: Width of a row's entry.
        uses_table: Results are looked up in a table.
        trained: Its weights come from the network.
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
    groups: tuple[NDArray[np.int64], ...]
    entry_bits: int = 0
    uses_table: bool = False
    trained: bool = True

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
    """What the host computes while the array waits.

    Attributes:
        after: The number of the array's layers that have run.
        product: The layer that the host computes.
        inputs: The tensors that it reads.
        leaves: For each input, the names of the tensors that lie side by side in it.
        output: The tensor that it writes.
    """

    after: int
    product: HostProduct
    inputs: tuple[Placement, ...]
    leaves: tuple[tuple[str, ...], ...]
    output: Placement


@dataclass(frozen=True)
class Search:
    """How much the mapper compared to find a program.

    Attributes:
        foldings: Foldings of the network, compared by bounds of their cycles.
        schedules: Schedules of layers, compared by exact cycles.
        programs: Programs of the network, compared by exact cycles.
    """

    foldings: int
    schedules: int
    programs: int


@dataclass(frozen=True, eq=False)
class Program:
    """A network compiled for one design.

    The array stops for every group of ``host_steps`` and is started again.

    Attributes:
        network: The network's name.
        design: The array.
        layers: The workloads in execution order.
        input: Where the host writes the input.
        outputs: Where the host reads the outputs.
        activation_words: The highest word of activation memory that is used, plus one.
        tables: The integers of each table, in the order of their numbers.
        codebooks: The integers of each codebook, in the order of their numbers.
        host_steps: What the host computes between layers.
        search: How much was compared to find the program.
    """

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
        """The words of every program memory, by the memory's name.

        Rows have a memory each, ``weights0`` and so on. ``tables`` and ``codebooks`` are only there where the program
        has some.
        """
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

    def image_words(self) -> dict[str, int]:
        """How many words each of :meth:`memory_images` has, in its order, without making them."""
        lists: dict[str, Sequence[Sized]] = {
            "loads": [layer.loads for layer in self.layers],
            "parameters": [layer.parameters for layer in self.layers],
            "descriptors": [self.layers],
            "tables": self.tables,
            "codebooks": self.codebooks,
            **{f"weights{row}": [layer.weights[row] for layer in self.layers] for row in range(self.design.rows)},
        }
        return {
            name: sum(map(len, parts)) for name, parts in lists.items() if parts or name not in ("tables", "codebooks")
        }


@dataclass(frozen=True)
class Geometry:
    """How windows slide over the input, in rows and columns.

    Attributes:
        kernel: Taps.
        stride: Input pixels between output pixels.
        padding: Pixels before the image; negative where the image is cropped.
        dilation: Input pixels between taps.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def low(self) -> tuple[int, int]:
        """The first input row and column that the output pixel (0, 0) reads."""
        return -self.padding[0], -self.padding[1]

    @property
    def high(self) -> tuple[int, int]:
        """The last input row and column that the output pixel (0, 0) reads."""
        return (
            (self.kernel[0] - 1) * self.dilation[0] - self.padding[0],
            (self.kernel[1] - 1) * self.dilation[1] - self.padding[1],
        )


@dataclass(frozen=True)
class KernelSplit:
    """The part of a kernel that one window holds.

    Attributes:
        height: Rows of taps.
        width: Columns of taps.
        groups: Channel groups that fit beside each other.
    """

    height: int
    width: int
    groups: int
