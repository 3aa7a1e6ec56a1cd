"""A row: the sequencer that walks the compressed list of nonzero weights, and the row's PEs."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from skipstone.hw import timing
from skipstone.hw.decode import Decoder, entry_index
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from skipstone.hw.host_memory import HostMemory, HostPort
from skipstone.hw.pe import Pe, load_layout
from skipstone.hw.shared import Shared

PE_MODULE = "skipstone_pe"


class Row(wiring.Component):
    """Issues one nonzero weight a cycle to all columns: ``accumulator[a] += weight * window[slot][lane]`` in every PE of the row.

    The weight memory holds, for each layer and pass in turn, the list of one tile. The list is replayed for every tile, and the
    next list follows behind it, so the row needs no addresses. An entry says how many windows the row leaves behind it
    (``leave``) and whether the tile ends (``last``). A list always starts in the tile's first window. A filler entry takes its
    cycle and changes no accumulator. ``begin_layer`` comes with the next layer's configuration, which stays until the row has
    entered that layer: at once, if it has no other, or right behind its last entry of the layer before.

    Latency: an accumulator shows an entry's result ``LATENCY`` cycles after its issue, and so does ``finished`` that of a tile's
    last entry; ``held`` shows that a window was left after ``ISSUE_LATENCY``. Throughput: one entry a cycle, tiles, passes and
    layers back to back. Back-pressure: an entry waits until its window is loaded (``load_done``), the first entry of a tile
    also until its bank is free (``BANK_LATENCY`` after ``released``).

    Args:
        design: the array's parameters.

    Members:
        begin_layer: In(1). A layer begins.
        tiles, passes: In. Its tiles and passes, less one.
        maximum: In(1). Its accumulators take the maximum of products instead of their sum.
        codebook: In, in designs with codebooks. Its codebook.
        restart: In(1). The list is read from the start of its memory again.
        load_begun: In(1). The loader begins a window.
        load_done: In(1). Entries of one more window may issue from the next cycle on.
        load: In(cols x load_layout). Where each column puts ``load_word``, and whether it does.
        load_word: In(activation word). The word for all columns.
        held: Out(signed). Windows that the loader has begun and this row has not left; it may begin another while this is below
            ``windows`` in every row.
        finished: Out(1). A tile waits for the drain.
        taken: In(1). The drain takes that tile.
        released: In(1). The drain's last step of a tile; its bank is free from the next cycle on.
        drain_bank, drain_accumulator, drain_column: In. The accumulators that are read.
        values: Out(accumulators_per_step). Those accumulators, without delay; zero where the tile had no entry for one.
        host_weights: In(HostPort). The lists of entries.
        host_codebooks: In(HostPort), in designs with codebooks. The codebooks, one behind the other.
    """

    LATENCY = timing.PE_LATENCY

    def __init__(self, design: Design) -> None:
        self.design = design
        codebook = {
            "codebook": In(width_of(design.codebooks)),
            "host_codebooks": In(HostPort(design.codebook_words, design.products.operand_bits)),
        }
        self.held_shape = signed(max(width_of(design.windows + 1), design.leave_bits) + 2)
        super().__init__(
            {
                "begin_layer": In(1),
                "tiles": In(2 * design.dimension_bits),
                "passes": In(16),
                "maximum": In(1),
                "restart": In(1),
                "load_begun": In(1),
                "load_done": In(1),
                "load": In(data.ArrayLayout(load_layout(design), design.cols)),
                "load_word": In(design.activation_word_bits),
                "held": Out(self.held_shape),
                "finished": Out(1),
                "taken": In(1),
                "released": In(1),
                "drain_bank": In(1),
                "drain_accumulator": In(width_of(design.bank_depth)),
                "drain_column": In(width_of(design.cols)),
                "values": Out(data.ArrayLayout(signed(design.accumulator_bits), design.accumulators_per_step)),
                "host_weights": In(HostPort(design.weight_entries, design.weight_entry.width)),
                **(codebook if design.codebook_words else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design = self.design
        depth = design.bank_depth

        # Weight memory. ``entry`` is the one at ``address``; an entry that may not issue is read again.
        m.submodules.weights = weights = HostMemory(design.weight_entries, design.weight_entry.width)
        connect(m, flipped(self.host_weights), weights.host)
        entry = data.View(design.weight_entry.layout(), weights.word)
        address = Signal(width_of(design.weight_entries))
        list_start = Signal.like(address)

        issue = Signal()
        credit = Signal(self.held_shape)
        open_tiles = Signal(range(3))
        begin_tile = Signal()
        bank = Signal()
        tiles = Signal.like(self.tiles)
        tiles_left = Signal.like(self.tiles)
        passes_left = Signal.like(self.passes)
        maximum = Signal()
        # A layer that the loader has begun while this row still works on the one before is pending.
        pending = Signal()
        enter = Signal()
        tile_end = Signal()
        list_end = Signal()
        layer_end = Signal()
        m.d.comb += [
            tile_end.eq(issue & entry.last),
            list_end.eq(tile_end & (tiles_left == 0)),
            layer_end.eq(list_end & (passes_left == 0)),
        ]
        m.d.sync += pending.eq((pending | self.begin_layer) & ~enter)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += enter.eq(self.begin_layer | pending)
                with m.If(enter):
                    m.next = "TILE_START"
            with m.State("TILE_START"):
                m.d.comb += [issue.eq((credit > 0) & (open_tiles < 2)), begin_tile.eq(issue)]
                with m.If(issue & ~entry.last):
                    m.next = "IN_TILE"
                with m.If(layer_end):
                    m.d.comb += enter.eq(self.begin_layer | pending)
                    with m.If(~enter):
                        m.next = "IDLE"
            with m.State("IN_TILE"):
                m.d.comb += issue.eq(credit > 0)
                with m.If(tile_end):
                    m.next = "TILE_START"
                with m.If(layer_end):
                    m.d.comb += enter.eq(self.begin_layer | pending)
                    with m.If(~enter):
                        m.next = "IDLE"

        next_address = Signal.like(address)
        m.d.comb += [next_address.eq(address), weights.address.eq(next_address)]
        m.d.sync += address.eq(next_address)
        with m.If(self.restart):
            m.d.comb += next_address.eq(0)
            m.d.sync += list_start.eq(0)
        with m.Elif(list_end):
            m.d.comb += next_address.eq(address + 1)
            m.d.sync += [list_start.eq(address + 1), tiles_left.eq(tiles), passes_left.eq(passes_left - 1)]
        with m.Elif(tile_end):
            m.d.comb += next_address.eq(list_start)
            m.d.sync += tiles_left.eq(tiles_left - 1)
        with m.Elif(issue):
            m.d.comb += next_address.eq(address + 1)
        with m.If(tile_end):
            m.d.sync += bank.eq(~bank)
        with m.If(enter):
            m.d.sync += [
                tiles.eq(self.tiles),
                tiles_left.eq(self.tiles),
                passes_left.eq(self.passes),
                maximum.eq(self.maximum),
            ]
        m.d.sync += open_tiles.eq(open_tiles + begin_tile - self.released)

        # Windows: how many are loaded (credit) or begun (held) and not yet left, and which one the row stands in.
        windows_left = Mux(issue, entry.leave, 0)
        m.d.sync += [
            credit.eq(credit + self.load_done - windows_left),
            self.held.eq(self.held + self.load_begun - windows_left),
        ]
        window = Signal(range(design.windows))
        next_window = Array(Const(i % design.windows) for i in range(design.windows + (1 << design.leave_bits)))
        with m.If(issue):
            m.d.sync += window.eq(next_window[window + entry.leave])
        base = Array(Const(i * design.slots) for i in range(design.windows))

        # An accumulator that the tile has not touched yet is overwritten, not added to; the drain reads it as zero.
        touched = Signal(2 * depth)
        accumulator = Signal(range(2 * depth))
        index = entry_index(m, design, entry, issue)
        m.d.comb += accumulator.eq(Mux(bank, depth, 0) + index.accumulator)
        touch = Signal(2 * depth)
        # A filler only passes the time: it stands where a row has no nonzero but must leave a window, or where the next index
        # is too far away for a delta.
        filler = entry.value == 0 if design.products.zero_code else entry.filler
        useful = Signal()
        m.d.comb += useful.eq(issue & ~filler)
        with m.If(useful):
            m.d.comb += touch.eq(1 << accumulator)
        still_touched = Signal(2 * depth, init=-1)
        with m.If(self.released):
            m.d.comb += still_touched.eq(Mux(self.drain_bank, (1 << depth) - 1, ((1 << depth) - 1) << depth))
        m.d.sync += touched.eq((touched & still_touched) | touch)

        # Control pipeline, one copy for all PEs: x reads the window, m multiplies, a accumulates.
        control = data.StructLayout(
            {"valid": 1, "first": 1, "last": 1, "maximum": 1, "accumulator": accumulator.shape()}
        )
        x_control, m_control, a_control = (Signal(control, name=f"{stage}_control") for stage in "xma")
        x_address = Signal(width_of(design.windows * design.slots))
        x_lane = Signal(width_of(design.load_width))
        m_weight = Signal(design.products.operand_bits)
        m.d.sync += [
            x_control.valid.eq(useful),
            x_control.first.eq(~touched.bit_select(accumulator, 1)),
            x_control.last.eq(issue & entry.last),
            x_control.maximum.eq(maximum),
            x_control.accumulator.eq(accumulator),
            x_address.eq(base[window] + index.slot),
            x_lane.eq(index.lane),
        ]
        m.submodules.decoder = decoder = Decoder(design)
        m.d.comb += decoder.code.eq(entry.value)
        if design.codebook_words:
            m.d.comb += [
                decoder.begin_layer.eq(enter),
                decoder.codebook.eq(self.codebook),
            ]
            connect(m, flipped(self.host_codebooks), decoder.host_codebooks)
        m.d.sync += [m_control.eq(x_control), m_weight.eq(decoder.weight), a_control.eq(m_control)]

        finished_tiles = Signal(range(4))
        m.d.sync += finished_tiles.eq(finished_tiles + a_control.last - self.taken)
        m.d.comb += self.finished.eq(finished_tiles != 0)

        drain_address = Signal(range(2 * depth))
        m.d.comb += drain_address.eq(Mux(self.drain_bank, depth, 0) + self.drain_accumulator)
        pe_module = Pe(design)
        columns = []
        for col in range(design.cols):
            m.submodules[f"pe{col}"] = instance = Shared(pe_module, PE_MODULE, f"pe{col}")
            pe = instance.ports
            m.d.comb += [
                pe.load.eq(self.load[col]),
                pe.load_word.eq(self.load_word),
                pe.x_valid.eq(x_control.valid),
                pe.x_address.eq(x_address),
                pe.x_lane.eq(x_lane),
                pe.m_valid.eq(m_control.valid),
                pe.m_weight.eq(m_weight),
                pe.a_valid.eq(a_control.valid),
                pe.a_first.eq(a_control.first),
                pe.a_maximum.eq(a_control.maximum),
                pe.a_address.eq(a_control.accumulator),
                pe.drain_address.eq(drain_address),
            ]
            columns.append(pe)
        for index in range(design.accumulators_per_step):
            values = Array(pe.values[index] for pe in columns)
            with m.If(touched.bit_select(drain_address + index, 1)):
                m.d.comb += self.values[index].eq(values[self.drain_column])
        return m
