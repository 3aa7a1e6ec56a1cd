"""What zero-skipping saves a layer: multiply-accumulates and words, compared with the same layer without zeros."""

from __future__ import annotations

import numpy as np

from skipstone.hw.design import Design
from skipstone.mapper.program import LayerProgram
from skipstone.models.quantization.network import QuantizedLayer


def dense_words(layer: QuantizedLayer, program: LayerProgram, design: Design) -> int:
    """Counts the words that the loader would take if none of a layer's weights were zero.

    Tile, passes, folding and order of channels stay those of ``program``. For each pass and each channel group that its
    output channels read, these are the words under each part of the kernel for any of the tile's pixels. Zeros leave
    out some of them and never add any.

    Args:
        layer: The program's layer, or the first of several that run together.
        program: The compiled layer.
        design: The array.
    """
    schedule, geometry, split = program.schedule, program.geometry, program.split
    reached = [
        sum(
            _positions(min(tile, size), stride, min(extent, taps - first), dilation) for first in range(0, taps, extent)
        )
        for tile, size, stride, extent, taps, dilation in zip(
            schedule.tile,
            (schedule.out_height, schedule.out_width),
            geometry.stride,
            (split.height, split.width),
            geometry.kernel,
            geometry.dilation,
            strict=True,
        )
    ]
    return schedule.tiles * sum(_groups_by_pass(layer, program, design)) * reached[0] * reached[1]


def _positions(pixels: int, stride: int, taps: int, dilation: int) -> int:
    """Positions along one axis that some tap reaches from some pixel."""
    return len(np.unique(stride * np.arange(pixels)[:, None] + dilation * np.arange(taps)))


def _groups_by_pass(layer: QuantizedLayer, program: LayerProgram, design: Design) -> list[int]:
    """For each pass, how many channel groups of the input its output channels read."""
    schedule, source, target = program.schedule, program.input, program.outputs[0]
    # Folded pixels of a channel stand side by side.
    group = source.positions.reshape(source.channels, -1) // design.load_width
    read = layer.channels_read
    if layer.groups == 1:
        return [len(np.unique(group[read[0]]))] * schedule.passes
    of_pass = (target.positions - target.positions.min()) // (schedule.steps * design.requantizer_lanes)
    channel = np.arange(len(target.positions)) // (len(target.positions) // len(read))
    reads = group[read[channel]]
    return [len(np.unique(reads[of_pass == index])) for index in range(schedule.passes)]
