"""One self-contained HTML page: style, script and plots in one file that loads nothing and is written whole."""

from __future__ import annotations

import contextlib
import html
import json
import os
import secrets
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from reports.figures import Figure, Grid

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""The browser itself refuses whatever the page would load."""

UNSAFE_IN_SCRIPT = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def write_page(
    path: Path, title: str, sections: Sequence[tuple[str, str, str]], header: str, figures: Sequence[Figure]
) -> None:
    """Writes a page with ``sections`` (id, heading, HTML); ``header`` (HTML) stands before them.

    ``figures`` are those whose ``figure_html`` is in a section. OSError where the page can't be written; no part of it
    is then left.
    """
    write_whole(path, page_html(title, sections, header, figures))


def page_html(title: str, sections: Sequence[tuple[str, str, str]], header: str, figures: Sequence[Figure]) -> str:
    """The page that :func:`write_page` writes."""
    files = resources.files("reports")
    links = "".join(f'<li><a href="#{name}">{html.escape(heading)}</a></li>' for name, heading, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{html.escape(heading)}</h2>{content}</section>\n'
        for name, heading, content in sections
    )
    drawn = [{"name": f.name, "height": f.height, "traces": f.traces, "layout": f.layout} for f in figures]
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
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="content">
{body}<footer>Written by Skipstone. This page needs no network connection.</footer>
</main>
<script id="figures" type="application/json">{json.dumps(drawn, allow_nan=False).translate(UNSAFE_IN_SCRIPT)}</script>
<script id="plotly">{_plotly_script()}</script>
<script>
{(files / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def write_whole(path: Path, text: str) -> None:
    """Writes ``text`` to a file beside ``path`` and renames it, so that ``path`` never holds a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise OSError(
            error.errno, error.strerror, str(path)
        ) from None  # names what was asked for, not the file beside it
    except BaseException:
        _remove(temporary)
        raise


def figure_html(figure: Figure) -> str:
    """The place of a plot, with its keys as buttons and its numbers as a table."""
    title = html.escape(figure.title)
    defined = " defined" if any(key.definition for key in figure.keys) else ""
    keys = "".join(
        f'<li><span><button type="button" aria-pressed="true" data-figure="{figure.name}" '
        f'data-traces="{list(key.traces)}"><span class="swatch" style="--key: var(--series-{key.colour})"></span>'
        f"{html.escape(key.label)}</button></span>"
        f"{f'<span>{html.escape(key.definition)}</span>' if key.definition else ''}</li>"
        for key in figure.keys
    )
    return (
        f'<figure aria-label="{title}"><figcaption>{html.escape(figure.caption)}</figcaption>'
        f'<ul class="keys{defined}" aria-label="Show or hide in the plot">{keys}</ul>'
        f'<div id="{figure.name}-plot" class="plot" role="img" aria-label="Plot: {title}. The numbers are below."'
        f' style="height: {figure.height}px"></div>'
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

    head = "".join(
        f'<th scope="col"{of_column(index)}>{html.escape(text)}</th>' for index, text in enumerate(grid.header)
    )
    classes = row_classes or [""] * len(grid.rows)
    rows = "".join(
        f'<tr class="{name}">{row(cells)}</tr>' if name else f"<tr>{row(cells)}</tr>"
        for cells, name in zip(grid.rows, classes, strict=True)
    )
    foot = f"<tfoot><tr>{row(footer)}</tr></tfoot>" if footer else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>{foot}</table></div>"
    )


def rows_html(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a row."""
    return (
        '<dl class="rows">'
        + "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
        + "</dl>"
    )


def cards_html(cards: Sequence[tuple[str, str, str, str]]) -> str:
    """Large figures: name, value, a line below it, and the value's CSS class."""
    return (
        '<dl class="cards">'
        + "".join(
            f'<div><dt>{html.escape(name)}</dt><dd class="value {style}">{html.escape(value)}</dd>'
            f'<dd class="more">{html.escape(more)}</dd></div>'
            for name, value, more, style in cards
        )
        + "</dl>"
    )


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
