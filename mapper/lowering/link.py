"""Turns mapped workloads into what the memories hold: addresses, requantization words and descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import MappingError
from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.mapper.lowering.encode import encode_loads
from skipstone.mapper.lowering.layout import Layout
from skipstone.mapper.lowering.lookups import Lookups
from skipstone.mapper.lowering.tiling import MappedWorkload
from skipstone.mapper.program import LayerProgram, LayerSchedule, LayerWords, Placement


def link(
    mapped: MappedWorkload,
    layout: Layout,
    lookups: Lookups,
    placements: dict[str, Placement],
    design: Design,
    before: MappedWorkload | None,
    complete: tuple[str, ...],
    last: bool,
) -> LayerProgram:
    """Links a workload to addresses: the program of one workload.

    Args:
        mapped: The workload.
        layout: The channel orders.
        lookups: Codes of weights, and tables.
        placements: Where tensors lie.
        design: The array.
        before: The workload that runs before it; None for the first.
        complete: Tensors whose last pixels it writes.
        last: It is the last workload.
    """
    workload, schedule = mapped.workload, mapped.schedule
    layer, geometry = workload.layer, workload.geometry
    source, target = placements[layer.input], placements[layer.output]
    adding = [part.layer for part in workload.parts if part.layer.other is not None]
    assert len(adding) <= 1, "the drain reads one other tensor"
    added = adding[0] if adding else None
    tile_h, tile_w = schedule.tile
    source_height, source_width = source.grid
    row_words = source_width * source.groups
    space = 1 << design.address_bits
    taps = _taps(mapped, design)
    stride, padding = geometry.stride, geometry.padding
    descriptor = {
        "last_layer": int(last),
        "pause": int(schedule.pause and not last),
        "maximum": int(layer.operation == "max"),
        "tile_shape": design.tile_shapes.index(schedule.tile),
        "tile_h": tile_h - 1,
        "tile_w": tile_w - 1,
        "tiles_y": schedule.tiles_y - 1,
        "tiles_x": schedule.tiles_x - 1,
        "tiles": schedule.tiles - 1,
        "passes": schedule.passes - 1,
        "wait_tiles": _wait_tiles(before.schedule, schedule) if before is not None else 0,
        "free_tiles": schedule.free_tiles,
        "stride_y": stride[0],
        "stride_x": stride[1],
        "height": source_height,
        "width": source_width,
        "origin_y": -padding[0],
        "origin_x": -padding[1],
        "origin": (source.base - padding[0] * row_words - padding[1] * source.groups) % space,
        "tile_step_y": tile_h * stride[0],
        "tile_step_x": tile_w * stride[1],
        "tile_address_step_y": tile_h * stride[0] * row_words % space,
        "tile_address_step_x": tile_w * stride[1] * source.groups % space,
        "pad_value": layer.pad_value,
        **taps,
        "steps": schedule.steps - 1,
        "out_height": schedule.out_height,
        "out_width": schedule.out_width,
        **_walk("out", mapped, layout, target, layer.output, design),
        **(
            _walk("other", mapped, layout, placements[added.other], added.other, design, added.output)
            if added is not None and added.other is not None
            else dict.fromkeys(_WALK_OF_OTHER, 0)
        ),
        "add_other": int(added is not None),
        "other_zero_point": added.other_zero_point if added is not None else 0,
        **lookups.descriptor(layer),
    }
    try:
        packed = design.descriptor.pack(descriptor)
    except ValueError as error:
        raise MappingError(
            f"layer '{workload.name}' cannot be described to the array: {error}", layer=workload.name
        ) from None
    dense_products = sum(part.layer.weights.size * part.fold[0] * part.fold[1] for part in workload.parts)
    return LayerProgram(
        name=workload.name,
        kind=layer.kind,
        layers=tuple(part.layer.name for part in workload.parts),
        macs=dense_products * schedule.out_height * schedule.out_width,
        nnz=sum(part.layer.nnz for part in workload.parts),
        products=workload.products,
        stored_weights=sum(part.layer.weights.size for part in workload.parts),
        captures=mapped.captures,
        words=_Words(mapped, layout, lookups, design, source),
        descriptor=packed,
        schedule=schedule,
        input=source,
        outputs=tuple(placements[part.layer.output] for part in workload.parts),
        complete=tuple(placements[name] for name in complete),
        other=placements[added.other] if added is not None and added.other is not None else None,
        geometry=geometry,
        split=mapped.split,
        groups=tuple(plan.groups for plan in mapped.plans),
        entry_bits=design.weight_entry.width,
        trained=any(part.layer.trained for part in workload.parts),
        uses_table=any(part.layer.table is not None for part in workload.parts),
    )


@dataclass(frozen=True, eq=False)
class _Words(LayerWords):
    """A layer's words, packed when they are first asked for, because cycles and energy need none of them."""

    mapped: MappedWorkload
    layout: Layout
    lookups: Lookups
    design: Design
    source: Placement

    @cached_property
    def weights(self) -> tuple[NDArray[Any], ...]:
        passes = [part.weights for part in self.mapped.passes]
        return tuple(np.concatenate([rows[r] for rows in passes]) for r in range(self.design.rows))

    @cached_property
    def loads(self) -> NDArray[Any]:
        width, groups = self.source.grid[1], self.source.groups
        return np.concatenate([encode_loads(self.design, words, width, groups) for words in self.mapped.words])

    @cached_property
    def parameters(self) -> tuple[int, ...]:
        return _parameters(self.mapped, self.layout, self.lookups, self.design)


_WALK = ("base", "pixel_step", "row_step", "tile_step_y", "tile_step_x")
_WALK_OF_OTHER = tuple(f"other_{name}" for name in _WALK)


def _walk(
    prefix: str,
    mapped: MappedWorkload,
    layout: Layout,
    placed: Placement,
    name: str,
    design: Design,
    beside: str | None = None,
) -> dict[str, int]:
    """The addresses of the pixels that the drain visits in ``placed``.

    ``beside``: the concatenated output; addresses are offset into it.
    """
    space = 1 << design.address_bits
    tile = mapped.schedule.tile
    lattice = mapped.workload.layer.lattice
    offset, step = (lattice.offset, lattice.step) if lattice is not None else ((0, 0), (1, 1))
    row = placed.grid[1] * placed.groups
    word = layout.offset(name) // design.load_width
    if beside is not None:
        word -= (layout.offset(beside) - layout.offset(mapped.workload.layer.output)) // design.load_width
    values = (
        placed.base + word + offset[0] * row + offset[1] * placed.groups,
        step[1] * placed.groups,
        step[0] * row,
        tile[0] * step[0] * row,
        tile[1] * step[1] * placed.groups,
    )
    return {f"{prefix}_{name}": value % space for name, value in zip(_WALK, values, strict=True)}


def _taps(mapped: MappedWorkload, design: Design) -> dict[str, int]:
    """For each offset from a window's first tap, whether there is a tap, and its part of the slot number."""
    taps: dict[str, int] = {}
    dilation = mapped.workload.geometry.dilation
    for axis, step, extent, weight in (
        ("y", dilation[0], mapped.split.height, mapped.split.width),
        ("x", dilation[1], mapped.split.width, 1),
    ):
        for index in range(design.reach):
            tap, rest = divmod(index, step)
            valid = rest == 0 and tap < extent
            taps[f"tap_{axis}{index}"] = tap * weight if valid else 0
            taps[f"tap_{axis}{index}_valid"] = int(valid)
    return taps


def _wait_tiles(before: LayerSchedule, schedule: LayerSchedule) -> int:
    """For how many tiles of the layer before, over all passes, the loader waits."""
    if schedule.free_tiles == ALL_TILES_FREE:
        return 0
    return before.passes * before.tiles - schedule.unneeded_tiles


def _parameters(mapped: MappedWorkload, layout: Layout, lookups: Lookups, design: Design) -> tuple[int, ...]:
    """Requantization words, step after step of every pass; lanes without a channel are zero."""
    width = design.parameter.width
    words = [0] * (mapped.schedule.passes * mapped.schedule.steps)
    first_step = 0
    for part, steps in zip(mapped.workload.parts, mapped.steps, strict=True):
        layer = part.layer
        packed = [
            design.parameter.pack(
                {
                    "bias": int(layer.bias[channel]),
                    "multiplier": int(layer.multiplier[channel]),
                    "shift": int(layer.shift[channel]),
                    "other_multiplier": int(layer.other_multiplier[channel]) if layer.other is not None else 0,
                    "zero_point": layer.zero_point,
                    "low": layer.low,
                    "high": layer.high,
                    **lookups.parameter(layer),
                }
            )
            for channel in range(layer.weights.shape[0])
        ]
        positions = layout.assignments[layer.output].position.tolist()
        for channel, position in zip(part.of_layer.tolist(), positions, strict=True):
            step, lane = divmod(position, design.requantizer_lanes)
            words[first_step + step] |= packed[channel] << (lane * width)
        first_step += steps
    return tuple(words)
