"""Words that are skipped because of zeros: counted by hand, and never negative."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.windows import Nonzeros, list_words, plan_windows, split_kernel
from skipstone.mapper.lowering.workload import lower
from skipstone.mapper.program import LayerProgram
from skipstone.mapper.timing.skipped import dense_words
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork
from tests.sim.networks import layer, networks, tensor

DESIGN = Design("square", 2, 16, 36, 2, 2, 4, 4, max_stride=3)
"""4 channels a word, 9 words a window, 4 output channels a pass."""


def convolution(mask: np.ndarray, size: int = 8, groups: int = 1, **geometry) -> QuantizedNetwork:
    """Weights of one where ``mask`` (K x C/groups x kh x kw) is set, on a ``size`` x ``size`` input."""
    out = size if "padding" in geometry else size - mask.shape[2] + 1
    tensors = {
        "x": tensor("x", (mask.shape[1] * groups, size, size), 8),
        "y": tensor("y", (mask.shape[0], out, out), 8),
    }
    only = layer("conv", "x", "y", mask.astype(np.int64), np.random.default_rng(0), 8, groups=groups, **geometry)
    return QuantizedNetwork("one", "x", ("y",), tensors, (only,), (), 8, 8, "none")


def words(network: QuantizedNetwork, design: Design = DESIGN) -> tuple[int, int, tuple[int, int]]:
    """Words loaded, words without zeros, and the tile."""
    (program,) = compile_network(network, design).layers
    loaded = sum(int(count.sum()) for count in program.schedule.words) * program.schedule.tiles
    return loaded, dense_words(network.array_layers[0], program, design), program.schedule.tile


def test_without_zeros_nothing_is_skipped_and_the_count_is_the_region():
    """A 4x4 tile under 3x3 taps is 6x6 words of each of two channel groups; 8x8 outputs are four tiles; two passes."""
    loaded, dense, tile = words(convolution(np.ones((8, 8, 3, 3)), padding=(1, 1, 1, 1)))
    assert tile == (4, 4)
    assert loaded == dense == 2 * 4 * 2 * 36


def test_a_pruned_group_of_channels_is_half_of_the_words():
    mask = np.ones((8, 8, 3, 3))
    mask[:, 4:] = 0
    assert words(convolution(mask, padding=(1, 1, 1, 1))) == (2 * 4 * 36, 2 * 4 * 2 * 36, (4, 4))


def test_a_pruned_column_of_taps_narrows_the_region():
    mask = np.ones((4, 4, 3, 3))
    mask[..., 2] = 0
    assert words(convolution(mask, padding=(1, 1, 1, 1))) == (4 * 6 * 5, 4 * 36, (4, 4))


def test_depthwise_passes_need_only_their_own_channels():
    """8 channels in two passes of 4: each pass reads one of the two channel groups."""
    loaded, dense, _ = words(convolution(np.ones((8, 1, 3, 3)), groups=8, padding=(1, 1, 1, 1)))
    assert loaded == dense == 2 * 4 * 36


def test_a_layer_of_zeros_still_loads_a_little():
    loaded, dense, _ = words(convolution(np.zeros((4, 8, 3, 3)), padding=(1, 1, 1, 1)))
    assert 0 < loaded < dense


@given(st.data())
@settings(max_examples=60)
def test_counts_are_those_of_the_mappers_lists(data):
    """For a mask without zeros, the mapper's windows and load lists give the same number, one layer and one tile at a time.
    Words that a layer without zeros would not load are never counted as skipped."""
    design = DESIGN.replace(
        load_width=4,
        window_depth=data.draw(st.sampled_from([8, 36, 100])),
        reach=8,
        load_entries=1 << 16,
        weight_entries=1 << 16,
    )
    network = data.draw(networks(design, max_channels=12, max_size=14))
    network = replace(network, layers=network.layers[:1], outputs=(network.layers[0].output,))
    (full,) = network.array_layers
    (program,) = compile_network(network, design.replace(activation_words=1 << 16)).layers
    schedule = program.schedule
    count = dense_words(full, program, design)
    assert sum(int(words.sum()) for words in schedule.words) * schedule.tiles <= count
    if full.groups > 1 and schedule.passes > 1:
        return
    geometry, nonzeros = program.geometry, _without_zeros(network, full, program)
    split = split_kernel(design, geometry.kernel, geometry.dilation)
    plan = plan_windows(design, nonzeros.at(program.input.positions), split, geometry.kernel)
    tile = min(schedule.tile[0], schedule.out_height), min(schedule.tile[1], schedule.out_width)
    dense_count = len(list_words(plan, tile, geometry.stride, geometry.dilation).window)
    assert count == schedule.passes * schedule.tiles * dense_count


def _without_zeros(network: QuantizedNetwork, full: QuantizedLayer, program: LayerProgram) -> Nonzeros:
    """The layer's nonzeros as if none of its weights were zero; if it is folded, every tap of the folded kernel for every
    folded channel."""
    if program.input.fold == program.outputs[0].fold == (1, 1):
        return lower(network, replace(full, weights=np.ones_like(full.weights))).nonzeros
    shape = (1, len(program.input.positions), *program.geometry.kernel)
    return Nonzeros(*np.nonzero(np.ones(shape)), np.ones(math.prod(shape), np.int64))


@pytest.mark.parametrize("size", [7, 8, 9])
def test_a_tile_beyond_the_image_reads_no_more(size):
    """An image smaller than the array's tile needs only its own pixels' words."""
    loaded, dense, _ = words(convolution(np.ones((4, 4, 1, 1)), size=size), DESIGN.replace(cols=256))
    assert loaded == dense == size * size
