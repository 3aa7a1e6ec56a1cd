"""Removes channels for real: filters, the input weights of their readers and all that is coupled with them, so that tensors
get smaller. The graph that comes out has the same layers with fewer channels.

A removed filter counts as zero weights and zero bias (Li et al., Pruning Filters for Efficient ConvNets, 2017). A filter
that is constant already, since its weights are zero, keeps its bias: the constant moves into the biases of its readers, and
so do the constants that follow from it. So the result computes the same as the masked network. The exception are borders
where such a constant met zero padding; a note says so. Weights that are quantized already keep their grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightGrid
from skipstone.models.graph.layers import Affine, Conv, Layer, Select
from skipstone.models.surgery.constants import Constants, Mask, constants, inputs_of, needed, responses
from skipstone.models.surgery.coupling import Coupling, coupled_channels, is_depthwise
from skipstone.models.surgery.result import Surgery, channel_changes


def remove_zero_channels(graph: Graph) -> Surgery:
    """``graph`` without the channels that pruning made useless: those of one constant value (all weights zero, directly or
    through other layers) and those that nothing needs (the readers' weights are zero). What the network computes stays the
    same; channels stay, with a note, where others that are coupled with them do, or where their constant, not 0, meets zero
    padding."""
    coupling = coupled_channels(graph)
    fixed = constants(graph)
    used = needed(graph, fixed.is_constant)
    gone = ~coupling.fixed
    for tensor, groups in coupling.group_of.items():
        gone[groups[~fixed.is_constant[tensor] & used[tensor]]] = False
    padded: dict[str, list[str]] = {}
    for layer in graph.convs:
        source = layer.inputs[0]
        constant = fixed.value[source] != 0
        if is_depthwise(layer) or not (gone[coupling.group_of[source]] & constant).any():
            continue
        rough = np.unique(inputs_of(layer)[responses(graph, layer)[1]])
        stays = coupling.group_of[source][rough[constant[rough]]]
        if gone[stays].any():
            padded.setdefault(source, []).append(layer.name)
        gone[stays] = False
    gone, notes = leave_one(coupling, gone)
    for layer in graph.convs:
        stays = np.flatnonzero(~layer.weights.any(axis=(1, 2, 3)) & ~gone[coupling.group_of[layer.name]])
        if len(stays):
            why = _why(coupling, layer.name, stays)
            if layer.name in padded and not coupling.fixed[coupling.group_of[layer.name][stays]].any():
                what = "their constants meet" if len(stays) > 1 else "its constant meets"
                why = f"{what} the zero padding of {_names(padded[layer.name])}"
            notes += (f"layer '{layer.name}': {_stay('zero filter', stays)}: {why}",)
        groups = coupling.group_of[layer.inputs[0]]
        if layer.groups == 1:
            unread = ~layer.weights.any(axis=(0, 2, 3)) & ~gone[groups]
            stays = np.flatnonzero(unread & ~fixed.is_constant[layer.inputs[0]])
            if len(stays):
                why = "part of the network's input" if layer.inputs[0] == graph.input else "needed elsewhere"
                notes += (f"layer '{layer.name}': {_stay('zero input channel', stays)}: {why}",)
    return remove_groups(coupling, gone, notes, "remove_zero_channels")


def remove_groups(coupling: Coupling, gone: Mask, notes: tuple[str, ...], method: str) -> Surgery:
    """The graph without the groups of ``coupling`` that ``gone`` marks; at least one channel of each tensor must stay."""
    graph = coupling.graph
    if not gone.any():
        return Surgery(graph, notes)
    keep = {tensor: ~gone[groups] for tensor, groups in coupling.group_of.items()}
    is_constant = constants(graph).is_constant
    used = needed(graph, is_constant)
    masked = _without_filters(graph, keep, is_constant)
    fixed = constants(masked, {tensor: ~mask for tensor, mask in keep.items()})
    rough = [name for name, mask in fixed.rough.items() if (mask & used[name]).any()]
    layers: list[Layer] = []
    for layer in masked.layers:
        if isinstance(layer, Conv):
            layer, differs = _smaller(masked, layer, keep, fixed)
            if (differs & used[layer.name]).any() and layer.name not in rough:
                rough.append(layer.name)
        elif isinstance(layer, Affine):
            mask = keep[layer.name]
            grid = layer.grid and _part_of(layer.grid, mask, np.ones(1, bool))
            layer = replace(layer, scale=layer.scale[mask], bias=layer.bias[mask], grid=grid)
        elif isinstance(layer, Select):
            place = np.cumsum(keep[layer.inputs[0]]) - 1
            layer = replace(layer, channels=place[layer.channels[keep[layer.name]]])
        layers.append(layer)
    smaller = replace(graph, layers=tuple(layers))
    for name in rough:
        notes += (
            f"layer '{name}': constants of removed channels met its zero padding, so its border differs a little",
        )
    return Surgery(smaller, notes, channel_changes(graph, smaller, method))


def leave_one(coupling: Coupling, gone: Mask) -> tuple[Mask, tuple[str, ...]]:
    """``gone`` without the first group of each tensor that would lose all of its channels, and notes on them."""
    gone, notes = gone.copy(), []
    for tensor, groups in coupling.group_of.items():
        if gone[groups].all():
            gone[groups[0]] = False
            notes.append(f"tensor '{tensor}': one channel stays, since a tensor can't be empty")
    return gone, tuple(notes)


def _without_filters(graph: Graph, keep: Mapping[str, Mask], is_constant: Mapping[str, Mask]) -> Graph:
    """``graph`` with zero weights and bias in filters that go; those that are constant already stay so."""
    layers: list[Layer] = []
    for layer in graph.layers:
        # Depthwise filters and their biases still act, on what is left of their input channel: a constant.
        if isinstance(layer, Conv) and not is_depthwise(layer):
            live = ~(keep[layer.name] | is_constant[layer.name])
            if live.any():
                weights, bias = layer.weights.copy(), layer.bias.copy()
                weights[live], bias[live] = 0, 0
                grid = layer.grid and replace(layer.grid, integers=np.where(weights != 0, layer.grid.integers, 0))
                layer = replace(layer, weights=weights, bias=bias, grid=grid)
        layers.append(layer)
    return replace(graph, layers=tuple(layers))


def _smaller(graph: Graph, layer: Conv, keep: Mapping[str, Mask], fixed: Constants) -> tuple[Conv, Mask]:
    """``layer`` with the channels in ``keep``, and at which of its old filters' borders the constants that the bias takes
    over are not exact."""
    mine, source = keep[layer.name], keep[layer.inputs[0]]
    differs = np.zeros(len(mine), bool)
    if mine.all() and source.all():
        return layer, differs
    if is_depthwise(layer):
        grid = layer.grid and _part_of(layer.grid, mine, np.ones(1, bool))
        groups = int(source.sum())
        return replace(layer, weights=layer.weights[mine], bias=layer.bias[mine], groups=groups, grid=grid), differs
    sources = inputs_of(layer)
    # Groups are coupled place by place, so every filter loses the same places.
    places = source[sources[0]]
    value = np.where(source, 0.0, fixed.value[layer.inputs[0]])[sources]
    bias = layer.bias
    if (value != 0).any():
        mean, varies = responses(graph, layer)
        bias = (bias + (mean * value).sum(axis=1)).astype(np.float32)
        differs = mine & ((value != 0) & varies).any(axis=1)
    grid = layer.grid and _part_of(layer.grid, mine, places)
    return replace(layer, weights=layer.weights[mine][:, places], bias=bias[mine], grid=grid), differs


def _part_of(grid: WeightGrid, outputs: Mask, inputs: Mask) -> WeightGrid:
    """What some filters and input channels keep of a layer's grid."""
    return replace(grid, integers=grid.integers[outputs][:, inputs], scale=grid.scale[outputs])


def _why(coupling: Coupling, name: str, channels: NDArray[np.int64]) -> str:
    """Why filters ``channels`` of layer ``name`` can't go alone."""
    groups = coupling.group_of[name][channels]
    many = len(channels) > 1
    if coupling.fixed[groups].any():
        return f"{'they belong' if many else 'it belongs'} to an output of the network"
    others = dict.fromkeys(tensor for group in groups for tensor, _ in coupling.groups[group] if tensor != name)
    if not others:
        return "a tensor can't be empty, nor groups unequal"
    return f"{'they are' if many else 'it is'} coupled with {_names(others)}"


def _stay(what: str, channels: NDArray[np.int64]) -> str:
    """As "filters 1, 2 stay"."""
    listed = ", ".join(str(channel) for channel in channels[:8])
    more = f" and {len(channels) - 8} more" if len(channels) > 8 else ""
    return f"{what}{'s' if len(channels) > 1 else ''} {listed}{more} stay{'' if len(channels) > 1 else 's'}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
