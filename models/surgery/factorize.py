"""Low-rank factors in place of a layer: SVD of a fully connected layer or a convolution seen as a matrix, Tucker-2 and CP
of a convolution's four-way tensor. Fewer multiplications, for an error that the remaining energy says.

Each function gives back a Surgery whose ``layers`` report rank, energy and multiplications; where a layer would not save
any it stays, with a note.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.surgery.chains import (
    Chain,
    Link,
    Refusal,
    Weights,
    chain_macs,
    check_energy,
    energy_kept,
    rank_for,
    refuse_groups,
    replace_layers,
)
from skipstone.models.surgery.result import Surgery

ENERGY = 0.9
"""The share of a layer's squared weights that is kept where no rank is given."""
CP_ITERATIONS = 100
"""Of alternating least squares, at most; it stops where the fit no longer gets better."""
SEARCH_ITERATIONS = 30
"""The same for the ranks that are only tried."""


def svd(
    graph: Graph,
    ranks: Mapping[str, int] | None = None,
    *,
    layers: Iterable[str] | None = None,
    energy: float = ENERGY,
    only_savings: bool = True,
) -> Surgery:
    """Replaces layers by two: ``W = U V`` of rank r, from the singular value decomposition of K x (C * kh * kw).

    It is the best approximation of that rank (Eckart and Young, 1936; for networks Denton et al., 2014). The first layer,
    ``layer.reduce``, has the layer's kernel and r outputs; the second is 1x1.

    Args:
        graph: The network.
        ranks: By layer; or give ``layers``.
        layers: Layers that get the lowest rank that keeps the share ``energy``; None for all Gemm and 1x1 layers.
        energy: The share of a layer's squared weights to keep, above 0 and at most 1.
        only_savings: Leaves layers alone that would multiply as often, or more.
    """

    def chain(layer: Conv) -> Chain | Refusal:
        refused = refuse_groups(layer)
        if refused:
            return refused
        outputs, *rest = layer.weights.shape
        u, s, v = np.linalg.svd(layer.weights.reshape(outputs, -1).astype(np.float64), full_matrices=False)
        rank = _rank(layer, ranks, len(s)) or rank_for(s, energy)
        root = np.sqrt(s[:rank])
        first = (root[:, None] * v[:rank]).reshape(rank, *rest)
        second = u[:, :rank] * root
        links = (
            Link("reduce", first, layer.stride, layer.padding, layer.dilation),
            Link("expand", second[:, :, None, None]),
        )
        return Chain(links, (rank,), np.einsum("kr,rcij->kcij", second, first))

    if ranks is None and layers is None:
        layers = [c.name for c in graph.convs if c.gemm or (c.groups == 1 and c.weights.shape[2:] == (1, 1))]
    return replace_layers(graph, "svd", _chosen(ranks, layers), chain, only_savings=only_savings)


def tucker(
    graph: Graph,
    ranks: Mapping[str, tuple[int, int]] | None = None,
    *,
    layers: Iterable[str] | None = None,
    energy: float = ENERGY,
    only_savings: bool = True,
) -> Surgery:
    """Replaces layers by three, Tucker-2 (Kim et al., Compression of Deep CNNs, 2016), by higher-order orthogonal iteration.

    They are a 1x1 ``layer.reduce`` to r_in channels, the layer's own kernel from r_in to r_out as ``layer.core``, and 1x1 to K.

    Args:
        graph: The network.
        ranks: (r_in, r_out) by layer; or give ``layers``.
        layers: Layers that get the ranks that keep the share ``energy`` with the fewest multiplications
            (:func:`tucker_ranks`); None for all.
        energy: The share of a layer's squared weights to keep, above 0 and at most 1.
        only_savings: Leaves layers alone that would multiply as often, or more.
    """

    def chain(layer: Conv) -> Chain | Refusal:
        refused = refuse_window(layer)
        if refused:
            return refused
        outputs, inputs = layer.weights.shape[:2]
        requested = _pair(layer, ranks, (inputs, outputs))
        return tucker_chain(layer, *(requested or tucker_ranks(graph, layer, energy)))

    return replace_layers(graph, "tucker", _chosen(ranks, layers), chain, only_savings=only_savings)


def cp(
    graph: Graph,
    ranks: Mapping[str, int] | None = None,
    *,
    layers: Iterable[str] | None = None,
    energy: float = ENERGY,
    only_savings: bool = True,
    seed: int = 0,
) -> Surgery:
    """Replaces layers by four, the sum of R outer products (Lebedev et al., CP-Decomposition, 2015).

    They are 1x1 ``layer.reduce``, kh x 1 depthwise ``layer.vertical``, 1 x kw depthwise ``layer.horizontal``, and 1x1, by
    alternating least squares.

    Args:
        graph: The network.
        ranks: By layer; or give ``layers``.
        layers: Layers that get the lowest rank that bisection finds to keep the share ``energy``; None for all.
        energy: The share of a layer's squared weights to keep, above 0 and at most 1.
        only_savings: Leaves layers alone that would multiply as often, or more.
        seed: Of the factors that the singular vectors do not fill.
    """
    check_energy(energy)

    def chain(layer: Conv) -> Chain | Refusal:
        refused = refuse_window(layer)
        if refused:
            return refused
        most = _exact_rank(layer.weights.shape)
        rank = _rank(layer, ranks, most)
        if rank:
            return _cp_chain(layer, rank, seed, CP_ITERATIONS)
        if only_savings:  # multiplications are proportional to the rank
            each = chain_macs(graph, layer, _cp_links(layer, [np.zeros((size, 1)) for size in layer.weights.shape]))
            most = min(most, (graph.macs[layer.name] - 1) // each)
        return _cp_search(layer, energy, seed, most)

    return replace_layers(graph, "cp", _chosen(ranks, layers), chain, only_savings=only_savings)


def refuse_window(layer: Conv) -> Refusal | None:
    """Why ``layer`` is not a convolution with a window and all channels mixed, if so."""
    if layer.gemm:
        return Refusal("it is fully connected; svd fits it")
    if layer.weights.shape[2:] == (1, 1):
        return Refusal("its kernel is 1x1; svd fits it")
    return refuse_groups(layer)


def tucker_ranks(graph: Graph, layer: Conv, energy: float) -> tuple[int, int]:
    """(r_in, r_out) that keep the share ``energy`` of a layer with the fewest multiplications.

    The energy of a pair is that of the leading r_out x r_in part of the core of the higher-order SVD (De Lathauwer et al.,
    2000), that is, of the truncated decomposition. Orthogonal iteration then keeps at least that.
    """
    check_energy(energy)
    weights = layer.weights.astype(np.float64)
    outputs, inputs, kh, kw = weights.shape
    last, first = (
        np.linalg.svd(weights.swapaxes(0, side).reshape(weights.shape[side], -1), full_matrices=False)[0]
        for side in range(2)
    )
    core = np.einsum("ka,kcij,cb->abij", last, weights, first)
    energies = (core**2).sum(axis=(2, 3)).cumsum(axis=0).cumsum(axis=1)
    before, after = (math.prod(graph.shapes[name][1:]) for name in (layer.inputs[0], layer.name))
    a, b = np.arange(1, energies.shape[0] + 1)[:, None], np.arange(1, energies.shape[1] + 1)[None]
    macs = inputs * b * before + (a * b * kh * kw + a * outputs) * after
    enough = energies >= energy * energies[-1, -1] * (1 - 1e-12)
    best = int(np.argmin(np.where(enough, macs, macs.max() + 1)))
    return best % energies.shape[1] + 1, best // energies.shape[1] + 1


def tucker_chain(layer: Conv, first: int, last: int, names: tuple[str, str] = ("reduce", "core")) -> Chain:
    """The Tucker-2 chain of ``layer`` with ``first`` channels after its first link and ``last`` before its last one."""
    from tensorly.decomposition import partial_tucker

    weights = layer.weights.astype(np.float64)
    if weights.any():
        (core, factors), _ = partial_tucker(weights, rank=[last, first], modes=[0, 1], init="svd", tol=1e-9)
        outputs, inputs = factors
    else:
        core = np.zeros((last, first, *weights.shape[2:]))
        outputs, inputs = np.zeros((weights.shape[0], last)), np.zeros((weights.shape[1], first))
    links = (
        Link(names[0], inputs.T[:, :, None, None]),
        Link(names[1], core, layer.stride, layer.padding, layer.dilation),
        Link("expand", outputs[:, :, None, None]),
    )
    return Chain(links, (first, last), np.einsum("ka,abij,cb->kcij", outputs, core, inputs))


def _cp_search(layer: Conv, energy: float, seed: int, most: int) -> Chain | Refusal:
    """The lowest rank, up to ``most``, that keeps ``energy``: doubled until it does, then halving the interval."""

    def enough(rank: int) -> bool:
        candidate = _cp_chain(layer, rank, seed, SEARCH_ITERATIONS)
        return energy_kept(layer.weights, candidate.product) >= energy * (1 - 1e-9)

    if most < 1:
        return Refusal("no rank would save multiplications")
    low, rank = 0, 1
    while not enough(rank):
        if rank == most:
            return Refusal(
                f"rank {most}, the highest that saves multiplications, keeps less than {energy:g} of the energy"
            )
        low, rank = rank, min(2 * rank, most)
    while rank - low > 1:
        middle = (low + rank) // 2
        if enough(middle):
            rank = middle
        else:
            low = middle
    return _cp_chain(layer, rank, seed, CP_ITERATIONS)


def _cp_chain(layer: Conv, rank: int, seed: int, iterations: int) -> Chain:
    factors = _cp_factors(layer.weights.astype(np.float64), rank, seed, iterations)
    return Chain(_cp_links(layer, factors), (rank,), np.einsum("kr,cr,ir,jr->kcij", *factors))


def _cp_links(layer: Conv, factors: list[Weights]) -> tuple[Link, ...]:
    """The links of the four factors (K, C, kh, kw x rank); a way of one element that does not move is no layer."""
    outputs, inputs, rows, columns = factors
    rank = outputs.shape[1]
    top, left, bottom, right = layer.padding
    links = []
    if len(rows) > 1 or layer.stride[0] > 1 or top or bottom:
        window = rows.T[:, None, :, None]
        links.append(Link("vertical", window, (layer.stride[0], 1), (top, 0, bottom, 0), (layer.dilation[0], 1), rank))
    else:
        inputs = inputs * rows
    if len(columns) > 1 or layer.stride[1] > 1 or left or right:
        window = columns.T[:, None, None, :]
        links.append(
            Link("horizontal", window, (1, layer.stride[1]), (0, left, 0, right), (1, layer.dilation[1]), rank)
        )
    else:
        inputs = inputs * columns
    return (Link("reduce", inputs.T[:, :, None, None]), *links, Link("expand", outputs[:, :, None, None]))


def _cp_factors(weights: Weights, rank: int, seed: int, iterations: int) -> list[Weights]:
    """The factors (length x rank) of all four ways, of equal norms."""
    if not weights.any():
        return [np.zeros((size, rank)) for size in weights.shape]
    if rank >= _exact_rank(weights.shape):
        factors = _unit_factors(weights, rank)
    else:
        from tensorly.decomposition import parafac

        with warnings.catch_warnings():
            # tensorly warns that short ways have fewer singular vectors than the rank; random vectors fill up.
            warnings.simplefilter("ignore")
            decomposition = parafac(weights, rank, n_iter_max=iterations, init="svd", tol=1e-6, random_state=seed)
        factors = [np.asarray(factor, np.float64) for factor in decomposition.factors]
        factors[0] = factors[0] * decomposition.weights
    norms = np.stack([np.linalg.norm(factor, axis=0) for factor in factors])
    level = np.prod(norms, axis=0) ** 0.25
    scale = np.divide(level, norms, out=np.zeros_like(norms), where=norms > 0)
    return [factor * each for factor, each in zip(factors, scale, strict=True)]


def _exact_rank(shape: tuple[int, ...]) -> int:
    """A rank at which the CP decomposition is exact: one product for each element of all ways but the largest."""
    return int(np.prod(shape)) // max(shape)


def _unit_factors(weights: Weights, rank: int) -> list[Weights]:
    """The exact decomposition: unit vectors along all ways but the longest, which has the elements."""
    longest = int(np.argmax(weights.shape))
    others = [way for way in range(weights.ndim) if way != longest]
    places = list(np.ndindex(*(weights.shape[way] for way in others)))
    factors = [np.zeros((size, rank)) for size in weights.shape]
    for column, place in enumerate(places):
        chosen: list[int | slice] = [slice(None)] * weights.ndim
        for way, index in zip(others, place, strict=True):
            factors[way][index, column] = 1
            chosen[way] = index
        factors[longest][:, column] = weights[tuple(chosen)]
    return factors


def _chosen(ranks: Mapping[str, object] | None, layers: Iterable[str] | None) -> Iterable[str] | None:
    if ranks is not None and layers is not None:
        raise SkipstoneError("give the ranks of layers, or the layers whose rank is to be found, not both")
    return layers if ranks is None else tuple(ranks)


def _rank(layer: Conv, ranks: Mapping[str, int] | None, most: int) -> int | None:
    if ranks is None or layer.name not in ranks:
        return None
    return _checked(layer.name, ranks[layer.name], most)


def _pair(layer: Conv, ranks: Mapping[str, tuple[int, int]] | None, most: tuple[int, int]) -> tuple[int, int] | None:
    if ranks is None or layer.name not in ranks:
        return None
    first, last = (_checked(layer.name, rank, limit) for rank, limit in zip(ranks[layer.name], most, strict=True))
    return first, last


def _checked(name: str, rank: int, most: int) -> int:
    if not 1 <= rank <= most:
        raise SkipstoneError(f"layer '{name}': the rank must be from 1 to {most}, not {rank}")
    return int(rank)
