"""Every page of the manual is true as far as can be told without running it, and the manual builds without a warning."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import typer.main

import skipstone
from skipstone.cli.main import app
from skipstone.explore.space import load_space
from skipstone.mapper.technology.technology import load_technology
from tests.docs.blocks import DOCS, ROOT, blocks, commands, pages

COMMANDS = typer.main.get_command(app)
PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())


def named_commands(page: Path) -> Iterator[str]:
    """Commands of ``skipstone`` that a page shows, in console blocks and in the text."""
    for block in blocks(page):
        if block.language == "console":
            yield from (command.command for command in commands(block) if command.command.startswith("skipstone "))
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    yield from re.findall(r"`(skipstone [^`]*)`", text)
    yield from re.findall(r"^    (skipstone .*)$", text, re.MULTILINE)


@PAGES
def test_every_command_and_option_exists(page: Path) -> None:
    for command in named_commands(page):
        name, *words = shlex.split(command.replace("[", " ").replace("]", " "), posix=False)[1:]
        if name.startswith("--"):
            assert name in {option for parameter in COMMANDS.params for option in parameter.opts}, command
            continue
        assert name in COMMANDS.commands, command
        options = {option for parameter in COMMANDS.commands[name].params for option in parameter.opts} | {"--help"}
        wrong = [word for word in words if word.startswith("--") and word not in options]
        assert not wrong, f"{command}: {name} has no {', '.join(wrong)}"


@PAGES
def test_every_shown_command_parses(page: Path) -> None:
    """Options have values of their kinds, and what a command requires is there."""
    for block in blocks(page):
        for shown in commands(block) if block.language == "console" else ():
            words = shlex.split(shown.command)
            if words[0] != "skipstone" or words[1].startswith("--") or shown.output.startswith("skipstone: "):
                continue
            end = next((place for place, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))
            COMMANDS.commands[words[1]].make_context(words[1], words[2:end])


@PAGES
def test_every_program_imports_existing_names(page: Path) -> None:
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "skipstone":
                module = import_module(str(node.module))
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"line {block.line}: {node.module} has no {', '.join(missing)}"


@PAGES
def test_every_file_of_the_repository_that_a_page_names_exists(page: Path) -> None:
    folders = "benchmarks|docs|examples|hw|mapper|models|reports|sim|skipstone|tests"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text())
    assert not [path for path in named if not (ROOT / path).exists()]


@PAGES
def test_every_toml_block_is_toml(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize(("name", "load"), [("search_spaces.md", load_space), ("technology_files.md", load_technology)])
def test_the_file_that_a_guide_shows_is_valid(name: str, load: Callable[[Path], object], tmp_path: Path) -> None:
    (text,) = [block.text for block in blocks(DOCS / name) if block.language == "toml"]
    path = tmp_path / "shown.toml"
    path.write_text(text)
    load(path)


def test_every_command_has_a_line_in_the_table() -> None:
    text = (DOCS / "commands.md").read_text()
    visible = [name for name, command in COMMANDS.commands.items() if not command.hidden]
    assert not [name for name in visible if f"| `skipstone {name}" not in text]


def test_every_public_name_is_in_the_reference() -> None:
    named = re.findall(r"^::: skipstone\.(\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(skipstone.__all__)


def test_the_readme_and_the_measured_page_are_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8_000
    assert len((DOCS / "measured.md").read_bytes()) <= 8_000


def test_the_manual_builds_without_a_warning_and_loads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "commands.html").read_text()
    assert 'id="skipstone-run"' in reference
    assert "--fit-memories" in reference
    assert 'id="skipstone-calibrate"' not in reference
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"?(https?:[^\"> ]*)", page.read_text())
        loaded += re.findall(r"<link[^>]*\bhref=\"?(https?:[^\"> ]*)", page.read_text())
        assert not loaded, page.name
