"""Counts behind the energy of PEs, against loops over every pixel, weight and column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipstone.hw.design import load_design
from skipstone.mapper.energy.activity import activation_bits, awake_macs, exposed_entries
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.program import LayerProgram
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork, QuantizedTensor

TINY = load_design("tiny")
ZERO_POINT = -3


def network(weights: NDArray[np.int64], height: int, width: int, stride: int, pad: int) -> QuantizedNetwork:
    outputs, inputs, kernel, _ = weights.shape
    size = tuple((axis + 2 * pad - kernel) // stride + 1 for axis in (height, width))
    layer = QuantizedLayer(
        name="conv",
        kind="conv",
        operation="multiply_add",
        input="x",
        output="y",
        weights=weights,
        groups=1,
        stride=(stride, stride),
        padding=(pad,) * 4,
        dilation=(1, 1),
        pad_value=ZERO_POINT,
        bias=np.zeros(outputs, np.int64),
        multiplier=np.full(outputs, 1000),
        shift=np.full(outputs, 20),
        zero_point=0,
        low=-128,
        high=127,
        other=None,
        other_zero_point=0,
        other_multiplier=np.zeros(outputs, np.int64),
        weight_scale=np.ones(outputs),
        sources=("conv",),
    )
    tensors = {
        "x": QuantizedTensor("x", (inputs, height, width), 1.0, ZERO_POINT, 8),
        "y": QuantizedTensor("y", (outputs, *size), 1.0, 0, 8),
    }
    return QuantizedNetwork("n", "x", ("y",), tensors, (layer,), (), 8, 8, "made up")


def by_loops(layer: QuantizedLayer, program: LayerProgram, x: NDArray[np.int64]) -> tuple[int, int]:
    """Bits and awake multiply-accumulates of a layer that is not folded, counted column by column of every tile."""
    schedule = program.schedule
    kernel, (stride_y, stride_x), pad = layer.weights.shape[2], program.geometry.stride, layer.padding[0]
    height, width = x.shape[1:]
    bits = awake = 0
    for oy in range(schedule.tiles_y * schedule.tile[0]):
        for ox in range(schedule.tiles_x * schedule.tile[1]):
            inside = [
                (i, j)
                for i in range(kernel)
                for j in range(kernel)
                if 0 <= oy * stride_y + i - pad < height and 0 <= ox * stride_x + j - pad < width
            ]
            awake += int(np.count_nonzero(layer.weights)) if inside else 0
            for i, j in inside:
                for c in range(x.shape[0]):
                    distance = abs(int(x[c, oy * stride_y + i - pad, ox * stride_x + j - pad]) - ZERO_POINT)
                    bits += distance.bit_length() * int(np.count_nonzero(layer.weights[:, c, i, j]))
    return bits, awake


@settings(max_examples=25)
@example(1, 3, 4, 3, 2, False, 0)  # one pixel: its stride is the mapper's choice
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(3, 7),
    st.integers(3, 9),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 99),
)
def test_against_loops(outputs: int, inputs: int, height: int, width: int, stride: int, pads: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-9, 10, (outputs, inputs, 3, 3)) * (rng.random((outputs, inputs, 3, 3)) < 0.5)
    weights[0, 0, 1, 1] = 5
    made = network(weights, height, width, stride, int(pads))
    program = compile_network(made, TINY).layers[0]
    layer = made.array_layers[0]
    x = rng.integers(-128, 128, (inputs, height, width))
    x[rng.random(x.shape) < 0.5] = ZERO_POINT
    if program.input.fold != (1, 1) or program.outputs[0].fold != (1, 1):
        return
    bits, awake = by_loops(layer, program, x)
    assert activation_bits(made, layer, program, x[None]) == bits
    assert awake_macs(program) == awake
    assert activation_bits(made, layer, program, np.stack([x, x])) == bits  # images count on average


def test_zero_points_have_no_bits() -> None:
    made = network(np.ones((4, 2, 3, 3), np.int64), 5, 5, 1, 1)
    program = compile_network(made, TINY).layers[0]
    x = np.full((1, 2, 5, 5), ZERO_POINT)
    assert activation_bits(made, made.array_layers[0], program, x) == 0


@pytest.mark.parametrize(("outputs", "share"), [(4, 1), (8, 2), (16, 4), (32, 8)])
def test_the_drain_sees_one_accumulator(outputs: int, share: int) -> None:
    """Four rows: so many accumulators of each are in use."""
    made = network(np.ones((outputs, 2, 3, 3), np.int64), 6, 6, 1, 1)
    program = compile_network(made, TINY).layers[0]
    issued = sum(int(counts.sum()) for counts in program.schedule.counts) * program.schedule.tiles
    assert exposed_entries(program, TINY) == round(issued / share)
    assert awake_macs(program) >= program.products * program.schedule.out_height * program.schedule.out_width


def test_a_table_changes_nothing() -> None:
    made = network(np.ones((4, 1, 3, 3), np.int64), 5, 5, 1, 1)
    layer = made.array_layers[0]
    program = compile_network(made, TINY).layers[0]
    x = np.arange(25).reshape(1, 1, 5, 5)
    looked_up = replace(layer, table=np.zeros(256, np.int64))
    assert activation_bits(made, looked_up, program, x) == activation_bits(made, layer, program, x)
