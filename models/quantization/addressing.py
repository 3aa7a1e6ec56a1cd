"""Which selections of channels need no memory: whoever reads one reads the channels where they lie.

A convolution, a pool or any other layer of the array takes each of its input's channels from an address of its own. What joins
tensors, adds one in a drain or leaves the array needs the selection as a tensor: the quantizer then makes it by copying.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, Concat, Layer, OnHost, Product, Select


def addressed(graph: Graph, hosts: Mapping[str, tuple[str, str]]) -> frozenset[str]:
    """The Selects that no memory holds.

    Args:
        graph: The float graph.
        hosts: For each Add that another layer's drain computes: that layer, and the tensor that it adds.
    """
    stored = set(graph.outputs)
    for layer in graph.order:
        stored.update(_read_from_memory(graph, layer, hosts))
    return frozenset(name for name in graph.shapes if _selects(graph, name) and name not in stored)


def add_operands(graph: Graph, add: Add) -> tuple[str, str]:
    """The tensor that an Add's own layer reads, and the one that its drain adds: a Select can be the first without memory."""
    first, second = add.inputs
    return (second, first) if _selects(graph, second) and not _selects(graph, first) else (first, second)


def _selects(graph: Graph, tensor: str) -> bool:
    """Whether ``tensor`` is channels of another one, each at most once, and all of their pixels."""
    layer = None if tensor == graph.input else graph.layer(tensor)
    if not isinstance(layer, Select) or layer.size is not None or layer.clamp is not None:
        return False
    return len(np.unique(layer.channels)) == len(layer.channels)


def _read_from_memory(graph: Graph, layer: Layer, hosts: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """The tensors that ``layer`` can't read channel by channel from another one."""
    if isinstance(layer, Concat | Product | OnHost | Select):
        return layer.inputs
    if isinstance(layer, Add):
        return (hosts[layer.name][1] if layer.name in hosts else add_operands(graph, layer)[1],)
    return ()
