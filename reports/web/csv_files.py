"""The numbers behind a page's plots as CSV files beside it: ``report.html`` has ``report_data/cycles.csv`` and so on.

The text is that of RFC 4180 with line feeds; numbers are written so that reading them gives the same float.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from skipstone.reports.web.figures import Numbers, Value


def csv_text(numbers: Numbers) -> str:
    """A header and one line a row. Floats have all their digits, and what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(numbers.header)
    writer.writerows([_written(value) for value in row] for row in numbers.rows)
    return text.getvalue()


def data_folder(page: Path) -> Path:
    """Where the CSV files of ``page`` lie."""
    return page.with_name(f"{page.stem}_data")


def _written(value: Value) -> str | int:
    """A text that a spreadsheet would take for a formula gets an apostrophe: names come from files of others."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, str):
        return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    return int(value)
