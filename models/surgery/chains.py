"""One convolution becomes a chain of smaller ones: what low-rank factors and compact filters share.

The last link keeps the layer's name, bias and clamp, so that its readers need no change; the others are called
``layer.what``, have no bias and no clamp. A chain that multiplies as often as the layer is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Clamp, Conv, ConvTranspose, Layer, Padding, Pair
from skipstone.models.surgery.result import LayerChange, Surgery

Weights = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Link:
    """One convolution of a chain. ``what`` is the end of its name (the last link's is not used)."""

    what: str
    weights: Weights
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Chain:
    """The links in order, the ``ranks`` they have, and the weights K x C x kh x kw that they make together."""

    links: tuple[Link, ...]
    ranks: tuple[int, ...]
    product: Weights


@dataclass(frozen=True)
class Refusal:
    """Why a method leaves a layer alone."""

    reason: str


def replace_layers(
    graph: Graph,
    method: str,
    layers: Iterable[str] | None,
    chain: Callable[[Conv], Chain | Refusal],
    *,
    only_savings: bool = True,
    between: Clamp | None = None,
) -> Surgery:
    """Puts a chain of layers in the place of each of several layers; refusals are notes.

    Args:
        graph: The network.
        method: What the chains are called in notes and changes.
        layers: Names of Conv and Gemm layers; None for all that ``chain`` does not refuse.
        chain: Makes the chain of a layer, or refuses it.
        only_savings: Leaves layers alone whose chain multiplies as often as they do, or more.
        between: Clamps all links but the last.
    """
    convs = {layer.name: layer for layer in graph.convs}
    if layers is not None:
        for name in layers:
            if name not in convs:
                kind = graph.layer(name).kind
                raise SkipstoneError(f"layer '{name}' ({kind}) has no weights; {method} is for Conv and Gemm layers")
    chosen = set(convs if layers is None else layers)
    notes, changes = [], []
    taken = {graph.input, *(layer.name for layer in graph.layers)}
    new: dict[str, tuple[Layer, ...]] = {}
    for name, layer in convs.items():
        if name not in chosen:
            continue
        replacement = chain(layer)
        if isinstance(replacement, Refusal):
            notes.append(f"layer '{name}': {method} leaves it as it is: {replacement.reason}")
            continue
        parts = _parts(layer, replacement.links, taken, between)
        before, after = graph.macs[name], _macs(graph, layer, parts)
        if only_savings and after >= before:
            ranks = "x".join(map(str, replacement.ranks))
            notes.append(
                f"layer '{name}': {method} leaves it as it is: rank {ranks} would need {after} multiplications, not {before}"
            )
            continue
        if layer.grid is not None:
            notes.append(f"layer '{name}': its weights were quantized; those of the new layers are not")
        taken |= {part.name for part in parts}
        new[name] = parts
        names = tuple(part.name for part in parts)
        energy = energy_kept(layer.weights, replacement.product)
        changes.append(LayerChange(name, method, before, after, names, replacement.ranks, energy))
    result = tuple(part for layer in graph.layers for part in new.get(layer.name, (layer,)))
    return Surgery(replace(graph, layers=result), tuple(notes), tuple(changes))


def energy_kept(weights: NDArray[np.floating], product: NDArray[np.floating]) -> float:
    """``1 - |weights - product|^2 / |weights|^2``; 1 for weights of zeros."""
    exact = weights.astype(np.float64)
    total = float((exact**2).sum())
    return 1.0 - float(((exact - product) ** 2).sum()) / total if total else 1.0


def check_energy(energy: float) -> None:
    """Raises SkipstoneError for a share of energy that no rank can be found for."""
    if not 0 < energy <= 1:
        raise SkipstoneError(f"the share of energy to keep must be above 0 and at most 1, not {energy:g}")


def rank_for(singular: NDArray[np.floating], energy: float) -> int:
    """The lowest rank, at least 1, whose singular values have the share ``energy`` of the sum of all squares."""
    check_energy(energy)
    squares = np.cumsum(singular.astype(np.float64) ** 2)
    if not squares.size or squares[-1] == 0:
        return 1
    # A share of 1 must not ask for more than rounding leaves of it.
    return int(np.searchsorted(squares, energy * squares[-1] * (1 - 1e-12))) + 1


def chain_macs(graph: Graph, layer: Conv, links: tuple[Link, ...]) -> int:
    """Multiplications of ``links`` in the place of ``layer``, one image."""
    return _macs(graph, layer, _parts(layer, links, set(), None))


def refuse_groups(layer: Conv) -> Refusal | None:
    """Why a layer has no full matrix of channels to decompose, if so."""
    if isinstance(layer, ConvTranspose):
        return Refusal("it is a transposed convolution")
    if layer.groups > 1:
        return Refusal(f"its {layer.groups} groups mix few channels each")
    return None


def _parts(layer: Conv, links: tuple[Link, ...], taken: set[str], between: Clamp | None) -> tuple[Conv, ...]:
    parts: list[Conv] = []
    source = layer.inputs[0]
    for place, link in enumerate(links):
        last = place == len(links) - 1
        name = layer.name if last else _unused(f"{layer.name}.{link.what}", taken | {part.name for part in parts})
        parts.append(
            Conv(
                name=name,
                inputs=(source,),
                clamp=layer.clamp if last else between,
                weights=link.weights.astype(np.float32),
                bias=layer.bias if last else np.zeros(len(link.weights), np.float32),
                stride=link.stride,
                padding=link.padding,
                dilation=link.dilation,
                groups=link.groups,
                gemm=layer.gemm,
            )
        )
        source = name
    return tuple(parts)


def _unused(name: str, taken: set[str]) -> str:
    number, unused = 1, name
    while unused in taken:
        number += 1
        unused = f"{name}_{number}"
    return unused


def _macs(graph: Graph, layer: Conv, parts: tuple[Conv, ...]) -> int:
    shape, total = graph.shapes[layer.inputs[0]], 0
    for part in parts:
        shape = part.output_shape((shape,))
        total += part.macs(shape)
    return total
