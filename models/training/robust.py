"""Robust accuracy: a network's accuracy when each image is changed a little, in the worst direction.

Projected gradient descent (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018): from a random
point within ``epsilon`` of each pixel, ``steps`` steps of ``step_size`` along the sign of the loss's gradient, each time brought
back within ``epsilon`` and 0 to 1. The attack sees the float network it is made for.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.training.network import GraphModule

BATCH = 250


def attacked(
    graph: Graph,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    epsilon: float = 4 / 255,
    steps: int = 7,
    step_size: float | None = None,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Changes images so that a network errs (projected gradient descent).

    Args:
        graph: The network.
        images: N x C x H x W, from 0 to 1.
        labels: N classes.
        epsilon: The most that a pixel changes.
        steps: Gradient steps.
        step_size: Of each step; ``2.5 * epsilon / steps``, if None.
        seed: Of the random start.

    Raises:
        SkipstoneError: Images do not lie within 0 to 1, or ``epsilon`` or ``steps`` are out of range.
    """
    if not len(images) or images.min() < 0 or images.max() > 1:
        raise SkipstoneError("an attack needs images whose pixels lie from 0 to 1")
    if epsilon < 0 or steps < 1:
        raise SkipstoneError(f"an attack needs epsilon >= 0 and at least one step, not {epsilon:g} and {steps}")
    size = 2.5 * epsilon / steps if step_size is None else step_size
    module = GraphModule(graph).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    randomness = torch.Generator().manual_seed(seed)
    changed = []
    for start in range(0, len(images), BATCH):
        clean = torch.from_numpy(images[start : start + BATCH])
        target = torch.from_numpy(labels[start : start + BATCH])
        x = clean + (torch.rand(clean.shape, generator=randomness) * 2 - 1) * epsilon
        x = x.clamp(0, 1)
        for _ in range(steps):
            x.requires_grad_(True)
            loss = functional.cross_entropy(module(x), target)
            (slope,) = torch.autograd.grad(loss, x)
            with torch.no_grad():
                x = x + size * slope.sign()
                x = torch.minimum(torch.maximum(x, clean - epsilon), clean + epsilon).clamp(0, 1)
        changed.append(x.detach().numpy())
    return np.concatenate(changed)
