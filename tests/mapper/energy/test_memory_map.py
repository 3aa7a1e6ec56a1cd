"""The memory map: tensors held at the same time share no word, and every layer's tensors are where the map says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.energy.memory_map import memory_uses, row_entries, tensor_places
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_sizes import memories_needed
from skipstone.mapper.program import Program
from skipstone.mapper.results.network import TensorPlace
from tests.mapper.laid_out import DESIGNS
from tests.mapper.lowering.test_compile import DESIGN, residual
from tests.sim.graphs import graphs

programs = st.sampled_from(DESIGNS).flatmap(
    lambda design: st.tuples(st.just(design), graphs(design) | graphs(design, "block") | graphs(design, "beside"))
)
random_programs = settings(max_examples=40, suppress_health_check=list(HealthCheck))


def compiled(drawn: tuple[Design, object]) -> Program:
    try:
        return compile_network(drawn[1], drawn[0])
    except MappingError:
        assume(False)
        raise


def held(places: tuple[TensorPlace, ...], base: int, words: int, step: int) -> bool:
    """Whether a place has these words while layer ``step`` runs."""
    return any(
        place.base == base and place.words == words and place.written <= step <= place.last_read for place in places
    )


@random_programs
@given(programs)
def test_places_held_at_once_share_no_word(drawn):
    program = compiled(drawn)
    places = tensor_places(program)
    for index, place in enumerate(places):
        for other in places[:index]:
            together = place.written <= other.last_read and other.written <= place.last_read
            apart = place.base + place.words <= other.base or other.base + other.words <= place.base
            assert apart or not together, (place, other)
    assert max(place.base + place.words for place in places) == program.activation_words


@random_programs
@given(programs)
def test_every_layer_s_tensors_are_held_while_it_runs(drawn):
    program = compiled(drawn)
    places = tensor_places(program)
    for step, layer in enumerate(program.layers):
        for tensor in (layer.input, *layer.outputs, *([layer.other] if layer.other else [])):
            assert held(places, tensor.base, tensor.words, step), (tensor.name, step)
    for tensor in program.outputs:
        assert held(places, tensor.base, tensor.words, len(program.layers))


def test_a_residual_s_first_output_is_held_until_it_is_added():
    program = compile_network(residual(), DESIGN)
    by_name = {place.name: (place.written, place.last_read) for place in tensor_places(program)}
    assert by_name == {"x": (-1, 1), "a": (0, 1), "b": (1, 2)}


def test_uses_are_the_sizes_that_are_needed():
    program = compile_network(residual(), DESIGN)
    needed = memories_needed(program)
    uses = {use.name: use for use in memory_uses(program)}
    assert {name: use.used_words for name, use in uses.items()} == {
        "weights": needed["weight_entries"],
        "activations": needed["activation_words"],
        "parameters": needed["parameter_words"],
        "load_lists": needed["load_entries"],
        "descriptors": needed["layers"],
    }
    assert (uses["weights"].count, uses["weights"].words) == (2, 512)
    assert all(use.used_words <= use.words for use in uses.values())


@pytest.mark.parametrize("shown", [1, 2, 3, 5, 100])
def test_row_entries_keep_each_row_s_total(shown):
    rng = np.random.default_rng(0)
    counts = tuple(rng.integers(0, 9, (windows, 3)) for windows in (2, 3))
    rows = row_entries(counts, shown)
    assert len(rows) == 3
    assert all(len(row) <= shown for row in rows)
    assert [sum(row) for row in rows] == [sum(int(part[:, row].sum()) for part in counts) for row in range(3)]
    if shown >= 5:
        assert [row[0] for row in rows] == counts[0][0].tolist()
