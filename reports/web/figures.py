"""What all plots have in common: a figure as plain Plotly JSON with its keys, table and numbers, and the placing of labels.

A figure names colours of the page's palette and holds none: a trace's ``meta`` is the number of its series, and wherever Plotly
takes a colour, ``colour(3)``, ``"var(--ink)"`` and so on may stand, or ``HEAT`` for a colour scale. The style sheet has the
palette for light and dark, and the page's script fills it in. Names are HTML-escaped, because Plotly reads tags in labels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    """A table: ``text_columns`` and the first, which heads the rows, are set left, all others right. ``definitions``: what a
    column holds and by which formula, by its heading."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset({0})
    definitions: Mapping[str, str] = field(default_factory=dict)


Value = str | int | float | None


@dataclass(frozen=True)
class Numbers:
    """What a figure draws, unrounded, for a CSV file: names of columns with their units, and values; None: there is none."""

    header: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row of {len(row)} values under {len(self.header)} headings: {row}")


@dataclass(frozen=True)
class Figure:
    """One plot. ``name`` is its id in the page and its file's name, ``caption`` says what is seen, ``table`` holds the numbers as
    text and ``numbers`` unrounded.

    ``layout`` is Plotly's; in its ``meta``, ``zoom`` (True) lets the reader zoom along the axes that are not ``fixedrange``, and
    ``narrow`` holds what takes the place of the layout's parts on narrow screens, where ``plain`` (True) leaves out the texts of
    markers. ``choose``: the keys are no legend, but choices of which one is shown at a time, under this label; ``meta``'s
    ``choices`` hold changes of the layout for each.
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


def colour(series: int) -> str:
    """The colour of a series, wherever Plotly takes one."""
    return f"var(--series-{series % COLOURS})"


def stacked_bars(
    labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], unit: str
) -> list[dict[str, Any]]:
    """One trace a series of horizontal bars, one bar a label, from the top down."""
    return [
        {
            "type": "bar",
            "orientation": "h",
            "meta": index % COLOURS,
            "name": html.escape(name),
            "y": list(range(len(labels))),
            "x": [float(value) for value in values],
            "customdata": [html.escape(label) for label in labels],
            "hovertemplate": f"%{{customdata}}<br>{html.escape(name)}: %{{x:,.4~r}} {unit}<extra></extra>",
        }
        for index, (name, values) in enumerate(series)
    ]


def bar_layout(labels: Sequence[str], title: str, notes: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """The layout of horizontal bars with a note ``(where, text)`` behind each."""
    largest = max((where for where, _ in notes), default=0.0) or 1.0
    return {
        "barmode": "stack",
        "bargap": 0.28,
        "margin": {"l": 8, "r": 16, "t": 8, "b": 48},
        "xaxis": {
            "title": {"text": title},
            "range": [0, largest * 1.12],
            "fixedrange": True,
            "separatethousands": True,
            "exponentformat": "none",
        },
        "yaxis": {
            "tickvals": list(range(len(labels))),
            "ticktext": [html.escape(shortened(label)) for label in labels],
            "range": [len(labels) - 0.5, -0.5],
            "fixedrange": True,
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "ticklabelstandoff": 6,
        },
        "annotations": [
            {
                "x": float(where),
                "y": index,
                "text": html.escape(text),
                "xanchor": "left",
                "xshift": 4,
                "showarrow": False,
                "font": {"size": NOTE_FONT},
            }
            for index, (where, text) in enumerate(notes)
        ],
        "meta": {
            "narrow": {
                "xaxis": {"range": [0, largest * 1.3], "nticks": 4, "tickangle": 0},
                "yaxis": {"ticktext": [html.escape(shortened(label, NARROW_NAME_LIMIT)) for label in labels]},
            }
        },
    }


def bar_height(labels: Sequence[str]) -> int:
    return BAR_MARGINS + BAR_HEIGHT * max(1, len(labels))


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks of a logarithmic axis from ``low`` to ``high`` at 1, 2 and 5 times powers of ten, labelled in full; over
    more than three decades at the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low <= 1000 else (1,)
    values = [step * 10.0**power for power in powers for step in steps]
    shown = [value for value in values if low <= value <= high]
    return {"tickvals": shown, "ticktext": [f"{value:,.10g}" for value in shown]}


def shortened(name: str, limit: int = NAME_LIMIT) -> str:
    """A name that fits beside a bar: long ones lose their middle, which tells least."""
    if len(name) <= limit:
        return name
    kept = (limit - 1) // 2
    return f"{name[:kept]}…{name[-kept:]}"


def neighbours(places: Sequence[tuple[float, float]], distance: float) -> list[list[int]]:
    """Indices of ``places`` in groups: each within ``distance`` of the first of its group, in the order given."""
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
    """A text and a Plotly ``textposition`` for each point of ``places`` (pixels, y upwards) in ``width`` x ``height``.

    ``labels`` gives each point's texts, the best first. A label that would leave the area, or cover another label, a
    marker or what is ``blocked``, takes another side of its point, then the next text, and is empty where none fits.
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
