"""Maps one workload: its windows, its rows' lists, and the tile shape with the fewest cycles by the exact cycle model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.mapper.lowering.balance import Assignment
from skipstone.mapper.lowering.encode import EncodedPass, encode_pass, filled
from skipstone.mapper.lowering.layout import Layout
from skipstone.mapper.lowering.lookups import Lookups
from skipstone.mapper.lowering.windows import Nonzeros, WindowPlan, Words, list_words, plan_windows, split_kernel
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

    ``plans``, ``counts`` and ``passes`` are the windows, words and lists of each pass; there are no lists where
    nonzeros that are alike are listed once. ``steps`` are the drain steps of each part, which follow each other in a
    pass. ``alone`` are its cycles if it ran alone, ``tried`` is the number of schedules whose cycles were counted.
    """

    workload: Workload
    split: KernelSplit
    schedule: LayerSchedule
    plans: tuple[WindowPlan, ...]
    counts: tuple[WordCounts, ...]
    passes: tuple[EncodedPass, ...]
    steps: tuple[int, ...]
    alone: int
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


def map_workload(
    workload: Workload,
    layout: Layout,
    design: Design,
    lookups: Lookups,
    dense: Workload | None = None,
    *,
    like_dense: bool = False,
) -> MappedWorkload:
    """Makes the lists and the schedule of a workload.

    Windows hold as many channel groups as fit. Where loading the first of them takes a good part of the layer's time,
    windows of a third of the groups are tried as well: rows then begin earlier, but are less evenly busy.

    The same is done for ``dense``, and its mapping is tried for the workload: the order of its output channels, its
    windows (without what zeros leave out) and its tile. Zeros then only take entries and words away, so that no event
    is later than in the dense workload.

    Args:
        workload: The workload.
        layout: Gets the channel order of the workload's outputs, unless a tensor tied to them has it already.
        design: The array.
        lookups: Codes of the weights.
        dense: The same layers without zeros; None to leave their mapping out.
        like_dense: Take the mapping of ``dense``, whether it is the best or not. The layout is one of dense workloads.
    """
    best: tuple[MappedWorkload, Assignment | None] | None = None
    tried = 0
    orders: list[Assignment | None] = [*layout.orders(workload)]
    for order in orders or [None]:
        if order is not None:
            layout.take(workload.layer.output, order)
        for part in workload.parts:
            layout.assign(part.layer.output, dense if like_dense else workload)
        for mapped in _mappings(workload, layout, design, lookups, dense, like_dense):
            tried += mapped.tried
            if best is None or mapped.alone < best[0].alone:
                best = mapped, order
    assert best is not None
    if best[1] is not None:
        layout.take(workload.layer.output, best[1])
    return replace(best[0], tried=tried)


def _mappings(
    workload: Workload, layout: Layout, design: Design, lookups: Lookups, dense: Workload | None, like_dense: bool
) -> Iterator[MappedWorkload]:
    """The workload's best mapping in the layout's channel orders, and that of ``dense`` where it is another."""
    placed = _place_channels(workload, layout, design)
    own = None
    if not like_dense:
        own = _searched(workload, layout, design, lookups, placed)
        yield own
    if dense is None or (own is not None and own.alone <= _least_cycles(dense, design)):
        return
    full = _searched(dense, layout, design, lookups, placed)
    groups = tuple(plan.groups for plan in full.plans)
    tile = full.schedule.tile
    if own is not None and tile == own.schedule.tile and _same_windows(own, full):
        return
    limit = None if own is None else own.alone
    other = _map(workload.seen_as(dense.geometry), layout, design, lookups, placed, full.split, limit, groups, tile)
    if other is not None:
        yield other


def _least_cycles(workload: Workload, design: Design) -> int:
    """A lower bound of a workload's cycles: its products, spread evenly over the rows and all tiles but one full."""
    tiles = -(-workload.size[0] * workload.size[1] // design.cols)
    return -(-workload.products * tiles // design.rows)


def _same_windows(a: MappedWorkload, b: MappedWorkload) -> bool:
    """Whether the windows of two mappings of a workload are cut at the same places."""
    return (
        a.split == b.split
        and a.workload.geometry == b.workload.geometry
        and all(np.array_equal(mine.groups, other.groups) for mine, other in zip(a.plans, b.plans, strict=True))
    )


def _searched(
    workload: Workload, layout: Layout, design: Design, lookups: Lookups, placed: _PlacedChannels
) -> MappedWorkload:
    """The workload with the best windows and tile."""
    split = split_kernel(design, workload.geometry.kernel, workload.geometry.dilation)
    best = _map(workload, layout, design, lookups, placed, split)
    assert best is not None
    if split.groups < FINER or int(best.schedule.words[0][0]) <= LONG_FIRST_LOAD * best.alone:
        return best
    finer = replace(split, groups=split.groups // FINER)
    other = _map(workload, layout, design, lookups, placed, finer, best.alone)
    return best if other is None else replace(other, tried=best.tried + other.tried)


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
    groups: tuple[Ints, ...] | None = None,
    tile: tuple[int, int] | None = None,
) -> MappedWorkload | None:
    """The workload with windows of this split, if it takes fewer cycles than ``limit``.

    ``groups`` are the channel groups that the windows of each pass are cut from, and ``tile`` is the only tile tried,
    where they are set.
    """
    nonzeros = workload.nonzeros.at(layout.positions(workload.layer.input))
    encoded: list[EncodedPass] = []
    entries: list[Ints] = []
    plans: list[WindowPlan] = []
    for index in range(placed.passes):
        in_pass = placed.channel_pass == index
        part = nonzeros
        if placed.passes > 1:
            used = np.zeros(int(workload.patterns.max()) + 1, np.bool_)
            used[workload.patterns[in_pass]] = True
            part = nonzeros.select(used[nonzeros.channel])
        plan = plan_windows(design, part, split, workload.geometry.kernel, None if groups is None else groups[index])
        plans.append(plan)
        if workload.pattern is not None and design.index_coding == "absolute":
            entries.append(_counted(workload.pattern, in_pass, placed.row, part, plan, design))
            continue
        window, slot = plan.window, plan.slot
        if workload.pattern is not None:
            part, index_of = _each_channel(workload.pattern, in_pass, part)
            window, slot = window[index_of], slot[index_of]
        listed = encode_pass(
            design,
            plan.windows,
            placed.row[part.channel],
            window,
            slot,
            part.position % design.load_width,
            placed.accumulator[part.channel],
            lookups.codes(workload.layer, part.value) if workload.pattern is None else part.value,
        )
        entries.append(listed.counts)
        if workload.pattern is None:
            encoded.append(listed)
    counts = tuple(WordCounts(plan, split, workload.geometry.dilation) for plan in plans)
    schedule, cycles, tried = _choose_tile(workload, design, tuple(entries), counts, sum(placed.steps), limit, tile)
    if schedule is None:
        return None
    return MappedWorkload(workload, split, schedule, tuple(plans), counts, tuple(encoded), placed.steps, cycles, tried)


def _counted(
    pattern: Ints, in_pass: NDArray[np.bool_], row: Ints, nonzeros: Nonzeros, plan: WindowPlan, design: Design
) -> Ints:
    """What rows issue in each window (windows x rows), where channels that are alike are listed once."""
    patterns = int(pattern.max()) + 1
    per_pattern = np.bincount(nonzeros.channel * plan.windows + plan.window, minlength=patterns * plan.windows)
    channels = np.bincount(row[in_pass] * patterns + pattern[in_pass], minlength=design.rows * patterns)
    return filled(design, per_pattern.reshape(patterns, -1).T @ channels.reshape(design.rows, patterns).T)


def _each_channel(pattern: Ints, in_pass: NDArray[np.bool_], nonzeros: Nonzeros) -> tuple[Nonzeros, Ints]:
    """The nonzeros of every channel of a pass, where those that are alike are listed once, and for each its number
    there."""
    order = np.argsort(nonzeros.channel, kind="stable")
    sizes = np.bincount(nonzeros.channel, minlength=int(pattern.max()) + 1)
    starts = np.cumsum(sizes) - sizes
    channels = np.flatnonzero(in_pass)
    each = sizes[pattern[channels]]
    within = np.arange(int(each.sum())) - np.repeat(np.cumsum(each) - each, each)
    index = order[np.repeat(starts[pattern[channels]], each) + within]
    expanded = nonzeros.select(index)
    return replace(expanded, channel=np.repeat(channels, each)), index


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
    entries: tuple[Ints, ...],
    counts: tuple[WordCounts, ...],
    steps: int,
    limit: int | None = None,
    only: tuple[int, int] | None = None,
) -> tuple[LayerSchedule | None, int, int]:
    """The schedule of the tile shape with the fewest exact cycles, among those with the best bounds (or ``only`` one).

    Returns:
        The schedule (None where none takes fewer cycles than ``limit``), its cycles, and how many shapes' cycles were
        counted.
    """
    height, width = workload.size
    stride = workload.geometry.stride
    compute = [int(per_pass.sum(axis=0).max()) for per_pass in entries]
    # What the busiest row issues in one tile of every pass.
    issued = int(sum(per_pass.sum(axis=0) for per_pass in entries).max())
    candidates = []
    for tile in design.tile_shapes if only is None else (only,):
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
    return best, 0 if cycles is None else cycles, tried


def _columns_used(tile: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The part of a tile that has a pixel in at least one place of an output of ``size``."""
    return min(tile[0], size[0]), min(tile[1], size[1])
