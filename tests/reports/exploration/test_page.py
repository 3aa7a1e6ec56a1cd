"""The exploration's page as a file: what is in it, unrounded and escaped."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path

import pytest

from skipstone.mapper.results.exploration import METRICS, ExplorationResult, Objective
from skipstone.reports.exploration.figures import exploration_figures
from skipstone.reports.exploration.formulas import FORMULAS
from skipstone.reports.exploration.page import write_exploration
from skipstone.reports.exploration.points import page_points
from skipstone.reports.exploration.summary import named_metrics
from tests.reports.explorations import exploration, impossible, marked, without_accuracy
from tests.reports.pages import Page

RESULT = exploration()


def test_the_page_has_all_parts(tmp_path: Path) -> None:
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


def test_an_alert_says_that_no_point_is_feasible(tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(impossible(), path)
    (alert,) = (each for each in Page(path).elements if each.attributes.get("role") == "alert")
    text = " ".join(Page(path).texts())
    assert "No point meets area <= 0.1 mm2; the nearest is point 0." in text
    assert "area ≤ 0.1 mm² (has 0.480)" in text
    assert alert.tag == "div"


@pytest.mark.parametrize("result", [without_accuracy(), without_accuracy(1), without_accuracy(0)])
def test_an_exploration_of_few_points_has_a_page(result: ExplorationResult, tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    write_exploration(result, path)
    assert "accuracy, %" not in path.read_text(encoding="utf-8").partition('<script id="plotly">')[0]
    assert ("front" in Page(path).figures()) == bool(result.points)


def test_it_reads_back_from_json_to_the_same_page(tmp_path: Path) -> None:
    again = ExplorationResult.from_dict(json.loads(json.dumps(RESULT.to_dict())))
    for name, result in (("a", RESULT), ("b", again)):
        write_exploration(result, tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_figures_without_data_are_left_out() -> None:
    assert [figure.name for figure in exploration_figures(RESULT)] == ["importance", "hypervolume", "constraints"]
    bare = exploration((), hypervolume=(), importance={})
    assert exploration_figures(bare) == []


def clocked(clocks: tuple[float, ...]) -> ExplorationResult:
    """``RESULT`` with the clock of its points, ``clocks`` in turn, and the latency and power that go with it."""
    points = []
    for point in RESULT.points:
        mhz = clocks[point.number % len(clocks)]
        latency = point.metrics["cycles"] / mhz
        power = point.metrics["energy_pj"] / latency / 1000
        metrics = {**point.metrics, "latency_us": latency, "power_mw": power, "frequency_mhz": mhz}
        points.append(dataclasses.replace(point, metrics=metrics))
    objectives = (Objective("latency_us", "minimize"), Objective("power_mw", "minimize"), *RESULT.objectives[1:])
    return exploration(points=marked(points, objectives), objectives=objectives)


def test_cards_can_be_worked_out(tmp_path: Path) -> None:
    """A card's formula, applied to the point's figures, gives the card's number."""
    result = clocked((100.0, 62.5))
    write_exploration(result, tmp_path / "exploration.html")
    text = " ".join(" ".join(Page(tmp_path / "exploration.html").texts()).split())
    match = re.search(r"cycles / frequency_mhz = ([\d,]+) / ([\d.]+)\.", text)
    assert match is not None
    cycles, mhz = (float(number.replace(",", "")) for number in match.groups())
    least = min(point.metrics["latency_us"] for point in result.points if point.feasible)
    assert cycles / mhz == pytest.approx(least)
    match = re.search(r"energy_pj / latency_us / 1000, while it runs: ([\d,]+) / ([\d.,]+) / 1000", text)
    assert match is not None
    energy, latency = (float(number.replace(",", "")) for number in match.groups())
    power = min(point.metrics["power_mw"] for point in result.points if point.feasible)
    assert energy / latency / 1000 == pytest.approx(power, rel=1e-6)
    assert "images whose largest output is the label's / images = 184 / 200." in text


def test_every_metric_and_the_clock_are_defined_and_in_the_points(tmp_path: Path) -> None:
    result = clocked((100.0, 62.5))
    shown = page_points(result)["metrics"]
    assert {metric["name"] for metric in shown} == set(result.points[0].metrics)
    assert all(metric["formula"] for metric in shown)
    (clock,) = (metric for metric in shown if metric["name"] == "frequency_mhz")
    assert (clock["title"], clock["decimals"], clock["values"][:2]) == ("frequency, MHz", 1, [100.0, 62.5])
    assert set(FORMULAS) == set(METRICS)


def test_short_tables_have_the_clock_only_where_points_differ() -> None:
    assert "frequency_mhz" in [metric.name for metric in named_metrics(clocked((100.0, 62.5)))]
    assert "frequency_mhz" not in [metric.name for metric in named_metrics(clocked((100.0,)))]


def test_a_search_that_ended_early_says_so(tmp_path: Path) -> None:
    write_exploration(exploration(ended="nothing <new> was found"), tmp_path / "exploration.html")
    assert "nothing <new> was found" in " ".join(Page(tmp_path / "exploration.html").texts())
