"""A hook of mkdocs: the reference of the command line, written by typer from the commands themselves."""

from __future__ import annotations

import subprocess
import sys

MARK = "<!-- generated: commands -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Puts the reference where a page has the mark."""
    return markdown.replace(MARK, _reference()) if MARK in markdown else markdown


def _reference() -> str:
    """Markdown of every command, one level below the page's own headings."""
    typer = [sys.executable, "-m", "typer", "skipstone.cli.main", "utils", "docs", "--name", "skipstone"]
    text = subprocess.run(typer, capture_output=True, text=True, check=True).stdout
    _, _, commands = text.partition("\n## ")
    return "".join(f"### {command}" for command in commands.split("\n## ") if command.strip()).replace("### `", "\n### `")
