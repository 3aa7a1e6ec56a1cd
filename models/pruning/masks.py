"""One-shot pruning: what goes (granularity), by what measure (criterion), how much, and against what it competes (scope).

A graph goes in, a graph with exact zeros comes out, with notes on what a layer could not do. Counts are exact and ties go to
the earlier group, so that the same pruning always gives the same network. Biases stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.criteria import Evidence, check_criterion, reduce, saliency
from skipstone.models.pruning.structures import (
    GRANULARITIES,
    Granularity,
    Integers,
    contests,
    covers_filters,
    described,
    group_ids,
    lowest,
)

Scope = Literal["layer", "network", "output"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_WORDS: Mapping[Granularity, str] = {
    **{granularity: granularity for granularity in GRANULARITIES},
    "nm": "weight",
    "input_channel": "input channel",
}


@dataclass(frozen=True)
class Pruning:
    """What to prune, by ``criterion``.

    ``amount`` is the share of groups that go, from 0 to below 1; ``nm`` instead keeps ``n`` of every ``m`` weights along the
    input channels. ``scope``: groups compete within their layer, across the ``network`` (scores are then per weight), or
    within their ``output`` channel (as Wanda does). ``amounts`` has other amounts for single layers, which then do not
    compete with other layers'; layers in ``skip`` stay. A layer keeps its best group unless ``may_empty``.
    """

    granularity: Granularity
    amount: float = 0.0
    n: int = 0
    m: int = 0
    block: tuple[int, int] = (1, 1)
    criterion: str = "l1"
    scope: Scope = "layer"
    amounts: Mapping[str, float] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    may_empty: bool = False

    def __post_init__(self) -> None:
        if self.granularity not in GRANULARITIES:
            raise SkipstoneError(
                f"no pruning granularity '{self.granularity}'; the granularities are {', '.join(GRANULARITIES)}"
            )
        if self.scope not in SCOPES:
            raise SkipstoneError(f"no pruning scope '{self.scope}'; the scopes are {', '.join(SCOPES)}")
        check_criterion(self.criterion, self.granularity)
        for name, amount in {"amount": self.amount, **self.amounts}.items():
            if not 0 <= amount < 1:
                where = "sparsity" if name == "amount" else f"layer '{name}': sparsity"
                raise SkipstoneError(f"{where} must be at least 0 and below 1, not {amount:g}")
        if self.granularity == "nm":
            if not 1 <= self.n <= self.m:
                raise SkipstoneError("N:M keeps N of M weights, so N must be from 1 to M")
            if self.amount or self.amounts or self.scope != "layer":
                raise SkipstoneError("N:M has neither an amount nor a scope: it keeps N of every M weights")
        if min(self.block) < 1:
            raise SkipstoneError(f"a block needs at least 1x1 channels, not {self.block[0]}x{self.block[1]}")
        if self.scope == "output" and self.granularity not in ("weight", "kernel", "stripe"):
            raise SkipstoneError(
                f"scope output compares groups within one filter, so granularity {self.granularity} can't have it; "
                "it takes weight, kernel, stripe"
            )

    def counts(self, layer: str | None, contests: Integers) -> Integers:
        """How many groups go from each contest of a layer, or of several (None)."""
        sizes = np.bincount(contests)
        if self.granularity == "nm":
            return np.asarray(sizes - -(-self.n * sizes // self.m))
        amount = self.amount if layer is None else self.amounts.get(layer, self.amount)
        return np.array([round(amount * int(size)) for size in sizes])


@dataclass(frozen=True, eq=False)
class Pruned:
    """The pruned graph, and a note for each layer that could not do what was asked."""

    graph: Graph
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A layer with its groups (``ids``), and of each group the score and the contest it is in."""

    layer: Conv
    ids: Integers
    scores: NDArray[np.float64]
    contests: Integers


def prune(graph: Graph, pruning: Pruning, evidence: Evidence | None = None, seed: int = 0) -> Pruned:
    """Makes the groups of the lowest score zero.

    ``round(amount * groups)`` of them go, in each layer, each output channel, or the whole network. Groups that are zero
    already go first. ``nm``: where a layer's input channels (of a convolution's group) are not a multiple of M, the last L of
    them keep ``ceil(N * L / M)``, so a layer with one input channel stays dense. Whole filters are not taken from a layer
    whose channels are the network's outputs.

    Args:
        graph: The network.
        pruning: What to prune, and how much.
        evidence: The gradients or statistics that the criterion needs.
        seed: Of the criterion ``random``.

    Raises:
        SkipstoneError: ``pruning`` names layers that do not exist, or the criterion lacks its evidence.
    """
    check_names(graph, pruning)
    notes: dict[str, list[str]] = {layer.name: [] for layer in graph.convs}
    candidates = []
    for index, layer in enumerate(graph.convs):
        if layer.name not in pruning.skip:
            entry, reasons = _candidate(graph, layer, pruning, evidence, (seed, index))
            notes[layer.name] += reasons
            candidates += [entry] if entry else []
    competing = [c for c in candidates if pruning.scope == "network" and c.layer.name not in pruning.amounts]
    fields = [competing] if competing else []
    fields += [[entry] for entry in candidates if entry not in competing]
    weights: dict[str, NDArray[np.float32]] = {}
    for contenders in fields:
        for entry, gone, saved in _compete(contenders, pruning):
            weights[entry.layer.name] = np.where(gone[entry.ids], np.float32(0), entry.layer.weights)
            if saved:
                notes[entry.layer.name].append(f"keeps one {_WORDS[pruning.granularity]}, lest it be empty")
    for layer in graph.convs:
        if layer.weights.any() and not weights.get(layer.name, layer.weights).any():
            notes[layer.name].append("all of its weights are pruned")
    lines = tuple(f"layer '{name}': {note}" for name, reasons in notes.items() for note in reasons)
    return Pruned(graph.with_weights(weights) if weights else graph, lines)


def weight_density(graph: Graph) -> float:
    """Share of nonzero weights over all Conv and Gemm layers."""
    total = sum(layer.weights.size for layer in graph.convs)
    return sum(int(np.count_nonzero(layer.weights)) for layer in graph.convs) / total if total else 1.0


def check_names(graph: Graph, pruning: Pruning) -> None:
    """Refuses ``amounts`` and ``skip`` of layers that the graph does not have."""
    names = [layer.name for layer in graph.convs]
    for name in (*pruning.amounts, *pruning.skip):
        if name not in names:
            raise SkipstoneError(f"network '{graph.name}' has no prunable layer '{name}'; it has {', '.join(names)}")


def remainder(pruning: Pruning, inputs: int) -> str:
    """What N:M does with the input channels that are left over, in words."""
    left = inputs % pruning.m
    remaining = -(-pruning.n * left // pruning.m)
    of = "of" if inputs < pruning.m else "of the last"
    return f"{pruning.n}:{pruning.m} keeps {remaining} {of} {left} input channel{'s' * (left != 1)}"


def output_layers(graph: Graph) -> frozenset[str]:
    """Layers with trained weights whose channels are those of a network's output: no other such layer comes between."""
    layers: set[str] = set()
    for output in graph.outputs:
        waiting = [output]
        while waiting:
            name = waiting.pop()
            if name == graph.input:
                continue
            if isinstance(graph.layer(name), Conv):
                layers.add(name)
            else:
                waiting.extend(graph.network.predecessors(name))
    return frozenset(layers)


def _candidate(
    graph: Graph, layer: Conv, pruning: Pruning, evidence: Evidence | None, seed: tuple[int, ...]
) -> tuple[_Candidate | None, list[str]]:
    """The layer's groups with their scores, or None where it stays as it is; and notes."""
    shape, kind = layer.weights.shape, pruning.granularity
    ids = group_ids(shape, kind, layer.groups, pruning.block)
    notes = []
    plain = described(shape, kind, ids)
    if plain:
        notes.append(
            f"{kind} granularity prunes {plain} here ({shape[1]} input channels, {shape[2]}x{shape[3]} kernel)"
        )
    if kind == "nm" and shape[1] % pruning.m:
        notes.append(remainder(pruning, shape[1]))
    if kind not in ("weight", "nm") and covers_filters(ids) and layer.name in output_layers(graph):
        return None, [*notes, "stays as it is, since its channels are the network's output"]
    weights = saliency(layer, pruning.criterion, evidence, seed)
    if weights is None:
        return None, [*notes, f"stays as it is, since {pruning.criterion} needs a ReLU after it"]
    scores = reduce(weights, ids, pruning.criterion, mean=pruning.scope == "network")
    empty = np.bincount(ids.ravel(), weights=layer.weights.ravel() != 0) == 0
    where = contests(shape, kind, ids, pruning.m, by_output=pruning.scope == "output")
    return _Candidate(layer, ids, np.where(empty, -np.inf, scores), where), notes


def _compete(contenders: list[_Candidate], pruning: Pruning) -> list[tuple[_Candidate, NDArray[np.bool_], bool]]:
    """Of each contender which groups go, and whether one was saved from it because all would have gone."""
    ends = np.cumsum([len(c.scores) for c in contenders])[:-1]
    alone = contenders[0] if len(contenders) == 1 else None
    where = alone.contests if alone else np.zeros(sum(len(c.scores) for c in contenders), np.int64)
    counts = pruning.counts(alone.layer.name if alone else None, where)
    gone = np.split(lowest(np.concatenate([c.scores for c in contenders]), where, counts), ends)
    emptied = [
        bool(goes.all()) and not pruning.may_empty and bool((c.scores > -np.inf).any())
        for c, goes in zip(contenders, gone, strict=True)
    ]
    if any(emptied):
        # The best group of every layer is safe: another may be the next that would be emptied.
        gone = np.split(lowest(np.concatenate([_guarded(c.scores) for c in contenders]), where, counts), ends)
    return list(zip(contenders, gone, emptied, strict=True))


def _guarded(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last of the best scores raised to infinity, which :func:`lowest` leaves alone."""
    guarded = scores.copy()
    if scores.max() > -np.inf:
        guarded[len(scores) - 1 - np.argmax(scores[::-1])] = np.inf
    return guarded
