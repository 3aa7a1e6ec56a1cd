"""Counts what the hardware does for a layer: the events of the cycle model, times how often they happen.

All counts but two are exact for the RTL: columns outside the image still multiply, words outside the image still
pass the loader, and every PE drives its drained accumulators whether they are used or not. The two estimates are
``activation_bits``, a mean over images, and ``exposed_entries``, which assumes that accumulators have equal shares of
the entries. No count depends on the sizes of the design's memories.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skipstone.hw.design import Design
from skipstone.mapper.counters import Actions
from skipstone.mapper.energy.activity import awake_macs, exposed_entries
from skipstone.mapper.energy.traffic import traffic
from skipstone.mapper.program import LayerProgram, Program
from skipstone.mapper.results.layer_cycles import LayerCycles

if TYPE_CHECKING:
    from skipstone.mapper.energy.operands import Operands


def network_actions(
    program: Program, cycles: Sequence[LayerCycles], operands: Operands | None = None
) -> tuple[Actions, ...]:
    """Counts the actions of every layer, the transfer of input and outputs included.

    Args:
        program: The compiled network.
        cycles: Cycles of each layer (:func:`skipstone.mapper.timing.cycles.network_cycles`).
        operands: Sizes of the activations. Without it they have the mean size of the gateware's characterization.

    Returns:
        The actions of each layer of ``program``, for one inference.
    """
    actions = []
    for layer, cost in zip(program.layers, cycles, strict=True):
        counted = count_actions(layer, program.design, cost.cycles)
        bits = operands.bits(layer) if operands else typical_bits(counted, program.design)
        actions.append(dataclasses.replace(counted, activation_bits=bits))
    if actions:
        moved = traffic(program)
        actions[0] = dataclasses.replace(actions[0], off_chip_read_bits=moved.read_bits, host_writes=moved.host_writes)
        actions[-1] = dataclasses.replace(
            actions[-1], off_chip_write_bits=moved.write_bits, host_reads=moved.host_reads
        )
    return tuple(actions)


def count_actions(layer: LayerProgram, design: Design, cycles: int) -> Actions:
    """Counts the actions of one layer on the chip, all but ``activation_bits``.

    Args:
        layer: The compiled layer.
        design: The design that it runs on.
        cycles: Cycles of the layer, from the cycle model.
    """
    schedule = layer.schedule
    tiles = schedule.tiles
    pixels = schedule.out_height * schedule.out_width
    issued = sum(int(counts.sum()) for counts in schedule.counts) * tiles
    macs = layer.products * tiles * design.cols
    words = sum(int(count.sum()) for count in schedule.words) * tiles
    steps = pixels * schedule.steps * schedule.passes
    # A filler moves the addresses of its row's PEs like any entry; where the accumulator stays, its new sum is read.
    entries = issued * design.cols
    # The drain's address goes through a pixel's accumulators; a pixel with one only leaves it where it is until the
    # tile ends.
    addresses = -(-schedule.steps // design.steps_per_accumulator)
    moves = (pixels * addresses if addresses > 1 else tiles) * schedule.passes
    return Actions(
        macs=macs,
        useful_macs=layer.products * pixels,
        window_reads=entries,
        window_writes=layer.captures * tiles * design.rows,
        # The first product of an accumulator in a tile overwrites it, which the read port does not know.
        accumulator_reads=entries,
        accumulator_writes=macs,
        drain_reads=moves * design.pes * design.accumulators_per_step,
        weight_reads=issued,
        load_list_reads=words,
        activation_reads=words + (steps if layer.other is not None else 0),
        activation_writes=steps,
        parameter_reads=steps,
        requantizations=steps * design.requantizer_lanes,
        table_reads=cycles * design.requantizer_lanes if layer.uses_table else 0,
        cycles=cycles,
        awake_macs=awake_macs(layer),
        exposed_entries=exposed_entries(layer, design),
    )


def typical_bits(actions: Actions, design: Design) -> int:
    """``activation_bits`` where there are no images.

    It is the characterization's mean share of an activation's bits, for each useful multiply-accumulate.
    """
    from skipstone.mapper.technology.logic_cells import load_gateware

    return round(load_gateware().table.operand_share * actions.useful_macs * design.activation_bits)
