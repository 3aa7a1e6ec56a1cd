"""The Markdown document of measurements: sections between markers, so that one can be measured again alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEAD = """# Measured

Every section names the command that measured it and what it ran on; `make bench` measures all of them.
"""


@dataclass(frozen=True)
class Section:
    """One measurement: Markdown without its heading, and whether everything that was compared was equal."""

    name: str
    title: str
    text: str
    equal: bool = True


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1, last_is_text: bool = False) -> str:
    """A Markdown table; the ``left`` first columns are text, the others numbers. Integers get thousands separators."""
    lines = ["| " + " | ".join(headings) + " |"]
    text = [index < left or (last_is_text and index == len(headings) - 1) for index in range(len(headings))]
    lines.append("|" + "|".join("---" if is_text else "--:" for is_text in text) + "|")
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"a row of {len(row)} cells does not fit {len(headings)} headings")
        lines.append("| " + " | ".join(_cell(value) for value in row) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:,}" if isinstance(value, int) else str(value)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"


def render(section: Section, command: str, machine: str) -> str:
    """The section as it stands in the document, markers included."""
    return (
        f"<!-- {section.name} -->\n\n## {section.title}\n\n`{command}` on {machine}.\n\n"
        f"{section.text.strip()}\n\n<!-- end {section.name} -->\n"
    )


def with_section(document: str, name: str, rendered: str, order: Sequence[str], head: str = HEAD) -> str:
    """Puts a section into a document.

    Args:
        document: The document's text.
        name: The section's name. A section of that name is replaced.
        rendered: The section's text, markers included.
        order: Names of sections in their order.
        head: The text before the first section.
    """
    pattern = re.compile(r"<!-- (\S+) -->\n.*?<!-- end \1 -->\n", re.DOTALL)
    sections = {match[1]: match[0] for match in pattern.finditer(document)}
    sections[name] = rendered
    names = [*order, *(other for other in sections if other not in order)]
    return "\n".join([head, *(sections[title] for title in names if title in sections)])
