"""The manual's tutorials and the README's example do what they show: every command and program runs, in order."""

from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT
from tests.docs.session import PageError, run_page

CONTINUED = ("your-model", "your-data", "your-array")
"""Tutorials of which each goes on with the files of the one before."""


def test_the_tutorials_on_ones_own_network_data_and_array(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    counts = [run_page(DOCS / "tutorials" / f"{name}.md", tmp_path) for name in CONTINUED]
    assert min(counts) >= 5


@pytest.mark.parametrize("name", ["tutorials/read-a-report.md", "reports.md"])
def test_the_pages_on_reports(name: str, tmp_path: Path) -> None:
    assert run_page(DOCS / name, tmp_path) >= 4


@pytest.mark.rtl
def test_the_example_of_the_readme(tmp_path: Path) -> None:
    assert run_page(ROOT / "README.md", tmp_path) >= 2


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a page of the given text."""
    monkeypatch.setattr("tests.docs.session.ROOT", tmp_path)

    def run(text: str) -> int:
        path = tmp_path / "page.md"
        path.write_text(text)
        return run_page(path, tmp_path)

    return run


def test_a_page_that_shows_something_else_fails(page) -> None:
    with pytest.raises(
        PageError, match=r"page.md, line 1: 'printf \"4998 cycles\\n\"'(.|\n)*the page shows\n4999 cycles"
    ):
        page('```console\n$ printf "4998 cycles\\n"\n4999 cycles\n```\n')
    with pytest.raises(PageError, match=r"page.md, line 5\n--- the page shows\n3\n"):
        page("```python\nprint(2)\n```\nis\n```text\n3\n```\n")


def test_speeds_and_shares_may_differ_and_lines_may_be_left_out(page) -> None:
    shown = "EXACT: 2 images, 82720 RTL cycles each, 1 cycles/s"
    printed = "EXACT: 2 images, 82720 RTL cycles each, 480,547 cycles/s"
    assert page(f"```console\n$ printf 'a\\nb\\n{printed}\\n'\na\n...\n{shown}\n```\n") == 1
    with pytest.raises(PageError):
        page(f"```console\n$ printf 'a\\nb\\n{printed}\\n'\na\n...\n{shown.replace('82720', '82721')}\n```\n")
    with pytest.raises(PageError):
        page(f"```console\n$ printf 'a\\nb\\n{printed}\\n'\na\n{shown}\n```\n")


def test_a_command_that_fails_must_be_shown_to_fail(page) -> None:
    with pytest.raises(PageError, match="the last command ends with exit code 2"):
        page("```console\n$ exit 2\n```\n")
    with pytest.raises(PageError, match="the exit code is 2, not 0"):
        page("```console\n$ exit 2\n$ echo $?\n0\n```\n")
    assert page("```console\n$ exit 2\n$ echo $?\n2\n```\n") == 2


def test_files_and_programs_share_a_folder(page) -> None:
    text = '```toml title="a.toml"\nrows = 4\n```\n```python\ntext = open("a.toml").read()\n```\n```python\nprint(text)\n```\n'
    assert page(text + "```text\nrows = 4\n```\n") == 2
