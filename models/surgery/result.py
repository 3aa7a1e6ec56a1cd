"""What every change of a network's shape gives back: the new graph, what became of each layer, and what could not be done.

The steps of this package return it; recipes apply one step after another and show the notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skipstone.models.graph.graph import Graph


@dataclass(frozen=True)
class LayerChange:
    """One layer that became other ones, or has other sizes.

    ``parts``: the layers in its place, in order (the last one makes the tensor of its name); empty where it is gone.
    ``ranks``: of the decomposition, in the method's order. ``energy``: share of the weights' squared norm that the parts
    reproduce. ``channels``: output channels before and after. MACs are dense, of one image.
    """

    name: str
    method: str
    macs_before: int
    macs_after: int
    parts: tuple[str, ...]
    ranks: tuple[int, ...] = ()
    energy: float = 1.0
    channels: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Surgery:
    """``graph`` after the change, ``notes`` about what was left alone or is inexact, and ``layers`` that changed, in
    execution order."""

    graph: Graph
    notes: tuple[str, ...] = ()
    layers: tuple[LayerChange, ...] = ()

    @property
    def macs(self) -> int:
        """Dense multiplications by a trained weight of the whole network, one image."""
        return sum(self.graph.macs.values())


def channel_changes(before: Graph, after: Graph, method: str) -> tuple[LayerChange, ...]:
    """The layers with trained weights of ``before`` whose multiplications or channels differ in ``after`` (or are gone)."""
    changes = []
    now: Mapping[str, int] = after.macs
    for conv in before.convs:
        old, new = before.macs[conv.name], now.get(conv.name, 0)
        channels = (before.shapes[conv.name][0], after.shapes.get(conv.name, (0, 0, 0))[0])
        if old != new or channels[0] != channels[1]:
            parts = (conv.name,) if conv.name in now else ()
            changes.append(LayerChange(conv.name, method, old, new, parts, channels=channels))
    return tuple(changes)
