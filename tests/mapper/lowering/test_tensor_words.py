"""Tensors in memory words: a small one by hand, and every tensor of random networks packed and unpacked."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.tensor_words import pack_words, unpack_words, write_words
from skipstone.mapper.program import Placement
from tests.mapper.laid_out import DESIGNS, laid_out
from tests.sim.graphs import graphs

DESIGN = Design("hand", 2, 2, 4, 2, 1, 2, 2, activation_bits=4, accumulator_bits=16)
"""Two activations of 4 bits in a word."""


def test_words_by_hand():
    """Two channels at places 3 and 0 of two words a pixel: the second channel is the low half of the first word, the first
    channel the high half of the second one; -1 is 15 in 4 bits."""
    placement = Placement("t", 2, 1, 2, 10, 2, np.array([3, 0]))
    values = np.array([[[1, -1]], [[5, -8]]])
    words = [0x05, 0x10, 0x08, 0xF0]
    assert pack_words(placement, DESIGN, values) == words
    assert write_words(placement, DESIGN, values) == list(enumerate(words, 10))
    np.testing.assert_array_equal(unpack_words(placement, DESIGN, words), values)


def test_only_the_words_that_hold_the_tensor_are_written():
    """One channel in the second of two words a pixel: the first word of both pixels belongs to another tensor."""
    placement = Placement("t", 1, 1, 2, 4, 2, np.array([2]))
    values = np.array([[[6, 7]]])
    assert write_words(placement, DESIGN, values) == [(5, 6), (7, 7)]


def test_a_folded_tensor_by_hand():
    """One row of four pixels, folded by 2 in x: two folded pixels of two channels, the even and the odd columns."""
    placement = Placement("t", 1, 1, 4, 0, 1, np.array([0, 1]), fold=(1, 2))
    values = np.array([[[1, 2, 3, 4]]])
    assert pack_words(placement, DESIGN, values) == [0x21, 0x43]
    np.testing.assert_array_equal(unpack_words(placement, DESIGN, [0x21, 0x43]), values)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(DESIGNS).flatmap(lambda design: st.tuples(st.just(design), graphs(design))),
    st.integers(0, 2**32 - 1),
)
def test_packing_and_unpacking_are_inverse(drawn, seed):
    """Writing the words at their addresses, into a memory whose bits are all 1, leaves the same tensor there."""
    design, network = drawn
    try:
        placements, _ = laid_out(network, design)[0].placements()
    except MappingError:
        assume(False)
    rng = np.random.default_rng(seed)
    half = 1 << (design.activation_bits - 1)
    for placement in placements.values():
        values = rng.integers(-half, half, (placement.channels, placement.height, placement.width))
        words = pack_words(placement, design, values)
        assert len(words) == placement.words
        np.testing.assert_array_equal(unpack_words(placement, design, words), values)
        all_ones = (1 << design.activation_word_bits) - 1
        memory = dict.fromkeys(range(placement.base, placement.base + placement.words), all_ones)
        memory.update(write_words(placement, design, values))
        np.testing.assert_array_equal(unpack_words(placement, design, list(memory.values())), values)


@pytest.mark.parametrize("value", [-8, 7])
def test_both_ends_of_an_activation(value):
    placement = Placement("t", 1, 1, 1, 0, 1, np.array([1]))
    assert unpack_words(placement, DESIGN, pack_words(placement, DESIGN, np.array([[[value]]]))) == value
