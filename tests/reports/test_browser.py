"""The pages in a real browser: every plot is drawn and the console stays silent. Skipped where there is no Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.exploration_page import write_exploration
from reports.html import write_report
from tests.reports import explorations
from tests.reports.networks import host_layer, layer, network, resnet8

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--dump-dom"),
    *("--virtual-time-budget=10000", "--window-size=1200,2400"),
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium to run the pages in it")


def report(path: Path) -> None:
    write_report(resnet8(), path, "why")


def hostile_report(path: Path) -> None:
    write_report(network((layer("<b>x&y"), layer("</script><img src=x onerror=console.error(1)>"), host_layer())), path)


def host_report(path: Path) -> None:
    write_report(network((host_layer(),)), path)


def exploration(path: Path) -> None:
    write_exploration(explorations.exploration(), path)


def empty_exploration(path: Path) -> None:
    write_exploration(explorations.without_accuracy(0), path)


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(
    ("write", "plots"),
    [(report, 4), (hostile_report, 4), (host_report, 4), (exploration, 5), (empty_exploration, 0)],
)
def test_plots_are_drawn_and_the_console_is_silent(
    tmp_path: Path, write: Callable[[Path], None], plots: int, scheme: str
) -> None:
    path = tmp_path / "page.html"
    write(path)
    assert BROWSER is not None
    run = subprocess.run(
        [
            *(BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}"),
            *(f"--blink-settings=preferredColorScheme={('dark', 'light').index(scheme)}", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HOME": str(tmp_path)},
        check=True,
    )
    assert [line for line in run.stderr.splitlines() if "CONSOLE" in line] == []
    assert f'data-drawn="{plots}"' in run.stdout
    assert run.stdout.count('class="plot js-plotly-plot"') == plots
    paper = {"dark": "rgb(18, 22, 29)", "light": "rgb(255, 255, 255)"}[scheme]
    assert run.stdout.count(f'style="background: {paper};"') == plots
