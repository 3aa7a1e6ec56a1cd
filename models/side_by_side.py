"""What a Concat asks of the tensors it joins: that each lies in one place only, and that all have one scale.

A whole is only a name for its parts, which the layers before write side by side. Where a tensor can't lie there (it is the
network's input, lies elsewhere already, or comes twice), the quantizer copies it: :func:`with_copies`.
"""

from __future__ import annotations

from dataclasses import replace

import networkx as nx

from models.calibrate import Ranges
from models.errors import SkipstoneError
from models.graph import Add, Concat, Copy, Graph, Layer, MaxPool, Upsample


def with_copies(graph: Graph) -> Graph:
    """The graph with a Copy for every part of a Concat that can't lie in it itself; each tensor then is a part of one
    Concat at most, and once. A Concat that is added to another tensor is copied too: the order of its channels is that of
    its parts, and an Add wants both of its operands in one order."""
    names = {graph.input, *(layer.name for layer in graph.layers)}
    placed, wholes = {graph.input}, set()
    layers: list[Layer] = []

    def copy(tensor: str, reader: str) -> str:
        number = 1
        while (name := f"{reader}.copy{number}") in names:
            number += 1
        names.add(name)
        layers.append(Copy(name=name, inputs=(tensor,)))
        return name

    for layer in graph.order:
        if isinstance(layer, Concat):
            wholes.add(layer.name)
            parts = []
            for part in layer.inputs:
                lying = copy(part, layer.name) if part in placed else part
                placed.add(lying)
                parts.append(lying)
            layer = replace(layer, inputs=tuple(parts))
        elif isinstance(layer, Add):
            copies = {name: copy(name, layer.name) for name in dict.fromkeys(layer.inputs) if name in wholes}
            layer = replace(layer, inputs=tuple(copies.get(name, name) for name in layer.inputs))
        layers.append(layer)
    return replace(graph, layers=tuple(layers))


def shared_ranges(graph: Graph, ranges: Ranges) -> dict[str, tuple[float, float]]:
    """The range of every tensor, the same for tensors that must have one scale: a Concat and its parts, and a maximum or an
    upsampling and what it reads. It holds the ranges of all tensors of such a group that are computed, not passed on."""
    same = nx.Graph()
    same.add_nodes_from(graph.shapes)
    passing = {layer.name for layer in graph.layers if isinstance(layer, MaxPool | Upsample | Concat)}
    same.add_edges_from((name, tensor) for name in passing for tensor in graph.layer(name).inputs)
    result = {}
    for group in nx.connected_components(same):
        known = [_range_of(graph, ranges, name) for name in sorted(group - passing)]
        whole = (min(low for low, _ in known), max(high for _, high in known))
        result.update(dict.fromkeys(group, whole))
    return result


def _range_of(graph: Graph, ranges: Ranges, tensor: str) -> tuple[float, float]:
    layer = None if tensor == graph.input else graph.layer(tensor)
    name = layer.inputs[0] if isinstance(layer, Copy) else tensor
    if name not in ranges.limits:
        raise SkipstoneError(f"tensor '{name}' has no range; calibrate the same network that is quantized")
    return ranges.limits[name]
