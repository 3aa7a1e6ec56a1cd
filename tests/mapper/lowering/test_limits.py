"""The largest and smallest values that a design can hold and compute, tested on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.limits import accumulator_range, check_geometry, check_numbers, check_widths
from skipstone.mapper.lowering.workload import lower
from skipstone.mapper.program import Geometry
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork
from tests.sim.networks import layer, tensor

DESIGN = Design(
    "limits", 2, 4, 18, 2, 3, 2, 2,
    activation_words=512, weight_entries=512, load_entries=256, parameter_words=16, layers=2, max_stride=2, max_dimension=30,
)  # fmt: skip


def one_layer(weights: np.ndarray, size: tuple[int, int] = (1, 1), bits: int = 8, **changes) -> QuantizedNetwork:
    rng = np.random.default_rng(0)
    height, width = size[0] + weights.shape[2] - 1, size[1] + weights.shape[3] - 1
    tensors = {"x": tensor("x", (weights.shape[1], height, width), bits), "y": tensor("y", (len(weights), *size), bits)}
    conv = replace(layer("one", "x", "y", weights, rng, bits), **changes)
    return QuantizedNetwork("one", "x", ("y",), tensors, (conv,), (), 8, bits, "none")


def checked(network: QuantizedNetwork, design: Design = DESIGN) -> None:
    (conv,) = network.array_layers
    check_numbers(conv, network, design)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 8]), st.booleans())
def test_the_range_of_accumulators_is_reached_and_never_left(seed, bits, maximum):
    """Inputs that make every product as large, or as small, as possible reach both ends of the range in some output channel;
    the sums of any number of random products stay inside it."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-100, 101, (3, 4, 2, 2)) * (rng.random((3, 4, 2, 2)) < 0.7)
    network = one_layer(weights, bits=bits)
    conv = network.array_layers[0]
    if maximum:
        conv = replace(conv, operation="max")
    low, high = accumulator_range(conv, network)
    least, greatest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if maximum:
        assert (low, high) == (least, greatest)
        return
    for flat in weights.reshape(3, -1):
        up, down = np.where(flat > 0, greatest, least), np.where(flat > 0, least, greatest)
        assert low <= int((flat * down).sum()) <= int((flat * up).sum()) <= high
    sums = [
        (
            int((flat * np.where(flat > 0, least, greatest)).sum()),
            int((flat * np.where(flat > 0, greatest, least)).sum()),
        )
        for flat in weights.reshape(3, -1)
    ]
    assert (low, high) == (min(a for a, _ in sums), max(b for _, b in sums))
    x = rng.integers(least, greatest + 1, (5, 4, 2, 2))
    seen = np.cumsum(weights.reshape(3, 1, -1) * x.reshape(1, 5, -1), axis=-1)
    assert low <= seen.min() <= seen.max() <= high
    assert np.array_equal(seen[..., -1].T, reference.accumulate(conv, x).reshape(5, 3))


@pytest.mark.parametrize(
    ("name", "fits", "does_not", "text"),
    [
        ("shift", 47, 48, "requantization shifts must be 1 to 47"),
        ("shift", 1, 0, "requantization shifts must be 1 to 47"),
        ("multiplier", (1 << 16) - 1, 1 << 16, "requantization multipliers must fit 16 bits"),
        ("multiplier", 0, -1, "requantization multipliers must fit 16 bits"),
        ("other_multiplier", (1 << 32) - 1, 1 << 32, "multipliers of the added tensor must fit 32 bits"),
        ("other_multiplier", 0, -1, "multipliers of the added tensor must fit 32 bits"),
        ("bias", (1 << 23) - 1, 1 << 23, "needs accumulator_bits 25, the design has 24"),
        ("bias", -(1 << 23), -(1 << 23) - 1, "needs accumulator_bits 25, the design has 24"),
    ],
)
def test_constants(name, fits, does_not, text):
    weights = np.ones((2, 1, 1, 1), np.int64)
    checked(one_layer(weights, **{name: np.array([1, fits])}))
    with pytest.raises(MappingError, match=f"^layer 'one': .*{text}"):
        checked(one_layer(weights, **{name: np.array([1, does_not])}))


def test_bits_of_activations():
    network = one_layer(np.ones((1, 1, 1, 1)))
    check_widths(network, DESIGN)
    with pytest.raises(MappingError, match="quantize to activation_bits 8 or set the design's to 7"):
        check_widths(replace(network, activation_bits=7), DESIGN)


@pytest.mark.parametrize("size", [(30, 2), (2, 30)])
def test_the_largest_image_fits_and_one_more_does_not(size):
    weights = np.ones((1, 1, 1, 1), np.int64)
    compile_network(one_layer(weights, size), DESIGN)
    with pytest.raises(MappingError, match=r"^layer 'one': size 31 needs max_dimension 31, the design has 30"):
        compile_network(one_layer(weights, (size[0] + (size[0] == 30), size[1] + (size[1] == 30))), DESIGN)


@settings(max_examples=200)
@given(st.data())
def test_accepted_coordinates_fit_the_gateware(data):
    """For every geometry that is not refused, each coordinate (of a word of the first tile, or beyond the edge in the last)
    fits the signed field in which the loader computes it."""
    draw = data.draw
    sides = st.sampled_from([1, 7, 15, 25, 30])
    size, source = (draw(sides), draw(sides)), (draw(sides), draw(sides))
    geometry = Geometry(
        (draw(sides), 1), (draw(st.integers(1, 2)), 1), (draw(st.integers(-60, 60)), 0), (draw(st.integers(1, 9)), 1)
    )
    network = one_layer(np.ones((1, 1, 1, 1)), size)
    workload = replace(lower(network, network.array_layers[0]), geometry=geometry, size=size)
    try:
        check_geometry(workload, source, DESIGN)
    except MappingError:
        return
    high = 1 << DESIGN.dimension_bits
    last_tile = (size[0] - 1) * geometry.stride[0] - geometry.padding[0]
    last_word = last_tile + (DESIGN.cols - 1) * geometry.stride[0] + (geometry.kernel[0] - 1) * geometry.dilation[0]
    assert -high // 2 <= -geometry.padding[0] < high // 2
    assert -high <= last_word < high
    assert last_word + geometry.padding[0] < high


def test_a_layer_of_zeros_needs_no_accumulator_bits():
    network = one_layer(np.zeros((2, 3, 2, 2), np.int64))
    conv = network.array_layers[0]
    assert isinstance(conv, QuantizedLayer)
    assert accumulator_range(conv, network) == (0, 0)
