"""The sweep's table and page say each point's figures, its changes, and why a point has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from skipstone.mapper.results.sweep import SweepPoint, SweepResult
from skipstone.reports.sweep.page import write_sweep
from skipstone.reports.sweep.table import sweep_table
from skipstone.reports.sweep.words import prices
from tests.reports.pages import Page

REASON = "it needs <b>weight_entries</b> 20"


def point(values: dict[str, object], cycles: int, area: float, clock: float = 100.0, **more: object) -> SweepPoint:
    figures = {
        "cycles": cycles,
        "latency_us": cycles / clock,
        "energy_pj": 5e6,
        "area_um2": area,
        "frequency_mhz": clock,
        "clock_reached": clock / 100,
    }
    first = {"cycles": 1000, "latency_us": 10, "energy_pj": 5e6, "area_um2": 1e6, "frequency_mhz": 100}
    changes = {name: figures[name] / first[name] - 1 for name in first}
    return SweepPoint(values, "d", more, figures, changes)


def sweep_of(*points: SweepPoint, reference: int = 0) -> SweepResult:
    names = points[0].values
    return SweepResult(
        network="net<i>",
        design="d",
        design_parameters={"rows": 4, "windows": 3},
        compression={"prune": "none"},
        parameters={name: tuple(dict.fromkeys(each.values[name] for each in points)) for name in names},
        points=points,
        reference=reference,
        calibration="random input",
        technology="45 nm",
        accuracy_images=0,
        sources=(("memory", "a table"),),
    )


ONE = sweep_of(
    SweepPoint({"load_width": 2}, "", {}, {}, {}, REASON),
    point({"load_width": 4}, 1000, 1e6),
    point({"load_width": 8}, 790, 1.18e6, window_depth=40),
    point({"load_width": 16}, 790, 1.5e6, clock=79.0),
    reference=1,
)
TWO = sweep_of(
    point({"rows": 4, "prune": "none"}, 1000, 1e6),
    point({"rows": 4, "prune": "2:4"}, 500, 1e6),
    point({"rows": 8, "prune": "none"}, 500, 2e6),
    SweepPoint({"rows": 8, "prune": "2:4"}, "", {}, {}, {}, REASON),
)


def test_a_sentence_prices_each_point() -> None:
    assert prices(ONE) == (
        "load_width 8: -21.0% cycles, same energy, +18.0% area",
        "load_width 16: -21.0% cycles, same latency, same energy, +50.0% area",
    )


def test_the_table_has_values_changes_and_reasons() -> None:
    console = Console(width=120, record=True)
    console.print(sweep_table(ONE))
    text = console.export_text()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    (row,) = (index for index, line in enumerate(lines) if line.split()[:2] == ["8", "790"])
    assert lines[row].split()[4] == "1.18"
    assert lines[row + 1].split()[:1] == ["-21.0%"]
    assert "+18.0%" in lines[row + 1]
    assert "with window_depth 40" in lines[row]
    assert "does not reach its clock: 79 MHz, 79% of it" in text
    assert REASON in text


@pytest.mark.parametrize(("result", "figures"), [(ONE, {"changes", "values"}), (TWO, {"map"})])
def test_the_page_has_all_points_and_loads_nothing(result: SweepResult, figures: set[str], tmp_path: Path) -> None:
    write_sweep(result, tmp_path / "sweep.html")
    page = Page(tmp_path / "sweep.html")
    assert set(page.figures()) == figures
    assert {path.stem for path in (tmp_path / "sweep_data").iterdir()} == figures
    texts = page.texts()
    assert REASON in texts
    for each in prices(result):
        assert each in texts
    assert not [
        e for e in page.elements if any(e.attributes.get(key, "").startswith("http") for key in ("src", "href"))
    ]


def test_the_lines_are_shares_of_the_reference(tmp_path: Path) -> None:
    write_sweep(ONE, tmp_path / "sweep.html")
    figure = Page(tmp_path / "sweep.html").figures()["changes"]
    lines = {trace["name"]: trace["y"] for trace in figure["traces"]}
    assert lines["cycles"] == pytest.approx([100, 79, 79])
    assert lines["latency"] == pytest.approx([100, 79, 100])
    assert lines["area"] == pytest.approx([100, 118, 150])
    assert [trace["x"] for trace in figure["traces"]] == [["4", "8", "16"]] * 4


def test_the_map_has_a_hole_where_a_point_can_not_be_built(tmp_path: Path) -> None:
    write_sweep(TWO, tmp_path / "sweep.html")
    first, *_ = Page(tmp_path / "sweep.html").figures()["map"]["traces"]
    assert (first["x"], first["y"]) == (["none", "2:4"], ["4", "8"])
    assert first["z"] == [[1000, 500], [500, None]]


def test_notebooks_show_every_point() -> None:
    text = TWO._repr_html_()
    assert "net&lt;i&gt;" in text
    assert text.count("<tr>") == 1 + len(TWO.points)
