"""Windows and load lists against brute force: every live word once per window and no others, slots never shared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.mapper.lowering.windows import Nonzeros, list_words, plan_windows, split_kernel
from skipstone.mapper.program import KernelSplit

DESIGN = Design("test", 2, 6, 24, 2, 2, 4, 2, reach=4)


@st.composite
def layers(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    channels, inputs = draw(st.integers(1, 6)), draw(st.integers(1, 20))
    weights = rng.integers(1, 9, (channels, inputs, *kernel)) * (
        rng.random((channels, inputs, *kernel)) < draw(st.sampled_from([0, 0.05, 0.5, 1]))
    )
    k, c, ky, kx = np.nonzero(weights)
    nonzeros = Nonzeros(k, c, ky, kx, weights[k, c, ky, kx])
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    tile = draw(st.sampled_from(DESIGN.tile_shapes))
    return kernel, nonzeros, stride, dilation, tile


@settings(max_examples=150)
@given(layers())
def test_words_are_the_union_of_what_the_columns_need(layer):
    kernel, nonzeros, stride, dilation, tile = layer
    split = split_kernel(DESIGN, kernel, dilation)
    plan = plan_windows(DESIGN, nonzeros, split, kernel)
    words = list_words(plan, tile, stride, dilation)
    needed = set()
    for window, position, ky, kx in zip(plan.window, nonzeros.position, nonzeros.ky, nonzeros.kx, strict=True):
        for ty in range(tile[0]):
            for tx in range(tile[1]):
                y, x = ty * stride[0] + ky * dilation[0], tx * stride[1] + kx * dilation[1]
                needed.add((int(window), int(position) // DESIGN.load_width, int(y), int(x)))
    listed = list(zip(*(v.tolist() for v in (words.window, words.group, words.y, words.x)), strict=True))
    assert len(listed) == len(set(listed)) == len(list_words(plan, tile, stride, dilation).window)
    if len(nonzeros.channel):
        assert set(listed) == needed
    else:
        # A pass without nonzeros still moves one window with the first tap's words, so that its rows can pass the tile.
        assert plan.windows == 1
    assert (np.diff(words.window) >= 0).all()
    assert set(words.window.tolist()) == set(range(plan.windows))
    assert words.dy.max() < DESIGN.region_extent
    assert words.dx.max() < DESIGN.region_extent


@settings(max_examples=150)
@given(layers())
def test_slots_identify_group_and_tap(layer):
    kernel, nonzeros, _, dilation, _ = layer
    split = split_kernel(DESIGN, kernel, dilation)
    plan = plan_windows(DESIGN, nonzeros, split, kernel)
    owner: dict[tuple[int, int], tuple[int, int, int]] = {}
    for window, slot, position, ky, kx in zip(
        plan.window, plan.slot, nonzeros.position, nonzeros.ky, nonzeros.kx, strict=True
    ):
        tap = int(position) // DESIGN.load_width, int(ky), int(kx)
        assert owner.setdefault((int(window), int(slot)), tap) == tap
        assert 0 <= slot < DESIGN.slots
    assert len(set(owner.values())) == len(owner)


@pytest.mark.parametrize(
    ("kernel", "dilation", "expected"),
    [
        # Six slots, reach 4: a 1x1 kernel takes six groups at once, a 2x3 one, a 3x3 must be cut.
        ((1, 1), (1, 1), KernelSplit(1, 1, 6)),
        ((2, 3), (1, 1), KernelSplit(2, 3, 1)),
        ((3, 3), (1, 1), KernelSplit(2, 3, 1)),
        # Two taps at distance 3 still lie within reach 4, three don't.
        ((3, 1), (3, 1), KernelSplit(2, 1, 3)),
        ((2, 1), (4, 1), KernelSplit(1, 1, 6)),
    ],
)
def test_kernels_are_cut_as_little_as_possible(kernel, dilation, expected):
    assert split_kernel(DESIGN, kernel, dilation) == expected


def test_a_4x4_tile_of_a_3x3_kernel_reads_36_words():
    design = Design("four", 4, 16, 36, 2, 2, 4, 4)
    ky, kx = np.divmod(np.arange(9), 3)
    nonzeros = Nonzeros(np.zeros(9, int), np.zeros(9, int), ky, kx, np.ones(9, int))
    plan = plan_windows(design, nonzeros, split_kernel(design, (3, 3), (1, 1)), (3, 3))
    assert len(list_words(plan, (4, 4), (1, 1), (1, 1)).window) == 36
    assert len(list_words(plan, (4, 4), (2, 2), (1, 1)).window) == 81
    assert len(list_words(plan, (1, 16), (1, 1), (1, 1)).window) == 3 * 18
