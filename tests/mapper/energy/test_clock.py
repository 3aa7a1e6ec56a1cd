"""The clock: logic scaled to the node, and the slowest memory, must take one cycle; a faster clock is refused."""

from __future__ import annotations

import pytest

from skipstone.errors import TechnologyError
from skipstone.hw.design import built_in_designs
from skipstone.mapper.energy.clock import Timing, clocked, timing
from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.technology.logic_cells import load_gateware
from skipstone.mapper.technology.technology import load_technology
from tests.mapper.energy.test_energy import DESIGN

NODES = (22, 45, 65, 130)


def test_by_hand() -> None:
    technology = load_technology(45)
    estimate = timing(DESIGN, technology)
    assert estimate.logic_ns == pytest.approx(load_gateware().min_period_ns(DESIGN) * technology.logic.delay)
    assert estimate.memory_ns == max(technology.sram(m.words, m.bits).access_ns for m in chip_memories(DESIGN))
    assert Timing(3.0, 2.0, "weights").fmax_mhz == 200


def test_larger_memories_are_slower() -> None:
    technology = load_technology(45)
    large = timing(DESIGN.replace(weight_entries=1 << 20), technology)
    assert large.memory == "weights"
    assert large.fmax_mhz < timing(DESIGN, technology).fmax_mhz


@pytest.mark.parametrize("name", list(built_in_designs()))
def test_carried_designs_run_at_the_carried_frequencies(name: str) -> None:
    for node in NODES:
        technology = load_technology(node)
        assert clocked(built_in_designs()[name], technology) is technology


def test_a_faster_clock_is_refused() -> None:
    technology = load_technology(45)
    most = timing(DESIGN, technology).fmax_mhz
    assert clocked(DESIGN, technology.with_frequency(most)).frequency_mhz == most
    with pytest.raises(TechnologyError) as caught:
        clocked(DESIGN, technology.with_frequency(most * 1.01))
    assert str(caught.value).startswith(f"design 'd' reaches {int(most)} MHz at 45 nm, not ")
    assert str(caught.value).endswith("; choose a lower frequency or smaller memories")


def test_a_default_clock_too_fast_is_lowered() -> None:
    """A row with 64 Mi entries is slow. The default clock was not asked for, so it is lowered, and the source says so."""
    technology = load_technology(45)
    large = DESIGN.replace(weight_entries=1 << 26)
    slowed = clocked(large, technology)
    assert slowed.frequency_mhz == pytest.approx(timing(large, technology).fmax_mhz, abs=1)
    assert slowed.frequency_mhz < technology.frequency_mhz
    source = f"{slowed.frequency_mhz:g} MHz, what the design reaches; {technology.frequency_mhz:g} MHz for a faster one"
    assert dict(slowed.sources)["frequency"] == source
    assert clocked(large, technology) is slowed
    assert clocked(large, slowed) is slowed
