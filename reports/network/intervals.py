"""Intervals of cycles that lie close together, merged until few enough are left to be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Group = tuple[int, int]
"""Lane and layer: only intervals of one group are merged."""


def merge_intervals(
    groups: Mapping[Group, list[tuple[int, int]]], limit: int
) -> tuple[int, dict[Group, list[tuple[int, int, int]]]]:
    """Merges each group's intervals across the least gap that leaves at most ``limit`` intervals (but one for each group).

    Args:
        groups: intervals by group, each from its first cycle to the cycle after its last.
        limit: how many may be left, of all groups together.

    Returns:
        The gap, a power of two, or 0 where only intervals that touch are merged; and by group the merged intervals: begin, end
        and the cycles of the intervals in it.
    """
    gap = 0
    while True:
        merged = {group: join_intervals(sorted(intervals), gap) for group, intervals in groups.items()}
        if sum(map(len, merged.values())) <= max(limit, len(groups)):
            return gap, merged
        gap = gap * 2 or 2


def join_intervals(intervals: Iterable[tuple[int, int]], gap: int) -> list[tuple[int, int, int]]:
    """Sorted intervals, joined where less than ``gap`` cycles (or none) lie between them, each with the cycles of its parts."""
    joined: list[tuple[int, int, int]] = []
    for begin, end in intervals:
        if joined and begin - joined[-1][1] < max(gap, 1):
            first, last, work = joined[-1]
            joined[-1] = first, max(last, end), work + end - begin
        else:
            joined.append((begin, end, end - begin))
    return joined
