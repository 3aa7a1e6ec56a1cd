"""Maps one workload: its windows, its rows' lists, and the tile shape that the exact cycle model likes best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True, eq=False)
class MappedWorkload:
    """A workload before its tensors have addresses. ``steps``: drain steps of each part, one after the other in a pass."""

    workload: Workload
    split: KernelSplit
    schedule: LayerSchedule
    passes: tuple[EncodedPass, ...]
    words: tuple[Words, ...]
    steps: tuple[int, ...]


def map_workload(workload: Workload, layout: Layout, design: Design, lookups: Lookups) -> MappedWorkload:
    """Lists and schedule; assigns the channels of what the workload writes, if nothing tied to it has done so yet."""
    for part in workload.parts:
        layout.assign(part.layer.output, workload)
    channel_pass, row, accumulator, passes, steps = _placed_channels(workload, layout, design)
    nonzeros = workload.nonzeros.at(layout.positions(workload.layer.input))
    geometry = workload.geometry
    split = split_kernel(design, geometry.kernel, geometry.dilation)
    encoded: list[EncodedPass] = []
    plans: list[WindowPlan] = []
    nonzero_pass = channel_pass[nonzeros.channel]
    for index in range(passes):
        part_nonzeros = nonzeros.select(nonzero_pass == index) if passes > 1 else nonzeros
        plan = plan_windows(design, part_nonzeros, split, geometry.kernel)
        plans.append(plan)
        encoded.append(
            encode_pass(
                design,
                plan.windows,
                row[part_nonzeros.channel],
                plan.window,
                plan.slot,
                part_nonzeros.position % design.load_width,
                accumulator[part_nonzeros.channel],
                lookups.codes(workload.layer, part_nonzeros.value),
            )
        )
    schedule, words = _choose_tile(workload, design, encoded, plans, sum(steps))
    return MappedWorkload(workload, split, schedule, tuple(encoded), words, steps)


def _placed_channels(
    workload: Workload, layout: Layout, design: Design
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, tuple[int, ...]]:
    """For every output channel its pass, row and accumulator; the number of passes; each part's drain steps. The parts of a
    merged workload take the accumulators one after the other, in whole drain steps."""
    assigned = [layout.assignments[part.layer.output] for part in workload.parts]
    if len(assigned) == 1:
        one = assigned[0]
        return one.channel_pass, one.row, one.accumulator, one.passes, (one.steps,)
    per_step = design.accumulators_per_step
    starts = np.cumsum([0, *(-(-one.depth // per_step) * per_step for one in assigned)])
    return (
        np.concatenate([one.channel_pass for one in assigned]),
        np.concatenate([one.row for one in assigned]),
        np.concatenate([one.accumulator + start for one, start in zip(assigned, starts[:-1], strict=True)]),
        1,
        tuple(one.steps for one in assigned),
    )


def _choose_tile(
    workload: Workload, design: Design, encoded: list[EncodedPass], plans: list[WindowPlan], steps: int
) -> tuple[LayerSchedule, tuple[Words, ...]]:
    """The schedule of the tile shape with the fewest exact cycles, among those with the best bounds."""
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
        cycles = layer_cycles(schedule, design).cycles if len(tried) > 1 else 0
        if best is None or cycles < best[0]:
            best = cycles, schedule, words
    assert best is not None
    return best[1], best[2]
