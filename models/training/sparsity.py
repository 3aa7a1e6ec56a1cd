"""Hooks that make weights zero while a network trains: gradual pruning, dynamic sparse training, and regularizers.

Each is a :class:`skipstone.models.training.loop.Hook`; masks live in the module's layers (``ConvModule.mask``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.pruning.masks import Pruning, prune
from skipstone.models.pruning.structures import group_ids
from skipstone.models.training.loop import Hook
from skipstone.models.training.network import ConvModule, GraphModule

Tensor = torch.Tensor
Regularizer = Literal["none", "l1", "group_lasso", "batch_norm_scale"]


class GradualPruning(Hook):
    """Prunes a little more every ``every`` steps, up to ``pruning.amount`` after the share ``until`` of all steps.

    After step t of T the share of zeros is ``final * (1 - (1 - t / T)**3)``: Zhu and Gupta, "To prune, or not to prune",
    2017, from 0 on (N:M lowers N from M along the same curve). Weights that are zero stay zero. ``pruning`` is any of
    ``skipstone.models.pruning``'s that needs no data. ``notes`` say what layers could not do.
    """

    def __init__(self, pruning: Pruning, *, every: int = 50, until: float = 0.6) -> None:
        if not 0 < until <= 1:
            raise SkipstoneError(f"gradual pruning ends after a share of the steps above 0 and up to 1, not {until:g}")
        _check_every(every)
        self._pruning = pruning
        self._every = every
        self._until = until
        self._last = 1
        self.notes: tuple[str, ...] = ()

    def settings(self) -> str:
        return repr((self._pruning, self._every, self._until))

    def begin(self, module: GraphModule, steps: int) -> None:
        self._last = max(1, round(self._until * steps))
        # What it can't do is said before hours of training, not after.
        self.notes = prune(current(module), self._pruning).notes

    def after_update(self, module: GraphModule, step: int) -> None:
        done = step + 1
        if done > self._last or (done % self._every and done != self._last):
            return
        share = 1 - (1 - done / self._last) ** 3
        pruned = prune(current(module), scaled(self._pruning, lambda amount: amount * share))
        self.notes = pruned.notes
        set_masks(module, pruned.graph)


class RigL(Hook):
    """Dynamic sparse training: every ``every`` steps the smallest weights of each layer leave and as many others with the largest
    gradients come in, at 0. The share of a layer's weights that move falls from ``fraction`` to 0 along half a cosine up to the
    share ``until`` of all steps. Evci et al., "Rigging the Lottery: Making All Tickets Winners", 2020.

    The sparsity of each layer is that of the masks at the start.
    """

    def __init__(self, *, every: int = 100, fraction: float = 0.3, until: float = 0.75) -> None:
        if not (0 < until <= 1 and 0 <= fraction <= 1):
            raise SkipstoneError(
                "RigL moves a share of the weights from 0 to 1, up to a share of the steps above 0 and up to 1, not "
                f"{fraction:g} and {until:g}"
            )
        _check_every(every)
        self._every, self._fraction, self._until = every, fraction, until
        self._last = 1

    def settings(self) -> str:
        return repr((self._every, self._fraction, self._until))

    def begin(self, module: GraphModule, steps: int) -> None:
        self._last = max(1, round(self._until * steps))
        for conv in module.convs.values():
            conv.keep_effective = True

    def before_update(self, module: GraphModule, step: int) -> None:
        done = step + 1
        if done % self._every or done > self._last:
            return
        share = self._fraction / 2 * (1 + math.cos(math.pi * done / self._last))
        with torch.no_grad():
            for conv in module.convs.values():
                _exchange(conv, share)

    def after_update(self, module: GraphModule, step: int) -> None:
        if step + 1 >= self._last:
            for conv in module.convs.values():
                conv.keep_effective, conv.effective = False, None


class Regularization(Hook):
    """Adds ``strength`` times a norm of the weights to the loss, which draws them, or whole groups, towards 0. Weights are those
    that would be deployed: with normalization folded in, since what is normalized does not care how large it is.

    - ``l1``: the sum of magnitudes.
    - ``group_lasso``: ``sqrt(size) * L2 norm`` of each group of ``structure`` (Wen et al., "Learning Structured Sparsity", 2016).
    - ``batch_norm_scale``: the magnitudes of the normalizations' scales (network slimming, Liu et al., 2017).
    """

    def __init__(self, kind: Regularizer, strength: float, structure: Pruning | None = None) -> None:
        if kind == "group_lasso" and structure is None:
            raise SkipstoneError("the regularizer group_lasso needs a structure, whose groups it draws towards 0")
        self._kind, self._strength, self._structure = kind, strength, structure
        self._ids: dict[str, tuple[Tensor, Tensor]] = {}

    def settings(self) -> str:
        return repr((self._kind, self._strength, self._structure))

    def begin(self, module: GraphModule, steps: int) -> None:
        if self._kind == "batch_norm_scale" and not any(conv.norm for conv in module.convs.values()):
            raise SkipstoneError("the regularizer batch_norm_scale needs normalize = true")
        if self._kind != "group_lasso":
            return
        assert self._structure is not None
        for name, conv in module.convs.items():
            layer, structure = conv.layer, self._structure
            groups = group_ids(layer.weights.shape, structure.granularity, layer.groups, structure.block)
            ids = torch.from_numpy(np.ascontiguousarray(groups)).flatten()
            self._ids[name] = ids, torch.bincount(ids).sqrt()

    def penalty(self, module: GraphModule) -> Tensor | None:
        terms = []
        for name, conv in module.convs.items():
            if self._kind == "batch_norm_scale":
                if conv.norm is not None:
                    terms.append(conv.norm.inner.weight.abs().sum())
                continue
            weight = conv.deployed()
            if self._kind == "l1":
                terms.append(weight.abs().sum())
                continue
            ids, root = self._ids[name]
            squares = torch.zeros(len(root)).index_add(0, ids, weight.flatten().square())
            terms.append(((squares + 1e-12).sqrt() * root).sum())
        return self._strength * torch.stack(terms).sum() if terms else None


def scaled(pruning: Pruning, amount: Callable[[float], float]) -> Pruning:
    """``pruning`` with ``amount`` of its amounts; N:M keeps as many of M as ``amount`` of the share ``1 - N / M`` leaves."""
    if pruning.granularity == "nm":
        return replace(pruning, n=max(pruning.n, round(pruning.m * (1 - amount(1 - pruning.n / pruning.m)))))
    return replace(
        pruning,
        amount=amount(pruning.amount),
        amounts={name: amount(each) for name, each in pruning.amounts.items()},
    )


def current(module: GraphModule) -> Graph:
    """The graph with the module's weights as they would be deployed now (normalization folded in, no integers)."""
    return module.graph.with_weights({name: conv.folded_weights() for name, conv in module.convs.items()})


def set_masks(module: GraphModule, graph: Graph) -> None:
    """From now on the module's weights are zero where ``graph``'s are."""
    layers = {layer.name: layer for layer in graph.convs}
    for name, conv in module.convs.items():
        conv.mask.copy_(torch.from_numpy((layers[name].weights != 0).astype(np.float32)))


def _check_every(every: int) -> None:
    if every < 1:
        raise SkipstoneError(f"masks change every so many steps, at least every 1, not every {every}")


def _exchange(conv: ConvModule, share: float) -> None:
    """Drops the ``share`` smallest living weights of a layer for as many others with the largest gradients."""
    if conv.effective is None or conv.effective.grad is None:
        return
    alive = conv.mask.flatten() > 0
    living = int(alive.sum())
    moved = min(int(share * living), len(alive) - living)
    if not moved:
        return
    size = torch.where(alive, conv.weight.detach().flatten().abs(), torch.inf)
    dropped = torch.argsort(size, stable=True)[:moved]
    slope = torch.where(alive, -1.0, conv.effective.grad.flatten().abs())
    grown = torch.argsort(slope, descending=True, stable=True)[:moved]
    mask = conv.mask.flatten().clone()  # flattened, it may be a view
    mask[dropped] = 0
    mask[grown] = 1
    weight = conv.weight.detach().flatten().clone()
    weight[grown] = 0
    conv.mask.copy_(mask.reshape(conv.mask.shape))
    conv.weight.copy_(weight.reshape(conv.weight.shape))
    if conv.weight.grad is not None:
        conv.weight.grad.mul_(conv.mask)
