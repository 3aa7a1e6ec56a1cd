"""Maps one workload: its windows, its rows' lists, and the tile shape with the fewest cycles by the exact cycle model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.lowering.encode import EncodedPass, encode_pass
from skipstone.mapper.lowering.layout import Layout
from skipstone.mapper.lowering.lookups import Lookups
from skipstone.mapper.lowering.windows import WindowPlan, Words, list_words, plan_windows, split_kernel
from skipstone.mapper.lowering.word_counts import WordCounts
from skipstone.mapper.lowering.workload import Workload
from skipstone.mapper.program import KernelSplit, LayerSchedule
from skipstone.mapper.timing.cycles import layer_cycles

TILES_TRIED = 3
"""Tile shapes whose cycles are counted exactly: those of the best bounds."""
CLOSE = 1.1
"""Shapes whose bound is this much worse than the best one are not tried."""
FINER = 3
"""By how much windows are made smaller where that is tried."""
LONG_FIRST_LOAD = 0.01
"""The share of a layer's cycles from which on the load of its first window is worth shortening."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MappedWorkload:
    """A workload before its tensors have addresses.

    ``plans``, ``counts`` and ``passes`` are the windows, words and lists of each pass. ``steps`` are the drain steps of
    each part, which follow each other in a pass. ``tried`` is the number of schedules whose cycles were counted.
    """

    workload: Workload
    split: KernelSplit
    schedule: LayerSchedule
    plans: tuple[WindowPlan, ...]
    counts: tuple[WordCounts, ...]
    passes: tuple[EncodedPass, ...]
    steps: tuple[int, ...]
    tried: int

    @cached_property
    def words(self) -> tuple[Words, ...]:
        """The words that a tile loads in each pass."""
        geometry, tile = self.workload.geometry, _columns_used(self.schedule.tile, self.workload.size)
        return tuple(list_words(plan, tile, geometry.stride, geometry.dilation) for plan in self.plans)

    @cached_property
    def captures(self) -> int:
        """(word, column) pairs of one tile that are written into windows."""
        columns = self.schedule.tile
        tile = _columns_used(columns, self.workload.size)
        return sum(counts.captures(tile, columns, self.workload.geometry.stride) for counts in self.counts)


def map_workload(workload: Workload, layout: Layout, design: Design, lookups: Lookups) -> MappedWorkload:
    """Makes the lists and the schedule of a workload.

    Windows hold as many channel groups as fit. Where loading the first of them takes a good part of the layer's time,
    windows of a third of the groups are tried as well: rows then begin earlier, but are less evenly busy.

    Args:
        workload: The workload.
        layout: Gets the channel order of the workload's outputs, unless a tensor tied to them has it already.
        design: The array.
        lookups: Codes of the weights.
    """
    for part in workload.parts:
        layout.assign(part.layer.output, workload)
    placed = _place_channels(workload, layout, design)
    split = split_kernel(design, workload.geometry.kernel, workload.geometry.dilation)
    best = _map(workload, layout, design, lookups, placed, split)
    assert best.mapped is not None
    if split.groups < FINER or int(best.mapped.schedule.words[0][0]) <= LONG_FIRST_LOAD * best.cycles:
        return replace(best.mapped, tried=best.tried)
    finer = replace(split, groups=split.groups // FINER)
    other = _map(workload, layout, design, lookups, placed, finer, best.cycles)
    return replace(other.mapped or best.mapped, tried=best.tried + other.tried)


@dataclass(frozen=True, eq=False)
class _Found:
    """The workload mapped, or None where nothing takes fewer cycles than the limit; its cycles if it ran alone."""

    mapped: MappedWorkload | None
    cycles: int
    tried: int


@dataclass(frozen=True, eq=False)
class _PlacedChannels:
    """For every output channel its pass, row and accumulator; the number of passes; each part's drain steps."""

    channel_pass: Ints
    row: Ints
    accumulator: Ints
    passes: int
    steps: tuple[int, ...]


def _map(
    workload: Workload,
    layout: Layout,
    design: Design,
    lookups: Lookups,
    placed: _PlacedChannels,
    split: KernelSplit,
    limit: int | None = None,
) -> _Found:
    """The workload with windows of this split, if it takes fewer cycles than ``limit``."""
    nonzeros = workload.nonzeros.at(layout.positions(workload.layer.input))
    encoded: list[EncodedPass] = []
    plans: list[WindowPlan] = []
    nonzero_pass = placed.channel_pass[nonzeros.channel]
    for index in range(placed.passes):
        part = nonzeros.select(nonzero_pass == index) if placed.passes > 1 else nonzeros
        plan = plan_windows(design, part, split, workload.geometry.kernel)
        plans.append(plan)
        encoded.append(
            encode_pass(
                design,
                plan.windows,
                placed.row[part.channel],
                plan.window,
                plan.slot,
                part.position % design.load_width,
                placed.accumulator[part.channel],
                lookups.codes(workload.layer, part.value),
            )
        )
    counts = [WordCounts(plan, split, workload.geometry.dilation) for plan in plans]
    schedule, cycles, tried = _choose_tile(workload, design, encoded, counts, sum(placed.steps), limit)
    mapped = None
    if schedule is not None:
        mapped = MappedWorkload(
            workload, split, schedule, tuple(plans), tuple(counts), tuple(encoded), placed.steps, tried
        )
    return _Found(mapped, cycles, tried)


def _place_channels(workload: Workload, layout: Layout, design: Design) -> _PlacedChannels:
    """The parts of a merged workload take the accumulators one after the other, in whole drain steps."""
    assigned = [layout.assignments[part.layer.output] for part in workload.parts]
    if len(assigned) == 1:
        assignment = assigned[0]
        return _PlacedChannels(
            assignment.channel_pass, assignment.row, assignment.accumulator, assignment.passes, (assignment.steps,)
        )
    per_step = design.accumulators_per_step
    starts = np.cumsum([0, *(-(-assignment.depth // per_step) * per_step for assignment in assigned)])
    return _PlacedChannels(
        np.concatenate([assignment.channel_pass for assignment in assigned]),
        np.concatenate([assignment.row for assignment in assigned]),
        np.concatenate(
            [assignment.accumulator + start for assignment, start in zip(assigned, starts[:-1], strict=True)]
        ),
        1,
        tuple(assignment.steps for assignment in assigned),
    )


def _choose_tile(
    workload: Workload,
    design: Design,
    encoded: list[EncodedPass],
    counts: list[WordCounts],
    steps: int,
    limit: int | None,
) -> tuple[LayerSchedule | None, int, int]:
    """The schedule of the tile shape with the fewest exact cycles, among those with the best bounds.

    Returns:
        The schedule (None where none takes fewer cycles than ``limit``), its cycles, and how many shapes' cycles were
        counted.
    """
    height, width = workload.size
    stride = workload.geometry.stride
    entries = tuple(encoded_pass.counts for encoded_pass in encoded)
    compute = [int(per_pass.sum(axis=0).max()) for per_pass in entries]
    # What the busiest row issues in one tile of every pass.
    issued = int(sum(per_pass.sum(axis=0) for per_pass in entries).max())
    candidates = []
    for tile in design.tile_shapes:
        tiles = -(-height // tile[0]) * -(-width // tile[1])
        needed = _columns_used(tile, workload.size)
        words = tuple(per_pass.by_window(needed, stride) for per_pass in counts)
        load = [int(per_pass.sum()) for per_pass in words]
        drain = -(-height * width * steps // tiles)
        bound = tiles * sum(max(c, w, drain) for c, w in zip(compute, load, strict=True))
        least = max(tiles * issued, tiles * sum(load), height * width * steps * len(entries))
        candidates.append((bound, tiles * sum(load), tile, least, words))
    candidates.sort(key=lambda candidate: candidate[:3])
    best: LayerSchedule | None = None
    cycles, tried = limit, 0
    for bound, _, tile, least, words in candidates[:TILES_TRIED]:
        # The rows, the loader and the drain each do one thing a cycle: what takes them too long need not be walked.
        if bound > CLOSE * candidates[0][0] or (cycles is not None and least >= cycles):
            continue
        schedule = LayerSchedule(
            counts=entries,
            words=words,
            tile=tile,
            tiles_y=-(-height // tile[0]),
            tiles_x=-(-width // tile[1]),
            out_height=height,
            out_width=width,
            steps=steps,
        )
        counted = layer_cycles(schedule, design).cycles
        tried += 1
        if cycles is None or counted < cycles:
            best, cycles = schedule, counted
    assert cycles is not None
    return best, cycles, tried


def _columns_used(tile: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The part of a tile that has a pixel in at least one place of an output of ``size``."""
    return min(tile[0], size[0]), min(tile[1], size[1])
