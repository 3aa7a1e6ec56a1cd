"""A row: the sequencer that walks the compressed list of nonzero weights, and the row's PEs."""

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
    """Issues one nonzero weight a cycle to all columns, as long as its window is loaded and its bank is free.

    The weight memory holds, for each layer and pass in turn, the list of one tile; the list is replayed for every tile
    and the next list follows behind it, so the row needs no addresses. ``begin`` comes with the next layer's ``tiles``,
    ``passes``, ``maximum`` and, where there are any, ``codebook``, which stay until the row has entered that layer:
    at once,
    if it has no other, or right behind its last entry of the layer before. An entry says how many windows the row
    leaves
    behind it (``leave``) and whether the tile ends (``last``). A row's list always starts in the tile's first window; a
    filler entry takes its cycle and changes no accumulator. The host writes codebooks with ``host_codebooks``,
    entries with
    ``host_write``.

    ``held`` (signed) is the number of windows that the loader has begun and this row has not left; the loader may begin
    another while it is below ``windows`` in every row. ``finished`` says that a tile waits for the drain; ``taken``
    takes it,
    ``released`` gives its bank back. ``values`` are the drained accumulators of column ``drain_column``, zero where
    the tile had no entry for the accumulator; they come without delay.
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
                "begin": In(1),
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

    def elaborate(self, platform):
        m = Module()
        design = self.design
        depth = design.bank_depth

        # Weight memory. ``entry`` is the one at ``address``; an entry that may not issue is read again.
        m.submodules.weights = weights = HostMemory(design.weight_entries, design.weight_entry.width)
        connect(m, flipped(self.host_weights), weights.host)
        entry = data.View(design.weight_entry.layout(), weights.word)
        address = Signal(width_of(design.weight_entries))
        list_start = Signal.like(address)

        # A layer that the loader has begun while this row still works on the one before is pending.
        running, pending, enter = Signal(), Signal(), Signal()
        tile_start = Signal(init=1)
        bank = Signal()
        tiles, tiles_left = Signal.like(self.tiles), Signal.like(self.tiles)
        passes_left = Signal.like(self.passes)
        open_tiles = Signal(range(3))
        credit = Signal(self.held_shape)
        issue = Signal()
        begin_tile = Signal()
        m.d.comb += [
            issue.eq(running & (credit > 0) & (~tile_start | (open_tiles < 2))),
            begin_tile.eq(issue & tile_start),
        ]

        next_address = Signal.like(address)
        m.d.comb += next_address.eq(address)
        with m.If(self.restart):
            m.d.comb += next_address.eq(0)
            m.d.sync += list_start.eq(0)
        with m.Elif(issue):
            m.d.comb += next_address.eq(address + 1)
            with m.If(entry.last):
                m.d.sync += [bank.eq(~bank), tiles_left.eq(tiles_left - 1)]
                with m.If(tiles_left == 0):
                    m.d.sync += [list_start.eq(address + 1), tiles_left.eq(tiles), passes_left.eq(passes_left - 1)]
                    with m.If(passes_left == 0):
                        m.d.comb += enter.eq(self.begin | pending)
                        m.d.sync += running.eq(0)
                with m.Else():
                    m.d.comb += next_address.eq(list_start)
            m.d.sync += tile_start.eq(entry.last)
        with m.If(~running):
            m.d.comb += enter.eq(self.begin | pending)
        m.d.comb += weights.address.eq(next_address)
        m.d.sync += address.eq(next_address)
        maximum = Signal()
        m.d.sync += pending.eq((pending | self.begin) & ~enter)
        with m.If(enter):
            m.d.sync += [
                running.eq(1),
                tiles.eq(self.tiles),
                tiles_left.eq(self.tiles),
                passes_left.eq(self.passes),
                maximum.eq(self.maximum),
            ]
        m.d.sync += open_tiles.eq(open_tiles + begin_tile - self.released)

        # Windows: how many are loaded (credit) or begun (held) and not yet left, and which one the row stands in.
        left = Mux(issue, entry.leave, 0)
        m.d.sync += [credit.eq(credit + self.load_done - left), self.held.eq(self.held + self.load_begun - left)]
        window = Signal(range(design.windows))
        following = Array(Const(i % design.windows) for i in range(design.windows + (1 << design.leave_bits)))
        with m.If(issue):
            m.d.sync += window.eq(following[window + entry.leave])
        base = Array(Const(i * design.slots) for i in range(design.windows))

        # An accumulator that the tile has not touched yet is overwritten, not added to; the drain reads it as zero.
        touched = Signal(2 * depth)
        accumulator = Signal(range(2 * depth))
        index = entry_index(m, design, entry, issue)
        m.d.comb += accumulator.eq(Mux(bank, depth, 0) + index.accumulator)
        touch = Signal(2 * depth)
        # A filler only passes the time: it stands where a row has no nonzero but must leave a window, or has a long
        # way to go.
        filler = entry.value == 0 if design.products.zero_code else entry.filler
        useful = Signal()
        m.d.comb += useful.eq(issue & ~filler)
        with m.If(useful):
            m.d.comb += touch.eq(1 << accumulator)
        keep = Signal(2 * depth, init=-1)
        with m.If(self.released):
            m.d.comb += keep.eq(Mux(self.drain_bank, (1 << depth) - 1, ((1 << depth) - 1) << depth))
        with m.Else():
            m.d.comb += keep.eq(~0)
        m.d.sync += touched.eq((touched & keep) | touch)

        # Control pipeline, one copy for all PEs.
        x_valid, x_first, x_last, x_maximum = Signal(), Signal(), Signal(), Signal()
        x_address = Signal(width_of(design.windows * design.slots))
        x_lane = Signal(width_of(design.load_width))
        x_accumulator = Signal.like(accumulator)
        m.d.sync += [
            x_valid.eq(useful),
            x_first.eq(~touched.bit_select(accumulator, 1)),
            x_last.eq(issue & entry.last),
            x_maximum.eq(maximum),
            x_address.eq(base[window] + index.slot),
            x_lane.eq(index.lane),
            x_accumulator.eq(accumulator),
        ]
        m.submodules.decoder = decoder = Decoder(design)
        m.d.comb += decoder.code.eq(entry.value)
        if design.codebook_words:
            m.d.comb += [
                decoder.begin.eq(enter),
                decoder.codebook.eq(self.codebook),
            ]
            connect(m, flipped(self.host_codebooks), decoder.host_codebooks)
        m_valid, m_first, m_last, m_maximum = Signal(), Signal(), Signal(), Signal()
        m_weight, m_accumulator = Signal(design.products.operand_bits), Signal.like(accumulator)
        m.d.sync += [
            m_valid.eq(x_valid),
            m_first.eq(x_first),
            m_last.eq(x_last),
            m_maximum.eq(x_maximum),
            m_weight.eq(decoder.weight),
            m_accumulator.eq(x_accumulator),
        ]
        a_valid, a_first, a_last, a_maximum = Signal(), Signal(), Signal(), Signal()
        a_accumulator = Signal.like(accumulator)
        m.d.sync += [
            a_valid.eq(m_valid),
            a_first.eq(m_first),
            a_last.eq(m_last),
            a_maximum.eq(m_maximum),
            a_accumulator.eq(m_accumulator),
        ]

        finished_tiles = Signal(range(4))
        m.d.sync += finished_tiles.eq(finished_tiles + a_last - self.taken)
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
                pe.x_valid.eq(x_valid),
                pe.x_address.eq(x_address),
                pe.x_lane.eq(x_lane),
                pe.m_valid.eq(m_valid),
                pe.m_weight.eq(m_weight),
                pe.a_valid.eq(a_valid),
                pe.a_first.eq(a_first),
                pe.a_maximum.eq(a_maximum),
                pe.a_address.eq(a_accumulator),
                pe.drain_address.eq(drain_address),
            ]
            columns.append(pe)
        for index in range(design.accumulators_per_step):
            values = Array(pe.values[index] for pe in columns)
            with m.If(touched.bit_select(drain_address + index, 1)):
                m.d.comb += self.values[index].eq(values[self.drain_column])
        return m
