"""The exploration's page as a file: what is in it, unrounded and escaped."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from reports.exploration import ExplorationResult
from reports.exploration_figures import exploration_figures
from reports.exploration_page import page_points, write_exploration
from tests.reports.explorations import exploration, impossible, without_accuracy
from tests.reports.pages import Page

RESULT = exploration()


def test_page_says_what_matters(tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(RESULT, path)
    page = Page(path)
    text = " ".join(" ".join(page.texts()).split())
    for part in (
        "Exploration of resnet8_fashion",
        "96 points of 96 choices costed",
        "balance of all (knee)",
        "What the constraints cost",
        "layer 'conv1': <kernel> needs reach 8; raise reach to 8",
        "4 choices tried cannot be built",
        "activation ranges from 256 images",
        "a formula of the tests",
        "NSGA-II, seed 0",
        "<b>block & 4</b>",
    ):
        assert part in text
    assert not list(page.all("b"))
    assert set(page.figures()) == {"front", "parallel", "importance", "hypervolume", "constraints"}


def test_points_are_in_the_page_and_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(RESULT, path)
    (script,) = (each for each in Page(path).all("script") if each.attributes.get("id") == "exploration-points")
    points = json.loads("".join(script.text))
    assert points == page_points(RESULT)
    assert [point["number"] for point in points["points"]] == [point.number for point in RESULT.points]
    by_name = {metric["name"]: metric for metric in points["metrics"]}
    assert by_name["area_um2"]["values"] == [point.metrics["area_um2"] * 1e-6 for point in RESULT.points]
    assert by_name["area_um2"]["limits"] == [{"op": "<=", "limit": 2.6}]
    prune = next(each for each in points["parameters"] if each["name"] == "prune")
    assert [prune["choices"][value] for value in prune["values"]] == [p.parameters["prune"] for p in RESULT.points]
    assert [each["name"] for each in points["parameters"] if not each["varies"]] == ["weight_bits"]
    with open(tmp_path / "exploration_data" / "front.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["energy_pj"]) for row in rows] == [point.metrics["energy_pj"] for point in RESULT.points]
    assert [row["on_front"] == "true" for row in rows] == [point.on_front for point in RESULT.points]


def test_nothing_feasible_is_said_first(tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(impossible(), path)
    (alert,) = (each for each in Page(path).elements if each.attributes.get("role") == "alert")
    text = " ".join(Page(path).texts())
    assert "No point meets area <= 0.1 mm2; the nearest is point 0." in text
    assert "area ≤ 0.1 mm² (has 0.480)" in text
    assert alert.tag == "div"


@pytest.mark.parametrize("result", [without_accuracy(), without_accuracy(1), without_accuracy(0)])
def test_small_ones_have_a_page(result: ExplorationResult, tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(result, path)
    assert "accuracy, %" not in path.read_text(encoding="utf-8").partition('<script id="plotly">')[0]
    assert ("front" in Page(path).figures()) == bool(result.points)


def test_it_reads_back_from_json_to_the_same_page(tmp_path: Path) -> None:
    again = ExplorationResult.from_dict(json.loads(json.dumps(RESULT.to_dict())))
    for name, result in (("a", RESULT), ("b", again)):
        write_exploration(result, tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_figures_only_where_there_is_something() -> None:
    assert [figure.name for figure in exploration_figures(RESULT)] == ["importance", "hypervolume", "constraints"]
    bare = exploration((), hypervolume=(), importance={})
    assert exploration_figures(bare) == []
