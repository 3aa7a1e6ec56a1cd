"""Results in a notebook: as a pandas frame, and as a small HTML table in the notebook's own colours.

``to_frame`` and ``_repr_html_`` of all result classes use these functions. pandas is imported only for a frame. The
HTML names no colours and loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.templates import render

ROWS = 40
"""The most rows of a table in a notebook. The frame has all rows."""


def frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A ``pandas.DataFrame`` of ``rows`` with a column for each key, in the order of their first use.

    Raises:
        SkipstoneError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise SkipstoneError("frames need pandas, which is not installed: pip install 'skipstone[notebook]'") from None
    return pandas.DataFrame(list(rows), columns=list(dict.fromkeys(name for row in rows for name in row)))


def result_html(
    title: str, figures: Sequence[tuple[str, str]], header: Sequence[str], rows: Sequence[Sequence[str]], note: str = ""
) -> str:
    """A result as HTML. All texts are escaped; rows beyond ``ROWS`` are only counted.

    Args:
        title: the heading.
        figures: names and values of key figures, for a line below it.
        header: headings of the table's columns; the first column is set left, the others right.
        rows: the table's texts.
        note: a sentence below the table.
    """
    left_out = len(rows) - ROWS
    remark = f"{left_out:,} rows more in to_frame()" if left_out > 0 else ""
    return render(
        "mapper/results/templates/result.html.j2",
        title=title,
        figures=figures,
        header=header,
        rows=rows[:ROWS],
        remarks=". ".join(text for text in (remark, note) if text),
    )


def whole(value: float | None) -> str:
    """A number without decimals; a dash for None."""
    return "\u2013" if value is None else f"{value:,.0f}"


def share(value: float | None, places: int = 1) -> str:
    """A share as a percentage, 0.25 as ``25.0%``; a dash for None."""
    return "\u2013" if value is None else f"{100 * value:.{places}f}%"


def digits(value: float | None, count: int = 4) -> str:
    """A number with ``count`` significant digits, all digits before the point, and no exponent; a dash for None."""
    if value is None:
        return "\u2013"
    rounded = float(f"{value:.{count}g}")
    return f"{value:,.0f}" if abs(rounded) >= 10 ** (count - 1) else f"{rounded:.10f}".rstrip("0").rstrip(".")
