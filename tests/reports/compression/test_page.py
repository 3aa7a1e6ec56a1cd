"""The page of a compression has the result's numbers: in its figures, its tables and its large figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from skipstone.mapper.results.compression import CompressionResult, DesignCost, LayerSize, StepResult
from skipstone.reports.compression.page import compression_page
from skipstone.reports.network.summary import NONE
from skipstone.reports.web.page import write_page
from tests.reports.pages import Page

HOSTILE = "<b>x&y[bold]"
RESULT = CompressionResult(
    network="net",
    recipe="half",
    seed=1,
    data="digits",
    test_images=1000,
    float_accuracy=0.95,
    accuracy=0.9425,
    steps=(
        StepResult("prune", {"sparsity": 0.5}, 0.95, 0.8, 0.5, 1000, 90_000, 1.5, ("a note",)),
        StepResult("quantize", {}, 0.8, 0.945, 0.5, 1000, 90_000, 0.5, integer_accuracy=0.9425),
    ),
    layers=(
        LayerSize("conv1", "conv", 600, 300, "linear", 8, 375),
        LayerSize("conv2", "conv", 300, 150, "linear", 8, 190),
        LayerSize(HOSTILE, "gemm", 100, 50, "linear", 8, 63),
    ),
    float_bytes=4000,
    weight_code="linear",
    weight_bits=8,
    activation_bits=8,
    calibration="min-max",
    cost=DesignCost(
        "wide", "linear", 500, 1e6, 1e6, 700, 1000, 2e6, 1000, 2e6, 24, 8, {"conv1+conv2": 400, HOSTILE: 100}
    ),
    decisions=("took half",),
)


def written(result: CompressionResult, folder: Path) -> Page:
    write_page(compression_page(result), folder / "report.html")
    return Page(folder / "report.html")


def test_the_figures_have_the_steps_and_the_layers(tmp_path: Path) -> None:
    figures = written(RESULT, tmp_path).figures()
    accuracy, integers, zeros = figures["steps"]["traces"]
    assert accuracy["y"] == [80, 94.5]
    assert integers["y"] == [None, 94.25]
    assert zeros["y"] == [50, 50]
    floats, encoded = figures["bytes"]["traces"]
    assert floats["x"] == [2400, 1200, 400]
    assert encoded["x"] == [375, 190, 63]
    assert (tmp_path / "report_data" / "steps.csv").read_text().splitlines()[1].startswith("1. prune,0.95,0.8,,0.5")


def test_the_tables_have_cycles_of_layers_that_run_together_in_parentheses() -> None:
    sections = {section.name: section.content for section in compression_page(RESULT).sections}
    assert [row[-1] for row in sections["layer-table"].rows] == ["(400)", "(400)", "100"]
    assert sections["layer-table"].footer[-1] == "500"
    assert [row[4] for row in sections["step-table"].rows] == [NONE, "94.25%"]
    assert sections["decisions"].rows == (("took half",),)
    cards = {card.name: (card.value, card.more) for card in sections["summary"].cards}
    assert cards["accuracy"] == ("94.25%", "0.75 points lost")
    assert cards["cycles"] == ("500", "2.00x faster than dense")


def test_names_are_only_text(tmp_path: Path) -> None:
    page = written(RESULT, tmp_path)
    assert not any(element.tag == "b" for element in page.elements)
    assert any(HOSTILE in text for text in page.texts())


def test_without_labels_and_design(tmp_path: Path) -> None:
    steps = tuple(
        replace(step, accuracy_before=None, accuracy_after=None, integer_accuracy=None) for step in RESULT.steps
    )
    bare = replace(RESULT, accuracy=None, float_accuracy=None, cost=None, steps=steps, decisions=())
    page = written(bare, tmp_path)
    assert [trace["name"] for trace in page.figures()["steps"]["traces"]] == ["zeros"]
    assert "decisions" not in {section.name for section in compression_page(bare).sections}
