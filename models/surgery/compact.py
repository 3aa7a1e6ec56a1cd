"""Compact filters in place of a convolution: depthwise-separable ones or a bottleneck, started at the best fit of the
layer's weights, so that training or distillation continues from what the network knows.

The fit is a linear one: exact least squares for separable filters, Tucker-2 for bottlenecks. A clamp between the new
layers, as MobileNet has, makes a different layer of it, which only training can repair.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Clamp, Conv
from skipstone.models.surgery.chains import Chain, Link, Refusal, replace_layers
from skipstone.models.surgery.factorize import refuse_window, tucker_chain
from skipstone.models.surgery.result import Surgery


def depthwise_separable(
    graph: Graph,
    layers: Iterable[str] | None = None,
    *,
    multiplier: int = 1,
    between: Clamp | None = None,
    only_savings: bool = True,
) -> Surgery:
    """Replaces convolutions by depthwise filters, ``layer.depthwise``, and a 1x1 convolution (Howard et al., MobileNets, 2017).

    Input channels do not meet before the 1x1 layer, so the best fit in squares is that of each channel alone: the first
    ``multiplier`` terms of the SVD of its K x (kh * kw) matrix (Guo et al., Network Decoupling, 2018).

    Args:
        graph: The network.
        layers: Names; None for all convolutions larger than 1x1 without groups.
        multiplier: Depthwise filters for each input channel.
        between: Clamps the depthwise layer.
        only_savings: Leaves layers alone that would multiply as often, or more.
    """
    if multiplier < 1:
        raise SkipstoneError(f"the depthwise multiplier must be a positive integer, not {multiplier}")

    def chain(layer: Conv) -> Chain | Refusal:
        refused = refuse_window(layer)
        if refused:
            return refused
        outputs, inputs, *kernel = layer.weights.shape
        each = min(multiplier, outputs, kernel[0] * kernel[1])
        matrices = layer.weights.astype(np.float64).swapaxes(0, 1).reshape(inputs, outputs, -1)
        u, s, v = np.linalg.svd(matrices, full_matrices=False)
        root = np.sqrt(s[:, :each])
        windows = (root[:, :, None] * v[:, :each]).reshape(inputs * each, 1, *kernel)
        points = (u[:, :, :each] * root[:, None]).transpose(1, 0, 2).reshape(outputs, inputs * each)
        links = (
            Link("depthwise", windows, layer.stride, layer.padding, layer.dilation, inputs),
            Link("pointwise", points[:, :, None, None]),
        )
        product = np.einsum(
            "kcm,cmij->kcij", points.reshape(outputs, inputs, each), windows.reshape(inputs, each, *kernel)
        )
        return Chain(links, (each,), product)

    return replace_layers(graph, "depthwise_separable", layers, chain, only_savings=only_savings, between=between)


def bottleneck(
    graph: Graph,
    layers: Iterable[str] | None = None,
    *,
    share: float = 0.25,
    between: Clamp | None = None,
    only_savings: bool = True,
) -> Surgery:
    """Replaces convolutions by bottlenecks (He et al., Deep Residual Learning, 2016).

    A bottleneck is a 1x1 ``layer.reduce`` to r channels, ``layer.window`` of the layer's kernel from r to r, and 1x1 to the
    layer's K outputs.

    Args:
        graph: The network.
        layers: Names; None for all convolutions larger than 1x1 without groups.
        share: r as a share of K: rounded, at least 1, and at most the smaller of K and C.
        between: Clamps all but the last layer.
        only_savings: Leaves layers alone that would multiply as often, or more.
    """
    if not 0 < share <= 1:
        raise SkipstoneError(f"a bottleneck's share of the channels must be above 0 and at most 1, not {share:g}")

    def chain(layer: Conv) -> Chain | Refusal:
        refused = refuse_window(layer)
        if refused:
            return refused
        outputs, inputs = layer.weights.shape[:2]
        width = min(max(1, round(share * outputs)), outputs, inputs)
        return tucker_chain(layer, width, width, ("reduce", "window"))

    return replace_layers(graph, "bottleneck", layers, chain, only_savings=only_savings, between=between)
