"""Fenced blocks of Markdown pages: the commands, programs and files that a reader would copy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^( *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: first word behind the fence, such as ``console``, ``python``, ``toml`` or ``text``.
        title: name of the file that the block is, if it is one.
        text: what stands between the fences.
        line: line of the page on which the block begins.
    """

    language: str
    title: str | None
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command of a ``console`` block (behind ``$``, continued behind ``\\``), and the output shown below it."""

    command: str
    output: str


def pages() -> list[Path]:
    """Every page of the manual, and the README."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    listed = []
    for match in _FENCE.finditer(text):
        info = match["info"].strip()
        title = _TITLE.search(info)
        indent = len(match[1])
        body = "".join(line[indent:] if line.strip() else line for line in match["text"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start()) + 1
        listed.append(Block(info.split(" ")[0], title[1] if title else None, body, line))
    return listed


def commands(block: Block) -> list[Command]:
    """The commands of a ``console`` block with the output that the page shows for each."""
    listed: list[Command] = []
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
            while command.endswith("\\"):
                command = command.removesuffix("\\").rstrip() + " " + next(lines).strip()
            listed.append(Command(command, ""))
        elif listed:
            listed[-1] = Command(listed[-1].command, listed[-1].output + line + "\n")
        else:
            raise ValueError(f"a console block must begin with a command, not with {line!r}")
    return listed
