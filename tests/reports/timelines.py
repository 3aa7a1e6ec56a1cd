"""Small schedules and their timelines, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace

from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.mapper.results.timeline import Timeline
from skipstone.mapper.timing.timeline import schedule_timeline
from tests.mapper.timing.test_cycles import schedule

NAMES = ("first", "<b>second</b>", "third")


def three_layers(rows: int = 2, limit: int | None = None, chosen: tuple[int, ...] | None = None) -> Timeline:
    """A layer of twelve tiles, one of two passes that overlaps with it, and one behind a pause."""
    design = Design("small", rows, 4, 20, 2, 2, 4, 2)
    row = [7, 2] * rows
    first = schedule([[row[:rows], row[1 : rows + 1], row[:rows]]], [[6, 2, 3]], tiles=(3, 4), out=(3, 14))
    second = replace(schedule([[row[:rows]], [row[1 : rows + 1]]], [[3], [9]], steps=3), pause=True)
    schedules = [first, replace(second, free_tiles=ALL_TILES_FREE), replace(first, free_tiles=0)]
    return schedule_timeline("net", NAMES, schedules, design, chosen, limit)
