"""Gradients of the loss with respect to every weight: the evidence of Taylor, SNIP and their like."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from skipstone.models.graph.graph import Graph
from skipstone.models.training.network import GraphModule

BATCH = 128


def weight_gradients(
    graph: Graph, images: NDArray[np.float32], labels: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The mean gradient of the cross entropy for each weight, zero weights too.

    Args:
        graph: The network. Weights that its first output does not depend on have gradient 0.
        images: N x C x H x W.
        labels: N classes. Without them, the network's own probabilities take their place: the gradient is that of their entropy,
            for post-training pruning without labels.

    Returns:
        By layer, in the weights' shape.
    """
    module = GraphModule(graph).eval()
    for conv in module.convs.values():
        conv.keep_effective = True
        conv.mask.fill_(1.0)
    totals = {name: torch.zeros_like(conv.weight, dtype=torch.float64) for name, conv in module.convs.items()}
    for start in range(0, len(images), BATCH):
        scores = module(torch.from_numpy(images[start : start + BATCH]))
        if labels is not None:
            target = torch.from_numpy(labels[start : start + BATCH])
            loss = functional.cross_entropy(scores, target, reduction="sum")
        else:
            loss = -(functional.softmax(scores, 1) * functional.log_softmax(scores, 1)).sum()
        module.zero_grad()
        loss.backward()
        for name, conv in module.convs.items():
            assert conv.effective is not None
            if conv.effective.grad is not None:  # the first output may not depend on it
                totals[name] += conv.effective.grad
    return {name: (total / len(images)).numpy() for name, total in totals.items()}


def batch_gradients(
    graph: Graph, images: NDArray[np.float32], labels: NDArray[np.int64], batch: int = BATCH
) -> dict[str, NDArray[np.float64]]:
    """The mean gradient of each mini-batch, along a first axis (batches x the weights' shape), for Taylor terms."""
    batches = [
        weight_gradients(graph, images[start : start + batch], labels[start : start + batch])
        for start in range(0, len(images), batch)
    ]
    return {name: np.stack([gradients[name] for gradients in batches]) for name in batches[0]}


def squared_gradients(
    graph: Graph, images: NDArray[np.float32], labels: NDArray[np.int64], batch: int = 16
) -> dict[str, NDArray[np.float64]]:
    """The mean of squared gradients of small batches: the diagonal of the empirical Fisher information, up to a factor.

    Args:
        graph: The network.
        images: N x C x H x W.
        labels: N classes.
        batch: Images in a batch. A last batch that is not full is left out, unless it is the only one.

    Returns:
        By layer, in the weights' shape.
    """
    batch = min(batch, len(images))
    totals: dict[str, NDArray[np.float64]] = {}
    count = 0
    for start in range(0, len(images) - batch + 1, batch):
        some = weight_gradients(graph, images[start : start + batch], labels[start : start + batch])
        totals = {name: totals.get(name, 0.0) + gradient**2 for name, gradient in some.items()}
        count += 1
    return {name: total / max(count, 1) for name, total in totals.items()}
