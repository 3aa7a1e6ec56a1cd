"""One self-contained HTML page: style, script and plots in one file that loads nothing, and the plots' numbers as CSV beside it.

All files of a page are written whole: first beside their places, then renamed.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from skipstone.reports.web.csv_files import csv_text, data_folder
from skipstone.reports.web.figures import Figure, Grid

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""The browser itself refuses whatever the page would load."""

UNSAFE_IN_SCRIPT = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)

ZOOM_BUTTONS = (
    ("in", "+", "Zoom in"),
    ("out", "\u2212", "Zoom out"),
    ("left", "\u2190", "To the left"),
    ("right", "\u2192", "To the right"),
    ("reset", "all", "Show all"),
)


@dataclass(frozen=True)
class Card:
    """A large figure: its name, its value, a line below it, the value's CSS class, and how it is computed from what."""

    name: str
    value: str
    more: str = ""
    style: str = ""
    formula: str = ""


def write_page(
    path: Path,
    title: str,
    sections: Sequence[tuple[str, str, str]],
    header: str,
    figures: Sequence[Figure],
    scripts: Sequence[str] = (),
) -> None:
    """Writes a page with ``sections`` (id, heading, HTML); ``header`` (HTML) stands before them.

    ``figures`` are those whose ``figure_html`` is in a section; their numbers are written to ``csv_files.data_folder(path)``.
    ``scripts`` are files in ``reports/`` that run after ``page.js``. OSError where that can't be done; nothing new is then left.
    """
    folder = data_folder(path)
    files = {path: page_html(title, sections, header, figures, scripts)}
    files |= {folder / f"{figure.name}.csv": csv_text(figure.numbers) for figure in figures}
    made = bool(figures) and path.parent.is_dir() and not folder.exists()
    if made:
        folder.mkdir()
    try:
        write_together(files)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def page_html(
    title: str,
    sections: Sequence[tuple[str, str, str]],
    header: str,
    figures: Sequence[Figure],
    scripts: Sequence[str] = (),
) -> str:
    """The page that :func:`write_page` writes."""
    files = resources.files("skipstone.reports.web")
    links = "".join(f'<li><a href="#{name}">{html.escape(heading)}</a></li>' for name, heading, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{html.escape(heading)}</h2>{content}</section>\n'
        for name, heading, content in sections
    )
    drawn = [
        {
            "name": figure.name,
            "title": figure.title,
            "height": figure.height,
            "traces": figure.traces,
            "layout": figure.layout,
            "keys": [{"label": key.label, "traces": key.traces} for key in figure.keys],
            "choose": bool(figure.choose),
            "csv": csv_text(figure.numbers),
        }
        for figure in figures
    ]
    more = "".join(
        f'<script id="{name.removesuffix(".js")}">\n{(files / name).read_text(encoding="utf-8")}</script>\n'
        for name in scripts
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{(files / "page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
{header}
</header>
<nav aria-label="Sections"><ul>{links}</ul>
<label class="colours">Colours <select id="colours"><option value="">as the system</option><option value="light">light</option>\
<option value="dark">dark</option></select></label></nav>
<main id="content">
<noscript><p>Plots and downloads need JavaScript; the numbers are in tables below each plot.</p></noscript>
{body}<footer>Written by Skipstone. This page needs no network connection.</footer>
</main>
<script id="figures" type="application/json">{json.dumps(drawn, allow_nan=False).translate(UNSAFE_IN_SCRIPT)}</script>
<script id="plotly">{_plotly_script()}</script>
<script id="page">
{(files / "page.js").read_text(encoding="utf-8")}</script>
{more}</body>
</html>
"""


def write_together(files: Mapping[Path, str]) -> None:
    """Writes each text to a file beside its path and then renames them all, so that no path ever holds a part."""
    written: dict[Path, Path] = {}
    path = Path()
    try:
        for path, text in files.items():
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
            written[path] = temporary
            with open(temporary, "x", encoding="utf-8", newline="") as file:
                file.write(text)
        for path, temporary in written.items():
            os.replace(temporary, path)
    except BaseException as error:
        for temporary in written.values():
            _remove(temporary)
        if isinstance(error, OSError):  # names what was asked for, not the file beside it
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def figure_html(figure: Figure) -> str:
    """The place of a plot, with its keys and tools as buttons and its numbers as a table."""
    title = html.escape(figure.title)
    defined = " defined" if any(key.definition for key in figure.keys) else ""
    keys = "".join(
        f'<li><span><button type="button" aria-pressed="true" data-figure="{figure.name}" '
        f'data-traces="{list(key.traces)}"><span class="swatch" style="--key: var(--series-{key.colour})"></span>'
        f"{html.escape(key.label)}</button></span>"
        f"{f'<span>{html.escape(key.definition)}</span>' if key.definition else ''}</li>"
        for key in figure.keys
    )
    shown = f'<ul class="keys{defined}" aria-label="Show or hide in the plot">{keys}</ul>' if keys else ""
    if figure.choose:
        shown = _choice(figure)
    return (
        f'<figure aria-label="{title}"><figcaption>{html.escape(figure.caption)}</figcaption>{shown}{_tools(figure)}'
        f'<div id="{figure.name}-plot" class="plot" role="application" tabindex="0" aria-roledescription="plot"'
        f' aria-label="{title}. The arrow keys go from point to point; the numbers are in a table below."'
        f' style="height: {figure.height}px"></div>'
        f'<p id="{figure.name}-says" class="says" aria-live="polite"></p>'
        f"<details><summary>{title}: the numbers</summary>{table_html(figure.table, figure.title)}</details></figure>"
    )


def table_html(grid: Grid, label: str, row_classes: Sequence[str] = (), footer: Sequence[str] = ()) -> str:
    """A table that scrolls by itself where it is too wide. The first column heads the rows."""

    def of_column(index: int) -> str:
        return ' class="text"' if index == 0 or index in grid.text_columns else ""

    def row(cells: Sequence[str]) -> str:
        return "".join(
            f'<th scope="row"{of_column(0)}><span class="name">{html.escape(text)}</span></th>'
            if index == 0
            else f"<td{_long(text) if index in grid.text_columns else ''}>{html.escape(text)}</td>"
            for index, text in enumerate(cells)
        )

    def titled(text: str) -> str:
        return f' title="{html.escape(grid.definitions[text])}"' if text in grid.definitions else ""

    head = "".join(
        f'<th scope="col"{of_column(index)}{titled(text)}>{html.escape(text)}</th>'
        for index, text in enumerate(grid.header)
    )
    classes = row_classes or [""] * len(grid.rows)
    rows = "".join(
        f'<tr class="{name}">{row(cells)}</tr>' if name else f"<tr>{row(cells)}</tr>"
        for cells, name in zip(grid.rows, classes, strict=True)
    )
    foot = f"<tfoot><tr>{row(footer)}</tr></tfoot>" if footer else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>{foot}</table></div>{_columns_html(grid)}"
    )


def rows_html(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a row."""
    return (
        '<dl class="rows">'
        + "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
        + "</dl>"
    )


def cards_html(cards: Sequence[Card]) -> str:
    """Large figures, each with its formula to open."""
    return (
        '<dl class="cards">'
        + "".join(
            f'<div><dt>{html.escape(card.name)}</dt><dd class="value {card.style}">{html.escape(card.value)}</dd>'
            f'<dd class="more">{html.escape(card.more)}</dd>'
            + (
                f'<dd class="how"><details><summary>how<span class="hidden"> {html.escape(card.name)} is computed</span>'
                f"</summary>{html.escape(card.formula)}</details></dd>"
                if card.formula
                else ""
            )
            + "</div>"
            for card in cards
        )
        + "</dl>"
    )


def _choice(figure: Figure) -> str:
    options = "".join(
        f'<option value="{index}">{html.escape(key.label)}</option>' for index, key in enumerate(figure.keys)
    )
    return (
        f'<p class="choice"><label>{html.escape(figure.choose)} <select data-choose="{figure.name}">{options}</select>'
        "</label></p>"
    )


def _tools(figure: Figure) -> str:
    """Zoom, and what can be saved; the page's script makes the buttons work."""
    zoom = "".join(
        f'<button type="button" data-zoom="{what}" title="{label}" aria-label="{label}">{sign}</button>'
        for what, sign, label in ZOOM_BUTTONS
    )
    save = "".join(
        f'<button type="button" data-save="{what}" title="{label}">{what.upper()}</button>'
        for what, label in (
            ("csv", "The numbers, unrounded"),
            ("png", "The plot as an image, in light colours"),
            ("svg", "The plot as a drawing, in light colours"),
        )
    )
    return (
        f'<div class="tools" role="group" aria-label="{html.escape(figure.title)}: tools" data-tools="{figure.name}">'
        f"{f'<span>{zoom}</span>' if figure.zoom else ''}<span>{save}</span></div>"
    )


def _columns_html(grid: Grid) -> str:
    """What the columns hold, for those who can't point at a heading."""
    defined = [(name, grid.definitions[name]) for name in grid.header if name in grid.definitions]
    if not defined:
        return ""
    return f'<details class="columns"><summary>what the columns hold</summary>{rows_html(defined)}</details>'


def _long(text: str) -> str:
    return ' class="text long"' if len(text) > 40 else ' class="text"'


def _plotly_script() -> str:
    """Plotly's script from its Python package, imported here because it takes a tenth of a second."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def _remove(path: Path) -> None:
    """Removes what is there. A second error is kept back: the first is the one to tell."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
