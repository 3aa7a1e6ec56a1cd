"""What would make a layer faster: the cycles that the exact model saves for a changed schedule, and what bounds the layer.

Shares of waiting cycles don't tell it: rows that wait for loads half of the time may wait for something else as soon as
loads are quick. So the recurrence of ``skipstone.mapper.timing.cycles`` is walked again with half of the words, entries
or drain steps. Tile, windows and passes stay; a mapping for the changed design may save more.
Where more rows would only make the last drain longer, they need not be used: nothing is saved then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.program import LayerProgram, LayerSchedule, Program
from skipstone.mapper.results.network import CHANGES
from skipstone.mapper.timing.cycles import layer_cycles, schedule_cycles

BOUND_BY = {"load": "load", "compute": "weights", "drain": "drain"}
"""The bound of a layer that a change saves most of, by the change."""
WORTH = 0.05
"""The share of a layer's cycles that a change must save to be its bound."""


def changed(schedule: LayerSchedule, change: str) -> LayerSchedule:
    """A schedule after one of ``CHANGES``.

    - ``load``: the loader takes two words a cycle. Half of each window's words, rounded up.
    - ``weights``: half of each row's entries in each window, rounded up. No word is left out.
    - ``rows``: twice the rows. Passes run two at a time; a single pass has half of each row's entries in each window.
    - ``drain``: half of the drain steps of a pixel, rounded up.
    """
    match change:
        case "load":
            return replace(schedule, words=tuple(map(_half, schedule.words)))
        case "weights":
            return replace(schedule, counts=tuple(map(_half, schedule.counts)))
        case "drain":
            return replace(schedule, steps=-(-schedule.steps // 2))
        case "rows":
            if schedule.passes == 1:
                return replace(schedule, counts=tuple(map(_half, schedule.counts)))
            return replace(
                schedule,
                counts=_two_at_a_time(schedule.counts),
                words=_two_at_a_time(schedule.words),
                steps=-(-schedule.steps * schedule.passes // -(-schedule.passes // 2)),
            )
    raise ValueError(f"no change '{change}'; the changes are {', '.join(CHANGES)}")


def layer_savings(layer: LayerProgram, design: Design, alone: int) -> dict[str, int]:
    """Cycles that each of ``CHANGES`` saves a layer that runs alone; fewer weights save none where none are trained.

    Args:
        layer: The layer.
        design: The array.
        alone: The layer's cycles if it runs alone.
    """
    return {change: max(0, alone - layer_cycles(_changed(layer, change), design).cycles) for change in CHANGES}


def network_savings(program: Program, cycles: int) -> dict[str, int]:
    """Cycles that each of ``CHANGES``, made in every layer, saves the network.

    Args:
        program: The network.
        cycles: Its cycles.
    """

    def total(change: str) -> int:
        schedules = [_changed(layer, change) for layer in program.layers]
        return sum(layer.cycles for layer in schedule_cycles(schedules, program.design))

    return {change: max(0, cycles - total(change)) for change in CHANGES}


def bound_of(savings: Mapping[str, int], alone: int, trained: bool = True) -> str:
    """What bounds a layer: that of compute, load and drain which would save most if there were half of it.

    Args:
        savings: The result of :func:`layer_savings`.
        alone: The layer's cycles if it runs alone.
        trained: It has trained weights. Where there are none, twice the rows stand for half of the entries.

    Returns:
        ``compute``, ``load``, ``drain``; or ``edge`` where none saves ``WORTH`` of the cycles, which go to the pipeline's
        start and end.
    """
    saved = {name: savings[change] for name, change in BOUND_BY.items()}
    if not trained:
        saved["compute"] = savings["rows"]
    bound = max(saved, key=lambda name: saved[name])
    return bound if saved[bound] >= WORTH * alone else "edge"


def _changed(layer: LayerProgram, change: str) -> LayerSchedule:
    return layer.schedule if change == "weights" and not layer.trained else changed(layer.schedule, change)


def _half(amounts: NDArray[np.int64]) -> NDArray[np.int64]:
    return -(-amounts // 2)


def _two_at_a_time(passes: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], ...]:
    """For each two passes the larger amount, window by window."""
    return tuple(
        first if second is None else _larger(first, second) for first, second in zip_longest(passes[::2], passes[1::2])
    )


def _larger(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    windows = max(len(first), len(second))
    padded = [np.pad(each, [(0, windows - len(each)), *[(0, 0)] * (each.ndim - 1)]) for each in (first, second)]
    return np.maximum(*padded)
