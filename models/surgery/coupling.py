"""Which channels of which tensors can only be removed together: the connected components of a networkx graph whose nodes
are (tensor, channel). Structured pruning shrinks tensors by these groups.

A convolution mixes its input channels, so it couples nothing, but for its own groups: a depthwise filter goes with its
input channel, and the groups of a grouped convolution must stay equally large, so channels at one place of every group
go together. An Add couples its operands channel by channel, as all that works pixel by pixel does; a Concat shifts them.
(Fang et al., DepGraph, 2023, build the same groups for PyTorch modules.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Concat, Conv, OnHost, Select

Channel = tuple[str, int]
"""(tensor, channel)."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """The groups of channels of ``graph`` that go together.

    ``group_of[tensor][channel]`` is the group's number; numbers rise from 0 with the execution order of each group's first
    tensor and with its first channel. ``fixed[group]`` is true where a channel belongs to the network's input, to one of
    its outputs or to what the host computes, so that the group can't be removed.
    """

    graph: Graph
    group_of: Mapping[str, NDArray[np.int64]]
    fixed: NDArray[np.bool_]

    @cached_property
    def groups(self) -> tuple[tuple[Channel, ...], ...]:
        """The members of each group, by execution order and channel."""
        members: list[list[Channel]] = [[] for _ in self.fixed]
        for tensor, groups in self.group_of.items():
            for channel, group in enumerate(groups):
                members[group].append((tensor, channel))
        return tuple(tuple(group) for group in members)

    @cached_property
    def sources(self) -> tuple[tuple[Channel, ...], ...]:
        """The filters of each group that mix channels: those whose weights make the group's values."""
        return tuple(
            tuple((tensor, channel) for tensor, channel in group if mixes(self.graph, tensor)) for group in self.groups
        )


def coupled_channels(graph: Graph) -> Coupling:
    """The groups of channels of all of ``graph``'s tensors."""
    network: nx.Graph = nx.Graph()
    for tensor, shape in graph.shapes.items():
        network.add_nodes_from((tensor, channel) for channel in range(shape[0]))
    for layer in graph.order:
        network.add_edges_from(_edges(graph, layer.name))
    group_of = {tensor: np.full(shape[0], -1, np.int64) for tensor, shape in graph.shapes.items()}
    count = 0
    # Components come in the order of their first node, so numbering is deterministic.
    for component in nx.connected_components(network):
        for tensor, channel in component:
            group_of[tensor][channel] = count
        count += 1
    fixed = np.zeros(count, bool)
    hosts = [layer for layer in graph.layers if isinstance(layer, OnHost)]
    for tensor in [graph.input, *graph.outputs, *(name for host in hosts for name in (host.name, *host.inputs))]:
        fixed[group_of[tensor]] = True
    return Coupling(graph, group_of, fixed)


def mixes(graph: Graph, tensor: str) -> bool:
    """Whether a non-depthwise convolution makes ``tensor``."""
    if tensor == graph.input:
        return False
    layer = graph.layer(tensor)
    return isinstance(layer, Conv) and not is_depthwise(layer)


def is_depthwise(layer: Conv) -> bool:
    """Whether the convolution is depthwise; one group does not count."""
    return layer.groups > 1 and layer.weights.shape[1] == 1


def _edges(graph: Graph, name: str) -> Iterator[tuple[Channel, Channel]]:
    """Pairs of channels that layer ``name`` ties together."""
    layer = graph.layer(name)
    channels = graph.shapes[name][0]
    match layer:
        case Conv() if is_depthwise(layer):
            each = channels // layer.groups
            for channel in range(channels):
                yield (layer.inputs[0], channel // each), (name, channel)
        case Conv() if layer.groups > 1:
            for tensor, count in ((layer.inputs[0], graph.shapes[layer.inputs[0]][0]), (name, channels)):
                each = count // layer.groups
                for channel in range(each, count):
                    yield (tensor, channel % each), (tensor, channel)
        case Conv():
            return
        case OnHost() if layer.views:
            return
        case Select():
            for channel, source in enumerate(layer.channels.tolist()):
                yield (layer.inputs[0], source), (name, channel)
        case Concat():
            start = 0
            for tensor in layer.inputs:
                for channel in range(graph.shapes[tensor][0]):
                    yield (tensor, channel), (name, start + channel)
                start += graph.shapes[tensor][0]
        case _:
            for tensor in layer.inputs:
                for channel in range(channels):
                    yield (tensor, channel), (name, channel)
