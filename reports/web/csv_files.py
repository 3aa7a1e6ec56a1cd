"""The numbers behind a page's plots as CSV files beside it: ``report.html`` has ``report_data/cycles.csv`` and so on.

The text is that of RFC 4180 with line feeds; numbers are written so that reading them gives the same float.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from skipstone.reports.web.figures import Numbers, Value


def csv_text(numbers: Numbers) -> str:
    """A header and a line for each row. Floats have all their digits; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(numbers.header)
    writer.writerows([_field(value) for value in row] for row in numbers.rows)
    return text.getvalue()


def data_folder(page: Path) -> Path:
    """The folder of a page's CSV files."""
    return page.with_name(f"{page.stem}_data")


def _field(value: Value) -> str | int:
    """A value for the CSV file. A text that a spreadsheet would read as a formula gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, str):
        return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    return int(value)
