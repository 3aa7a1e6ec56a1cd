"""Counts for the energy model beside ``skipstone.mapper.energy.actions``: which multiply-accumulates see the image,
which entries the drain sees, and how large the multipliers' activations are.

The first two follow from the program alone. The third needs data: after a ReLU at least half of the activations are the
zero point, and a multiplier whose operand does not change switches little.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.lowering.workload import effective_stride
from skipstone.mapper.program import LayerProgram
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork


def awake_macs(layer: LayerProgram) -> int:
    """Counts the multiply-accumulates of columns whose pixel reads the image at all.

    The pixel may be part of the output or beyond its edge. All other columns multiply zero points in every cycle.
    """
    schedule, geometry = layer.schedule, layer.geometry
    pixels = 1
    for axis, tiles in enumerate((schedule.tiles_y, schedule.tiles_x)):
        at = np.arange(tiles * schedule.tile[axis]) * geometry.stride[axis]
        inside = (at + geometry.low[axis] < layer.input.grid[axis]) & (at + geometry.high[axis] >= 0)
        pixels *= int(inside.sum())
    return layer.products * pixels


def exposed_entries(layer: LayerProgram, design: Design) -> int:
    """Counts the entries, fillers included, whose accumulator the drain will take first.

    Until the drain begins, it and the requantizers follow what they see of that accumulator. Accumulators are assumed
    to have equal shares of the entries.
    """
    schedule = layer.schedule
    issued = sum(int(counts.sum()) for counts in schedule.counts) * schedule.tiles
    return round(issued * min(1.0, design.steps_per_accumulator / schedule.steps))


def activation_bits(
    network: QuantizedNetwork, layer: QuantizedLayer, program: LayerProgram, x: NDArray[np.int64]
) -> int:
    """Sums the bits of the activations' distances from their zero point over all multiply-accumulates of a layer.

    Columns beyond the output's edge count where they read the image.

    Args:
        network: The quantized network.
        layer: One of its layers.
        program: The compiled layer.
        x: The layer's input, images x channels x height x width.

    Returns:
        Bits for one image, as a mean over the images.
    """
    zero_point = network.tensors[layer.input].zero_point
    bits = np.frexp(np.abs(x - zero_point).astype(np.float64))[1].astype(np.int64)
    schedule, fold = program.schedule, program.outputs[0].fold
    stride = effective_stride(network, layer)
    pixels = (
        schedule.tiles_y * schedule.tile[0] * fold[0],
        schedule.tiles_x * schedule.tile[1] * fold[1],
    )
    top, left, _, _ = layer.padding
    # As much behind the image as the last column of the last tile reads (or less than nothing).
    bottom, right = (
        stride[axis] * (pixels[axis] - 1)
        + layer.dilation[axis] * (layer.weights.shape[2 + axis] - 1)
        + 1
        - x.shape[2 + axis]
        - before
        for axis, before in enumerate((top, left))
    )
    # Output channels of a group that has no zeros are alike: one stands for all.
    each = layer.weights.shape[0] // layer.groups if layer.nnz == layer.weights.size else 1
    counting = replace(
        layer,
        operation="multiply_add",
        weights=(layer.weights[::each] != 0).astype(np.int64),
        stride=stride,
        padding=(top, left, bottom, right),
        pad_value=0,
        table=None,
    )
    return round(each * float(reference.accumulate(counting, bits).sum()) / len(x))
