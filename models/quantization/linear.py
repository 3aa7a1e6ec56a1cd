"""Float layers as the array computes them: sparse linear maps (or maxima over windows) with integer weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.grids import WeightGrid
from skipstone.models.graph.layers import (
    Affine,
    AveragePool,
    Conv,
    ConvTranspose,
    Layer,
    MaxPool,
    Padding,
    Pair,
    Select,
    Shape,
    Upsample,
)
from skipstone.models.quantization.lattices import AxisLattice, average_runs, transposed_runs
from skipstone.models.quantization.network import Lattice, Operation, QuantizedTensor
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.models.quantization.weight_codes import code_weights, value_bits

_BIAS_ROOM_BITS = 4
"""A channel's weight scale is raised until its bias is at most ``2**(weight bits + activation bits + 4)``, which costs
nothing: the weights of such a channel are that small beside its bias, and accumulators stay as narrow as other channels
need them."""


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """One layer as the array computes it.

    ``bias`` is in units of ``input scale * weight_scale``, without zero points. ``part`` and ``lattice`` say which
    pixels of a tensor the layer writes where several layers write it; they are empty and None where it writes all.
    ``scheme`` is that of trained weights; None where there are none. ``reads``: the channels that it sees as its input's;
    None for all.
    """

    weights: NDArray[np.int64]
    weight_scale: NDArray[np.float64]
    bias: NDArray[np.float64]
    groups: int
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    operation: Operation = "multiply_add"
    part: str = ""
    lattice: Lattice | None = None
    scheme: QuantizationScheme | None = None
    reads: NDArray[np.int64] | None = None


def linear_layers(
    layer: Layer, source: QuantizedTensor, output: Shape, output_scale: float, scheme: QuantizationScheme | None
) -> list[LinearLayer]:
    """The layers of the array that compute one float layer.

    Args:
        layer: The float layer.
        source: The tensor that it reads.
        output: Shape of the tensor that it writes: channels, height, width.
        output_scale: Step of that tensor.
        scheme: The layer's own scheme, for trained weights.
    """
    channels = source.shape[0]

    def ones(kernel: Pair) -> NDArray[np.int64]:
        return np.ones((channels, 1, *kernel), dtype=np.int64)

    unit, zero = np.ones(channels), np.zeros(channels)
    match layer:
        case ConvTranspose():
            linear = _trained(layer, layer.weights, source, output_scale, scheme, layer.groups)
            return [
                _at(linear, rows, columns) for rows, columns in _pairs(transposed_axes(layer, source.shape, output))
            ]
        case Conv():
            linear = _trained(layer, layer.weights, source, output_scale, scheme, layer.groups)
            return [replace(linear, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)]
        case Affine():
            return [_trained(layer, layer.scale.reshape(-1, 1, 1, 1), source, output_scale, scheme, channels)]
        case AveragePool() if any(layer.uncounted):
            linear = LinearLayer(ones(layer.kernel), unit, zero, channels)
            parts = []
            for rows, columns in _pairs(average_axes(layer, source.shape, output)):
                part = _at(linear, rows, columns)
                parts.append(replace(part, weight_scale=unit / _divisor(layer, rows, columns)))
            plain = len(parts) == 1 and min(parts[0].padding) >= 0
            return [replace(parts[0], part="", lattice=None)] if plain else parts
        case AveragePool():
            scale = unit / math.prod(layer.kernel)
            return [LinearLayer(ones(layer.kernel), scale, zero, channels, layer.stride, layer.padding, layer.dilation)]
        case MaxPool():
            window = (layer.stride, layer.padding, layer.dilation)
            return [LinearLayer(ones(layer.kernel), unit, zero, channels, *window, "max")]
        case Upsample():
            linear = LinearLayer(ones((1, 1)), unit, zero, channels)
            axes = [
                [AxisLattice(at, factor, size, (0,), 1, 1, 0, 0) for at in range(factor)]
                for factor, size in ((layer.factor[0], source.shape[1]), (layer.factor[1], source.shape[2]))
            ]
            return [_at(linear, rows, columns) for rows, columns in _pairs((tuple(axes[0]), tuple(axes[1])))]
        case Select():
            return [_selection(layer, source, output)]
        case _:
            return [LinearLayer(ones((1, 1)), unit, zero, channels)]


def _selection(layer: Select, source: QuantizedTensor, output: Shape) -> LinearLayer:
    """A weight of 1 for each channel; padding below 0 crops to the pixels."""
    channels = len(layer.channels)
    ones, unit, zero = np.ones((channels, 1, 1, 1), np.int64), np.ones(channels), np.zeros(channels)
    linear = LinearLayer(ones, unit, zero, channels, layer.stride, reads=layer.channels)
    if layer.size is None:
        return linear
    bottom, right = (
        first + step * (pixels - 1) + 1 - size
        for first, step, pixels, size in zip(layer.offset, layer.stride, output[1:], source.shape[1:], strict=True)
    )
    padding = (-layer.offset[0], -layer.offset[1], bottom, right)
    return replace(linear, padding=padding, lattice=Lattice((0, 0), (1, 1), layer.size))


def writes_alone(layer: Layer) -> bool:
    """Whether a single layer of the array writes all of ``layer``'s tensor."""
    return not isinstance(layer, ConvTranspose | Upsample) and not (
        isinstance(layer, AveragePool) and any(layer.uncounted)
    )


def transposed_axes(
    layer: ConvTranspose, source: Shape, output: Shape
) -> tuple[tuple[AxisLattice, ...], tuple[AxisLattice, ...]]:
    """The phases of a transposed convolution along both axes."""
    rows, columns = (
        transposed_runs(
            source[axis + 1],
            output[axis + 1],
            layer.weights.shape[axis + 2],
            layer.stride[axis],
            layer.dilation[axis],
            layer.padding[axis],
        )
        for axis in range(2)
    )
    return rows, columns


def average_axes(
    layer: AveragePool, source: Shape, output: Shape
) -> tuple[tuple[AxisLattice, ...], tuple[AxisLattice, ...]]:
    """The runs of equal divisors of an average pool along both axes."""
    rows, columns = (
        average_runs(
            source[axis + 1],
            output[axis + 1],
            layer.kernel[axis],
            layer.stride[axis],
            layer.dilation[axis],
            layer.padding[axis],
            (layer.padding[axis] - layer.uncounted[axis], layer.padding[axis + 2] - layer.uncounted[axis + 2]),
        )
        for axis in range(2)
    )
    return rows, columns


def _divisor(layer: AveragePool, rows: AxisLattice, columns: AxisLattice) -> int:
    divisor = rows.divisor * columns.divisor
    if not divisor:
        raise SkipstoneError(f"layer '{layer.name}': it has windows of padding only, which have no mean")
    return divisor


def _pairs(axes: tuple[tuple[AxisLattice, ...], tuple[AxisLattice, ...]]) -> list[tuple[AxisLattice, AxisLattice]]:
    return [(rows, columns) for rows in axes[0] for columns in axes[1]]


def _at(linear: LinearLayer, rows: AxisLattice, columns: AxisLattice) -> LinearLayer:
    """The part of ``linear`` that computes the pixels of two runs, with their taps of its weights."""
    weights, scheme = linear.weights[:, :, list(rows.taps)][:, :, :, list(columns.taps)], linear.scheme
    if not weights.size:
        scheme = None
        weights = np.zeros((*weights.shape[:2], max(1, len(rows.taps)), max(1, len(columns.taps))), np.int64)
    return replace(
        linear,
        weights=weights,
        scheme=scheme,
        stride=(rows.stride, columns.stride),
        padding=(rows.before, columns.before, rows.after, columns.after),
        dilation=(rows.dilation, columns.dilation),
        part=f"phase_{rows.offset}_{columns.offset}",
        lattice=Lattice((rows.offset, columns.offset), (rows.step, columns.step), (rows.size, columns.size)),
    )


def _trained(
    layer: Conv | Affine,
    weights: NDArray[np.float32],
    source: QuantizedTensor,
    output_scale: float,
    scheme: QuantizationScheme | None,
    groups: int,
) -> LinearLayer:
    """The layer with its weights as integers of ``scheme``, or on the grid that they already have."""
    assert scheme is not None
    if layer.grid is not None:
        scheme = replace(scheme, weight_code=layer.grid.code, weight_bits=layer.grid.bits)
    room = 2.0 ** (value_bits(scheme.weight_code, scheme.weight_bits) + source.bits + _BIAS_ROOM_BITS)
    lowest = np.abs(layer.bias.astype(np.float64)) / (source.scale * room)
    if layer.grid is not None:
        integers, scale = _on_grid(layer.grid, lowest)
    else:
        # A channel without weights only has a bias, which is kept to 1/256 of an output step.
        empty = np.full(len(weights), output_scale / source.scale / 256)
        integers, scale = _coded(weights, scheme, lowest, empty)
    bias = np.rint(layer.bias / (source.scale * scale))
    return LinearLayer(integers, scale, bias, groups, scheme=scheme)


def _coded(
    weights: NDArray[np.float32], scheme: QuantizationScheme, lowest: NDArray[np.float64], empty: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    coding = (scheme.weight_bits, scheme.weight_code, scheme.codebook_entries)
    if not scheme.per_tensor:
        return code_weights(weights, *coding, lowest, empty)
    outputs, inputs, height, width = weights.shape
    single = weights.reshape(1, outputs * inputs, height, width)
    ends = lowest.max(keepdims=True), empty.max(keepdims=True)
    integers, scale = code_weights(single, *coding, *ends)
    return integers.reshape(weights.shape), np.repeat(scale, outputs)


def _on_grid(grid: WeightGrid, lowest: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The grid's integers and scales; a channel whose bias needs a scale of ``lowest`` is rounded to it, within its code."""
    integers, scale = grid.integers.copy(), grid.scale.copy()
    # The slack lets a scale pass that was raised to ``lowest`` before, and then rounded with its bias.
    coarse = scale < lowest * (1 - 2.0**-16)
    for channel in np.flatnonzero(coarse):
        scale[channel] = float(np.float32(lowest[channel]))
        steps = grid.integers[channel] * (grid.scale[channel] / scale[channel])
        integers[channel] = np.rint(steps) if grid.code == "linear" else _nearest(steps, _values(grid))
    return integers, scale


def _values(grid: WeightGrid) -> NDArray[np.int64]:
    """The integers that weights of the grid's code may be, in order.

    These are zero, those that the layer has, and all powers of two where they are its code.
    """
    values = [np.array([0]), grid.integers.ravel()]
    if grid.code == "power_of_two":
        powers = 1 << np.arange(value_bits(grid.code, grid.bits) - 1)
        values += [powers, -powers]
    return np.unique(np.concatenate(values))


def _nearest(steps: NDArray[np.float64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    bounds = (values[1:] + values[:-1]) / 2
    nearest: NDArray[np.int64] = values[np.searchsorted(bounds, steps)]
    return nearest
