"""Channels that carry one constant for every image and pixel (a filter of zeros gives its bias), and channels that nothing
needs. Both can leave a network without changing what it computes; shrinking asks here first.

A constant goes through the network by what each layer does to it. Zero padding breaks it: at a border fewer taps see the
constant. Which taps see a pixel is worked out for every layer along each axis, so all cases are exact ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Layer,
    OnHost,
    Pointwise,
    Product,
    Select,
)
from skipstone.models.quantization.tables import evaluate_function

Mask = NDArray[np.bool_]
Values = NDArray[np.float64]

TOLERANCE = 1e-12
"""Of the magnitudes that are summed: what float64 may lose in the sum over a kernel's taps."""


@dataclass(frozen=True, eq=False)
class Constants:
    """Constant channels, by tensor.

    ``is_constant``: which channels are constant. ``value``: their values; 0 for the others. ``rough``: of some tensors, channels
    that count as constant although they differ at the border; their value is the mean over the pixels.
    """

    is_constant: Mapping[str, Mask]
    value: Mapping[str, Values]
    rough: Mapping[str, Mask]


def constants(graph: Graph, assumed: Mapping[str, Mask] | None = None) -> Constants:
    """Finds the constant channels of all tensors.

    Args:
        graph: The network.
        assumed: Channels, as those of removed filters, that only borders keep from being constant: they count with their mean.
    """
    is_constant: dict[str, Mask] = {graph.input: np.zeros(graph.input_shape[0], bool)}
    value: dict[str, Values] = {graph.input: np.zeros(graph.input_shape[0])}
    rough: dict[str, Mask] = {}
    for layer in graph.order:
        channels = graph.shapes[layer.name][0]
        nothing = np.zeros(channels, bool)
        fixed, result, varies = _through(graph, layer, [(is_constant[name], value[name]) for name in layer.inputs])
        averaged = nothing if assumed is None else assumed.get(layer.name, nothing)
        if (fixed & varies & averaged).any():
            rough[layer.name] = fixed & varies & averaged
        fixed = fixed & (~varies | averaged) & np.isfinite(result)
        if layer.clamp is not None:
            result = np.clip(result, *layer.clamp)
        is_constant[layer.name], value[layer.name] = fixed, np.where(fixed, result, 0.0)
    return Constants(is_constant, value, rough)


def needed(graph: Graph, is_constant: Mapping[str, Mask]) -> dict[str, Mask]:
    """For every tensor, the channels that some output of the network depends on; a constant channel needs no input."""
    used = {name: np.zeros(shape[0], bool) for name, shape in graph.shapes.items()}
    for name in graph.outputs:
        used[name][:] = True
    for layer in reversed(graph.order):
        mine = used[layer.name] & ~is_constant[layer.name]
        match layer:
            case Conv():
                used[layer.inputs[0]] |= _read(layer, mine)
            case Concat():
                start = 0
                for name in layer.inputs:
                    stop = start + graph.shapes[name][0]
                    used[name] |= mine[start:stop]
                    start = stop
            case Select():
                used[layer.inputs[0]][layer.channels[mine]] = True
            case OnHost():
                for name in layer.inputs:
                    used[name] |= mine.any()
            case Affine():
                used[layer.inputs[0]] |= mine & (layer.scale != 0)
            case _:
                for name in layer.inputs:
                    used[name] |= mine
    return used


def responses(graph: Graph, layer: Conv) -> tuple[Values, Mask]:
    """What an input channel that is 1 everywhere adds to each output channel.

    Returns:
        Its mean over the pixels, K x C/groups, and where it differs from pixel to pixel.
    """
    axes = [_seen(layer, axis, graph.shapes[layer.inputs[0]], graph.shapes[layer.name]) for axis in range(2)]
    means = [axis.mean(axis=0) for axis in axes]
    weights = layer.weights.astype(np.float64)
    mean: Values = np.einsum("i,kcij,j->kc", means[0], weights, means[1])
    (rows, columns) = (np.unique(axis, axis=0) for axis in axes)
    varies = np.zeros(mean.shape, bool)
    if len(rows) > 1 or len(columns) > 1:
        bound = TOLERANCE * np.abs(weights).sum(axis=(2, 3))
        for k in range(len(weights)):  # one filter at a time, for memory
            all_pixels = np.einsum("yi,cij,xj->cyx", rows, weights[k], columns)
            varies[k] = np.ptp(all_pixels, axis=(1, 2)) > bound[k]
    return mean, varies


def inputs_of(layer: Conv) -> NDArray[np.int64]:
    """The input channel of each of ``layer``'s weights: K x C/groups."""
    outputs, inputs = layer.weights.shape[:2]
    first = np.arange(outputs) // (outputs // layer.groups) * inputs
    sources: NDArray[np.int64] = first[:, None] + np.arange(inputs)
    return sources


def _read(layer: Conv, mine: Mask) -> Mask:
    """The input channels that the filters in ``mine`` have a weight for."""
    result = np.zeros(layer.weights.shape[1] * layer.groups, bool)
    result[inputs_of(layer)[(layer.weights != 0).any(axis=(2, 3)) & mine[:, None]]] = True
    return result


def _through(graph: Graph, layer: Layer, inputs: list[tuple[Mask, Values]]) -> tuple[Mask, Values, Mask]:
    """Which output channels only depend on constants, their value before the clamp, and which of these differ from pixel to
    pixel nevertheless."""
    fixed, value = inputs[0]
    never = np.zeros(graph.shapes[layer.name][0], bool)
    match layer:
        case Conv():
            return _through_conv(graph, layer, fixed, value)
        case Affine():
            return fixed | (layer.scale == 0), value * layer.scale + layer.bias, never
        case AveragePool():
            mean, varies = _averages(graph, layer)
            return fixed, value * mean, (value != 0) & varies
        case Add():
            return fixed & inputs[1][0], value + inputs[1][1], never
        case Product():
            zero = (fixed & (value == 0)) | (inputs[1][0] & (inputs[1][1] == 0))
            return (fixed & inputs[1][0]) | zero, value * inputs[1][1], never
        case Concat():
            return np.concatenate([each[0] for each in inputs]), np.concatenate([each[1] for each in inputs]), never
        case Pointwise() if fixed.any():
            return fixed, evaluate_function(layer.function, value.astype(np.float32)).astype(np.float64), never
        case Select():
            return fixed[layer.channels], value[layer.channels], never
        case OnHost():
            return never, np.zeros(never.size), never
        case _:
            return fixed, value, never


def _through_conv(graph: Graph, layer: Conv, fixed: Mask, value: Values) -> tuple[Mask, Values, Mask]:
    sources = inputs_of(layer)
    nonzero = (layer.weights != 0).any(axis=(2, 3))
    only = ~(nonzero & ~fixed[sources]).any(axis=1)
    result, varies = layer.bias.astype(np.float64), np.zeros(len(only), bool)
    carry = nonzero & (value[sources] != 0) & only[:, None]
    if carry.any():
        mean, differs = responses(graph, layer)
        result = result + np.where(carry, mean * value[sources], 0).sum(axis=1)
        varies = (carry & differs).any(axis=1)
    return only, result, varies


def _seen(layer: Conv, axis: int, source: tuple[int, ...], output: tuple[int, ...]) -> Values:
    """Output pixels x kernel taps along one axis: 1 where the tap sees a pixel of the input, 0 where it sees padding."""
    return _inside(
        output[axis + 1],
        source[axis + 1],
        layer.weights.shape[axis + 2],
        layer.stride[axis],
        layer.dilation[axis],
        layer.padding[axis],
        isinstance(layer, ConvTranspose),
    )


def _inside(
    outputs: int, inputs: int, kernel: int, stride: int, dilation: int, before: int, transposed: bool = False
) -> Values:
    y, tap = np.arange(outputs)[:, None], np.arange(kernel)[None] * dilation
    at = y + before - tap if transposed else y * stride + tap - before
    seen: Mask = (at >= 0) & (at < (inputs * stride if transposed else inputs))
    if transposed:
        seen &= at % stride == 0
    return seen.astype(np.float64)


def _averages(graph: Graph, layer: AveragePool) -> tuple[float, bool]:
    """What an average pool makes of a 1: its mean over the pixels, and whether it differs between them."""
    seen: Values = np.ones((1, 1))
    for axis in range(2):
        size, pixels = graph.shapes[layer.inputs[0]][axis + 1], graph.shapes[layer.name][axis + 1]
        window = (layer.kernel[axis], layer.stride[axis], layer.dilation[axis])
        before = layer.padding[axis] - layer.uncounted[axis]
        after = layer.padding[axis + 2] - layer.uncounted[axis + 2]
        inside = _inside(pixels, size, *window, layer.padding[axis]).sum(axis=1)
        counted = _inside(pixels, size + before + after, *window, layer.uncounted[axis]).sum(axis=1)
        seen = seen * (inside / np.maximum(counted, 1)).reshape((-1, 1) if axis == 0 else (1, -1))
    return float(seen.mean()), not math.isclose(float(np.ptp(seen)), 0.0, abs_tol=TOLERANCE)
