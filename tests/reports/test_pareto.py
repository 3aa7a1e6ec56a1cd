"""The exploration's table and page."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.exploration import ExplorationPoint, front_first, varying_parameters
from reports.pareto import pareto_table, write_exploration
from reports.summary import NONE
from tests.reports.pages import Page
from tests.reports.test_tables import drawn, line_of


def point(number: int, cycles: int, on_front: bool, accuracy: float | None = 0.9, rows: int = 8) -> ExplorationPoint:
    parameters = {"name": f"d{number}", "rows": rows, "cols": 32}
    return ExplorationPoint(number, f"d{number}", parameters, "80%", cycles, 1e9 / cycles, 2e6, accuracy, on_front)


POINTS = (point(1, 9_000, True, rows=4), point(2, 4_000, True, accuracy=None), point(3, 9_500, False))


def test_order_and_varying_parameters() -> None:
    assert [p.number for p in front_first(POINTS)] == [2, 1, 3]
    assert varying_parameters(POINTS) == ["rows"]
    assert varying_parameters(POINTS[1:]) == []
    assert varying_parameters(()) == []


def test_table() -> None:
    lines = drawn(pareto_table(POINTS))
    assert [line.split() for line in lines if line.startswith("*")] == [
        ["*", "2", "d2", "rows", "8", "80%", "4,000", "250.0", "2.000", NONE],
        ["*", "1", "d1", "rows", "4", "80%", "9,000", "111.1", "2.000", "90.00%"],
    ]
    assert not any("d3" in line for line in lines)
    assert line_of(drawn(pareto_table(POINTS, everything=True)), "3")[1] == "d3"
    assert "no points" in " ".join(drawn(pareto_table(())))


def test_page(tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(POINTS, path, title="<i>search", explanation="120 trials & more")
    read = Page(path)
    others, front = read.figures()["pareto"]["traces"]
    assert (front["x"], front["y"], front["text"]) == ([4_000, 9_000], [250.0, 1e6 / 9_000], ["2", "1"])
    assert others["x"] == [9_500]
    assert "120 trials & more" in read.texts()
    assert "<i>search" in read.texts()
    assert not list(read.all("i"))
    assert path.read_text(encoding="utf-8").count("* plotly.js v") == 1


def test_points_without_accuracy_are_not_on_its_plot(tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(POINTS, path, x="accuracy", y="cycles")
    read = Page(path)
    assert read.figures()["pareto"]["traces"][1]["x"] == [90.0]
    assert any("1 points without accuracy are not shown" in text for text in read.texts())


def test_no_points(tmp_path: Path) -> None:
    write_exploration((), tmp_path / "exploration.html")


def test_unknown_axis(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown objective 'speed'; known are cycles, energy_pj, area_um2, accuracy"):
        write_exploration(POINTS, tmp_path / "exploration.html", x="speed")
    assert not list(tmp_path.iterdir())
