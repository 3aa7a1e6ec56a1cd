"""Energy, area and time of a result are consistent, and the result names the source of each number."""

import pytest

from skipstone.errors import TechnologyError
from skipstone.flow.evaluate import evaluate_network
from skipstone.hw.design import load_design
from skipstone.mapper.technology.technology import load_technology
from tests.skipstone.builders import TINY_DESIGN, small_network


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    small_network(folder / "small.onnx")
    (folder / "small.toml").write_text(TINY_DESIGN)
    return str(folder / "small.onnx"), load_design(str(folder / "small.toml"))


@pytest.mark.parametrize("technology", [None, load_technology(22), load_technology(130, 40.0)])
def test_energy_area_and_time_are_consistent(small, technology):
    result = evaluate_network(*small, technology=technology)
    terms = [term for layer in result.layers for term in layer.energy_terms]
    assert result.node_nm == (technology or load_technology()).node_nm
    assert sum(term.energy_pj for term in terms) == pytest.approx(result.total_energy_pj, rel=1e-12)
    assert sum(term.area_um2 for term in result.area_terms) == pytest.approx(result.area_um2, rel=1e-12)
    assert {term.source for term in (*terms, *result.area_terms)} <= dict(result.sources).keys()
    for layer in result.layers:
        assert sum(term.energy_pj for term in layer.energy_terms) == pytest.approx(layer.energy_pj or 0, rel=1e-12)
    assert result.latency_us == result.total_cycles / result.frequency_mhz
    # mW x us = nJ
    assert result.power_mw * result.latency_us == pytest.approx(result.total_energy_pj / 1e3)
    assert result.frequency_mhz <= result.fmax_mhz
    assert result.loading_energy_pj > 0
    moved = [term for term in terms if term.part == "off_chip"]
    assert [(term.action, layer) for term, layer in zip(moved, ("first", "last"), strict=True)] == [
        ("read a bit", "first"),
        ("write a bit", "last"),
    ]


def test_a_faster_clock_lowers_leakage_energy_alone(small):
    slow, fast = (evaluate_network(*small, technology=load_technology(45, mhz)) for mhz in (10.0, 20.0))
    for slow_layer, fast_layer in zip(slow.layers, fast.layers, strict=True):
        for part, energy in slow_layer.energy_by_part.items():
            assert energy == pytest.approx(fast_layer.energy_by_part[part] * (2 if part == "leakage" else 1))


def test_a_clock_too_fast_is_refused(small):
    with pytest.raises(TechnologyError, match=r"^design 'small' reaches \d+ MHz at 45 nm, not 5000: "):
        evaluate_network(*small, technology=load_technology(45, 5000.0))
