"""The exploration's page in a real browser: plots drawn, hover, the filter by mouse and by keyboard, sorting, downloads."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skipstone.mapper.results.exploration import ExplorationPoint, ExplorationResult
from skipstone.reports.exploration.page import write_exploration
from skipstone.reports.exploration.summary import metrics
from tests.reports.explorations import exploration, impossible, without_accuracy

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium to run the pages in it")

RESULT = exploration()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def opened(browser: Any, path: Path, result: ExplorationResult, width: int, scheme: str, console: list[str]) -> Any:
    """The page of a result, drawn; console messages are added to ``console``."""
    write_exploration(result, path)
    page = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme).new_page()
    page.set_default_timeout(120_000)  # of a busy machine
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector(f"html[data-{'explored' if result.points else 'drawn'}]", state="attached")
    return page


@pytest.fixture(scope="module")
def shared_page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, list[str]]]:
    console: list[str] = []
    page = opened(browser, tmp_path_factory.mktemp("page") / "exploration.html", RESULT, 1400, "light", console)
    yield page, console
    page.context.close()


@pytest.fixture
def page(shared_page: tuple[Any, list[str]]) -> Iterator[Any]:
    """The page of ``RESULT`` with nothing filtered; console messages fail the test at its end."""
    page, console = shared_page
    for name, value in (("axis-x", "cycles"), ("axis-y", "energy_pj")):
        page.locator(f"#{name}").select_option(value)
    if page.locator("#points-table th[data-key=number]").get_attribute("aria-sort") != "ascending":
        page.locator("#points-table th[data-key=number] button").click()
    page.get_by_role("button", name="Show all").click()
    filtered(page, RESULT, lambda point: True)
    yield page
    assert console == []


def shown(page: Any) -> list[int]:
    """Numbers of the points in the table, from the top down."""
    return [int(text) for text in page.locator("#points-table tbody tr[data-index] th").all_inner_texts()]


def filtered(page: Any, result: ExplorationResult, keep: Callable[[ExplorationPoint], bool]) -> list[int]:
    """Numbers in the table, once table, count and marks that are not dimmed agree with the points that ``keep`` accepts."""
    remaining = [point for point in result.points if keep(point)]
    front = sum(point.on_front for point in remaining)
    count = f"{len(remaining)} of {len(result.points)} points, {front} on the front"
    page.wait_for_function("text => document.getElementById('filter-count').textContent === text", arg=count)
    numbers = shown(page)
    assert sorted(numbers) == [point.number for point in remaining]
    selected = page.evaluate(
        """() => document.getElementById("front-plot").data.slice(1).flatMap(
          (trace) => trace.selectedpoints ? trace.selectedpoints.map((at) => trace.customdata[at]) : trace.customdata)"""
    )
    assert sorted(result.points[index].number for index in selected) == sorted(numbers)
    return numbers


def place(page: Any, point: ExplorationPoint, x: str, y: str) -> tuple[float, float]:
    """Where a point's mark is on the screen; ``x`` and ``y`` are the metrics of the axes."""
    scale = {metric.name: metric.scale for metric in metrics(RESULT)}
    values = [point.metrics[name] * scale[name] for name in (x, y)]
    box = page.locator("#front-plot .nsewdrag").first.bounding_box()
    return tuple(
        page.evaluate(
            """([x, y, left, top]) => {
              const { xaxis, yaxis } = document.getElementById("front-plot")._fullLayout;
              return [left + xaxis.d2p(x), top + yaxis.d2p(y)];
            }""",
            [*values, box["x"], box["y"]],
        )
    )


@pytest.mark.parametrize(
    ("make", "width", "scheme"),
    [
        (exploration, 1400, "dark"),
        (exploration, 400, "light"),
        (impossible, 400, "dark"),
        (without_accuracy, 1400, "light"),
        (lambda: without_accuracy(1), 1400, "light"),
        (lambda: without_accuracy(0), 400, "dark"),
    ],
)
def test_plots_are_drawn_and_fit(
    browser: Any, tmp_path: Path, make: Callable[[], ExplorationResult], width: int, scheme: str
) -> None:
    result, console = make(), []
    page = opened(browser, tmp_path / "exploration.html", result, width, scheme, console)
    assert page.locator(".plot.js-plotly-plot").count() == page.locator(".plot").count() >= (2 if result.points else 0)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("#front-plot .scatterlayer .point").count() == len(result.points)
    if result.points and not any(point.feasible for point in result.points):
        assert "No point meets area" in page.get_by_role("alert").inner_text()
    else:
        assert page.get_by_role("alert").count() == 0
    page.context.close()
    assert console == []


def test_hover_and_click(page: Any) -> None:
    page.locator("#front-plot").scroll_into_view_if_needed()
    point = next(point for point in RESULT.points if point.on_front)
    page.mouse.move(*place(page, point, "cycles", "energy_pj"))
    page.wait_for_selector("#front-plot .hovertext tspan.line")
    label = page.locator("#front-plot .hovertext tspan.line").all_text_contents()
    number = int(label[0].removeprefix("point ").split(":")[0])
    hovered = RESULT.points[number]
    for metric in metrics(RESULT):
        assert f"{metric.title}: {metric.of(hovered)}" in label
    for name in ("rows", "cols", "windows", "prune"):
        assert f"{name}: {hovered.parameters[name]}" in label
    assert not any("weight_bits" in line for line in label)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(f"#details-{number}")
    details = page.locator(f"#details-{number}").inner_text()
    assert "weight_bits8" in details.split("\n")
    assert page.evaluate("document.activeElement.textContent") == str(number)


def test_box_in_the_front(page: Any) -> None:
    page.locator("#front-plot").scroll_into_view_if_needed()
    box = page.locator("#front-plot .nsewdrag").first.bounding_box()
    x0, x1, y0, y1 = box["x"] + 0.1 * box["width"], box["x"] + 0.5 * box["width"], box["y"] + 40, box["y"] + 380
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=5)
    page.mouse.up()

    def inside(point: ExplorationPoint) -> bool:
        x, y = place(page, point, "cycles", "energy_pj")
        return x0 <= x <= x1 and y0 <= y <= y1

    selected = {point.number for point in RESULT.points if inside(point)}
    assert 0 < len(selected) < len(RESULT.points)
    filtered(page, RESULT, lambda point: point.number in selected)
    page.locator("#axis-x").select_option("area_um2")
    filtered(page, RESULT, lambda point: point.number in selected)
    page.locator("#only-front").check()
    filtered(page, RESULT, lambda point: point.number in selected and point.on_front)


def test_limits_by_keyboard(page: Any) -> None:
    page.get_by_label("cycles: at most").focus()
    page.keyboard.type("20000")
    filtered(page, RESULT, lambda point: point.metrics["cycles"] <= 20_000)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "energy, nJ: at most"
    page.keyboard.type("9000")

    def cheap(point: ExplorationPoint) -> bool:
        return point.metrics["cycles"] <= 20_000 and point.metrics["energy_pj"] <= 9e6

    assert len(filtered(page, RESULT, cheap)) > 0
    page.locator("#filter summary").press("Enter")
    page.get_by_label("prune", exact=True).select_option("unstructured:0.5")
    filtered(page, RESULT, lambda point: cheap(point) and point.parameters["prune"] == "unstructured:0.5")
    page.locator("#only-feasible").press("Space")
    filtered(page, RESULT, lambda p: cheap(p) and p.parameters["prune"] == "unstructured:0.5" and p.feasible)


def test_box_in_the_parallel_coordinates(page: Any) -> None:
    page.locator("#parallel-plot").scroll_into_view_if_needed()
    area = page.locator("#parallel-plot .nsewdrag").first.bounding_box()
    x, top, bottom = page.evaluate(
        """() => {
          const { xaxis, yaxis } = document.getElementById("parallel-plot")._fullLayout;
          return [xaxis.d2p(4), yaxis.d2p(0.5), yaxis.d2p(0)];
        }"""
    )  # the fifth axis, after four parameters, is cycles; its lower half
    page.mouse.move(area["x"] + x - 15, area["y"] + top)
    page.mouse.down()
    page.mouse.move(area["x"] + x + 15, area["y"] + bottom + 5, steps=5)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('input[data-metric=cycles][data-end=max]').value !== ''")
    upper_limit = float(page.get_by_label("cycles: at most").input_value())
    cycles = [point.metrics["cycles"] for point in RESULT.points]
    middle = (min(cycles) * max(cycles)) ** 0.5  # of a logarithmic axis
    assert upper_limit == pytest.approx(middle, rel=0.05)
    filtered(page, RESULT, lambda point: point.metrics["cycles"] <= upper_limit)


def test_sorting(page: Any) -> None:
    by_cycles = sorted(RESULT.points, key=lambda point: (point.metrics["cycles"], point.number))
    heading = page.locator("#points-table th[data-key=cycles]")
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert shown(page) == [point.number for point in by_cycles]
    heading.locator("button").click()
    by_cycles.sort(key=lambda point: (-point.metrics["cycles"], point.number))
    assert heading.get_attribute("aria-sort") == "descending"
    assert shown(page) == [point.number for point in by_cycles]


def test_line_of_two_metrics(page: Any) -> None:
    page.locator("#axis-x").select_option("area_um2")
    page.locator("#axis-y").select_option("accuracy")
    page.wait_for_function("() => document.getElementById('front-plot').layout.yaxis.title.text === 'accuracy, %'")
    line = page.evaluate("(({x, y}) => [x, y])(document.getElementById('front-plot').data[0])")
    feasible = [(p.metrics["area_um2"] / 1e6, 100 * p.metrics["accuracy"]) for p in RESULT.points if p.feasible]
    best = {
        (area, accuracy)
        for area, accuracy in feasible
        if not any((a <= area and b >= accuracy and (a, b) != (area, accuracy)) for a, b in feasible)
    }
    assert {(round(a, 9), round(b, 9)) for a, b in zip(*line, strict=True)} == {
        (round(a, 9), round(b, 9)) for a, b in best
    }


def test_downloads(page: Any) -> None:
    page.get_by_label("cycles: at most").fill("5000")
    expected = [point for point in RESULT.points if point.metrics["cycles"] <= 5000]
    filtered(page, RESULT, lambda point: point in expected)
    with page.expect_download() as download:
        page.locator("#points-csv").press("Enter")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [(int(row["number"]), float(row["energy_pj"]), row["prune"]) for row in rows] == [
        (point.number, point.metrics["energy_pj"], point.parameters["prune"]) for point in expected
    ]
    for name, start in (("front", b"<svg"), ("parallel", b"\x89PNG")):
        kind = "svg" if start == b"<svg" else "png"
        with page.expect_download() as download:
            page.locator(f"[data-tools={name}] [data-save={kind}]").click()
        assert Path(download.value.path()).read_bytes().startswith(start)
