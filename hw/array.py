"""The whole accelerator: controller, loader, rows, drain and activation memory, with one port for the host."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipstone.hw.controller import Controller
from skipstone.hw.design import Design
from skipstone.hw.drain import Drain
from skipstone.hw.fields import width_of
from skipstone.hw.loader import Loader
from skipstone.hw.row import Row
from skipstone.hw.shared import Shared

ROW_MODULE = "skipstone_row"
"""Name of the module of all rows."""

(
    SELECT_ACTIVATIONS,
    SELECT_LOADS,
    SELECT_PARAMETERS,
    SELECT_DESCRIPTORS,
    SELECT_TABLES,
    SELECT_CODEBOOKS,
    SELECT_WEIGHTS,
) = range(7)
"""Memories on the host port; the weights of row r are ``SELECT_WEIGHTS + r``. The tables of all requantizers are written at once,
and so are the codebooks of all rows."""


def host_selects(design: Design) -> dict[str, int]:
    """The ``host_select`` code of every memory, by the memory's name (``weights0`` ... one per row)."""
    selects = {
        "activations": SELECT_ACTIVATIONS,
        "loads": SELECT_LOADS,
        "parameters": SELECT_PARAMETERS,
        "descriptors": SELECT_DESCRIPTORS,
    }
    if design.table_words:
        selects["tables"] = SELECT_TABLES
    if design.codebook_words:
        selects["codebooks"] = SELECT_CODEBOOKS
    return selects | {f"weights{row}": SELECT_WEIGHTS + row for row in range(design.rows)}


def host_port_bits(design: Design) -> tuple[int, int, int]:
    """Widths of ``host_data``, ``host_address`` and ``host_select``: the widest word, the deepest memory, all memories."""
    memories = (
        (design.activation_words, design.activation_word_bits),
        (design.load_entries, design.load_entry.width),
        (design.parameter_words, design.parameter.width * design.requantizer_lanes),
        (design.layers, design.descriptor.width),
        (design.weight_entries, design.weight_entry.width),
        (design.table_words, design.activation_bits),
        (design.codebook_words, design.weight_bits),
    )
    return (
        max(width for _, width in memories),
        max(width_of(depth) for depth, _ in memories),
        width_of(SELECT_WEIGHTS + design.rows),
    )


class SkipstoneArray(wiring.Component):
    """Runs the network in its memories: one cycle of ``start``, then ``busy`` until ``done``.

    While not busy, the host writes one word a cycle to any memory and reads one activation word a cycle. While busy its writes
    are ignored, and ``host_read`` means nothing.

    Latency: ``skipstone.mapper.timing.cycles`` says it exactly, from the constants of ``skipstone.hw.timing``. Throughput: one
    program at a time. Back-pressure: ``start`` is ignored while busy.

    Args:
        design: the array's parameters.

    Members:
        start: In(1). Run the program, or go on after a layer with ``pause``.
        busy: Out(1). From the cycle after ``start`` until the run ends or pauses.
        done: Out(1). From then until the next ``start``.
        layer: Out. Layers done.
        host_select: In. The memory (``host_selects``).
        host_address: In. The word of that memory.
        host_data: In. What is written; a narrower memory takes the lower bits.
        host_write: In(1). Write in this cycle.
        host_read: Out(activation word). The activation word at the ``host_address`` of the cycle before.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        data_bits, address_bits, select_bits = host_port_bits(design)
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "layer": Out(width_of(design.layers + 1)),
                "host_select": In(select_bits),
                "host_address": In(address_bits),
                "host_data": In(data_bits),
                "host_write": In(1),
                "host_read": Out(design.activation_word_bits),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design = self.design
        m.submodules.controller = controller = Controller(design)
        m.submodules.loader = loader = Loader(design)
        m.submodules.drain = drain = Drain(design)
        row_module = Row(design)
        rows = []
        for index in range(design.rows):
            m.submodules[f"row{index}"] = instance = Shared(row_module, ROW_MODULE, f"row{index}")
            rows.append(instance.ports)

        memory = Memory(shape=unsigned(design.activation_word_bits), depth=design.activation_words, init=[])
        m.submodules.activations = memory
        load_port, other_port = memory.read_port(domain="sync"), memory.read_port(domain="sync")
        write_port = memory.write_port(granularity=design.requantizer_lanes * design.activation_bits)

        for select, port in (
            (SELECT_LOADS, loader.host_lists),
            (SELECT_PARAMETERS, drain.host_parameters),
            (SELECT_DESCRIPTORS, controller.host_descriptors),
            *([(SELECT_TABLES, drain.host_tables)] if design.table_words else []),
            *((SELECT_CODEBOOKS, row.host_codebooks) for row in rows if design.codebook_words),
            *((SELECT_WEIGHTS + index, row.host_weights) for index, row in enumerate(rows)),
        ):
            m.d.comb += [
                port.write.eq(self.host_write & ~controller.busy & (self.host_select == select)),
                port.address.eq(self.host_address),
                port.data.eq(self.host_data),
            ]
        host_activations = Signal()
        m.d.comb += host_activations.eq(self.host_write & (self.host_select == SELECT_ACTIVATIONS))

        m.d.comb += [
            controller.start.eq(self.start),
            self.busy.eq(controller.busy),
            self.done.eq(controller.done),
            self.layer.eq(controller.layer),
            controller.layer_done.eq(drain.layer_done),
            self.host_read.eq(other_port.data),
            # Activation memory: the loader's port, the drain's second operand (or the host), the drain's result (or
            # the host).
            load_port.addr.eq(loader.read_address),
            loader.read_word.eq(load_port.data),
            other_port.addr.eq(Mux(controller.busy, drain.other_address, self.host_address)),
            drain.other_word.eq(other_port.data),
        ]
        with m.If(controller.busy):
            m.d.comb += [
                write_port.addr.eq(drain.write_address),
                write_port.data.eq(drain.write_block.replicate(drain.blocks)),
                write_port.en.eq(drain.write_enable),
            ]
        with m.Else():
            m.d.comb += [
                write_port.addr.eq(self.host_address),
                write_port.data.eq(self.host_data),
                write_port.en.eq(host_activations.replicate(len(write_port.en))),
            ]

        m.d.comb += [
            loader.begin_layer.eq(controller.begin_layer),
            loader.restart.eq(controller.restart),
            loader.layer_config.eq(controller.layer_config),
            loader.ahead.eq(controller.ahead),
            loader.tiles_written.eq(drain.tiles_written),
            controller.loading.eq(loader.loading),
            drain.begin_layer.eq(controller.drain_begin),
            drain.restart.eq(controller.restart),
            drain.layer_config.eq(controller.drain_config),
            loader.may_begin.eq(reduce(and_, (row.held < design.windows for row in rows))),
            drain.finished.eq(reduce(and_, (row.finished for row in rows))),
        ]
        for index, row in enumerate(rows):
            m.d.comb += [
                row.begin_layer.eq(controller.begin_layer),
                row.restart.eq(controller.restart),
                row.tiles.eq(controller.layer_config.tiles),
                row.passes.eq(controller.layer_config.passes),
                row.maximum.eq(controller.layer_config.maximum),
                *([row.codebook.eq(controller.layer_config.codebook)] if design.codebook_words else []),
                row.load_begun.eq(loader.begun),
                row.load_done.eq(loader.done),
                row.load_word.eq(loader.load_word),
                row.taken.eq(drain.taken),
                row.released.eq(drain.released),
                row.drain_bank.eq(drain.bank),
                row.drain_accumulator.eq(drain.accumulator),
                row.drain_column.eq(drain.column),
                *(row.load[col].eq(loader.load[col]) for col in range(design.cols)),
                *(drain.values[index][j].eq(row.values[j]) for j in range(design.accumulators_per_step)),
            ]
        return m
