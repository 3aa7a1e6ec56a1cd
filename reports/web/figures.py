"""Figures: plots as plain Plotly JSON with their keys, tables and numbers, and what all plots share (bars, ticks, labels).

A figure holds no colours, only names of the page's palette: a trace's ``meta`` is the number of its series, and wherever Plotly
takes a colour, ``colour(3)``, ``"var(--ink)"`` and so on may stand, or ``HEAT`` for a colour scale. The style sheet has the
palette for light and dark, and the page's script fills it in. Plotly reads tags and templates in labels, so every name goes
through ``plot_text``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import escape

COLOURS = 12
HEAT = "var(--heat)"
"""The colour scale of heat maps: one lightness to the other, readable for the colour-blind and in grey."""
NOTE_FONT = 12
BAR_HEIGHT = 26
BAR_MARGINS = 70
NAME_LIMIT, NARROW_NAME_LIMIT = 34, 15

LABEL_HEIGHT, LETTER_WIDTH, MARKER = 15.0, 6.8, 7.0
POSITIONS = (
    ("top center", 0, 1),
    ("bottom center", 0, -1),
    ("middle right", 1, 0),
    ("middle left", -1, 0),
    ("top right", 1, 1),
    ("bottom right", 1, -1),
    ("top left", -1, 1),
    ("bottom left", -1, -1),
)

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


@dataclass(frozen=True)
class Key:
    """An entry of a figure's legend: shows and hides its traces."""

    label: str
    colour: int
    traces: tuple[int, ...]
    definition: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    The first column heads the rows; it and ``text_columns`` are set left, all others right. ``definitions``: what a column holds
    and by which formula, by its heading. ``footer``: a last row that stands out; ``row_styles``: a CSS class for each row. Both
    may be empty.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset({0})
    definitions: Mapping[str, str] = field(default_factory=dict)
    footer: tuple[str, ...] = ()
    row_styles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_widths(self.header, (*self.rows, *([self.footer] if self.footer else [])))

    def is_text(self, column: int) -> bool:
        """Whether a column, counted from 0, is set left."""
        return column == 0 or column in self.text_columns

    def defined_columns(self) -> list[tuple[str, str]]:
        """Headings with their definitions, of the columns that have one."""
        return [(heading, self.definitions[heading]) for heading in self.header if heading in self.definitions]


Value = str | int | float | None


@dataclass(frozen=True)
class Numbers:
    """What a figure draws, unrounded, for a CSV file: names of columns with their units, and values; None where there is none."""

    header: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        _check_widths(self.header, self.rows)


@dataclass(frozen=True)
class Figure:
    """One plot.

    ``name`` is its id in the page and the name of its CSV file, ``caption`` explains what it shows, ``table`` holds the numbers
    as text and ``numbers`` holds them unrounded.

    ``layout`` is Plotly's, with instructions to the page's script in its ``meta``: ``zoom`` (True) lets the reader zoom along the
    axes that are not ``fixedrange``; ``narrow`` holds the parts of the layout that are different on narrow screens; ``plain``
    (True) leaves out the texts of markers there. A figure with ``choose`` has no legend: its keys are the choices of a menu with
    this label, which shows one key's traces at a time; ``meta``'s ``choices`` hold changes of the layout for each.
    """

    name: str
    title: str
    caption: str
    height: int
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    keys: tuple[Key, ...]
    table: Grid
    numbers: Numbers
    choose: str = ""

    @property
    def zoom(self) -> bool:
        return bool(self.layout.get("meta", {}).get("zoom"))

    @property
    def has_definitions(self) -> bool:
        """Whether some key is explained."""
        return any(key.definition for key in self.keys)


def plot_text(*lines: str) -> str:
    """Texts, one below the other, for any place where Plotly reads tags, entities or ``%{...}``: they show as they are."""
    return "<br>".join(str(escape(line)).replace("%{", "%&#123;") for line in lines)


def colour(series: int) -> str:
    """The colour of a series, wherever Plotly takes one."""
    return f"var(--series-{series % COLOURS})"


def stacked_bars(
    labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], unit: str
) -> list[dict[str, Any]]:
    """Horizontal bars from the top down: a trace for each series, in it a bar for each label.

    Args:
        labels: names of the bars.
        series: name and values of each series, a value for each label.
        unit: of the values, for the hover label.
    """
    return [
        {
            "type": "bar",
            "orientation": "h",
            "meta": index % COLOURS,
            "name": plot_text(name),
            "y": list(range(len(labels))),
            "x": [float(value) for value in values],
            "customdata": [plot_text(label) for label in labels],
            "hovertemplate": f"%{{customdata}}<br>{plot_text(name)}: %{{x:,.4~r}} {unit}<extra></extra>",
        }
        for index, (name, values) in enumerate(series)
    ]


def stack_end(values: Iterable[float]) -> float:
    """Where a stacked bar ends: negative values are drawn back over the positive ones."""
    return sum(value for value in values if value > 0)


def bar_layout(labels: Sequence[str], title: str, notes: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """The layout of horizontal bars.

    Args:
        labels: names of the bars, from the top down.
        title: of the axis of values.
        notes: for each bar, where it ends and the text to write there; or empty.
    """
    largest = max((end for end, _ in notes), default=0.0) or 1.0
    return {
        "barmode": "stack",
        "bargap": 0.28,
        "margin": {"l": 8, "r": 16, "t": 8, "b": 48},
        "xaxis": {
            "title": {"text": plot_text(title)},
            "range": [0, largest * 1.12],
            "fixedrange": True,
            "separatethousands": True,
            "exponentformat": "none",
        },
        "yaxis": {
            "tickvals": list(range(len(labels))),
            "ticktext": [plot_text(shortened(label)) for label in labels],
            "range": [len(labels) - 0.5, -0.5],
            "fixedrange": True,
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "ticklabelstandoff": 6,
        },
        "annotations": [
            {
                "x": float(end),
                "y": index,
                "text": plot_text(text),
                "xanchor": "left",
                "xshift": 4,
                "showarrow": False,
                "font": {"size": NOTE_FONT},
            }
            for index, (end, text) in enumerate(notes)
        ],
        "meta": {
            "narrow": {
                "xaxis": {"range": [0, largest * 1.3], "nticks": 4, "tickangle": 0},
                "yaxis": {"ticktext": [plot_text(shortened(label, NARROW_NAME_LIMIT)) for label in labels]},
            }
        },
    }


def bar_height(labels: Sequence[str]) -> int:
    return BAR_MARGINS + BAR_HEIGHT * max(1, len(labels))


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks of a logarithmic axis from ``low`` to ``high``: at 1, 2 and 5 times powers of ten, over more than three decades at
    the powers alone. Their labels have no exponents."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low <= 1000 else (1,)
    values = [step * 10.0**power for power in powers for step in steps]
    shown = [value for value in values if low <= value <= high]
    return {"tickvals": shown, "ticktext": [f"{value:,.10g}" for value in shown]}


def shortened(name: str, limit: int = NAME_LIMIT) -> str:
    """A name of at most ``limit`` letters: long ones lose their middle, which tells least."""
    if len(name) <= limit:
        return name
    end = (limit - 1) // 2
    return f"{name[:end]}…{name[-end:]}"


def neighbours(places: Sequence[tuple[float, float]], distance: float) -> list[list[int]]:
    """Indices of ``places`` in groups, in their order: each place is within ``distance`` of the first of its group."""
    groups: list[list[int]] = []
    for index, place in enumerate(places):
        for group in groups:
            if math.dist(place, places[group[0]]) <= distance:
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def place_labels(
    places: Sequence[tuple[float, float]],
    labels: Sequence[tuple[str, ...]],
    width: float,
    height: float,
    blocked: Sequence[Box] = (),
) -> list[tuple[str, str]]:
    """Labels for points that cover neither each other nor a marker.

    A label that does not fit takes another side of its point, then the point's next text.

    Args:
        places: the points, in pixels, y upwards.
        labels: each point's texts, the best first.
        width, height: of the area that labels must not leave, in pixels.
        blocked: parts of the area that labels must not cover.

    Returns:
        For each point a text, empty where none fits, and its Plotly ``textposition``.
    """
    taken = [*blocked, *((x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y in places)]
    chosen = []
    for (x, y), texts in zip(places, labels, strict=True):
        for text, (position, side, up) in ((text, place) for text in texts for place in POSITIONS):
            half = len(text) * LETTER_WIDTH / 2
            middle_x = x + side * (half + (MARKER if up == 0 else 0) + 1)
            middle_y = y + up * (LABEL_HEIGHT / 2 + MARKER + 1)
            area = (middle_x - half, middle_y - LABEL_HEIGHT / 2, middle_x + half, middle_y + LABEL_HEIGHT / 2)
            inside = area[0] >= 0 and area[1] >= 0 and area[2] <= width and area[3] <= height
            if inside and not any(
                area[0] < other[2] and other[0] < area[2] and area[1] < other[3] and other[1] < area[3]
                for other in taken
            ):
                taken.append(area)
                chosen.append((text, position))
                break
        else:
            chosen.append(("", POSITIONS[0][0]))
    return chosen


def _check_widths(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {len(row)} values under {len(header)} headings: {row}")
