"""Memories for programs that need not fit hold anything that can be mapped, and nothing else of the design changes."""

import pytest

from skipstone.hw.design import MAX_ACCUMULATOR_BITS
from skipstone.mapper.lowering.memory_sizes import ROOMY, roomy, unbounded
from tests.mapper.lowering.test_compile import DESIGN


def test_roomy_memories_never_shrink_and_fixed_ones_stay():
    large = DESIGN.replace(activation_words=1 << 25)
    sizes = {name: getattr(roomy(large, fixed=["layers"]), name) for name in ROOMY}
    assert sizes == ROOMY | {"activation_words": 1 << 25, "layers": DESIGN.layers}


def test_unbounded_is_roomy_with_the_widest_accumulators():
    assert unbounded(DESIGN) == roomy(DESIGN).replace(accumulator_bits=MAX_ACCUMULATOR_BITS)


@pytest.mark.parametrize(("bits", "tables"), [(8, 64), (16, 0)])
def test_only_designs_that_can_have_tables_get_some(bits, tables):
    assert roomy(DESIGN.replace(activation_bits=bits, accumulator_bits=40, tables=0)).tables == tables
