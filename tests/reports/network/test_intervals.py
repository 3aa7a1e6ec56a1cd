"""Merged intervals keep their work, and no smaller gap would do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.reports.network.intervals import join_intervals, merge_intervals


def test_intervals_that_touch_are_one() -> None:
    assert join_intervals([(0, 3), (3, 5), (6, 7)], 0) == [(0, 5, 5), (6, 7, 1)]
    assert join_intervals([(0, 3), (3, 5), (6, 7)], 2) == [(0, 7, 6)]


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=25), max_size=3), st.integers(1, 20)
)
def test_merging_keeps_the_work_and_takes_the_least_gap(groups, limit):
    groups_of_intervals = {}
    for index, steps in enumerate(groups):
        cycle, intervals = 0, []
        for pause, length in steps:
            intervals.append((cycle + pause, cycle + pause + length))
            cycle += pause + length
        groups_of_intervals[index, 0] = intervals
    gap, merged = merge_intervals(groups_of_intervals, limit)
    for group, intervals in groups_of_intervals.items():
        assert sum(work for *_, work in merged[group]) == sum(end - begin for begin, end in intervals)
        assert all(any(b <= begin and end <= e for b, e, _ in merged[group]) for begin, end in intervals)
        assert all(
            after[0] - before[1] >= max(gap, 1) for before, after in zip(merged[group], merged[group][1:], strict=False)
        )
    least = max(limit, len(groups_of_intervals))
    assert sum(map(len, merged.values())) <= least
    if gap:
        smaller = gap // 2 if gap > 2 else 0
        assert sum(len(join_intervals(intervals, smaller)) for intervals in groups_of_intervals.values()) > least
