"""Ticks, groups and labels of plots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skipstone.reports.web.figures import (
    LABEL_HEIGHT,
    LETTER_WIDTH,
    MARKER,
    POSITIONS,
    log_ticks,
    neighbours,
    place_labels,
    shortened,
)


def test_log_ticks() -> None:
    assert log_ticks(0.15, 12) == {
        "tickvals": [0.2, 0.5, 1.0, 2.0, 5.0, 10.0],
        "ticktext": ["0.2", "0.5", "1", "2", "5", "10"],
    }
    assert log_ticks(900, 2_000_000)["ticktext"] == ["1,000", "10,000", "100,000", "1,000,000"]


def test_neighbours() -> None:
    assert neighbours([(0, 0), (50, 0), (3, 4), (9, 0)], 5) == [[0, 2], [1], [3]]


def test_shortened() -> None:
    assert shortened("conv10/average_pool1") == "conv10/average_pool1"
    assert shortened("a" * 30 + "b" * 30) == "a" * 16 + "…" + "b" * 16


def test_a_label_without_room_falls_back_and_then_is_left_out() -> None:
    assert place_labels([(50, 50)], [("name",)], 100, 100) == [("name", "top center")]
    assert place_labels([(20, 50)], [("a name that is too long", "#1")], 60, 100) == [("#1", "top center")]
    assert place_labels([(20, 50)], [("a name that is too long",)], 60, 100) == [("", "top center")]
    assert place_labels([(50, 50)], [("name",)], 100, 100, [(0, 55, 100, 100)]) == [("name", "bottom center")]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300)), max_size=25))
def test_labels_never_overlap(places: list[tuple[int, int]]) -> None:
    chosen = place_labels(places, [(f"layer{i}", f"#{i}") for i in range(len(places))], 400, 300)
    sides = {name: (side, up) for name, side, up in POSITIONS}
    areas = []
    for (x, y), (text, position) in zip(places, chosen, strict=True):
        if text:
            side, up = sides[position]
            left = x - len(text) * LETTER_WIDTH / 2 * (1 - side) + side * (MARKER * (up == 0) + 1)
            low = y - LABEL_HEIGHT / 2 * (1 - up) + up * (MARKER + 1)
            areas.append((left, low, left + len(text) * LETTER_WIDTH, low + LABEL_HEIGHT))
    for index, (left, low, right, high) in enumerate(areas):
        for other in areas[:index]:
            separate = (
                left >= other[2] - 1e-6 or other[0] >= right - 1e-6 or low >= other[3] - 1e-6 or other[1] >= high - 1e-6
            )
            assert separate  # 1e-6 pixels: the same sums in another order
