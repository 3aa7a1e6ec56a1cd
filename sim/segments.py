"""Segments of a program: the layers that the array runs from one ``start`` to ``done``, with the host's steps between."""

from __future__ import annotations

from skipstone.mapper.program import Placement, Program


def segment_stops(program: Program) -> list[int]:
    """The numbers of layers after which the array stands still: 0, those before the host's steps, all of them."""
    return sorted({0, len(program.layers), *(step.after for step in program.host_steps)})


def host_placements(program: Program, stop: int) -> dict[str, Placement]:
    """The tensors that are read through the host port when the array has stopped after ``stop`` layers, by name."""
    placements = (*program.layers[stop - 1].complete, *_step_inputs(program, stop))
    return {placement.name: placement for placement in placements}


def _step_inputs(program: Program, after: int) -> list[Placement]:
    """The tensors in memory that the host's steps after ``after`` layers read; what such a step makes itself is not."""
    steps = [step for step in program.host_steps if step.after == after]
    host_outputs = {step.output.name for step in steps}
    return [
        placement
        for step in steps
        for placement, leaves in zip(step.inputs, step.leaves, strict=True)
        if not host_outputs.intersection(leaves)
    ]
