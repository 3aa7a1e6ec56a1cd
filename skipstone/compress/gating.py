"""What channel gating (``skipstone.models.pruning.gating``) would save the loader of a compiled program, were it
able to skip words.

It is not: a load list is fixed when the network is compiled, and the array takes every word of it for every image. The
figures say what it would be worth to change that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.program import LayerProgram, Program
from skipstone.models.pruning.gating import GatingResult, LayerGating
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork


@dataclass(frozen=True)
class LoadSavings:
    """One descriptor of a program: ``words`` that its loader takes for an image, and how many of them it need not take, as the
    mean of the images."""

    name: str
    words: int
    saved_words: float


def load_savings(program: Program, network: QuantizedNetwork, gating: GatingResult) -> tuple[LoadSavings, ...]:
    """Words that gating could save, for each workload whose layers are all gated.

    A word holds ``load_width`` neighbouring channels of one pixel, in the program's order of channels. It need not be loaded
    for an image where every channel in it that the layers have nonzero weights for is gated; this holds for each time that
    the load list names it: pass by pass, tile by tile.

    Args:
        program: The network mapped onto a design.
        network: The integers of ``program``.
        gating: Which channels of which layers are gated for which images.
    """
    layers = {layer.name: layer for layer in network.array_layers}
    gated = {layer.name: layer for layer in gating.layers}
    return tuple(
        _savings(layer, program.design, layers, gated)
        for layer in program.layers
        if all(name in gated for name in layer.layers)
    )


def _savings(
    layer: LayerProgram, design: Design, layers: Mapping[str, QuantizedLayer], gated: Mapping[str, LayerGating]
) -> LoadSavings:
    loads = np.bincount(_groups_of_loads(layer, design), minlength=layer.input.groups) * layer.schedule.tiles
    channel = np.arange(len(layer.input.positions)) // math.prod(layer.input.fold)
    group = layer.input.positions // design.load_width
    read = np.zeros(layer.input.channels, np.bool_)
    for name in layer.layers:
        read[layers[name].channels_read[(layers[name].weights != 0).any(axis=(2, 3))]] = True
    # Layers that run together read one tensor, which is gated alike for all of them.
    needed = read & ~gated[layer.layers[0]].gated
    words_needed = np.zeros((len(needed), layer.input.groups), np.int64)
    holds = np.zeros(layer.input.groups, np.bool_)
    for index, place in zip(channel.tolist(), group.tolist(), strict=True):
        words_needed[:, place] += needed[:, index]
        holds[place] |= read[index]
    return LoadSavings(layer.name, int(loads.sum()), float((((words_needed == 0) & holds) @ loads).mean()))


def _groups_of_loads(layer: LayerProgram, design: Design) -> NDArray[np.int64]:
    """The word, counted within its pixel, of each entry of the layer's load list (one tile, all passes)."""
    entries = [design.load_entry.unpack(int(word)) for word in layer.loads]
    row = layer.input.grid[1]
    return np.array(
        [entry["offset"] - (entry["y"] * row + entry["x"]) * layer.input.groups for entry in entries], np.int64
    )
