"""The report page: its numbers are the result's, it loads nothing, and names in it are text."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from skipstone.mapper.results.network import CAUSES, LayerResult
from skipstone.reports.network.report import write_report
from tests.reports.networks import CALIBRATION, TECHNOLOGY, host_layer, layer, network, resnet8
from tests.reports.pages import Page

HOSTILE = "<b>x&y"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def test_one_plotly_script_and_nothing_loaded(target: Path) -> None:
    write_report(resnet8(), target)
    text = target.read_text(encoding="utf-8")
    assert text.count("* plotly.js v") == 1
    read = Page(target)
    assert [e.attributes.get("id") for e in read.all("script")] == ["figures", "plotly", "page"]
    loading = {"src", "srcset", "poster", "action", "background", "data"}
    assert not [e for e in read.elements if loading & set(e.attributes)]
    assert {e.attributes["href"][:1] for e in read.all("a")} == {"#"}
    assert [e.attributes["href"] for e in read.all("link")] == ["data:,"]
    (style,) = read.all("style")
    assert "url(" not in "".join(style.text)
    assert "@import" not in "".join(style.text)
    assert any("default-src 'none'" in e.attributes.get("content", "") for e in read.all("meta"))


def test_ids_are_unique_and_links_lead_to_them(target: Path) -> None:
    write_report(resnet8(), target, "why")
    read = Page(target)
    ids = [e.attributes["id"] for e in read.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    assert {e.attributes["href"][1:] for e in read.all("a")} <= set(ids)


def test_a_hostile_name_is_escaped(target: Path) -> None:
    hostile = network(
        (layer(HOSTILE, kind=HOSTILE, note=HOSTILE), layer("</script><script>alert(1)</script>"), host_layer(HOSTILE)),
        network=HOSTILE,
        design=HOSTILE,
        pruning=HOSTILE,
        calibration=HOSTILE,
        technology=HOSTILE,
        sources=((HOSTILE, HOSTILE),),
    )
    write_report(hostile, target, HOSTILE)
    text = target.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "alert(1)</script>" not in text
    read = Page(target)
    assert not list(read.all("b"))
    assert len(list(read.all("script"))) == 3
    assert read.texts().count(HOSTILE) >= 10
    figures = read.figures()
    assert figures["cycles"]["layout"]["yaxis"]["ticktext"][0] == "&lt;b&gt;x&amp;y"
    assert "<b>" not in str([(figure["traces"], figure["layout"]) for figure in figures.values()])


def test_the_table_holds_the_numbers(target: Path) -> None:
    only = layer(
        "conv1", macs=442_368, weights=400, nnz=100, causes=(1500, 100, 0, 200, 100, 80, 20, 0), energy_pj=70_380.0
    )
    write_report(network((only,), dense_total_cycles=5_000), target)
    texts = Page(target).texts()
    expected = (
        "conv1",
        "442,368",
        "100",
        "25.0%",
        "2,000",
        "equal",
        "75.0%",
        "70.38",
        "4x8",
        "5,000",
        "2.50x",
        "70.38 nJ",
    )
    for text in (*expected, "91.70%", "yes", "4 images", CALIBRATION, TECHNOLOGY):
        assert text in texts, text


def test_the_table_has_what_zeros_save(target: Path) -> None:
    first = layer(
        "a", skipped_macs=1_111, loaded_words=2_222, skipped_words=3_333, causes=(60, 0, 0, 4_000, 400, 40, 4, 0)
    )
    second = layer("b", skipped_macs=1, loaded_words=2, skipped_words=3, causes=(60, 0, 0, 0, 0, 0, 1, 0))
    write_report(network((first, second, host_layer())), target)
    cells = [cell for cell in Page(target).texts() if cell in ("1,111", "2,222", "3,333", "4,444")]
    assert cells == ["1,111", "2,222", "3,333", "4,444"], "one layer's, in the order of the headings"
    totals = [cell for cell in Page(target).texts() if cell in ("1,112", "2,224", "3,336", "4,445")]
    assert totals == ["1,112", "2,224", "3,336", "4,445"]
    headings = Page(target).texts()
    places = [headings.index(name) for name in ("MACs skipped", "words loaded", "words skipped", "stall cycles")]
    assert places == list(range(places[0], places[0] + 4))


def test_stacked_causes_add_up_to_the_layer_s_cycles(target: Path) -> None:
    result = resnet8()
    write_report(result, target)
    figure = Page(target).figures()["cycles"]
    assert [trace["name"] for trace in figure["traces"]] == list(CAUSES)
    for index, each in enumerate(result.layers):
        assert math.isclose(sum(trace["x"][index] for trace in figure["traces"]), each.model_cycles or 0)
        note = figure["layout"]["annotations"][index]
        end = sum(value for value in each.cycles_by_cause.values() if value > 0)
        assert note["x"] == end, "behind the bar, also where cycles overlap with the layer before"
        assert note["text"] == (f"{each.model_cycles:,}" if each.model_cycles else "host")


def test_stacked_parts_add_up_to_the_layer_s_energy(target: Path) -> None:
    result = resnet8()
    write_report(result, target)
    traces = Page(target).figures()["energy"]["traces"]
    for index, each in enumerate(result.layers):
        total = sum(trace["x"][index] for trace in traces)
        assert math.isclose(total, (each.energy_pj or 0) / 1000, rel_tol=1e-9)  # sums of floats, in another order


def test_roofline_places_layers_under_its_ceilings(target: Path) -> None:
    write_report(
        network((layer("conv1", causes=(50, 0, 0, 0, 50, 0, 0, 0), operations_per_byte=8.0), host_layer())), target
    )
    ceiling, points = Page(target).figures()["roofline"]["traces"]
    assert (points["x"], points["y"]) == ([8.0], [128.0])  # half of 8 x 32 PEs
    assert ceiling["x"][1:2] == [8.0]  # 256 PEs over 32 bytes a cycle
    assert ceiling["y"][1:] == [256, 256]
    assert math.isclose(ceiling["y"][0], 32 * ceiling["x"][0])


def test_every_plot_has_its_numbers_as_a_table(target: Path) -> None:
    write_report(resnet8(), target)
    read = Page(target)
    summaries = ["".join(e.text) for e in read.all("summary")]
    assert len(read.figures()) == 12
    assert sum(text.endswith(": the numbers") for text in summaries) == 12
    scrolling = [e for e in read.elements if e.attributes.get("class") == "scroll"]
    assert all(e.attributes["tabindex"] == "0" and e.attributes["aria-label"] for e in scrolling)


@pytest.mark.parametrize(
    ("layers", "verdict"),
    [
        ((layer("a"), layer("b", outputs_equal=False)), "NO"),
        ((layer("a", rtl_cycles=101),), "NO"),
        ((layer("a", rtl=False),), "not run"),
        ((layer("a"), layer("b", rtl=False, outputs_equal=None)), "in part"),
        ((layer("a"), host_layer()), "yes"),
    ],
)
def test_verdict(target: Path, layers: tuple[LayerResult, ...], verdict: str) -> None:
    write_report(network(layers), target)
    assert [t for t in Page(target).texts() if t in ("yes", "NO", "in part", "not run")] == [verdict]


def test_verdict_on_a_differing_total(target: Path) -> None:
    write_report(network((layer("a"),), rtl_total_cycles=107), target)
    assert any("NO: total cycles differ: RTL 107, model 100" in text for text in Page(target).texts())


def test_everything_on_the_host(target: Path) -> None:
    write_report(network((host_layer(),)), target)
    assert "softmax" in Page(target).texts()


def test_explanation_is_plain_text(target: Path) -> None:
    write_report(resnet8(), target, "conv1 waits:\n  1 < 2")
    assert "conv1 waits:\n  1 < 2" in Page(target).texts()
    write_report(resnet8(), target)
    assert "Explanation" not in Page(target).texts()


def test_a_missing_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none/report\.html'$"):
        write_report(resnet8(), tmp_path / "none" / "report.html")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError):
        write_report(resnet8(), tmp_path / "file" / "report.html")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that the test may read only. Root may write everywhere, so it becomes user 65534 (nobody) meanwhile."""
    with TemporaryDirectory(dir="/tmp") as name:
        folder, user = Path(name), os.geteuid()
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65534)
        yield folder
        os.seteuid(user)
        folder.chmod(0o755)


def test_a_read_only_folder_leaves_nothing(read_only: Path) -> None:
    with pytest.raises(PermissionError):
        write_report(resnet8(), read_only / "report.html")
    assert not list(read_only.iterdir())


def test_a_failure_keeps_the_old_report(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.write_text("old")

    def refuse(source: Path, destination: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        write_report(resnet8(), target)
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_in_the_report_s_place(target: Path) -> None:
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_report(resnet8(), target)
    assert list(target.parent.iterdir()) == [target]
