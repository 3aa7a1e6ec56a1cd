"""The pages in a real browser: plots are drawn and can be read, moved through, saved and zoomed by mouse and by keyboard, and the
console stays silent. Skipped where there is no Chromium, or no Playwright to drive it."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skipstone.reports.comparison.comparison import compare
from skipstone.reports.comparison.page import write_comparison
from skipstone.reports.compression.sensitivity import sensitivity_html
from skipstone.reports.network.report import write_report
from skipstone.reports.web.csv_files import data_folder
from tests.reports.compression.test_sensitivity import result as sensitivity
from tests.reports.networks import host_layer, layer, network, resnet8

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright to run the pages in a browser")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium to run the pages in it")

TIMEOUT_MS = 120_000
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 29)"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=TIMEOUT_MS)
        yield launched
        launched.close()


def opened(browser: Any, path: Path, scheme: str = "light", width: int = 1400) -> Any:
    """The page with all plots drawn; console messages are in its ``messages``."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(TIMEOUT_MS)
    page.messages = []
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("pageerror", lambda error: page.messages.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(resnet8(), path, "why")
    return path


@pytest.fixture(scope="module")
def wide(browser: Any, report: Path) -> Iterator[Any]:
    """One page that many tests look at; each leaves it as it was."""
    page = opened(browser, report)
    yield page
    assert page.messages == []
    page.close()


def write_hostile(path: Path) -> None:
    hostile = layer("</script><img src=x onerror=console.error(1)>")
    write_report(network((layer("<b>x&y"), hostile, host_layer())), path)


def write_host_only(path: Path) -> None:
    write_report(network((host_layer(),)), path)


def write_two(path: Path) -> None:
    write_comparison(compare([("<b>one", resnet8()), ("two", resnet8(rtl=False, design="edge"))]), path)


def write_layers(path: Path) -> None:
    path.write_text(sensitivity_html(sensitivity()), encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "plots", "scheme"),
    [(write_hostile, 11, "dark"), (write_host_only, 8, "light"), (write_two, 6, "dark"), (write_layers, 4, "light")],
)
def test_plots_are_drawn_and_the_console_is_silent(
    browser: Any, tmp_path: Path, write: Callable[[Path], None], plots: int, scheme: str
) -> None:
    write(tmp_path / "page.html")
    page = opened(browser, tmp_path / "page.html", scheme)
    assert page.locator(".plot.js-plotly-plot .main-svg").first.is_visible()
    assert page.locator(".plot.js-plotly-plot").count() == plots
    assert page.evaluate("document.documentElement.dataset.drawn") == str(plots)
    backgrounds = page.eval_on_selector_all(
        ".plot .main-svg:first-of-type", "all => all.map(each => each.style.background)"
    )
    assert {text for text in backgrounds if text} == {PAPER[scheme]}
    assert page.messages == []
    page.close()


def test_a_narrow_screen_shows_all_without_sideways_scrolling(browser: Any, report: Path) -> None:
    page = opened(browser, report, "dark", width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    widths = page.eval_on_selector_all(".plot .main-svg", "all => all.map(each => each.getBoundingClientRect().right)")
    assert max(widths) <= 400
    assert page.messages == []
    page.close()


def test_the_mouse_shows_a_bar_s_numbers(wide: Any) -> None:
    bar = wide.locator("#cycles-plot .bars .point path").first
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    wide.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = wide.wait_for_selector("#cycles-plot .hoverlayer .hovertext")
    assert label.text_content() == "conv1compute: 1,204 cycles"
    wide.mouse.move(0, 0)


def test_the_keyboard_reads_out_what_the_mouse_shows(wide: Any) -> None:
    wide.focus("#cycles-plot")
    live_text = wide.locator("#cycles-says")
    for key, text in (
        ("ArrowDown", "conv1; compute: 1,204 cycles"),
        ("ArrowDown", "conv2; compute: 1,840 cycles"),
        ("ArrowRight", "conv10/average_pool1; edge: 62 cycles"),
    ):
        wide.keyboard.press(key)
        playwright.expect(live_text).to_have_text(text, timeout=TIMEOUT_MS)
    wide.keyboard.press("Escape")
    playwright.expect(live_text).to_have_text("")


def test_the_keyboard_walks_through_a_heat_map(wide: Any) -> None:
    wide.focus("#balance-plot")
    live_text = wide.locator("#balance-says")
    for key, text in (("ArrowRight", "row 0"), ("ArrowRight", "row 1"), ("ArrowDown", "conv2")):
        wide.keyboard.press(key)
        playwright.expect(live_text).to_contain_text(text, timeout=TIMEOUT_MS)
    wide.keyboard.press("Escape")


def test_everything_is_reached_by_tab_and_shows_that_it_is(wide: Any) -> None:
    wide.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    wide.focus(".skip")
    reached = set()
    for _ in range(14):
        wide.keyboard.press("Tab")
        reached.add(wide.evaluate("document.activeElement.tagName"))
        assert wide.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reached >= {"A", "SELECT"}
    order = wide.eval_on_selector_all(
        "button, select, summary, .plot, .scroll, a[href]", "all => all.map(each => each.tabIndex)"
    )
    assert set(order) == {0}


@pytest.mark.parametrize("name", ["cycles", "windows", "roofline"])
def test_downloads_are_real_files(wide: Any, report: Path, tmp_path: Path, name: str) -> None:
    files = {}
    for kind in ("csv", "png", "svg"):
        with wide.expect_download() as download:
            wide.click(f'[data-tools="{name}"] [data-save="{kind}"]')
        assert download.value.suggested_filename == f"{name}.{kind}"
        download.value.save_as(tmp_path / kind)
        files[kind] = (tmp_path / kind).read_bytes()
    assert files["csv"] == (data_folder(report) / f"{name}.csv").read_bytes()
    assert files["png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert len(files["png"]) > 10_000
    drawing = files["svg"].decode()
    assert drawing.startswith("<svg")
    assert PAPER["light"] in drawing
    assert ("compute" in drawing) == (name != "windows"), "the keys are the image's legend"


def test_the_csv_file_holds_the_numbers_unrounded(report: Path) -> None:
    with open(data_folder(report) / "roofline.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first = resnet8().layers[0]
    assert first.utilization is not None
    assert float(rows[0]["useful_macs_per_cycle"]) == first.utilization * 256
    assert float(rows[0]["useful_macs_per_byte"]) == first.operations_per_byte


def zoomed(page: Any, name: str) -> list[float]:
    limits: list[float] = page.evaluate(f"document.getElementById('{name}-plot')._fullLayout.xaxis.range")
    return limits


def test_zoom_by_buttons_and_keys(wide: Any) -> None:
    low, high = zoomed(wide, "tensors")
    button = '[data-tools="tensors"] [data-zoom="{}"]'
    wide.click(button.format("in"))
    assert zoomed(wide, "tensors") == pytest.approx([low + (high - low) / 4, high - (high - low) / 4])
    wide.click(button.format("left"))
    assert zoomed(wide, "tensors")[0] == pytest.approx(low + (high - low) / 8)
    wide.focus("#tensors-plot")
    wide.keyboard.press("+")
    assert zoomed(wide, "tensors")[1] - zoomed(wide, "tensors")[0] == pytest.approx((high - low) / 4)
    wide.keyboard.press("0")
    assert zoomed(wide, "tensors") == pytest.approx([low, high])


def test_a_layer_is_chosen(wide: Any) -> None:
    shown = "document.getElementById('windows-plot')._fullData.findIndex(trace => trace.visible === true)"
    assert wide.evaluate(shown) == 0
    wide.select_option('[data-choose="windows"]', index=3)
    wide.wait_for_function(f"{shown} === 3")
    wide.select_option('[data-choose="windows"]', index=0)
    wide.wait_for_function(f"{shown} === 0")


def test_a_key_hides_its_traces_and_shows_them_again(wide: Any) -> None:
    visible = "document.getElementById('cycles-plot')._fullData[1].visible"
    key = wide.get_by_role("group").or_(wide.locator("ul")).get_by_role("button", name="edge", exact=True).first
    key.click()
    wide.wait_for_function(f"{visible} === false")
    assert key.get_attribute("aria-pressed") == "false"
    key.click()
    wide.wait_for_function(f"{visible} === true")


def test_colours_are_chosen_over_the_system_s(wide: Any) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    assert wide.evaluate(background) == PAPER["light"]
    wide.select_option("#colours", "dark")
    wide.wait_for_function(f"{background} === '{PAPER['dark']}'")
    wide.wait_for_function(f"document.querySelector('#cycles-plot .main-svg').style.background === '{PAPER['dark']}'")
    wide.select_option("#colours", "")
    wide.wait_for_function(f"{background} === '{PAPER['light']}'")


def test_a_card_opens_its_formula(wide: Any) -> None:
    speed = wide.locator(".cards div", has_text="speed-up").locator("details")
    speed.locator("summary").press("Enter")
    assert re.search(r"dense cycles / cycles = 50,731 / [\d,]+", speed.text_content())
    speed.locator("summary").press("Enter")
