"""Bias correction: a layer's bias takes back what quantization adds to the mean of each of its channels.

It goes after the weights are rounded. Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019, section 4.2 and its empirical form (appendix D), with images in place of batch normalization's statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.calibrate import Ranges
from models.errors import SkipstoneError
from models.graph import Conv, Graph
from models.images import Images, fit_images
from models.ptq.activations import QuantizedInputs, float_tensors
from models.ptq.taps import mean_taps


@dataclass(frozen=True, eq=False)
class BiasCorrected:
    """``graph`` with other biases; ``shifts``: by layer name, the mean shift that each channel (K) was relieved of."""

    graph: Graph
    shifts: Mapping[str, NDArray[np.float64]]


def correct_biases(
    graph: Graph,
    original: Graph,
    images: Images,
    ranges: Ranges | None = None,
    weight_bits: int = 8,
    activation_bits: int = 8,
) -> BiasCorrected:
    """``graph`` (whose weights are rounded) with the biases at which its layers have the means of ``original``'s.

    Layer by layer in execution order, ``bias -= E[W' x'] - E[W x]``: ``W'`` and ``x'`` are the rounded weights and what the
    corrected layers before make of ``images`` (N x C x H x W), ``W`` and ``x`` those of ``original`` (a graph with the same
    layers before rounding); means are over images and pixels, before a clamp. With ``ranges``, ``x'`` are the integer
    network's activations of ``activation_bits`` (``weight_bits`` for layers without a grid), else activations stay floats.
    Grids stay. Raises SkipstoneError where the graphs' layers differ.
    """
    images = fit_images(graph, images)
    originals = {layer.name: layer for layer in original.convs}
    for layer in graph.convs:
        partner = originals.get(layer.name)
        if partner is None or partner.weights.shape != layer.weights.shape or partner.inputs != layer.inputs:
            raise SkipstoneError(f"layer '{layer.name}': the graph to take means from has no such layer")
    expected = _mean_outputs(original, images)
    quantized = QuantizedInputs(images, ranges, weight_bits, activation_bits)
    shifts: dict[str, NDArray[np.float64]] = {}
    for name in [layer.name for layer in graph.convs]:
        layer = next(layer for layer in graph.convs if layer.name == name)
        shift = mean_outputs(layer, quantized.tensor(graph, layer.inputs[0])) - expected[name]
        shifts[name] = shift
        corrected = replace(layer, bias=(layer.bias - shift).astype(np.float32))
        layers = tuple(corrected if other.name == name else other for other in graph.layers)
        graph = replace(graph, layers=layers)
    return BiasCorrected(graph, shifts)


def mean_outputs(layer: Conv, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean of each output channel over images and pixels, before the clamp, for the input ``x`` (N x C x H x W)."""
    outputs = len(layer.weights)
    matrix = layer.weights.reshape(layer.groups, outputs // layer.groups, -1).astype(np.float64)
    products = np.matmul(matrix, mean_taps(layer, x)[:, :, None]).reshape(outputs)
    mean: NDArray[np.float64] = products + layer.bias
    return mean


def _mean_outputs(graph: Graph, images: Images) -> dict[str, NDArray[np.float64]]:
    tensors = float_tensors(graph, images, [layer.inputs[0] for layer in graph.convs])
    return {layer.name: mean_outputs(layer, tensors[layer.inputs[0]]) for layer in graph.convs}
