"""Factors between nodes: the authors' own example, the published ratios of the table, and properties of any ratio."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.errors import TechnologyError
from skipstone.mapper.technology.scaling import Factors, Process, load_scaling, polynomial

SCALING = load_scaling()
NODES = sorted(SCALING.nodes)
AREA_FROM_130 = {90: 0.44, 65: 0.23, 45: 0.16, 32: 0.072, 20: 0.033, 16: 0.03, 14: 0.027, 10: 0.016, 7: 0.0092}
"""The paper's row of 130 nm, two digits each."""


def test_the_authors_example() -> None:
    """The corrigendum of Stillmaker and Baas: 1 pJ at 65 nm and 1.3 V is 0.1755 pJ at 32 nm (HP) and 0.9 V."""
    assert polynomial((0.8367, -0.4341, 0.1701), 0.9) == pytest.approx(0.4571, abs=5e-5)
    assert polynomial((3.755, -4.398, 1.975), 1.3) == pytest.approx(2.604, abs=5e-4)
    assert SCALING.factors(Process(65, 1.3), Process(32, 0.9)).energy == pytest.approx(0.1755, abs=1e-4)


@pytest.mark.parametrize(("node", "published"), AREA_FROM_130.items())
def test_areas_agree_with_the_published_ratios(node: int, published: float) -> None:
    """The column of 180 nm, which we keep, and the row of 130 nm are both rounded to two digits: 5% covers both."""
    factors = SCALING.factors(Process(130, 1.8), Process(node, 0.9))
    assert factors.area == pytest.approx(published, rel=0.05)


def test_the_square_of_the_supply_is_near() -> None:
    """At one node energy goes roughly with the square of the supply; from 1.8 to 1.3 V at 130 nm the table falls 17%
    further."""
    energy = SCALING.factors(Process(130, 1.8), Process(130, 1.3)).energy
    assert energy / (1.3 / 1.8) ** 2 == pytest.approx(0.86, abs=0.005)


def test_equal_processes_have_factors_of_1() -> None:
    assert SCALING.factors(Process(130, 1.8), Process(130, 1.8)) == Factors()


@given(st.sampled_from(NODES), st.sampled_from(NODES), st.floats(0.75, 1.2), st.floats(0.75, 1.2))
def test_factors_there_and_back_cancel(old: float, new: float, volts: float, other: float) -> None:
    forward = SCALING.factors(Process(old, volts), Process(new, other))
    back = SCALING.factors(Process(new, other), Process(old, volts))
    for factor, inverse in ((forward.area, back.area), (forward.delay, back.delay), (forward.energy, back.energy)):
        assert factor * inverse == pytest.approx(1, rel=1e-12)
        assert factor > 0


@given(st.floats(20, 130), st.floats(20, 130))
def test_smaller_nodes_take_less_area(node: float, other_node: float) -> None:
    start = Process(130, 1.8)
    small, large = (SCALING.factors(start, Process(node, 1.0)) for node in sorted((node, other_node)))
    assert small.area <= large.area * (1 + 1e-12)
    assert small.energy <= large.energy * (1 + 1e-12)


def test_between_two_nodes_by_hand() -> None:
    """The geometric mean of two nodes lies at the geometric mean of their figures."""
    middle = SCALING.factors(Process(130, 1.8), Process((20 * 32) ** 0.5, 0.8))
    low, high = (SCALING.factors(Process(130, 1.8), Process(node, 0.8)) for node in (20, 32))
    assert middle.energy == pytest.approx((low.energy * high.energy) ** 0.5, rel=1e-12)
    assert middle.area == pytest.approx((low.area * high.area) ** 0.5, rel=1e-12)


def test_low_power_transistors_are_another_row() -> None:
    fast, slow = (SCALING.factors(Process(130, 1.8), Process(45, 1.0, kind)) for kind in ("HP", "LP"))
    assert slow.delay > fast.delay
    assert SCALING.factors(Process(130, 1.8), Process(90, 1.2, "LP")) == SCALING.factors(
        Process(130, 1.8), Process(90, 1.2, "HP")
    )


def test_refusals() -> None:
    with pytest.raises(TechnologyError, match=r"^no scaling to 5 nm; the table goes from 7 to 180 nm$"):
        SCALING.factors(Process(130, 1.8), Process(5, 0.7))
    with pytest.raises(TechnologyError, match=r"^a supply of 5 V is out of the scaling table's range at 45 nm; "):
        SCALING.factors(Process(130, 1.8), Process(45, 5.0))
