"""The multicasting loader: reads each word of a tile's input region once and hands it to every column that needs it."""

from __future__ import annotations

import enum
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from skipstone.hw import timing
from skipstone.hw.design import ALL_TILES_FREE, FREE_TILES_BITS, Design
from skipstone.hw.fields import width_of
from skipstone.hw.host_memory import HostMemory, HostPort
from skipstone.hw.pe import load_layout


class Capture(wiring.Component):
    """Decides where one column puts a word: ``slot = address + tap_y[dy - origin_y] + tap_x[dx - origin_x]``.

    The column needs the word if both distances are 0 to ``reach - 1`` and both taps exist. ``origin`` is the column's output
    pixel times the stride.

    Latency: ``LATENCY`` cycles from ``dy`` and ``dx`` to ``load``. Throughput: one word a cycle, never refused.

    Args:
        design: the array's parameters.
        col: the column.

    Members:
        layer_config: In(descriptor). The layer; its origins settle in the layer's setup cycle.
        valid: In(1). There is a word.
        dy, dx: In. The word's place, from the first tap of the first column's pixel.
        address: In. The first slot of its channel group in its window, counted over all windows.
        load: Out(load_layout). Where the column puts the word, and whether it does.
    """

    LATENCY = 2

    def __init__(self, design: Design, col: int) -> None:
        self.design = design
        self.col = col
        super().__init__(
            {
                "layer_config": In(design.descriptor.layout()),
                "valid": In(1),
                "dy": In(design.region_bits),
                "dx": In(design.region_bits),
                "address": In(width_of(design.windows * design.slots)),
                "load": Out(load_layout(design)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design, config = self.design, self.layer_config
        places = {
            "y": [self.col // tile_w for _, tile_w in design.tile_shapes],
            "x": [self.col % tile_w for _, tile_w in design.tile_shapes],
        }
        origins = {}
        for axis, pixels in places.items():
            choices = Array(config[f"stride_{axis}"] * pixel for pixel in pixels)
            origins[axis] = Signal(design.region_bits, name=f"origin_{axis}")
            # Constant during a layer: it settles in the layer's setup cycle.
            m.d.sync += origins[axis].eq(choices[config.tile_shape])

        valid1 = Signal()
        address1 = Signal.like(self.address)
        m.d.sync += [valid1.eq(self.valid), address1.eq(self.address)]
        hits, parts = [], []
        for axis, position in (("y", self.dy), ("x", self.dx)):
            distance = Signal(signed(design.region_bits + 1), name=f"distance_{axis}")
            m.d.sync += distance.eq(position - origins[axis])
            index = Signal(width_of(design.reach), name=f"index_{axis}")
            m.d.comb += index.eq(distance)
            taps = Array(config[f"tap_{axis}{i}"] for i in range(design.reach))
            exists = Array(config[f"tap_{axis}{i}_valid"] for i in range(design.reach))
            hits.append((distance >= 0) & (distance < design.reach) & exists[index])
            parts.append(taps[index])
        m.d.sync += [
            self.load.enable.eq(valid1 & hits[0] & hits[1]),
            self.load.address.eq(address1 + parts[0] + parts[1]),
        ]
        return m


class Begins(enum.Enum):
    """What the next word of the load list begins."""

    TILE = 0b00
    WINDOW = 0b01
    NOTHING = 0b11


class Loader(wiring.Component):
    """Walks the load list of a tile, for every tile of every pass, and multicasts its words to the columns' windows.

    The list of a pass is replayed for each of its tiles; the next pass's follows behind it. Words outside the image become
    ``pad_value`` and cost the same cycle.

    Latency: a list entry taken in cycle u is read from activation memory in u + 1, arrives in u + 2 and is written into the
    windows at the end of u + 3; a row may issue an entry that reads it in u + ``LATENCY``. Throughput: one word a cycle.
    Back-pressure: the first word of a window waits for ``may_begin``. While the loader is ``ahead`` of the drain, the first
    word of a tile waits until the drain has written ``layer_config.wait_tiles`` tiles of its layer, and from the layer's tile
    ``layer_config.free_tiles`` on until the loader is no longer ahead. Every window is waited for by some row, so that a layer
    cannot end while the loader still works for it.

    Args:
        design: the array's parameters.

    Members:
        begin_layer: In(1). The layer of ``layer_config`` begins; its first word may be taken in the next cycle.
        restart: In(1). The list is read from the start of its memory again.
        layer_config: In(descriptor). The layer of the last ``begin_layer``.
        may_begin: In(1). Every row has a free window.
        ahead: In(1). The drain has not finished the layer before.
        tiles_written: In. Tiles that the drain has written of its layer.
        loading: Out(1). There are words left to take in this layer.
        begun: Out(1). The first word of a window is taken in this cycle.
        done: Out(1). A row may issue entries of one more window from the next cycle on.
        read_address: Out(address). The word that is read.
        read_word: In(activation word). That word, one cycle later.
        load: Out(cols x load_layout). Where each column puts ``load_word``, and whether it does.
        load_word: Out(activation word). The word for all columns.
        host_lists: In(HostPort). The load lists.
    """

    LATENCY = timing.LOAD_LATENCY

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(
            {
                "begin_layer": In(1),
                "restart": In(1),
                "layer_config": In(design.descriptor.layout()),
                "may_begin": In(1),
                "ahead": In(1),
                "tiles_written": In(design.descriptor.width_of("wait_tiles")),
                "loading": Out(1),
                "begun": Out(1),
                "done": Out(1),
                "read_address": Out(design.address_bits),
                "read_word": In(design.activation_word_bits),
                "load": Out(data.ArrayLayout(load_layout(design), design.cols)),
                "load_word": Out(design.activation_word_bits),
                "host_lists": In(HostPort(design.load_entries, design.load_entry.width)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design, config = self.design, self.layer_config

        m.submodules.lists = lists = HostMemory(design.load_entries, design.load_entry.width)
        connect(m, flipped(self.host_lists), lists.host)
        entry = data.View(design.load_entry.layout(), lists.word)
        pointer = Signal(width_of(design.load_entries))
        list_start = Signal(width_of(design.load_entries))
        next_pointer = Signal(width_of(design.load_entries))
        m.d.comb += [next_pointer.eq(pointer), lists.address.eq(next_pointer)]
        m.d.sync += pointer.eq(next_pointer)

        passes_left = Signal(16)
        tiles_y_left = Signal(design.dimension_bits)
        tiles_x_left = Signal(design.dimension_bits)
        y = Signal(signed(design.dimension_bits + 1))
        x = Signal(signed(design.dimension_bits + 1))
        tile_address = Signal(design.address_bits)
        row_address = Signal(design.address_bits)

        # Whether the next word is taken in this cycle.
        take = Signal()
        begins = Signal(Begins)
        first_tiles_written = Signal()
        free_tiles_left = Signal(FREE_TILES_BITS)
        tile_ready = ~self.ahead | (first_tiles_written & (free_tiles_left != 0))
        m.d.sync += first_tiles_written.eq(self.tiles_written >= config.wait_tiles)
        with m.Switch(begins):
            with m.Case(Begins.TILE):
                m.d.comb += take.eq(self.loading & self.may_begin & tile_ready)
            with m.Case(Begins.WINDOW):
                m.d.comb += take.eq(self.loading & self.may_begin)
            with m.Default():
                m.d.comb += take.eq(self.loading)
        m.d.comb += self.begun.eq(take & (begins != Begins.NOTHING))
        with m.If(take):
            with m.If(entry.last_of_tile):
                m.d.sync += begins.eq(Begins.TILE)
            with m.Elif(entry.last_of_window):
                m.d.sync += begins.eq(Begins.WINDOW)
            with m.Else():
                m.d.sync += begins.eq(Begins.NOTHING)
            with m.If((begins == Begins.TILE) & (free_tiles_left != 0) & (free_tiles_left != ALL_TILES_FREE)):
                m.d.sync += free_tiles_left.eq(free_tiles_left - 1)

        # Where the loader stands: layer > pass > tile > entry of the list.
        to_first_tile = [
            tiles_y_left.eq(config.tiles_y),
            tiles_x_left.eq(config.tiles_x),
            y.eq(config.origin_y),
            x.eq(config.origin_x),
            tile_address.eq(config.origin),
            row_address.eq(config.origin),
        ]
        with m.If(self.restart):
            m.d.comb += next_pointer.eq(0)
            m.d.sync += list_start.eq(0)
        with m.Elif(take):
            m.d.comb += next_pointer.eq(pointer + 1)
            with m.If(entry.last_of_tile):
                with m.If((tiles_x_left == 0) & (tiles_y_left == 0)):
                    m.d.sync += [list_start.eq(pointer + 1), passes_left.eq(passes_left - 1), *to_first_tile]
                    with m.If(passes_left == 0):
                        m.d.sync += self.loading.eq(0)
                with m.Else():
                    m.d.comb += next_pointer.eq(list_start)
                    with m.If(tiles_x_left == 0):
                        m.d.sync += [
                            tiles_x_left.eq(config.tiles_x),
                            tiles_y_left.eq(tiles_y_left - 1),
                            x.eq(config.origin_x),
                            y.eq(y + config.tile_step_y),
                            row_address.eq(row_address + config.tile_address_step_y),
                            tile_address.eq(row_address + config.tile_address_step_y),
                        ]
                    with m.Else():
                        m.d.sync += [
                            tiles_x_left.eq(tiles_x_left - 1),
                            x.eq(x + config.tile_step_x),
                            tile_address.eq(tile_address + config.tile_address_step_x),
                        ]
        with m.If(self.begin_layer):
            m.d.sync += [
                self.loading.eq(1),
                passes_left.eq(config.passes),
                free_tiles_left.eq(config.free_tiles),
                *to_first_tile,
            ]

        # Stage 1: address and position. The window turns with its last word.
        window = Signal(range(design.windows))
        with m.If(take & entry.last_of_window):
            m.d.sync += window.eq(Mux(window == design.windows - 1, 0, window + 1))
        base = Array(Const(i * design.slots) for i in range(design.windows))
        taken1 = Signal()
        last1 = Signal()
        dy1 = Signal(design.region_bits)
        dx1 = Signal(design.region_bits)
        y1, x1 = (Signal(signed(design.dimension_bits + 2), name=name) for name in ("y1", "x1"))
        address1 = Signal(width_of(design.windows * design.slots))
        m.d.sync += [
            taken1.eq(take),
            last1.eq(take & entry.last_of_window),
            dy1.eq(entry.dy),
            dx1.eq(entry.dx),
            y1.eq(y + entry.y),
            x1.eq(x + entry.x),
            self.read_address.eq(tile_address + entry.offset),
            address1.eq(base[window] + entry.slot),
        ]

        # Stage 2: the word arrives; outside the image it is replaced.
        inside2 = Signal()
        m.d.sync += [
            inside2.eq((y1 >= 0) & (y1 < config.height) & (x1 >= 0) & (x1 < config.width)),
            self.done.eq(last1),
        ]
        pad = Cat(config.pad_value for _ in range(design.load_width))
        m.d.sync += self.load_word.eq(Mux(inside2, self.read_word, pad))

        for col in range(design.cols):
            capture = Capture(design, col)
            m.submodules[f"capture{col}"] = capture
            m.d.comb += [
                capture.layer_config.eq(config),
                capture.valid.eq(taken1),
                capture.dy.eq(dy1),
                capture.dx.eq(dx1),
                capture.address.eq(address1),
                self.load[col].eq(capture.load),
            ]
        return m
