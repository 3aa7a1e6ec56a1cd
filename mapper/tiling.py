"""Maps one workload: its windows, its rows' lists, and the tile shape that the exact cycle model likes best."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hw.design import Design
from mapper.cycles import layer_cycles
from mapper.encode import EncodedPass, encode_pass
from mapper.layout import Layout
from mapper.lookups import Lookups
from mapper.program import LayerSchedule
from mapper.windows import KernelSplit, WindowPlan, Words, count_words, list_words, plan_windows, split_kernel
from mapper.workload import Workload

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
    """A workload before its tensors have addresses. ``steps``: drain steps of each part, one after the other in a pass;
    ``tried``: how many schedules' cycles were counted to find this one."""

    workload: Workload
    split: KernelSplit
    schedule: LayerSchedule
    passes: tuple[EncodedPass, ...]
    words: tuple[Words, ...]
    steps: tuple[int, ...]
    tried: int


def map_workload(workload: Workload, layout: Layout, design: Design, lookups: Lookups) -> MappedWorkload:
    """Lists and schedule; assigns the channels of what the workload writes, if nothing tied to it has done so yet.

    Windows hold as many channel groups as fit. Where the first of them takes a good part of the layer's time to load, windows
    of a third of the groups are tried as well: rows begin earlier then, but are less evenly busy.
    """
    for part in workload.parts:
        layout.assign(part.layer.output, workload)
    placed = _place_channels(workload, layout, design)
    split = split_kernel(design, workload.geometry.kernel, workload.geometry.dilation)
    best, cycles = _map(workload, layout, design, lookups, placed, split)
    if split.groups >= FINER and int(best.schedule.words[0][0]) > LONG_FIRST_LOAD * cycles:
        finer = replace(split, groups=split.groups // FINER)
        other, other_cycles = _map(workload, layout, design, lookups, placed, finer)
        if other_cycles < cycles:
            return replace(other, tried=best.tried + other.tried)
        return replace(best, tried=best.tried + other.tried)
    return best


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
) -> tuple[MappedWorkload, int]:
    """The workload with windows of this split, and its cycles if it ran alone."""
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
    schedule, words, cycles, tried = _choose_tile(workload, design, encoded, plans, sum(placed.steps))
    return MappedWorkload(workload, split, schedule, tuple(encoded), words, placed.steps, tried), cycles


def _place_channels(workload: Workload, layout: Layout, design: Design) -> _PlacedChannels:
    """The parts of a merged workload take the accumulators one after the other, in whole drain steps."""
    assigned = [layout.assignments[part.layer.output] for part in workload.parts]
    if len(assigned) == 1:
        one = assigned[0]
        return _PlacedChannels(one.channel_pass, one.row, one.accumulator, one.passes, (one.steps,))
    per_step = design.accumulators_per_step
    starts = np.cumsum([0, *(-(-one.depth // per_step) * per_step for one in assigned)])
    return _PlacedChannels(
        np.concatenate([one.channel_pass for one in assigned]),
        np.concatenate([one.row for one in assigned]),
        np.concatenate([one.accumulator + start for one, start in zip(assigned, starts[:-1], strict=True)]),
        1,
        tuple(one.steps for one in assigned),
    )


def _choose_tile(
    workload: Workload, design: Design, encoded: list[EncodedPass], plans: list[WindowPlan], steps: int
) -> tuple[LayerSchedule, tuple[Words, ...], int, int]:
    """The schedule of the tile shape with the fewest exact cycles, among those with the best bounds; its cycles, and how many
    shapes were tried."""
    height, width = workload.size
    geometry = workload.geometry
    compute = [int(one.counts.sum(axis=0).max()) for one in encoded]
    bounds = []
    for tile in design.tile_shapes:
        tiles = -(-height // tile[0]) * -(-width // tile[1])
        needed = (min(tile[0], height), min(tile[1], width))
        load = [count_words(plan, needed, geometry.stride, geometry.dilation) for plan in plans]
        drain = -(-height * width * steps // tiles)
        bound = tiles * sum(max(c, w, drain) for c, w in zip(compute, load, strict=True))
        bounds.append((bound, tiles * sum(load), tile))
    bounds.sort()
    tried = [tile for bound, _, tile in bounds[:TILES_TRIED] if bound <= CLOSE * bounds[0][0]]
    best: tuple[int, LayerSchedule, tuple[Words, ...]] | None = None
    for tile in tried:
        needed = (min(tile[0], height), min(tile[1], width))
        words = tuple(list_words(plan, needed, geometry.stride, geometry.dilation) for plan in plans)
        schedule = LayerSchedule(
            counts=tuple(one.counts for one in encoded),
            words=tuple(
                np.bincount(listed.window, minlength=plan.windows).astype(np.int64)
                for listed, plan in zip(words, plans, strict=True)
            ),
            tile=tile,
            tiles_y=-(-height // tile[0]),
            tiles_x=-(-width // tile[1]),
            out_height=height,
            out_width=width,
            steps=steps,
        )
        cycles = layer_cycles(schedule, design).cycles
        if best is None or cycles < best[0]:
            best = cycles, schedule, words
    assert best is not None
    return best[1], best[2], best[0], len(tried)
