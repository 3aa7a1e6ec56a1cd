"""Comparisons: layers are matched by name across merges, sums stay sums, and only differing options are listed."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from skipstone.errors import SkipstoneError
from skipstone.mapper.results.network import LayerResult
from skipstone.reports.comparison.comparison import compare
from skipstone.reports.comparison.page import write_comparison
from skipstone.reports.comparison.tables import comparison_tables
from tests.reports.networks import PARAMETERS, host_layer, layer, network, resnet8
from tests.reports.pages import Page


def merged(*names: str) -> LayerResult:
    """Layers that run together, ten cycles of compute for each."""
    return layer("+".join(names), layers=names, causes=(10.0 * len(names), 0, 0, 0, 0, 0, 0, 0))


@settings(max_examples=60)
@given(st.permutations("abcdef"), st.sets(st.integers(1, 5)), st.sets(st.integers(1, 5)))
def test_each_layer_is_compared_once_however_runs_group_them(order, cuts, others):
    def grouped(where: set[int]) -> tuple[LayerResult, ...]:
        ends = [0, *sorted(where), 6]
        return tuple(merged(*order[a:b]) for a, b in itertools.pairwise(ends))

    comparison = compare([("one", network(grouped(cuts))), ("two", network(grouped(others)))])
    names = [name for compared in comparison.layers for name in compared.name.split("+")]
    assert sorted(names) == list("abcdef")
    assert len(comparison.layers) == len(cuts & others) + 1
    for compared in comparison.layers:
        assert [cost.cycles for cost in compared.costs if cost] == [10 * len(compared.name.split("+"))] * 2
        assert all(math.isclose(sum(c.cycles_by_cause.values()), c.cycles) for c in compared.costs if c)


def test_layers_that_a_run_lacks_have_no_costs() -> None:
    comparison = compare([("one", network((merged("a"), merged("b")))), ("two", network((merged("b"), merged("c"))))])
    assert {each.name: [cost is not None for cost in each.costs] for each in comparison.layers} == {
        "a": [True, False],
        "b": [True, True],
        "c": [False, True],
    }
    assert comparison.common == 1


def test_only_differing_options_are_listed() -> None:
    first = network((layer(),))
    second = network((layer(),), design="edge", parameters=PARAMETERS | {"cols": 16}, pruning="none")
    comparison = compare([("one", first), ("two", second)])
    assert {difference.name: difference.values for difference in comparison.differences} == {
        "pruning": (first.pruning, "none"),
        "design": ("wide", "edge"),
        "cols": (32, 16),
    }
    assert ("rows", 8) in comparison.same


def test_speed_up_is_over_the_first_run_and_not_over_another_network() -> None:
    runs = [
        ("one", network((layer(causes=(100, 0, 0, 0, 0, 0, 0, 0)),))),
        ("two", network((layer(causes=(25, 0, 0, 0, 0, 0, 0, 0)),))),
        ("three", network((layer(),), network="other")),
    ]
    assert [compare(runs).speedup(run) for run in range(3)] == [1.0, 4.0, None]


def test_one_result_is_no_comparison() -> None:
    with pytest.raises(SkipstoneError, match="at least two"):
        compare([("one", resnet8())])


def test_host_layers_are_left_out() -> None:
    comparison = compare([("one", network((layer(), host_layer()))), ("two", network((layer(), host_layer())))])
    assert [each.name for each in comparison.layers] == ["conv1"]


def test_differences_by_cause_add_up(tmp_path: Path) -> None:
    slower = network(tuple(layer(name, causes=(80, 10, 0, 20, 10, 5, 5, -3)) for name in "ab"))
    write_comparison(compare([("one", network((layer("a"), layer("b")))), ("two", slower)]), tmp_path / "c.html")
    figure = Page(tmp_path / "c.html").figures()["difference_1"]
    for index in range(2):
        assert sum(trace["x"][index] for trace in figure["traces"]) == 127 - 100
        assert figure["layout"]["annotations"][index]["text"] == "+27"


def test_the_page_has_each_runs_numbers_and_escapes_names(tmp_path: Path) -> None:
    write_comparison(compare([("<b>one", resnet8()), ("two", resnet8(rtl=False))]), tmp_path / "c.html")
    assert "<b>one" not in (tmp_path / "c.html").read_text(encoding="utf-8")
    read = Page(tmp_path / "c.html")
    assert "<b>one" in " ".join(read.texts())
    drawn = str([(figure["traces"], figure["layout"]) for figure in read.figures().values()])
    assert "<b>one" not in drawn, "Plotly would read a tag, in titles of axes too"
    assert "&lt;b&gt;one" in read.figures()["difference_1"]["layout"]["xaxis"]["title"]["text"]
    assert {path.stem for path in (tmp_path / "c_data").iterdir()} == set(read.figures())
    ids = [e.attributes["id"] for e in read.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))


def test_tables_and_json_say_the_same() -> None:
    comparison = compare([("one", resnet8()), ("two", resnet8(rtl=False, design="edge"))])
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in comparison_tables(comparison):
        console.print(table)
    text = console.export_text()
    values = json.loads(json.dumps(comparison.to_result().to_dict(), allow_nan=False))
    assert f"{values['runs'][0]['cycles']:,}" in text
    assert values["differences"] == {"design": ["wide", "edge"]}
    assert "wide" in text
