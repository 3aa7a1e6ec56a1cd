"""A page's frame and parts: names are text everywhere, and tables, keys and menus follow the data."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from skipstone.reports.web.figures import Figure, Grid, Key, Numbers, plot_text
from skipstone.reports.web.page import FIGURES, TABLE, Card, Page, Section, page_html

HOSTILE = "</script><script>alert(1)</script>\"'&{{ 7 * 7 }}"


def figure(**changes: Any) -> Figure:
    values: dict[str, Any] = {
        "name": "plot",
        "title": "A plot",
        "caption": "what it shows",
        "height": 100,
        "traces": [],
        "layout": {},
        "keys": (Key("first", 0, (0, 1), "the first"), Key("second", 1, (2,))),
        "table": Grid(("name", "value"), (("a", "1"),)),
        "numbers": Numbers(("name", "value"), (("a", 1),)),
    }
    return Figure(**{**values, **changes})


def page(*sections: Section, figures: tuple[Figure, ...] = ()) -> str:
    return page_html(Page("title", "heading", "lead", sections, figures))


class Reader(HTMLParser):
    """Elements with their attributes and the text inside them, scripts left out."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize(
    "place",
    ["title", "heading", "lead", "section", "cell", "header", "footer", "definition", "figure", "key", "caption"],
)
def test_a_hostile_name_is_escaped_everywhere(place: str) -> None:
    def name(here: str) -> str:
        return HOSTILE if here == place else "name"

    grid = Grid(
        (name("header"), "value"),
        ((name("cell"), "1"),),
        definitions={name("header"): name("definition")},
        footer=(name("footer"), ""),
    )
    drawn = figure(
        title=name("figure"), caption=name("caption"), keys=(Key(name("key"), 0, (0,), name("definition")),), table=grid
    )
    html = page_html(
        Page(
            name("title"),
            name("heading"),
            name("lead"),
            (Section("a", name("section"), TABLE, grid), Section("b", "figures", FIGURES, (drawn,))),
            (drawn,),
        )
    )
    assert len(Reader(html).all("script")) == 3
    assert HOSTILE in Reader(html).texts
    assert "<script>alert" not in html


def test_texts_in_plots_are_shown_as_they_are() -> None:
    """Plotly reads tags and entities in all labels, and ``%{x}`` in hover labels."""
    assert plot_text("<b>x&y", "%{x}") == "&lt;b&gt;x&amp;y<br>%&#123;x}"


def test_a_table_sets_texts_left_and_explains_its_columns() -> None:
    grid = Grid(
        ("layer", "note", "cycles"),
        (("conv1", "x" * 41, "7"), ("fc", "short", "8")),
        frozenset({1}),
        {"cycles": "clock cycles"},
        ("total", "", "15"),
        ("host", ""),
    )
    html = Reader(page(Section("table", "Table", TABLE, grid)))
    assert [each.get("class") for each in html.all("td")] == ["text long", None, "text", None, "text", None]
    assert [each.get("class") for each in html.all("th")] == ["text", "text", None, "text", "text", "text"]
    assert [each.get("title") for each in html.all("th")][:3] == [None, None, "clock cycles"]
    assert [each.get("class") for each in html.all("tr")] == [None, "host", None, None]
    assert html.texts.count("clock cycles") == 1


def test_rows_are_as_wide_as_the_header() -> None:
    with pytest.raises(ValueError, match="a row of 1 values under 2 headings"):
        Grid(("a", "b"), (("1",),))
    with pytest.raises(ValueError, match="a row of 3 values under 2 headings"):
        Grid(("a", "b"), (), footer=("1", "2", "3"))


def test_keys_are_buttons_or_a_menu() -> None:
    buttons = Reader(page(Section("plots", "Plots", FIGURES, (figure(),))))
    assert [each["data-traces"] for each in buttons.all("button") if "data-traces" in each] == ["[0, 1]", "[2]"]
    assert [each.get("class") for each in buttons.all("ul")] == [None, "keys defined"]
    menu = Reader(page(Section("plots", "Plots", FIGURES, (figure(choose="Layer"),))))
    assert [each.get("data-choose") for each in menu.all("select")] == [None, "plot"]
    assert not [each for each in menu.all("button") if "data-traces" in each]


def test_zoom_only_where_the_layout_allows_it() -> None:
    still, zoomed = figure(), figure(layout={"meta": {"zoom": True}})
    for drawn, expected in ((still, 0), (zoomed, 5)):
        html = Reader(page(Section("plots", "Plots", FIGURES, (drawn,))))
        assert len([each for each in html.all("button") if "data-zoom" in each]) == expected


def test_a_figure_has_a_heading_unless_it_is_the_section_s() -> None:
    both = (figure(title="Plots"), figure(name="other", title="Other"))
    assert Reader(page(Section("plots", "Plots", FIGURES, both))).all("h3") == [{"id": "other"}]


def test_cards_open_to_a_formula() -> None:
    cards = (Card("speed-up", "2x", formula="a / b"), Card("area", "1"))
    content = {"cards": cards, "rows": ()}
    html = Reader(page(Section("summary", "Summary", "reports/compression/templates/summary.html.j2", content)))
    assert len(html.all("details")) == 1
    assert "a / b" in html.texts
