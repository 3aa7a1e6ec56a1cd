"""Counts what the hardware does for a layer: the same events as in the cycle model, times how often they happen.

Every count but two is exact for the RTL as it stands (``activation_bits`` is a mean over images, and ``exposed_entries`` takes
accumulators to have equal shares of the entries): columns outside the image still multiply, words outside the image still
pass the
loader, and every PE drives its drained accumulators, asked or not. No count depends on the sizes of the design's memories.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skipstone.hw.design import Design
from skipstone.mapper.energy.activity import awake_macs, exposed_entries
from skipstone.mapper.energy.traffic import traffic
from skipstone.mapper.program import LayerProgram, Program
from skipstone.mapper.timing.cycles import LayerCycles

if TYPE_CHECKING:
    from skipstone.mapper.energy.operands import Operands


@dataclass(frozen=True)
class Actions:
    """Actions of one layer for one input.

    ``macs``: multiply-accumulates done by PEs, idle columns included. ``useful_macs``: those whose pixel is in the image and
    whose weight is not zero; ``awake_macs``: those in columns that read the image at all; ``activation_bits``: bits of
    what they are given (``skipstone.mapper.energy.operands``). ``window_reads``: activations that windows give to PEs, one for each entry of
    the PE's row, fillers
    included; ``window_writes``: words written into windows of PEs. ``accumulator_reads``: old sums read, one for each entry of
    the PE's row, fillers included; ``accumulator_writes``: sums written; ``drain_reads``: accumulators that PEs put before the
    drain, those of all PEs whenever the drain's address moves. ``weight_reads``: entries that rows issue;
    ``exposed_entries``: those whose accumulator the drain sees before it begins. ``load_list_reads``:
    entries of the load list that the loader takes. ``activation_reads``/``activation_writes``: words (``load_width``
    activations) read for the loader and for residual Adds, and parts of words (``requantizer_lanes`` activations) written to
    activation memory. ``parameter_reads``: requantization words, one a drain step. ``requantizations``: lanes times steps.
    ``table_reads``: reads of lanes' tables, in every cycle of a layer that looks one up. ``cycles``: of the layer; ports
    without an enable read in each. ``off_chip_read_bits``/``off_chip_write_bits``: of the network's input and outputs, and
    ``host_writes``/``host_reads``: words of activation memory that the host port moves for them; the first layer has the
    input's, the last one the outputs'.
    """

    macs: int
    useful_macs: int
    window_reads: int
    window_writes: int
    accumulator_reads: int
    accumulator_writes: int
    drain_reads: int
    weight_reads: int
    load_list_reads: int
    activation_reads: int
    activation_writes: int
    parameter_reads: int
    requantizations: int
    table_reads: int
    cycles: int
    awake_macs: int = 0
    exposed_entries: int = 0
    activation_bits: int = 0
    off_chip_read_bits: int = 0
    off_chip_write_bits: int = 0
    host_writes: int = 0
    host_reads: int = 0

    def __add__(self, other: Actions) -> Actions:
        return Actions(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


COUNTERS = tuple(field.name for field in dataclasses.fields(Actions))


def network_actions(
    program: Program, cycles: Sequence[LayerCycles], operands: Operands | None = None
) -> tuple[Actions, ...]:
    """Actions of every layer, with what crosses the chip's edge. Without ``operands`` activations have the mean size that the
    gateware was calibrated with."""
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
    """Actions of ``layer`` on the chip, but for ``activation_bits``; ``cycles`` as the cycle model gives them."""
    schedule = layer.schedule
    tiles = schedule.tiles
    pixels = schedule.out_height * schedule.out_width
    issued = sum(int(counts.sum()) for counts in schedule.counts) * tiles
    macs = layer.products * tiles * design.cols
    words = sum(int(count.sum()) for count in schedule.words) * tiles
    steps = pixels * schedule.steps * schedule.passes
    # A filler moves the addresses of its row's PEs like any entry; where the accumulator stays, its new sum is read.
    entries = issued * design.cols
    # The drain's address goes through a pixel's accumulators; a pixel with one only leaves it where it is until the tile ends.
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
    """``activation_bits`` where there is no data: the calibration's mean share of an activation's bits, for each useful
    multiply-accumulate."""
    from skipstone.mapper.technology.logic_cells import load_gateware

    return round(load_gateware().operand_share * actions.useful_macs * design.activation_bits)
