"""The chosen tile shape has the fewest exact cycles of those tried, and those tried have the best bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering import tiling
from skipstone.mapper.lowering.tiling import CLOSE, TILES_TRIED, MappedWorkload
from skipstone.mapper.lowering.windows import list_words, plan_windows
from skipstone.mapper.program import LayerSchedule
from skipstone.mapper.timing.cycles import layer_cycles
from skipstone.models.quantization.network import QuantizedNetwork
from tests.mapper.laid_out import DESIGNS, laid_out
from tests.sim.networks import networks

WIDE = [design.replace(cols=12) for design in DESIGNS]
drawn_networks = st.sampled_from(WIDE).flatmap(
    lambda design: st.tuples(st.just(design), networks(design, max_channels=12, max_size=20))
)
random_networks = settings(max_examples=30, suppress_health_check=list(HealthCheck))


def mapped(design: Design, network: QuantizedNetwork) -> list[tuple[MappedWorkload, list[LayerSchedule]]]:
    """Every workload and its schedules with all tile shapes, from the lists that do not depend on the shape."""
    try:
        layout, workloads = laid_out(network, design)
    except MappingError:
        assume(False)
        raise
    return [
        (mapped_workload, [with_tile(mapped_workload, tile, layout, design) for tile in design.tile_shapes])
        for mapped_workload in workloads
    ]


def with_tile(mapped_workload: MappedWorkload, tile: tuple[int, int], layout, design: Design) -> LayerSchedule:
    geometry, size = mapped_workload.workload.geometry, mapped_workload.workload.size
    nonzeros = mapped_workload.workload.nonzeros.at(layout.positions(mapped_workload.workload.layer.input))
    channel_pass = np.concatenate(
        [layout.assignments[part.layer.output].channel_pass for part in mapped_workload.workload.parts]
    )
    needed = min(tile[0], size[0]), min(tile[1], size[1])
    words = []
    for index in range(mapped_workload.schedule.passes):
        mine = nonzeros.select(channel_pass[nonzeros.channel] == index)
        plan = plan_windows(design, mine, mapped_workload.split, geometry.kernel)
        listed = list_words(plan, needed, geometry.stride, geometry.dilation)
        words.append(np.bincount(listed.window, minlength=plan.windows))
    tiles = [-(-side // extent) for side, extent in zip(size, tile, strict=True)]
    return replace(mapped_workload.schedule, tile=tile, words=tuple(words), tiles_y=tiles[0], tiles_x=tiles[1])


def bound(schedule: LayerSchedule) -> int:
    """For each tile of each pass, the largest of three: work of its slowest row, of the loader, and of the drain."""
    drain = math.ceil(schedule.out_height * schedule.out_width * schedule.steps / schedule.tiles)
    return schedule.tiles * sum(
        max(int(counts.sum(axis=0).max()), int(words.sum()), drain)
        for counts, words in zip(schedule.counts, schedule.words, strict=True)
    )


@random_networks
@given(drawn_networks)
def test_no_tried_tile_is_better(drawn):
    design, network = drawn
    for mapped_workload, schedules in mapped(design, network):
        best = sorted(bound(schedule) for schedule in schedules)
        chosen = next(schedule for schedule in schedules if schedule.tile == mapped_workload.schedule.tile)
        for words, taken in zip(chosen.words, mapped_workload.schedule.words, strict=True):
            assert words.tolist() == taken.tolist()
        cycles = layer_cycles(mapped_workload.schedule, design).cycles
        assert bound(chosen) <= CLOSE * best[0]
        # Those better than the last that could be tried were.
        limit = min(CLOSE * best[0], best[min(TILES_TRIED, len(best)) - 1])
        for schedule in schedules:
            if bound(schedule) < limit:
                assert cycles <= layer_cycles(schedule, design).cycles, schedule.tile


@random_networks
@given(drawn_networks)
def test_with_all_shapes_tried_the_best_is_chosen(drawn):
    design, network = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "TILES_TRIED", 99)
        patch.setattr(tiling, "CLOSE", 1e9)
        for mapped_workload, schedules in mapped(design, network):
            cycles = layer_cycles(mapped_workload.schedule, design).cycles
            assert cycles == min(layer_cycles(schedule, design).cycles for schedule in schedules)
