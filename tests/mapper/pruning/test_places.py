"""A weight's place: nonzeros counted by window and row are those of the rows' packed lists, without fillers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.mapper.pruning.places import NOT_LOADED, trained, weight_places
from tests.mapper.pruning.small import DESIGNS, masked, small_graphs, target_of


def listed(program, design):
    """Nonzero entries by pass, window and row, read back from the packed lists."""
    fields, offset = {}, 0
    for field in design.weight_entry.fields:
        fields[field.name] = (offset, field.width)
        offset += field.width
    counts = [np.zeros_like(array) for array in program.schedule.counts]
    for row, words in enumerate(program.weights):
        at, window = 0, 0
        for word in words.tolist():
            entry = {name: int(word) >> offset & (1 << width) - 1 for name, (offset, width) in fields.items()}
            filler = entry["filler"] if "filler" in entry else entry["value"] == 0
            counts[at][window, row] += not filler
            window += entry["leave"]
            if entry["last"]:
                assert window == len(counts[at])
                at, window = at + 1, 0
    return counts


@settings(max_examples=12)
@given(st.sampled_from(DESIGNS), small_graphs(), st.sampled_from([0.05, 0.3, 1.0]), st.integers(0, 2**32 - 1))
def test_counts_are_those_of_the_packed_lists(design, graph, density, seed):
    costed = target_of(graph, design).cost(masked(graph, density, seed))
    for program in costed.program.layers:
        places = weight_places(program, costed.network, costed.program.design)
        for got, expected in zip(places.counts(design.rows), listed(program, costed.program.design), strict=True):
            np.testing.assert_array_equal(got, expected)
        assert places.nonzero.sum() == program.products


@settings(max_examples=6)
@given(st.sampled_from(DESIGNS), small_graphs(), st.integers(0, 2**32 - 1))
def test_every_weight_has_a_place_and_its_word_is_loaded_if_it_is_nonzero(design, graph, seed):
    costed = target_of(graph, design).cost(masked(graph, 0.3, seed))
    for program in costed.program.layers:
        places = weight_places(program, costed.network, costed.program.design)
        sizes = {layer.name: layer.weights.size for layer in costed.network.array_layers}
        for index, name in enumerate(program.layers):
            assert np.unique(places.weight[places.layer == index]).tolist() == list(range(sizes[name]))
        assert (places.window[places.nonzero] != NOT_LOADED).all()


@settings(max_examples=10)
@given(small_graphs())
def test_pools_have_no_trained_weights(graph):
    costed = target_of(graph, DESIGNS[0]).cost(graph)
    for program in costed.program.layers:
        assert trained(graph, costed.network, program) == (program.layers != ("pool",))
