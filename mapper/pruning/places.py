"""Where each weight of a layer runs, pruned ones included: pass, window and row, and the load word that it reads.

Places come from a compiled program (its channel order, folds and windows), so that the cost of a mask for each row and
for the loader can be seen weight by weight. A pruned weight's place is where it would run if it were restored alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.lowering.windows import Nonzeros
from skipstone.mapper.lowering.workload import lower, merge
from skipstone.mapper.program import LayerProgram, Placement
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv, ConvTranspose
from skipstone.models.quantization.network import QuantizedNetwork

Ints = NDArray[np.int64]
NOT_LOADED = -1


@dataclass(frozen=True, eq=False)
class Places:
    """The entries of a workload, as parallel arrays. A weight of a folded output has several entries.

    ``layer`` is an index of ``layers``, ``weight`` the flat index in the layer's weights. ``channel_pass``, ``row`` and
    ``window`` say where the entry runs; ``window`` is ``NOT_LOADED`` where no nonzero of the pass reads the word that
    the weight needs. ``group`` is the word of the input's pixel, ``ky`` and ``kx`` are the tap in the program's
    geometry, and ``nonzero`` says whether the weight is nonzero in the integers that run.

    ``passes`` and, for each pass, ``windows`` are those of the program.
    """

    layers: tuple[str, ...]
    layer: Ints
    weight: Ints
    channel_pass: Ints
    row: Ints
    window: Ints
    group: Ints
    ky: Ints
    kx: Ints
    nonzero: NDArray[np.bool_]
    windows: tuple[int, ...]

    def counts(self, rows: int) -> tuple[Ints, ...]:
        """Nonzeros of each pass by window and row, fillers left out: windows x rows."""
        result = []
        for index, windows in enumerate(self.windows):
            mine = self.nonzero & (self.channel_pass == index)
            cells = self.window[mine] * rows + self.row[mine]
            result.append(np.bincount(cells, minlength=windows * rows).reshape(windows, rows))
        return tuple(result)


def weight_places(program: LayerProgram, network: QuantizedNetwork, design: Design) -> Places:
    """The places of all weights of one workload.

    Args:
        program: The compiled workload.
        network: The network that it was compiled from.
        design: The array.
    """
    layers = [next(layer for layer in network.array_layers if layer.name == name) for name in program.layers]
    numbered, first = [], 1
    for layer in layers:
        # Every weight is nonzero here, and its value its number, which lowering carries along.
        numbers = np.arange(first, first + layer.weights.size, dtype=np.int64).reshape(layer.weights.shape)
        numbered.append(replace(layer, weights=numbers))
        first += layer.weights.size
    workload = reduce(
        merge,
        (
            lower(network, layer, program.input.fold, placed.fold)
            for layer, placed in zip(numbered, program.outputs, strict=True)
        ),
    )
    every = workload.nonzeros
    # A folded kernel begins at its first tap with a nonzero, so that it may begin earlier here than in the program.
    taps = [
        (tap * own_dilation - own_padding + padding) // dilation
        for tap, own_dilation, own_padding, dilation, padding in zip(
            (every.ky, every.kx),
            workload.geometry.dilation,
            workload.geometry.padding,
            program.geometry.dilation,
            program.geometry.padding,
            strict=True,
        )
    ]
    ends = np.cumsum([layer.weights.size for layer in layers])
    number = every.value - 1
    of_layer = np.searchsorted(ends, number, side="right")
    weight = number - np.concatenate([[0], ends[:-1]])[of_layer]
    nonzero = np.concatenate([layer.weights.ravel() for layer in layers])[number] != 0
    channel_pass, row = _rows(program, design)
    entries = Nonzeros(every.channel, program.input.positions[every.position], taps[0], taps[1], every.value)
    window, windows = _windows(program, design, entries, channel_pass[every.channel], nonzero)
    return Places(
        program.layers,
        of_layer,
        weight,
        channel_pass[every.channel],
        row[every.channel],
        window,
        entries.position // design.load_width,
        taps[0],
        taps[1],
        nonzero,
        windows,
    )


def trained(graph: Graph, network: QuantizedNetwork, program: LayerProgram) -> bool:
    """Whether all of a workload's weights are weights of layers of ``graph``.

    It is not so for pools, for Adds without a layer, and for transposed convolutions, whose phases have parts of a
    kernel each.
    """
    shapes = {layer.name: layer.weights.shape for layer in network.array_layers}
    convs = {layer.name: layer for layer in graph.convs if not isinstance(layer, ConvTranspose)}
    return all(name in convs and convs[name].weights.shape == shapes[name] for name in program.layers)


def weights_of(graph: Graph, name: str) -> NDArray[np.float32]:
    """The weights of a layer for which ``trained`` is true."""
    layer = graph.layer(name)
    assert isinstance(layer, Conv)
    return layer.weights


def _rows(program: LayerProgram, design: Design) -> tuple[Ints, Ints]:
    """Pass and row of each (folded) output channel of the workload, part after part."""
    lanes = design.requantizer_lanes
    row_at = {design.position(r, a): r for r in range(design.rows) for a in range(design.accumulators)}
    passes, rows = [], []
    for placed in program.outputs:
        relative = placed.positions - _start(placed)
        # Parts of a merged workload share its one pass.
        steps = program.schedule.steps if len(program.outputs) == 1 else int(relative.max()) // lanes + 1
        passes.append(relative // (steps * lanes))
        rows.append(np.array([row_at[at] for at in (relative % (steps * lanes)).tolist()], np.int64))
    return np.concatenate(passes), np.concatenate(rows)


def _start(placed: Placement) -> int:
    """The first activation of the tensor's own words: its first channel in memory is always the first in them."""
    return int(placed.positions.min())


def _windows(
    program: LayerProgram, design: Design, entries: Nonzeros, channel_pass: Ints, nonzero: NDArray[np.bool_]
) -> tuple[Ints, tuple[int, ...]]:
    """The window of each entry, as ``skipstone.mapper.lowering.windows.plan_windows`` makes them of the nonzeros alone
    and the program's groups."""
    split, kernel = program.split, program.geometry.kernel
    inside = (entries.ky >= 0) & (entries.ky < kernel[0]) & (entries.kx >= 0) & (entries.kx < kernel[1])
    parts_x = -(-kernel[1] // split.width)
    parts = -(-kernel[0] // split.height) * parts_x
    part = entries.ky // split.height * parts_x + entries.kx // split.width
    group = entries.position // design.load_width
    word = (group * kernel[0] + entries.ky) * kernel[1] + entries.kx
    window = np.full(len(group), NOT_LOADED, np.int64)
    windows = []
    for index in range(program.schedule.passes):
        mine = channel_pass == index
        used = mine & nonzero
        if not used.any():
            windows.append(1)
            continue
        rank = np.searchsorted(program.groups[index], group)
        raw = rank // split.groups * parts + part
        live_windows = np.unique(raw[used])
        windows.append(len(live_windows))
        live = mine & inside
        live[live] = np.isin(word[live], np.unique(word[used]))
        window[live] = np.searchsorted(live_windows, raw[live])
    return window, tuple(windows)
