"""Markdown: tables, and sections that can be measured again one by one."""

import pytest

from benchmarks.document import HEAD, Section, percent, render, table, with_section

ORDER = ("first", "second", "third")


def rendered(name: str, text: str = "text") -> str:
    return render(Section(name, name.title(), text), f"python -m benchmarks {name}", "a machine")


def test_a_table_groups_digits_and_prints_a_failure_in_capitals():
    assert table(("what", "cycles", "exact"), [("a", 12_345, True), ("b", 1, False)]) == (
        "| what | cycles | exact |\n|---|--:|--:|\n| a | 12,345 | yes |\n| b | 1 | NO |\n"
    )


def test_the_last_column_may_be_text():
    assert table(("a", "b", "c"), [("x", 1, "y")], last_is_text=True).splitlines()[1] == "|---|--:|---|"


def test_a_row_must_fit_its_headings():
    with pytest.raises(ValueError, match="a row of 1 cells does not fit 2 headings"):
        table(("a", "b"), [("only",)])


def test_percent():
    assert [percent(share) for share in (0, 0.1234, 1)] == ["0.0%", "12.3%", "100.0%"]


def test_a_section_says_how_and_on_what_it_was_measured():
    text = rendered("first")
    assert "## First\n\n`python -m benchmarks first` on a machine.\n\ntext\n" in text


def test_sections_are_sorted_whatever_order_they_are_added_in():
    document = ""
    for name in ("third", "first", "second"):
        document = with_section(document, name, rendered(name), ORDER)
    assert document.startswith(HEAD)
    places = [document.index(f"## {name.title()}") for name in ORDER]
    assert places == sorted(places)
    assert document.count(HEAD) == 1


def test_measuring_again_replaces_one_section_and_keeps_the_others():
    document = with_section("", "first", rendered("first", "old"), ORDER)
    document = with_section(document, "second", rendered("second", "kept"), ORDER)
    again = with_section(document, "first", rendered("first", "new"), ORDER)
    assert "old" not in again
    assert again.count("new") == again.count("kept") == 1
    assert with_section(again, "first", rendered("first", "new"), ORDER) == again


def test_a_section_that_is_no_longer_listed_is_kept_at_the_end():
    document = with_section("", "retired", rendered("retired"), (*ORDER, "retired"))
    document = with_section(document, "third", rendered("third"), ORDER)
    assert document.index("## Third") < document.index("## Retired")
