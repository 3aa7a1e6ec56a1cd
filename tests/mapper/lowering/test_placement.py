"""Tensors that live at the same time never share a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.mapper.lowering.placement import place


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=12))
def test_live_tensors_do_not_overlap(tensors):
    sizes = {str(i): size for i, (size, _, _) in enumerate(tensors)}
    spans = {str(i): (first, first + length) for i, (_, first, length) in enumerate(tensors)}
    bases, used = place(sizes, spans, 10_000, "test")
    assert used == max(bases[name] + sizes[name] for name in sizes)
    for a in sizes:
        for b in sizes:
            together = spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]
            if a < b and together:
                assert bases[a] + sizes[a] <= bases[b] or bases[b] + sizes[b] <= bases[a]


def test_memory_is_used_again():
    """Of three tensors in a chain the third takes the first one's place."""
    bases, used = place({"a": 10, "b": 10, "c": 10}, {"a": (0, 1), "b": (1, 2), "c": (2, 3)}, 20, "test")
    assert used == 20
    assert bases["c"] == bases["a"]


def test_a_refusal_names_the_size_that_fits():
    with pytest.raises(MappingError) as caught:
        place({"a": 10, "b": 15}, {"a": (0, 1), "b": (1, 2)}, 20, "test")
    assert str(caught.value) == (
        "the network's activations need activation_words 25, design 'test' has 20; raise activation_words to 25 "
        "(the largest tensor, 'b', takes 15)"
    )
