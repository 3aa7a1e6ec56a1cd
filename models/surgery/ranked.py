"""Shrinks a network by a share of its channels or to a share of its multiplications: the groups of coupled channels with
the lowest scores go first. Scores come from the pruning methods, as one number for each filter.

All choices are prefixes of one order of groups, so a smaller network never has a channel that a larger one lacks (but for
what rounding to multiples brings back).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.surgery.constants import Mask
from skipstone.models.surgery.coupling import Coupling, coupled_channels, is_depthwise
from skipstone.models.surgery.result import Surgery
from skipstone.models.surgery.shrink import remove_groups

Scope = Literal["layer", "network"]
Together = Literal["mean", "sum", "max"]


def shrink_by(
    graph: Graph,
    scores: Mapping[str, NDArray[np.floating]],
    *,
    amount: float | None = None,
    macs: float | None = None,
    scope: Scope = "network",
    together: Together = "mean",
    minimum: int = 1,
    multiple: int = 1,
) -> Surgery:
    """Removes the least important channels.

    A group of coupled channels goes as a whole. Groups that no scored filter belongs to stay, and so do inputs and outputs of the
    network. Ties go to the earlier group.

    Args:
        graph: The network.
        scores: K numbers for each named layer; higher is better.
        amount: The share of the groups that go (rounded to nearest). Either this or ``macs``.
        macs: The share of the dense multiplications that is to remain. As many groups go as bring it nearest; of two equally near
            numbers the larger.
        scope: ``network`` ranks all groups against each other; ``layer`` takes the same share of every set of tensors that are
            coupled alike.
        together: A group counts with the ``mean``, ``sum`` or ``max`` of its filters' scores.
        minimum: Channels of every tensor that stay (all, where it has fewer).
        multiple: The remaining channels of each set of tensors are rounded up to a multiple of it, or to all.
    """
    if (amount is None) == (macs is None):
        raise SkipstoneError("give either the amount of channels to remove or the share of multiplications to keep")
    for what, share in (("amount of channels to remove", amount), ("share of multiplications to keep", macs)):
        if share is not None and not 0 <= share <= 1:
            raise SkipstoneError(f"the {what} must be from 0 to 1, not {share:g}")
    for what, number in (("minimum", minimum), ("multiple", multiple)):
        if number < 1:
            raise SkipstoneError(f"the {what} of channels must be a positive integer, not {number}")
    coupling = coupled_channels(graph)
    values = group_scores(coupling, scores, together)
    ranking = _Ranking.of(coupling, values, scope, multiple)
    order, kept_back = ranking.removable(minimum)
    notes = _unscored(coupling, values)
    if amount is not None:
        count = round(amount * len(ranking.order))
        chosen = set(ranking.order[:count].tolist())
        gone = ranking.rounded(np.array([group for group in order.tolist() if group in chosen], np.int64))
        stay = len(chosen & kept_back)
        if stay:
            channels = f"{minimum} channel{'s' if minimum > 1 else ''}"
            notes.append(f"{stay} of {count} groups of channels stay to leave {channels} of each tensor")
    else:
        assert macs is not None
        target = macs * sum(graph.macs.values())

        def left(count: int) -> int:
            return macs_left(coupling, ranking.rounded(order[:count]))

        gone = ranking.rounded(order[: _nearest(left, len(order), target)])
        reached = macs_left(coupling, gone) / max(1, sum(graph.macs.values()))
        if abs(reached - macs) > 0.01:
            notes.append(f"{reached:.4f} of the multiplications remain, not {macs:g}: the nearest that channels allow")
    return remove_groups(coupling, gone, tuple(notes), "shrink_by")


def group_scores(
    coupling: Coupling, scores: Mapping[str, NDArray[np.floating]], together: Together = "mean"
) -> NDArray[np.float64]:
    """The score of each group: of all of its filters that ``scores`` names; NaN where it names none."""
    graph = coupling.graph
    members: list[list[float]] = [[] for _ in coupling.fixed]
    for name, values in scores.items():
        layer = graph.layer(name)
        values = np.asarray(values, np.float64)
        if not isinstance(layer, Conv):
            raise SkipstoneError(f"layer '{name}' ({layer.kind}) has no filters to score")
        if values.shape != (len(layer.weights),) or np.isnan(values).any():
            raise SkipstoneError(
                f"layer '{name}': scores must be {len(layer.weights)} numbers, one a filter, not of shape {values.shape}"
                if values.shape != (len(layer.weights),)
                else f"layer '{name}': scores must be numbers, not NaN"
            )
        for group, value in zip(coupling.group_of[name], values, strict=True):
            members[group].append(float(value))
    combine: dict[str, Callable[[list[float]], float]] = {"mean": np.mean, "sum": sum, "max": max}
    if together not in combine:
        raise SkipstoneError(f"scores of coupled filters go together by mean, sum or max, not '{together}'")
    return np.array([combine[together](values) if values else math.nan for values in members], np.float64)


def macs_left(coupling: Coupling, gone: Mask) -> int:
    """Dense multiplications of the network without the groups that ``gone`` marks."""
    graph, total = coupling.graph, 0
    stay = {tensor: int((~gone[groups]).sum()) for tensor, groups in coupling.group_of.items()}
    for layer in graph.convs:
        outputs, inputs = len(layer.weights), graph.shapes[layer.inputs[0]][0]
        of = outputs if is_depthwise(layer) else outputs * inputs
        now = stay[layer.name] if is_depthwise(layer) else stay[layer.name] * stay[layer.inputs[0]]
        total += graph.macs[layer.name] * now // of
    return total


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Removable groups, the first to go first, and the sets of groups that lie in the same tensors."""

    coupling: Coupling
    order: NDArray[np.int64]
    cluster_of: NDArray[np.int64]
    multiple: int

    @classmethod
    def of(cls, coupling: Coupling, scores: NDArray[np.float64], scope: Scope, multiple: int) -> _Ranking:
        clusters: dict[tuple[str, ...], int] = {}
        cluster_of = np.zeros(len(scores), np.int64)
        for group, members in enumerate(coupling.groups):
            cluster_of[group] = clusters.setdefault(tuple(tensor for tensor, _ in members), len(clusters))
        free = np.flatnonzero(~coupling.fixed & ~np.isnan(scores))
        key = scores.copy()
        match scope:
            case "network":
                pass
            case "layer":
                for cluster in np.unique(cluster_of[free]):
                    mine = free[cluster_of[free] == cluster]
                    key[mine[np.argsort(scores[mine], kind="stable")]] = (np.arange(len(mine)) + 0.5) / len(mine)
            case _:
                raise SkipstoneError(f"channels are ranked by layer or network, not by '{scope}'")
        return cls(coupling, free[np.argsort(key[free], kind="stable")], cluster_of, multiple)

    def removable(self, minimum: int) -> tuple[NDArray[np.int64], set[int]]:
        """The groups that can go one after another with ``minimum`` channels left everywhere, and the others."""
        left = {tensor: len(groups) for tensor, groups in self.coupling.group_of.items()}
        order, stay = [], set()
        for group in self.order.tolist():
            losses: dict[str, int] = {}
            for tensor, _ in self.coupling.groups[group]:
                losses[tensor] = losses.get(tensor, 0) + 1
            if any(left[tensor] - loss < minimum for tensor, loss in losses.items()):
                stay.add(group)
                continue
            for tensor, loss in losses.items():
                left[tensor] -= loss
            order.append(group)
        return np.array(order, np.int64), stay

    def rounded(self, removed: NDArray[np.int64]) -> Mask:
        """Which groups go of ``removed`` (in order), once those that went last of each set came back for a multiple."""
        gone = np.zeros(len(self.cluster_of), bool)
        gone[removed] = True
        if self.multiple == 1:
            return gone
        for cluster in np.unique(self.cluster_of[removed]):
            mine = removed[self.cluster_of[removed] == cluster]
            members = self.coupling.groups[mine[0]]
            each = sum(tensor == members[0][0] for tensor, _ in members)
            step = self.multiple // math.gcd(self.multiple, each)
            left = int((self.cluster_of == cluster).sum()) - len(mine)
            back = min(-left % step, len(mine))
            if back:
                gone[mine[len(mine) - back :]] = False
        return gone


def _nearest(left: Callable[[int], int], most: int, target: float) -> int:
    """The count up to ``most`` at which the falling ``left(count)`` is nearest to ``target``; the higher of equals."""
    low, high = 0, most
    while low < high:  # the first count with no more than the target
        middle = (low + high) // 2
        if left(middle) <= target:
            high = middle
        else:
            low = middle + 1
    if low and abs(left(low - 1) - target) < abs(left(low) - target):
        low -= 1
    return low


def _unscored(coupling: Coupling, scores: NDArray[np.float64]) -> list[str]:
    names = {
        name: None
        for group in np.flatnonzero(~coupling.fixed & np.isnan(scores))
        for name, _ in coupling.sources[group]
    }
    return [f"layer '{name}': filters without a score stay" for name in names]
