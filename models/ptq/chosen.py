"""The layers that a method changes, and the weight bits that it may give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv

Bits = int | Mapping[str, int]
"""Weight bits, 2 to 16: the same for all layers, or by layer name."""


def chosen_layers(graph: Graph, layers: Iterable[str] | None) -> tuple[Conv, ...]:
    """The named layers in execution order; with None all that have weights and no grid yet."""
    if layers is None:
        return tuple(layer for layer in graph.convs if layer.grid is None)
    names = set(layers)
    for name in sorted(names):
        layer = graph.layer(name)
        if not isinstance(layer, Conv):
            raise SkipstoneError(f"layer '{name}' ({layer.kind}) has no weights to quantize")
    return tuple(layer for layer in graph.convs if layer.name in names)


def bits_of(name: str, bits: Bits) -> int:
    """The bits of layer ``name``. Refuses a layer without bits, and bits that the quantizer does not take."""
    if isinstance(bits, Mapping) and name not in bits:
        raise SkipstoneError(f"layer '{name}': no weight bits for it; give each layer its bits")
    layer_bits = bits[name] if isinstance(bits, Mapping) else bits
    if not 2 <= layer_bits <= 16:
        raise SkipstoneError(f"layer '{name}': weight bits must be from 2 to 16, not {layer_bits}")
    return layer_bits
