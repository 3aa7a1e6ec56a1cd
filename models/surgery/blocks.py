"""Removes whole layers: residual branches around which a shortcut leads, and layers whose output has their input's shape.
Depth falls, and all that the removed layers cost.

Blocks are named after the layer that ends them: the Add of a residual block, or the convolution itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, Clamp, ClampLayer, Conv, Layer
from skipstone.models.surgery.result import LayerChange, Surgery


@dataclass(frozen=True)
class RemovableBlock:
    """``layers`` (in execution order) that can go, after which readers of the tensor ``name`` read ``source``; in a residual
    block through the Add's own clamp."""

    name: str
    kind: Literal["residual", "layer"]
    layers: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class RemovableBlocks:
    """What can be removed, in execution order, and for each other Add or convolution why it can't (``fixed``)."""

    removable: tuple[RemovableBlock, ...]
    fixed: Mapping[str, str]

    def named(self, name: str) -> RemovableBlock:
        """The block called ``name``."""
        for block in self.removable:
            if block.name == name:
                return block
        if name in self.fixed:
            raise SkipstoneError(f"layer '{name}' can't be removed: {self.fixed[name]}")
        names = ", ".join(block.name for block in self.removable) or "none"
        raise SkipstoneError(f"no removable block '{name}'; removable are {names}")


def removable_blocks(graph: Graph) -> RemovableBlocks:
    """The residual blocks whose shortcut is the identity, and the convolutions of equal input and output shape."""
    removable: list[RemovableBlock] = []
    fixed: dict[str, str] = {}
    for layer in graph.order:
        match layer:
            case Add():
                result = _residual(graph, layer)
            case Conv():
                result = _single(graph, layer)
            case _:
                continue
        if isinstance(result, RemovableBlock):
            removable.append(result)
        else:
            fixed[layer.name] = result
    return RemovableBlocks(tuple(removable), fixed)


def remove_blocks(
    graph: Graph,
    blocks: Iterable[str] | None = None,
    *,
    amount: float | None = None,
    scores: Mapping[str, float | NDArray[np.floating]] | None = None,
) -> Surgery:
    """Removes whole blocks.

    A single layer goes with its clamp; a residual block leaves its Add's.

    Args:
        graph: The network.
        blocks: Names of :func:`removable_blocks`. Either these or ``amount``.
        amount: The share of the blocks to remove (rounded to nearest), those with the lowest scores. The blocks are then the
            residual ones, and single layers outside of them.
        scores: Numbers, or K numbers of which the mean counts, by block or else by layer. A block without a score has the mean of
            its layers' scores; blocks without any stay. Ties go to the earlier block.

    Raises:
        SkipstoneError: A block does not exist or can't be removed, or the amount is out of range.
    """
    if (blocks is None) == (amount is None):
        raise SkipstoneError("give either the blocks to remove or the amount of them")
    if blocks is not None:
        notes: tuple[str, ...] = ()
        smaller = graph
        # From the end: no name that is still to come can lie in a block that went, but as one of its layers.
        place = {layer.name: index for index, layer in enumerate(graph.order)}
        for name in blocks:
            graph.layer(name)
        for name in sorted(dict.fromkeys(blocks), key=lambda each: -place[each]):
            if name in smaller.network:
                smaller = _without(smaller, removable_blocks(smaller).named(name))
            else:
                notes += (f"block '{name}' went with a block around it",)
        return _report(graph, smaller, notes)
    assert amount is not None
    if not 0 <= amount <= 1:
        raise SkipstoneError(f"the amount of blocks to remove must be from 0 to 1, not {amount:g}")
    return _lowest(graph, amount, scores or {})


def _lowest(graph: Graph, amount: float, scores: Mapping[str, float | NDArray[np.floating]]) -> Surgery:
    for name in scores:
        graph.layer(name)
    blocks = removable_blocks(graph)
    notes = [f"layer '{name}' stays: {reason}" for name, reason in blocks.fixed.items()]
    candidates = _outermost(blocks.removable)
    rated = {block.name: _score(block, scores) for block in candidates}
    notes += [f"block '{name}' stays: it has no score" for name, score in rated.items() if math.isnan(score)]
    order = sorted((name for name in rated if not math.isnan(rated[name])), key=rated.__getitem__)
    count, smaller = round(amount * len(candidates)), graph
    removed = 0
    for name in order:
        if removed == count:
            break
        block = next((each for each in removable_blocks(smaller).removable if each.name == name), None)
        if block is None:
            notes.append(f"block '{name}' stays: it no longer fits once others are gone")
            continue
        smaller = _without(smaller, block)
        removed += 1
    if removed < count:
        notes.append(f"{removed} of {count} blocks were removed: no others can go")
    return _report(graph, smaller, tuple(notes))


def _outermost(blocks: tuple[RemovableBlock, ...]) -> list[RemovableBlock]:
    """Residual blocks, and single layers that lie in none."""
    inside = {name for block in blocks if block.kind == "residual" for name in block.layers}
    return [block for block in blocks if block.kind == "residual" or block.name not in inside]


def _score(block: RemovableBlock, scores: Mapping[str, float | NDArray[np.floating]]) -> float:
    if block.name in scores:
        return float(np.mean(scores[block.name]))
    values = [float(np.mean(scores[name])) for name in block.layers if name in scores]
    return float(np.mean(values)) if values else math.nan


def _residual(graph: Graph, add: Add) -> RemovableBlock | str:
    reason = "its shortcut is not the identity"
    for shortcut, branch in (add.inputs, add.inputs[::-1]):
        if shortcut == branch:
            return "it adds a tensor to itself"
        above = nx.ancestors(graph.network, branch)
        if shortcut not in above:
            continue
        inside = {branch} | (above - {shortcut} - nx.ancestors(graph.network, shortcut))
        inside = {name for name in inside if nx.has_path(graph.network, shortcut, name)}
        others = {tensor for name in inside for tensor in graph.layer(name).inputs} - inside - {shortcut}
        if others:
            reason = f"its branch also reads '{min(others)}'"
            continue
        leaks = [name for name in inside if set(graph.readers(name)) - inside - {add.name} or name in graph.outputs]
        if leaks:
            reason = f"'{min(leaks)}' of its branch has other readers"
            continue
        if add.name in graph.outputs and add.clamp is None:
            return "it is an output of the network"
        order = tuple(layer.name for layer in graph.order if layer.name in inside)
        return RemovableBlock(add.name, "residual", order, shortcut)
    return reason


def _single(graph: Graph, layer: Conv) -> RemovableBlock | str:
    before, after = graph.shapes[layer.inputs[0]], graph.shapes[layer.name]
    if before != after:
        sizes = " to ".join("x".join(map(str, shape)) for shape in (before, after))
        return f"it changes the shape from {sizes}"
    if layer.name in graph.outputs:
        return "it is an output of the network"
    return RemovableBlock(layer.name, "layer", (layer.name,), layer.inputs[0])


def _without(graph: Graph, block: RemovableBlock) -> Graph:
    end = graph.layer(block.name)
    clamp = end.clamp if block.kind == "residual" else None
    gone = {*block.layers, block.name}
    if clamp is not None and (block.name in graph.outputs or not _within(graph, block.source, clamp)):
        stay: Layer | None = ClampLayer(name=block.name, inputs=(block.source,), clamp=clamp)
    else:
        stay = None
    layers: list[Layer] = []
    for layer in graph.layers:
        if layer.name == block.name and stay is not None:
            layers.append(stay)
        elif layer.name not in gone:
            if stay is None and block.name in layer.inputs:
                inputs = tuple(block.source if tensor == block.name else tensor for tensor in layer.inputs)
                layer = replace(layer, inputs=inputs)
            layers.append(layer)
    names = {graph.input, *(layer.name for layer in layers)}
    grids = {tensor: grid for tensor, grid in graph.grids.items() if tensor in names}
    return replace(graph, layers=tuple(layers), grids=grids)


def _within(graph: Graph, tensor: str, clamp: Clamp) -> bool:
    """Whether the layer that makes ``tensor`` already keeps it within ``clamp``."""
    if tensor == graph.input:
        return False
    bounds = graph.layer(tensor).clamp
    return bounds is not None and bounds[0] >= clamp[0] and bounds[1] <= clamp[1]


def _report(before: Graph, after: Graph, notes: tuple[str, ...]) -> Surgery:
    changes = tuple(
        LayerChange(conv.name, "remove_blocks", before.macs[conv.name], 0, (), energy=0.0)
        for conv in before.convs
        if conv.name not in after.network
    )
    return Surgery(after, notes, changes)
