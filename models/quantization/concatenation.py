"""What a Concat requires of the tensors that it joins: each lies in one place only, and all have one scale.

A Concat's result is only a name for its parts, which the layers before write side by side. Where a tensor cannot lie
there (it is the network's input, lies elsewhere already, or is joined twice), the quantizer copies it:
:func:`with_copies`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace

import networkx as nx

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid
from skipstone.models.graph.layers import Add, Concat, Copy, Layer, MaxPool, Select, Upsample
from skipstone.models.quantization.ranges import Ranges


def with_copies(graph: Graph) -> Graph:
    """Adds a Copy for every part of a Concat that cannot lie in it itself.

    Each tensor then is a part of at most one Concat, and only once. A Concat that is added to another tensor is copied
    too: the order of its channels is that of its parts, and both operands of an Add need one order.
    """
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


def scale_groups(graph: Graph, addressed: Iterable[str] = ()) -> list[set[str]]:
    """Groups the tensors that must have one scale: a Concat and its parts, a maximum or an upsampling and its input, and what
    lies in another tensor (``addressed``) and that tensor.

    Every tensor is in one group.
    """
    same = nx.Graph()
    same.add_nodes_from(graph.shapes)
    passing = _passing(graph).union(addressed)
    same.add_edges_from((name, tensor) for name in passing for tensor in graph.layer(name).inputs)
    return list(nx.connected_components(same))


def shared_grids(
    graph: Graph,
    ranges: Ranges | None,
    grid_of: Callable[[float, float], ActivationGrid],
    without: Container[str] = (),
    addressed: Iterable[str] = (),
) -> dict[str, ActivationGrid]:
    """The grid of every tensor, the same for all tensors of a group.

    Where tensors of a group have grids already, the widest is taken if it contains the others. Where none has one, or
    none contains the others, the grid follows from the ranges.

    Args:
        graph: The float graph.
        ranges: The range of every tensor.
        grid_of: Makes a grid from (low, high).
        without: Tensors that get no grid.
        addressed: Tensors that lie in others.
    """
    known_ranges = ranges or Ranges({}, "")
    free = _passing(graph) | graph.grids.keys()
    copies = {layer.name for layer in graph.layers if isinstance(layer, Copy | Select)}
    result = {}
    for group in scale_groups(graph, addressed):
        names = sorted(name for name in group if name not in without)
        if not names:
            continue
        fixed = sorted({graph.grids[name] for name in names if name in graph.grids}, key=_width)
        if fixed and all(_holds(fixed[-1], grid) for grid in fixed):
            result.update(dict.fromkeys(names, fixed[-1]))
            continue
        measured = [name for name in names if name not in free and not (fixed and name in copies)]
        limits = [*(grid.limits for grid in fixed), *(_range_of(graph, known_ranges, name) for name in measured)]
        common_grid = grid_of(min(low for low, _ in limits), max(high for _, high in limits))
        result.update(dict.fromkeys(names, common_grid))
    return result


def _width(grid: ActivationGrid) -> tuple[float, float, int]:
    low, high = grid.limits
    return high - low, grid.scale, grid.zero_point


def _holds(wide: ActivationGrid, grid: ActivationGrid) -> bool:
    """Whether ``wide`` contains ``grid``, but for less than one of its steps at either end."""
    (low, high), (inner_low, inner_high) = wide.limits, grid.limits
    return wide.bits >= grid.bits and low < inner_low + wide.scale and inner_high < high + wide.scale


def _passing(graph: Graph) -> set[str]:
    """Names of the layers whose results are values that they read."""
    return {layer.name for layer in graph.layers if isinstance(layer, MaxPool | Upsample | Concat)}


def _range_of(graph: Graph, ranges: Ranges, tensor: str) -> tuple[float, float]:
    layer = None if tensor == graph.input else graph.layer(tensor)
    name = layer.inputs[0] if isinstance(layer, Copy | Select) else tensor
    if name in graph.grids:
        return graph.grids[name].limits
    if name not in ranges.limits:
        raise SkipstoneError(f"tensor '{name}' has no range; calibrate the same network that is quantized")
    return ranges.limits[name]
