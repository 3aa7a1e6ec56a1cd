"""How results show themselves in a notebook: as a pandas frame, and as a small HTML table in the notebook's own colours.

The result classes of all packages have ``to_frame`` and ``_repr_html_`` made of these functions. pandas is imported when a frame
is asked for; the HTML needs nothing, names no colours and loads nothing.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from skipstone.errors import SkipstoneError

ROWS = 40
"""Rows of a table in a notebook; the frame has all."""

LINE = "border-bottom: 1px solid rgba(128, 128, 128, .35)"
FAINT = "opacity: .7"
TABLE = "border-collapse: collapse; color: inherit; font-size: inherit; font-variant-numeric: tabular-nums"


def frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A ``pandas.DataFrame`` of ``rows``, a column for each key in the order in which they are first met; what a row lacks is
    missing. SkipstoneError where pandas is not installed."""
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise SkipstoneError("frames need pandas, which is not installed: pip install 'skipstone[notebook]'") from None
    return pandas.DataFrame(list(rows), columns=list(dict.fromkeys(name for row in rows for name in row)))


def result_html(
    title: str, figures: Sequence[tuple[str, str]], header: Sequence[str], rows: Sequence[Sequence[str]], note: str = ""
) -> str:
    """A heading, key figures (name, value), and a table of texts; everything is escaped. The first column is set left, the
    others right."""
    facts = " · ".join(
        f'<span style="{FAINT}">{html.escape(name)}</span> <b>{html.escape(value)}</b>' for name, value in figures
    )
    head = "".join(_cell("th", text, index == 0) for index, text in enumerate(header))
    body = "".join(
        "<tr>" + "".join(_cell("td", text, index == 0) for index, text in enumerate(row)) + "</tr>"
        for row in rows[:ROWS]
    )
    more = f"{len(rows) - ROWS:,} rows more in to_frame()" if len(rows) > ROWS else ""
    below = ". ".join(text for text in (more, note) if text)
    return (
        f'<div style="font-size: 13px; line-height: 1.4"><div style="font-weight: 600">{html.escape(title)}</div>'
        f'<div style="margin: 2px 0 6px">{facts}</div>'
        f'<div style="overflow-x: auto"><table style="{TABLE}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        + (f'<div style="{FAINT}; margin-top: 4px">{html.escape(below)}</div>' if below else "")
        + "</div>"
    )


def whole(value: float | None) -> str:
    """A number without decimals; a dash where there is none."""
    return "\u2013" if value is None else f"{value:,.0f}"


def share(value: float | None, places: int = 1) -> str:
    """0.25 as ``25.0%``."""
    return "\u2013" if value is None else f"{100 * value:.{places}f}%"


def digits(value: float | None, count: int = 4) -> str:
    """A number with so many significant digits, all digits before the point, and no exponent."""
    if value is None:
        return "\u2013"
    rounded = float(f"{value:.{count}g}")
    return f"{value:,.0f}" if abs(rounded) >= 10 ** (count - 1) else f"{rounded:.10f}".rstrip("0").rstrip(".")


def _cell(tag: str, text: str, left: bool) -> str:
    side = "left" if left else "right"
    return (
        f'<{tag} style="text-align: {side}; padding: 2px 8px; white-space: nowrap; {LINE}">{html.escape(text)}</{tag}>'
    )
