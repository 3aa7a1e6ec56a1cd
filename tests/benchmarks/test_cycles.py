"""The recorded cycle figures: quick networks still take them, and every layer that differs is named."""

import json
from pathlib import Path

import pytest

from benchmarks import cycles
from benchmarks.__main__ import main
from benchmarks.cycles import Case
from benchmarks.settings import MODELS, Settings, benchmark_design
from benchmarks.workloads import gemm


@pytest.fixture
def expected_file(tmp_path: Path, monkeypatch) -> Path:
    """A file of expected cycles in place of the carried one."""
    path = tmp_path / "expected.json"
    monkeypatch.setattr(cycles, "EXPECTED", path)
    product = Case("gemm/3321/gemm", lambda: gemm(3_321), benchmark_design("gemm"))
    monkeypatch.setattr(cycles, "cases", lambda settings, operators: iter([product]))
    return path


def test_quick_networks_take_the_recorded_cycles():
    comparison = cycles.compare(Settings(models=MODELS), quick_only=True)
    assert not comparison.differences
    assert len(comparison.compared) >= 90


def test_the_figures_of_the_summary_are_recorded():
    """One figure of each large network, as on the page of figures."""
    expected = cycles.read_expected()
    assert sum(expected["resnet18/0.2/resnet"]) == 1_550_953
    assert sum(expected["resnet50/0.2/resnet"]) == 3_491_218
    assert sum(expected["mlperf_tiny_resnet8/unstructured:0.8/wide"]) == 10_692


def test_check_names_the_layer_that_differs(expected_file: Path, capsys):
    expected_file.write_text(json.dumps({"gemm/3321/gemm": [13_438]}))
    assert main(["--check"]) == 1
    printed = capsys.readouterr().out
    assert "gemm/3321/gemm, gemm: 13,439 cycles, expected 13,438" in printed
    assert "1 cases compared; 1 layers differ" in printed


def test_check_names_missing_and_new_networks(expected_file: Path, capsys):
    expected_file.write_text(json.dumps({"gemm/3321/gemm": [13_000, 439], "elsewhere/none/wide": [1]}))
    assert main(["--check"]) == 1
    printed = capsys.readouterr().out
    assert "gemm/3321/gemm: 1 layers, expected 2" in printed
    assert "1 not here: elsewhere/none/wide" in printed
    expected_file.write_text("{}")
    assert main(["--check"]) == 1
    assert "gemm/3321/gemm: not in expected.json" in capsys.readouterr().out


def test_record_writes_what_check_compares(expected_file: Path, capsys):
    expected_file.write_text(json.dumps({"elsewhere/none/wide": [1]}))
    assert main(["--record"]) == 0
    assert json.loads(expected_file.read_text()) == {"elsewhere/none/wide": [1], "gemm/3321/gemm": [13_439]}
    assert main(["--check"]) == 0
