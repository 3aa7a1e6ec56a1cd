"""A hook of mkdocs: the reference of the command line, written by typer from the commands themselves."""

from __future__ import annotations

import subprocess
import sys

import typer.main

from skipstone.cli.main import app

MARK = "<!-- generated: commands -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Puts the reference where a page has the mark."""
    return markdown.replace(MARK, _reference()) if MARK in markdown else markdown


def _reference() -> str:
    """Markdown of every command that help lists, one level below the page's own headings."""
    program = [sys.executable, "-m", "typer", "skipstone.cli.main", "utils", "docs", "--name", "skipstone"]
    text = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    sections = [section.split("`", 1) for section in text.split("\n## `skipstone ")[1:]]
    return "\n".join(f"### skipstone {name}{body}" for name, body in sections if not commands[name].hidden)
