"""Counters of what the hardware does for a layer: the common terms of the energy model and of the technology."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Actions:
    """Actions of one layer for one input.

    ``macs``: multiply-accumulates done by PEs, idle columns included. ``useful_macs``: those whose pixel is in the
    image and whose weight is not zero; ``awake_macs``: those in columns that read the image at all;
    ``activation_bits``: bits of what they are given (``skipstone.mapper.energy.operands``). ``window_reads``:
    activations that windows give to PEs, one for each entry of the PE's row, fillers included; ``window_writes``: words
    written into windows of PEs. ``accumulator_reads``: old sums read, one for each entry of the PE's row, fillers
    included; ``accumulator_writes``: sums written; ``drain_reads``: accumulators that PEs put before the drain, those
    of all PEs whenever the drain's address moves. ``weight_reads``: entries that rows issue; ``exposed_entries``: those
    whose accumulator the drain sees before it begins. ``load_list_reads``: entries of the load list that the loader
    takes. ``activation_reads``/``activation_writes``: words (``load_width`` activations) read for the loader and for
    residual Adds, and parts of words (``requantizer_lanes`` activations) written to activation memory.
    ``parameter_reads``: requantization words, one a drain step. ``requantizations``: lanes times steps.
    ``table_reads``: reads of lanes' tables, in every cycle of a layer that looks one up. ``cycles``: of the layer;
    ports without an enable read in each. ``off_chip_read_bits``/``off_chip_write_bits``: of the network's input and
    outputs, and ``host_writes``/``host_reads``: words of activation memory that the host port moves for them; the first
    layer has the input's, the last one the outputs'.
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
