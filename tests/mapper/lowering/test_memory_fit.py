"""Memories as large as a network needs: only those that overflow grow, to the next power of two, and the name says which."""

import pytest

from skipstone.errors import DesignError, MappingError
from skipstone.mapper.lowering import memory_fit
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import (
    COUNTED,
    memory_size,
    memory_sizes,
    with_memories_for,
)
from skipstone.mapper.lowering.memory_sizes import ROOMY, memories_needed
from skipstone.mapper.timing.cycles import network_cycles
from tests.mapper.lowering.test_compile import DESIGN, residual


def test_sizes_are_the_next_power_of_two():
    assert [memory_size(need) for need in (1, 2, 3, 4, 5, 1024, 1025)] == [2, 2, 4, 4, 8, 1024, 2048]


@pytest.mark.parametrize("memory", [name for name in ROOMY if name not in COUNTED])
def test_the_needed_size_fits_and_one_word_less_does_not(memory):
    needed = memories_needed(compile_network(residual(), DESIGN))
    compile_network(residual(), DESIGN.replace(**needed))
    with pytest.raises(MappingError, match=f"raise {memory} to {needed[memory]}"):
        compile_network(residual(), DESIGN.replace(**needed | {memory: needed[memory] - 1}))


def test_a_design_that_is_large_enough_stays_as_it_is():
    assert with_memories_for(residual(), DESIGN) is DESIGN


def test_only_what_overflows_grows_and_the_name_says_so():
    needed = memories_needed(compile_network(residual(), DESIGN))
    small = DESIGN.replace(weight_entries=16, layers=1)
    fitted = with_memories_for(residual(), small)
    weights = memory_size(needed["weight_entries"])
    assert fitted.name == f"small (memories enlarged: weight_entries 16 -> {weights}, layers 1 -> 2)"
    assert fitted == small.replace(name=fitted.name, weight_entries=weights, layers=2)
    cycles = [layer.cycles for layer in network_cycles(compile_network(residual(), fitted))]
    assert cycles == [layer.cycles for layer in network_cycles(compile_network(residual(), DESIGN))]


def test_limits_that_are_no_memories_are_still_refused():
    with pytest.raises(MappingError, match="raise max_stride to 3"):
        with_memories_for(residual(stride=3), DESIGN.replace(weight_entries=16))


def test_a_memory_that_no_design_has_is_named(monkeypatch):
    """What a design refuses keeps the parameter that it refuses."""

    def refuse(design, **changes):
        raise DesignError("weight_entries must be at most 7", parameter="weight_entries")

    small = DESIGN.replace(weight_entries=16)
    roomy_design = memory_fit.unbounded(small)
    monkeypatch.setattr(memory_fit, "unbounded", lambda design: roomy_design)
    compile_network(residual(), roomy_design)
    monkeypatch.setattr(type(small), "replace", refuse)
    with pytest.raises(MappingError, match=r"^design 'small': weight_entries must be at most 7$") as caught:
        with_memories_for(residual(), small)
    assert caught.value.parameter == "weight_entries"


def test_tables_and_codebooks_are_not_rounded_to_a_power_of_two():
    assert memory_sizes({"layers": 5, "tables": 5, "codebooks": 1}) == {"layers": 8, "tables": 5, "codebooks": 1}
