"""What all results share when they are shown in notebooks."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.mapper.results.notebook import ROWS, digits, frame, result_html, share, whole


class Texts(HTMLParser):
    """The tags and the texts of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2))
def test_names_are_shown_as_text_and_never_as_tags(texts: list[str]) -> None:
    read = Texts(result_html(texts[0], [("a", texts[1])], ("x",), [(texts[0],)], texts[1]))
    assert set(read.tags) <= {"div", "span", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert all(
        text.replace("\r\n", "\n").replace("\r", "\n") in "".join(read.texts).replace("\r\n", "\n").replace("\r", "\n")
        for text in texts
        if "\0" not in text
    )


def test_long_tables_are_cut() -> None:
    read = Texts(result_html("t", [], ("n",), [(str(number),) for number in range(ROWS + 3)]))
    assert read.tags.count("tr") == 1 + ROWS
    assert "3 rows more in to_frame()" in read.texts


def test_no_colour_is_named() -> None:
    text = result_html("t", [("a", "1")], ("n",), [("1",)], "note")
    assert "color:" not in text.replace("color: inherit", "")
    assert "#" not in text
    assert "<script" not in text


def test_frame_has_all_columns_in_order() -> None:
    table = frame([{"a": 1, "b": 2.5}, {"a": 3, "c": "x"}])
    assert list(table.columns) == ["a", "b", "c"]
    assert table["a"].tolist() == [1, 3]
    assert table["b"].isna().tolist() == [False, True]
    assert len(frame([])) == 0


def test_without_pandas_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SkipstoneError, match=r"pip install 'skipstone\[notebook\]'"):
        frame([{"a": 1}])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12_345.6, "12,346"), (1.23456, "1.235"), (0.000123456, "0.0001235"), (None, "\u2013")],
)
def test_digits(value: float | None, text: str) -> None:
    assert digits(value) == text


def test_formats() -> None:
    assert (whole(1234.5), whole(None), share(0.12345, 2), share(None)) == ("1,234", "\u2013", "12.35%", "\u2013")
