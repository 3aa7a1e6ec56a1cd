"""Granularities of pruning: which weights of a layer go together. The masks are made of whole groups, and of nothing else.

Every granularity is an array of group numbers in the weights' shape, so that scoring and choosing are one road for all of
them. Groups are numbered in the order in which their first weights lie in memory.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError

Granularity = Literal["weight", "nm", "block", "kernel", "stripe", "shape", "input_channel", "filter"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
Integers = NDArray[np.int64]
WeightsShape = tuple[int, ...]
"""K x C/groups x kh x kw."""


def group_ids(
    shape: WeightsShape, granularity: Granularity, groups: int = 1, block: tuple[int, int] = (1, 1)
) -> Integers:
    """Numbers the groups of weights that are pruned together.

    - ``weight`` and ``nm``: each weight by itself (``nm`` limits the choice among them, see :func:`contests`).
    - ``block``: ``block[0]`` output x ``block[1]`` input channels at one tap; smaller at the ends of a convolution's group,
      which no block crosses.
    - ``kernel``: the taps of one pair of output and input channel.
    - ``stripe``: one tap of a filter across its input channels (Meng et al., Pruning Filter in Filter, 2020).
    - ``shape``: one input channel and tap, in all filters that read it (Wen et al., Structured Sparsity Learning, 2016).
    - ``input_channel``: all weights that read one input channel of the layer.
    - ``filter``: all weights of one output channel.

    Args:
        shape: Of the weights, K x C/groups x kh x kw.
        granularity: One of the above.
        groups: Of the convolution.
        block: Output x input channels of a block.

    Returns:
        The group of every weight, from 0 on, in the weights' shape.
    """
    outputs, inputs, kh, kw = shape
    if outputs % groups:
        raise SkipstoneError(f"{outputs} output channels are not divisible into {groups} groups")
    k, c, i, j = np.indices(shape)
    size = outputs // groups
    group, row = np.divmod(k, size)
    tap = i * kw + j
    match granularity:
        case "weight" | "nm":
            key = np.arange(k.size).reshape(shape)
        case "block":
            rows, columns = block
            if rows < 1 or columns < 1:
                raise SkipstoneError(f"a block needs at least 1x1 channels, not {rows}x{columns}")
            key = ((group * size + row // rows) * inputs + c // columns) * kh * kw + tap
        case "kernel":
            key = k * inputs + c
        case "stripe":
            key = k * kh * kw + tap
        case "shape":
            key = (group * inputs + c) * kh * kw + tap
        case "input_channel":
            key = group * inputs + c
        case "filter":
            key = k
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse].reshape(shape)


def contests(
    shape: WeightsShape, granularity: Granularity, ids: Integers, m: int = 0, by_output: bool = False
) -> Integers:
    """Numbers the contests: a group is compared with the groups of its own contest only.

    Args:
        shape: Of the weights, K x C/groups x kh x kw.
        granularity: ``nm`` has a contest for every ``m`` consecutive input channels at the same output channel and tap.
        ids: The group of every weight.
        m: M of N:M.
        by_output: Each output channel has its own contest, so groups must lie within one. Else the layer is one contest.

    Returns:
        For each group the number of its contest.
    """
    _, inputs, kh, kw = shape
    k, c, i, j = np.indices(shape)
    if granularity == "nm":
        cell = ((k * -(-inputs // m) + c // m) * kh + i) * kw + j
    elif by_output:
        if granularity not in ("weight", "kernel", "stripe"):
            raise SkipstoneError(f"{granularity} granularity has groups of several output channels, or of a whole one")
        cell = k
    else:
        return np.zeros(int(ids.max()) + 1, np.int64)
    result = np.empty(int(ids.max()) + 1, np.int64)
    result[ids.ravel()] = cell.ravel()
    return result


def lowest(scores: NDArray[np.float64], contests: Integers, counts: Integers) -> NDArray[np.bool_]:
    """Where the ``counts[c]`` lowest scores of each contest c are; of equals the earlier ones, of infinite ones none."""
    order = np.lexsort((scores, contests))
    sizes = np.bincount(contests, minlength=len(counts))
    rank = np.empty(len(scores), np.int64)
    rank[order] = np.arange(len(scores)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray((rank < counts[contests]) & (scores < np.inf))


def described(shape: WeightsShape, granularity: Granularity, ids: Integers) -> str | None:
    """What the groups of a layer come down to where they are something simpler than their name says, else None."""
    if granularity in ("weight", "nm"):
        return None
    if int(ids.max()) + 1 == ids.size:
        return "single weights"
    if not ids.any():
        return "the whole layer"
    if granularity != "filter" and covers_filters(ids):
        return "whole filters"
    if granularity == "shape" and shape[2:] == (1, 1):
        return "whole input channels"
    return None


def covers_filters(ids: Integers) -> bool:
    """Whether every filter lies within one group, so that pruning a group silences output channels."""
    flat = ids.reshape(len(ids), -1)
    return bool((flat == flat[:, :1]).all())
