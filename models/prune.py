"""Magnitude pruning: the smallest weights of a graph's Conv and Gemm layers become exactly 0. No retraining.

Counts are exact and ties go to the earlier weight, so that a method always gives the same network. Biases, and layers
without trained weights, stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import SkipstoneError
from models.graph import Graph

Method = Literal["none", "unstructured", "global", "nm"]

METHODS = "none, unstructured:AMOUNT, global:AMOUNT, N:M (as 2:4)"


@dataclass(frozen=True)
class Pruning:
    """What to prune: ``amount`` (share of zeros) for unstructured and global, ``n`` of every ``m`` kept for nm."""

    method: Method
    amount: float = 0.0
    n: int = 0
    m: int = 0

    def __str__(self) -> str:
        if self.method == "none":
            return "none"
        return f"{self.n}:{self.m}" if self.method == "nm" else f"{self.method}:{self.amount:g}"


def parse(text: str) -> Pruning:
    """The pruning that ``text`` names: ``none``, ``unstructured:0.8``, ``global:0.8``, ``2:4`` or ``nm:2:4``."""
    if text == "none":
        return Pruning("none")
    structured = re.fullmatch(r"(?:nm:)?(\d+):(\d+)", text)
    if structured:
        n, m = int(structured[1]), int(structured[2])
        if not 1 <= n <= m:
            raise SkipstoneError(f"pruning '{text}': N:M keeps N of M weights, so N must be from 1 to M")
        return Pruning("nm", n=n, m=m)
    name, separator, value = text.partition(":")
    if name not in ("unstructured", "global") or not separator:
        raise SkipstoneError(f"no pruning method '{text}'; the methods are {METHODS}")
    try:
        amount = float(value)
    except ValueError:
        raise SkipstoneError(f"pruning '{text}': sparsity must be a number, not '{value}'") from None
    if not 0 <= amount < 1:
        raise SkipstoneError(f"pruning '{text}': sparsity must be at least 0 and below 1, not {value}")
    return Pruning("unstructured" if name == "unstructured" else "global", amount)


def prune(graph: Graph, pruning: str | Pruning) -> Graph:
    """A new graph, pruned.

    - ``unstructured``: in each layer the ``round(amount * size)`` smallest weights.
    - ``global``: the ``round(amount * total)`` smallest weights of all layers together.
    - ``nm``: of every M consecutive input channels at the same output channel and kernel tap, the N largest stay. Where
      the layer's input channels (of a group) are not a multiple of M, the last L of them keep ``ceil(N * L / M)``; so a
      layer with one input channel stays dense.
    """
    if isinstance(pruning, str):
        pruning = parse(pruning)
    weights = {layer.name: layer.weights for layer in graph.convs}
    if not weights:
        return graph
    match pruning.method:
        case "none":
            return graph
        case "unstructured":
            pruned = {
                name: _without_smallest(array, round(pruning.amount * array.size)) for name, array in weights.items()
            }
        case "global":
            everything = np.concatenate([array.ravel() for array in weights.values()])
            everything = _without_smallest(everything, round(pruning.amount * everything.size))
            ends = np.cumsum([array.size for array in weights.values()])[:-1]
            pieces = np.split(everything, ends)
            pruned = {name: piece.reshape(weights[name].shape) for name, piece in zip(weights, pieces, strict=True)}
        case "nm":
            pruned = {name: _n_of_m(array, pruning.n, pruning.m) for name, array in weights.items()}
    return graph.with_weights(pruned)


def density(graph: Graph) -> float:
    """Share of nonzero weights over all Conv and Gemm layers."""
    total = sum(layer.weights.size for layer in graph.convs)
    return sum(int(np.count_nonzero(layer.weights)) for layer in graph.convs) / total if total else 1.0


def _without_smallest(array: NDArray[np.float32], zeros: int) -> NDArray[np.float32]:
    result = array.copy()
    result.ravel()[np.argsort(np.abs(array), axis=None, kind="stable")[:zeros]] = 0
    return result


def _n_of_m(array: NDArray[np.float32], n: int, m: int) -> NDArray[np.float32]:
    result = array.copy()
    for start in range(0, array.shape[1], m):
        group = result[:, start : start + m]
        length = group.shape[1]
        zeros = length - -(-n * length // m)
        smallest = np.argsort(np.abs(group), axis=1, kind="stable")[:, :zeros]
        np.put_along_axis(group, smallest, 0, axis=1)
    return result
