"""Bias correction: a layer's bias takes back what quantization adds to the mean of each of its channels.

It runs after the weights are rounded. Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", 2019, section 4.2 and its empirical form (appendix D), with images in place of batch normalization's
statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images, check_images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Clamp, Conv
from skipstone.models.ptq.activations import QuantizedInputs, float_tensors
from skipstone.models.ptq.taps import mean_taps
from skipstone.models.quantization.ranges import Ranges
from skipstone.models.quantization.scheme import INT8, QuantizationScheme

_BISECTIONS = 24


@dataclass(frozen=True, eq=False)
class BiasCorrected:
    """A graph with corrected biases.

    Attributes:
        graph: The graph.
        shifts: By layer, the mean shift that was taken from each channel (K).
    """

    graph: Graph
    shifts: Mapping[str, NDArray[np.float64]]


def correct_biases(
    graph: Graph,
    original: Graph,
    images: Images,
    ranges: Ranges | None = None,
    scheme: QuantizationScheme = INT8,
    after_clamp: bool = True,
) -> BiasCorrected:
    """Corrects biases so that layers have the same mean outputs as before rounding.

    Layer by layer in execution order, ``bias -= E[W' x'] - E[W x]``. ``W'`` are the rounded weights and ``x'`` is what
    the corrected layers before make of the images; ``W`` and ``x`` are those of ``original``. Means are over images and
    pixels.

    The paper takes the means before a layer's clamp. With ``after_clamp``, a layer with a ReLU or Clip gets the bias
    that makes the means after it equal: errors at pixels that the clamp hides, such as those of a uniform background,
    then no longer shift the others. Where the paper's shift, or none, gives a channel the smaller squared error (a
    channel that hardly ever passes the clamp), it is used. Grids stay.

    Args:
        graph: The graph with rounded weights.
        original: The graph with the same layers before rounding; the equalized one, if it was equalized.
        images: N x C x H x W.
        ranges: Makes ``x'`` the activations of the integer network; without them activations are floats.
        scheme: How layers without a grid are quantized, with ``ranges``.
        after_clamp: See above.

    Raises:
        SkipstoneError: The graphs' layers differ.
    """
    images = check_images(graph, images)
    originals = {layer.name: layer for layer in original.convs}
    for layer in graph.convs:
        partner = originals.get(layer.name)
        if partner is None or partner.weights.shape != layer.weights.shape or partner.inputs != layer.inputs:
            raise SkipstoneError(f"layer '{layer.name}': the graph to take means from has no such layer")
    names = [layer.name for layer in graph.convs]
    inputs = float_tensors(original, images, [originals[name].inputs[0] for name in names])
    quantized = QuantizedInputs(images, ranges, scheme)
    shifts: dict[str, NDArray[np.float64]] = {}
    for name in names:
        before, layer = originals[name], next(layer for layer in graph.convs if layer.name == name)
        float_input, x = inputs[before.inputs[0]], quantized.tensor(graph, layer.inputs[0])
        shift = mean_outputs(layer, x) - mean_outputs(before, float_input)
        if after_clamp and layer.clamp is not None:
            shift = _clamped_shift(unclamped(layer, x), unclamped(before, float_input), layer.clamp, shift)
        shifts[name] = shift
        corrected = replace(layer, bias=(layer.bias - shift).astype(np.float32))
        graph = replace(
            graph, layers=tuple(corrected if candidate.name == name else candidate for candidate in graph.layers)
        )
    return BiasCorrected(graph, shifts)


def mean_outputs(layer: Conv, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean of each output channel over images and pixels, before the clamp, for the input ``x`` (N x C x H x W)."""
    outputs = len(layer.weights)
    matrix = layer.weights.reshape(layer.groups, outputs // layer.groups, -1).astype(np.float64)
    products = np.matmul(matrix, mean_taps(layer, x)[:, :, None]).reshape(outputs)
    mean: NDArray[np.float64] = products + layer.bias
    return mean


def unclamped(layer: Conv, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The layer's outputs before its clamp, N x K x H x W, for the input ``x``."""
    alone = Graph(layer.name, "x", x.shape[1:], (replace(layer, inputs=("x",), clamp=None),), (layer.name,))
    return float_tensors(alone, x, [layer.name])[layer.name]


def _clamped_shift(
    values: NDArray[np.float32], targets: NDArray[np.float32], clamp: Clamp, plain: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What to subtract from each channel of ``values`` so that its clamped mean equals that of ``targets``.

    The shift comes from bisection within the channel's own spread around the ``plain`` shift. Of it, ``plain`` and 0,
    the one with the least squared error is returned.
    """
    clamped_targets = np.clip(targets, *clamp)

    def moved(shift: NDArray[np.float64]) -> NDArray[np.float32]:
        clamped: NDArray[np.float32] = np.clip(values - shift.astype(np.float32).reshape(-1, 1, 1), *clamp)
        return clamped

    def excess(shift: NDArray[np.float64]) -> NDArray[np.float64]:
        difference: NDArray[np.float64] = (moved(shift) - clamped_targets).mean(axis=(0, 2, 3), dtype=np.float64)
        return difference

    spread = values.max(axis=(0, 2, 3)).astype(np.float64) - values.min(axis=(0, 2, 3)) + np.abs(plain)
    low, high = plain - spread, plain + spread
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = excess(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    candidates = np.stack([(low + high) / 2, plain, np.zeros_like(plain)])
    errors = [np.square(moved(shift) - clamped_targets).mean(axis=(0, 2, 3), dtype=np.float64) for shift in candidates]
    best: NDArray[np.float64] = np.take_along_axis(candidates, np.argmin(errors, axis=0)[None], axis=0)[0]
    return best
