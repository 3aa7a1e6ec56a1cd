"""The sensitivity table and page: accuracy and saved cycles stand side by side, as the result has them."""

from io import StringIO

from rich.console import Console

from skipstone.mapper.results.sensitivity import SensitivityLayer, SensitivityPoint, SensitivityResult
from skipstone.reports.compression.sensitivity import sensitivity_figures, sensitivity_html, sensitivity_table
from skipstone.reports.network.summary import NONE
from tests.reports.pages import Page

HOSTILE = "<b>x&y[bold]"


def result(name: str = "conv1", cycles: int | None = 1000) -> SensitivityResult:
    saved = (lambda value: None) if cycles is None else (lambda value: value)
    return SensitivityResult(
        "net",
        "wide",
        "magnitude",
        500,
        0.9,
        cycles,
        (SensitivityLayer(name, "conv", 1234, 5678, "load"), SensitivityLayer("dense", "gemm", 10, 10)),
        (
            SensitivityPoint(name, "sparsity", 0.5, 0.5, 0.875, 0.025, saved(900), saved(100)),
            SensitivityPoint(name, "sparsity", 0.75, 0.25, 0.5, 0.4, saved(850), saved(150)),
            SensitivityPoint("dense", "sparsity", 0.5, 0.5, 0.9, 0.0, saved(1001), saved(-1)),
            SensitivityPoint(name, "bits", 4.0, 1.0, 0.88, 0.02, saved(1000), saved(0)),
        ),
        ("said so",),
    )


def rendered(table) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(table)
    return console.file.getvalue()


def test_the_table_has_accuracy_and_saved_cycles_side_by_side():
    text = rendered(sensitivity_table(result()))
    (line,) = (line for line in text.splitlines() if line.startswith("conv1"))
    assert line.split() == ["conv1", "load", "87.5", "10.0%", "50.0", "15.0%"]
    assert "90.00% and 1,000 cycles" in " ".join(text.split())


def test_a_point_that_was_not_asked_for_is_a_dash():
    (line,) = (line for line in rendered(sensitivity_table(result())).splitlines() if line.startswith("dense"))
    assert line.split() == ["dense", "90.0", "-0.1%", NONE, NONE]


def test_the_page_draws_the_points(tmp_path):
    (tmp_path / "page.html").write_text(sensitivity_html(result()), encoding="utf-8")
    page = Page(tmp_path / "page.html")
    figures = page.figures()
    assert set(figures) == {"sparsity-accuracy", "sparsity-cycles", "bits-accuracy", "bits-cycles"}
    first = figures["sparsity-accuracy"]["traces"][0]
    assert (first["x"], first["y"]) == ([50, 75], [87.5, 50])
    assert figures["sparsity-cycles"]["traces"][0]["x"] == [100, 150]
    assert "said so" in page.texts()


def test_without_a_design_there_is_no_plot_of_cycles():
    assert [figure.name for figure in sensitivity_figures(result(cycles=None), "sparsity")] == ["sparsity-accuracy"]


def test_a_hostile_name_is_escaped(tmp_path):
    (tmp_path / "page.html").write_text(sensitivity_html(result(HOSTILE)), encoding="utf-8")
    page = Page(tmp_path / "page.html")
    assert HOSTILE in page.texts()
    assert not list(page.all("b"))
    assert HOSTILE in rendered(sensitivity_table(result(HOSTILE)))
