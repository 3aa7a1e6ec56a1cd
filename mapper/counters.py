"""Counters of what the hardware does for a layer: the common terms of the energy model and of the technology."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Actions:
    """What one layer does on the chip for one input: counts of the actions that cost energy.

    The counts are of the hardware as it is, idle work included. Those of transfers to and from the host belong to
    the network's first layer (input) and last layer (outputs).

    Attributes:
        macs: Multiply-accumulates of the PEs, idle columns included.
        useful_macs: Those whose pixel is in the image and whose weight is not zero.
        window_reads: Activations that windows give to PEs: one for each entry of the PE's row, fillers included.
        window_writes: Words written into windows of PEs.
        accumulator_reads: Old sums read: one for each entry of the PE's row, fillers included.
        accumulator_writes: Sums written.
        drain_reads: Accumulators that PEs put before the drain: those of all PEs whenever the drain's address moves.
        weight_reads: Entries that rows issue.
        load_list_reads: Entries of the load list that the loader takes.
        activation_reads: Words (``load_width`` activations) read for the loader and for residual Adds.
        activation_writes: Parts of words (``requantizer_lanes`` activations) written to activation memory.
        parameter_reads: Requantization words, one for each drain step.
        requantizations: Requantized values: lanes times drain steps.
        table_reads: Reads of the lanes' tables, in every cycle of a layer that uses a table.
        cycles: Cycles of the layer. Ports without an enable read in each of them.
        awake_macs: Multiply-accumulates in columns that read the image at all.
        exposed_entries: Entries whose accumulator the drain sees before it begins.
        activation_bits: Bits of the multipliers' activations, summed (``skipstone.mapper.energy.operands``).
        off_chip_read_bits: Bits of the network's input, read from off-chip memory.
        off_chip_write_bits: Bits of the network's outputs, written to off-chip memory.
        host_writes: Words of activation memory that the host port writes for the input.
        host_reads: Words of activation memory that the host port reads for the outputs.
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


COUNTERS = tuple(field.name for field in dataclasses.fields(Actions))
