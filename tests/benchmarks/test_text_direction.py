"""Text direction: which design halves a layer, and what the section says where the network is absent."""

from dataclasses import replace

from benchmarks import text_direction
from benchmarks.costs import LayerCost
from benchmarks.settings import Settings, benchmark_design
from benchmarks.text_direction import CANDIDATES, halved_by

COST = LayerCost("conv", "conv", "", 1, 100, 1, 50.0, 1, "load", "load", 0.5)


def test_the_first_design_that_halves_a_layer():
    others = {
        "little": [replace(COST, cycles=51)],
        "half": [replace(COST, name="another", cycles=1), replace(COST, cycles=50)],
        "more": [replace(COST, cycles=10)],
    }
    assert halved_by(COST, others) == ("half", 50)
    assert halved_by(replace(COST, cycles=10), others) is None


def test_a_layer_that_runs_with_another_one_does_not_count():
    assert halved_by(COST, {"merged": [replace(COST, name="conv+shortcut", cycles=1)]}) is None


def test_candidates_hold_a_5x5_kernel_in_one_window():
    assert all(benchmark_design(name).slots == 25 for name in CANDIDATES)


def test_an_absent_network_is_named_with_the_command_that_downloads_it(monkeypatch):
    monkeypatch.setattr(text_direction, "text_direction", lambda: None)
    section = text_direction.measure(Settings())
    assert section.equal
    assert "pip install --no-deps rapidocr-onnxruntime==1.4.4" in section.text
