"""One self-contained HTML page: style, script and plots in one file that loads nothing, and the plots' numbers as CSV beside it.

Python prepares plain data; ``templates/page.html.j2`` is the page around its sections, each of which has a template of its own.
All files of a page are written whole: first beside their places, then renamed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from skipstone.files import write_files
from skipstone.reports.web.csv_files import csv_text, data_folder
from skipstone.reports.web.figures import Figure
from skipstone.templates import render

FIGURES = "reports/web/templates/figures.html.j2"
"""The template of a section of plots; its content is a sequence of figures."""
TABLE = "reports/web/templates/table.html.j2"
"""The template of a section of one table; its content is a ``Grid``."""


@dataclass(frozen=True)
class Card:
    """A large figure: its name, its value, a line below it, the value's CSS class, and how it is computed from what."""

    name: str
    value: str
    more: str = ""
    style: str = ""
    formula: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading. ``name`` is its id in the page; ``template`` (a path in the package) makes its HTML and
    sees ``content``."""

    name: str
    heading: str
    template: str
    content: Any


@dataclass(frozen=True)
class Page:
    """A page before it is HTML. ``lead`` is the sentence below ``heading``; ``figures`` are all that its sections show.

    ``styles`` are style sheets (paths in the package) that come after ``page.css``, ``scripts`` are scripts (id, path in the
    package) that run after ``page.js``.
    """

    title: str
    heading: str
    lead: str
    sections: tuple[Section, ...]
    figures: tuple[Figure, ...]
    styles: tuple[str, ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()


def write_page(page: Page, path: Path, others: Mapping[Path, str | bytes] | None = None) -> None:
    """Writes a page to ``path``, and the numbers of its figures as CSV files to ``csv_files.data_folder(path)``.

    Args:
        page: The page.
        path: Its file.
        others: Contents of files that belong to it by their paths, which come last: all of them are written, or none.

    Raises:
        OSError: a file can't be written; nothing new is then left.
    """
    folder = data_folder(path)
    files: dict[str | Path, str | bytes] = {path: page_html(page)}
    files |= {folder / f"{figure.name}.csv": csv_text(figure.numbers) for figure in page.figures}
    files.update((others or {}).items())
    new_folder = bool(page.figures) and path.parent.is_dir() and not folder.exists()
    if new_folder:
        folder.mkdir()
    try:
        write_files(files)
    except BaseException:
        if new_folder:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def page_html(page: Page) -> str:
    """The HTML of a page."""
    return render(
        "reports/web/templates/page.html.j2",
        page=page,
        figures=[_script_figure(figure) for figure in page.figures],
        plotly=Markup(_plotly_script()),
    )


def _script_figure(figure: Figure) -> dict[str, Any]:
    """What ``page.js`` needs of a figure, as plain values for JSON."""
    return {
        "name": figure.name,
        "title": figure.title,
        "height": figure.height,
        "traces": figure.traces,
        "layout": figure.layout,
        "keys": [{"label": key.label, "traces": key.traces} for key in figure.keys],
        "choose": bool(figure.choose),
        "csv": csv_text(figure.numbers),
    }


def _plotly_script() -> str:
    """Plotly's script from its Python package, imported here because it takes a tenth of a second."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
