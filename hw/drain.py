"""The drain: takes a finished tile's accumulators, pixel by pixel, through the requantizers to activation memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from skipstone.hw.host_memory import HostMemory, HostPort
from skipstone.hw.requantizer import Requantizer


class Walker(wiring.Component):
    """Addresses of a tensor's pixels, in the order in which the drain comes to them: a tile row by row, tiles row by row.

    Latency: 1 cycle from a move to the ``pixel`` it leads to. Throughput: one move a cycle, never refused. Where several moves
    come together, the outermost wins: ``first``, ``next_tile_row``, ``next_tile``, ``next_row``, ``next_pixel``.

    Args:
        design: the array's parameters.

    Members:
        base: In(address). The tensor's first word.
        pixel_step, row_step, tile_step_y, tile_step_x: In(address). From a pixel to the next, from a row to the next, from a
            tile to the one below and to the one at its right; modulo the address space.
        next_pixel: In(1). To the right, in the tile's row.
        next_row: In(1). To the first pixel of the tile's next row.
        next_tile: In(1). To the first pixel of the tile at the right.
        next_tile_row: In(1). To the first pixel of the leftmost of the tiles below.
        first: In(1). To the first pixel of the first tile.
        pixel: Out(address). The first word of the present pixel.
    """

    LATENCY = 1

    STEPS = ("pixel_step", "row_step", "tile_step_y", "tile_step_x")
    MOVES = ("next_pixel", "next_row", "next_tile", "next_tile_row", "first")

    def __init__(self, design: Design) -> None:
        address = design.address_bits
        super().__init__(
            {"base": In(address), "pixel": Out(address)}
            | dict.fromkeys(self.STEPS, In(address))
            | dict.fromkeys(self.MOVES, In(1))
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        row = Signal.like(self.pixel)
        tile = Signal.like(self.pixel)
        tile_row = Signal.like(self.pixel)
        with m.If(self.first):
            m.d.sync += [level.eq(self.base) for level in (self.pixel, row, tile, tile_row)]
        with m.Elif(self.next_tile_row):
            below = tile_row + self.tile_step_y
            m.d.sync += [level.eq(below) for level in (self.pixel, row, tile, tile_row)]
        with m.Elif(self.next_tile):
            beside = tile + self.tile_step_x
            m.d.sync += [level.eq(beside) for level in (self.pixel, row, tile)]
        with m.Elif(self.next_row):
            m.d.sync += [level.eq(row + self.row_step) for level in (self.pixel, row)]
        with m.Elif(self.next_pixel):
            m.d.sync += self.pixel.eq(self.pixel + self.pixel_step)
        return m


class Drain(wiring.Component):
    """Requantizes every pixel of a finished tile that lies in the output image and writes it to activation memory.

    A step takes ``requantizer_lanes`` channels of one pixel: ``write_block = requantize(values, parameters, other_word)``.
    Steps of a pixel follow each other, then the tile's pixels row by row, tiles row by row, passes.

    Latency: a step in cycle d reads the accumulators in d, the parameters and the other tensor's word in d + 1, and is written
    at the end of cycle d + ``LATENCY``; its accumulators are free one cycle after the tile's last step. Throughput: one step a
    cycle, tiles back to back. Back-pressure: a tile waits for ``finished``; nothing refuses a write.

    Args:
        design: the array's parameters.

    Members:
        begin_layer: In(1). The layer of ``layer_config`` begins; its first tile may be taken in this cycle.
        restart: In(1). The parameters are read from the start of their memory again.
        layer_config: In(descriptor). The layer of the last ``begin_layer``; no tile of the next layer is taken before the
            next one.
        finished: In(1). Every row has finished the next tile.
        taken: Out(1). The next tile is taken; its first step is in the next cycle.
        released: Out(1). In the last step of a tile.
        bank: Out(1). The bank of the present tile.
        accumulator: Out. The first accumulator of the present step.
        column: Out. The column that computed the present pixel.
        values: In(rows x accumulators_per_step). The accumulators of this step.
        other_address: Out(address). The word of the tensor that is added.
        other_word: In(activation word). That word, one cycle later.
        write_enable: Out. One bit for each block of ``requantizer_lanes`` activations of the word.
        write_address: Out(address). The word to write.
        write_block: Out. The results, for the block that is written.
        layer_done: Out(1). The layer's last result is written in this cycle.
        tiles_written: Out. Tiles of the layer whose last result is written.
        host_parameters: In(HostPort). The requantization words, ``requantizer_lanes`` channels each.
        host_tables: In(HostPort), in designs with tables. The tables of all lanes at once.
    """

    LATENCY = timing.REQUANTIZER_LATENCY

    def __init__(self, design: Design) -> None:
        assert timing.REQUANTIZER_LATENCY == 1 + Requantizer.LATENCY
        self.design = design
        self.lanes = design.requantizer_lanes
        self.blocks = design.load_width // self.lanes
        tables = {"host_tables": In(HostPort(design.table_words, design.activation_bits))}
        super().__init__(
            {
                "begin_layer": In(1),
                "restart": In(1),
                "layer_config": In(design.descriptor.layout()),
                "finished": In(1),
                "taken": Out(1),
                "released": Out(1),
                "bank": Out(1),
                "accumulator": Out(width_of(design.bank_depth)),
                "column": Out(width_of(design.cols)),
                "values": In(
                    data.ArrayLayout(
                        data.ArrayLayout(signed(design.accumulator_bits), design.accumulators_per_step), design.rows
                    )
                ),
                "other_address": Out(design.address_bits),
                "other_word": In(design.activation_word_bits),
                "write_enable": Out(self.blocks),
                "write_address": Out(design.address_bits),
                "write_block": Out(self.lanes * design.activation_bits),
                "layer_done": Out(1),
                "tiles_written": Out(design.descriptor.width_of("wait_tiles")),
                "host_parameters": In(HostPort(design.parameter_words, design.parameter.width * self.lanes)),
                **(tables if design.tables else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design, config = self.design, self.layer_config
        lanes, blocks = self.lanes, self.blocks
        pixel_bits = design.dimension_bits

        m.submodules.parameters = parameters = HostMemory(design.parameter_words, design.parameter.width * lanes)
        connect(m, flipped(self.host_parameters), parameters.host)

        # Where the drain stands: layer > pass > tile > pixel > step.
        passes_left = Signal(16)
        tiles_y_left = Signal(pixel_bits)
        tiles_x_left = Signal(pixel_bits)
        rows_left = Signal(pixel_bits)
        columns_left = Signal(pixel_bits)
        ty = Signal(width_of(design.cols))
        tx = Signal(width_of(design.cols))
        column_row = Signal(width_of(design.cols))
        step = Signal(16)
        part = Signal(width_of(design.steps_per_accumulator))
        accumulator = Signal(width_of(design.bank_depth))
        word = Signal(design.address_bits)
        pass_word = Signal(design.address_bits)
        block = Signal(width_of(blocks))
        pass_block = Signal(width_of(blocks))
        parameter_address = Signal(width_of(design.parameter_words))
        pass_parameter = Signal(width_of(design.parameter_words))

        stepping = Signal()
        last_step = step == config.steps
        last_x = (tx == config.tile_w) | (tx + 1 == columns_left)
        last_y = (ty == config.tile_h) | (ty + 1 == rows_left)
        tile_end = Signal()
        layer_end = Signal()
        m.d.comb += [
            tile_end.eq(stepping & last_step & last_x & last_y),
            layer_end.eq(tile_end & (tiles_x_left == 0) & (tiles_y_left == 0) & (passes_left == 0)),
            self.released.eq(tile_end),
            self.column.eq(column_row + tx),
            self.accumulator.eq(accumulator),
        ]
        may_take = Signal()
        m.d.comb += self.taken.eq(may_take & self.finished)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += may_take.eq(self.begin_layer)
                with m.If(self.taken):
                    m.next = "DRAIN_TILE"
                with m.Elif(self.begin_layer):
                    m.next = "WAIT_FOR_TILE"
            with m.State("WAIT_FOR_TILE"):
                m.d.comb += may_take.eq(1)
                with m.If(self.taken):
                    m.next = "DRAIN_TILE"
            with m.State("DRAIN_TILE"):
                m.d.comb += [stepping.eq(1), may_take.eq(tile_end & ~layer_end)]
                with m.If(layer_end):
                    m.next = "IDLE"
                with m.Elif(tile_end & ~self.finished):
                    m.next = "WAIT_FOR_TILE"

        walkers = {}
        for name in ("out", "other"):
            m.submodules[f"{name}_walker"] = walkers[name] = walker = Walker(design)
            m.d.comb += [walker.base.eq(config[f"{name}_base"]), walker.first.eq(self.begin_layer)]
            m.d.comb += [getattr(walker, step).eq(config[f"{name}_{step}"]) for step in walker.STEPS]

        def move(name: str) -> list[Any]:
            """Both walkers move."""
            return [getattr(walker, name).eq(1) for walker in walkers.values()]

        next_word = Signal.like(word)
        next_block = Signal.like(block)
        with m.If(block == blocks - 1):
            m.d.comb += [next_block.eq(0), next_word.eq(word + 1)]
        with m.Else():
            m.d.comb += [next_block.eq(block + 1), next_word.eq(word)]

        to_first_pixel = [ty.eq(0), tx.eq(0), column_row.eq(0)]
        to_first_tile = [
            tiles_y_left.eq(config.tiles_y),
            tiles_x_left.eq(config.tiles_x),
            rows_left.eq(config.out_height),
            columns_left.eq(config.out_width),
        ]
        with m.If(stepping):
            m.d.sync += [
                parameter_address.eq(parameter_address + 1),
                step.eq(step + 1),
                word.eq(next_word),
                block.eq(next_block),
                part.eq(part + 1),
            ]
            with m.If(part == design.steps_per_accumulator - 1):
                m.d.sync += [part.eq(0), accumulator.eq(accumulator + design.accumulators_per_step)]
            with m.If(last_step):
                m.d.sync += [
                    parameter_address.eq(pass_parameter),
                    step.eq(0),
                    part.eq(0),
                    accumulator.eq(0),
                    word.eq(pass_word),
                    block.eq(pass_block),
                ]
                m.d.sync += tx.eq(tx + 1)
                m.d.comb += move("next_pixel")
                with m.If(last_x):
                    m.d.comb += move("next_row")
                    m.d.sync += [
                        tx.eq(0),
                        ty.eq(ty + 1),
                        column_row.eq(column_row + config.tile_w + 1),
                    ]
            with m.If(tile_end):
                m.d.sync += [self.bank.eq(~self.bank), *to_first_pixel]
                with m.If(tiles_x_left != 0):
                    m.d.comb += move("next_tile")
                    m.d.sync += [
                        tiles_x_left.eq(tiles_x_left - 1),
                        columns_left.eq(columns_left - config.tile_w - 1),
                    ]
                with m.Elif(tiles_y_left != 0):
                    m.d.comb += move("next_tile_row")
                    m.d.sync += [
                        tiles_x_left.eq(config.tiles_x),
                        tiles_y_left.eq(tiles_y_left - 1),
                        columns_left.eq(config.out_width),
                        rows_left.eq(rows_left - config.tile_h - 1),
                    ]
                with m.Else():
                    # The next pass: its channels lie behind those of this one.
                    m.d.comb += move("first")
                    m.d.sync += [
                        parameter_address.eq(parameter_address + 1),
                        passes_left.eq(passes_left - 1),
                        pass_parameter.eq(parameter_address + 1),
                        pass_word.eq(next_word),
                        pass_block.eq(next_block),
                        word.eq(next_word),
                        block.eq(next_block),
                        *to_first_tile,
                    ]
        with m.If(self.restart):
            m.d.sync += [parameter_address.eq(0), pass_parameter.eq(0)]
        with m.If(self.begin_layer):
            m.d.sync += [
                passes_left.eq(config.passes),
                step.eq(0),
                part.eq(0),
                accumulator.eq(0),
                word.eq(0),
                block.eq(0),
                pass_word.eq(0),
                pass_block.eq(0),
                *to_first_pixel,
                *to_first_tile,
            ]

        # The parameter word of the step in cycle d stands on the port in d + 1, together with the registered
        # accumulators.
        m.d.comb += parameters.address.eq(parameter_address)
        address = Signal(design.address_bits)
        m.d.comb += [
            address.eq(walkers["out"].pixel + word),
            self.other_address.eq(walkers["other"].pixel + word),
        ]

        selected = Signal(data.ArrayLayout(signed(design.accumulator_bits), lanes))
        for lane in range(lanes):
            if lanes >= design.rows:
                j, row = divmod(lane, design.rows)
                if j < design.accumulators_per_step:
                    m.d.sync += selected[lane].eq(self.values[row][j])
            else:
                with m.Switch(part):
                    for index in range(design.steps_per_accumulator):
                        row = index * lanes + lane
                        if row < design.rows:
                            with m.Case(index):
                                m.d.sync += selected[lane].eq(self.values[row][0])
        block1 = Signal.like(block)
        m.d.sync += block1.eq(block)
        other = Signal(lanes * design.activation_bits)
        m.d.comb += other.eq(self.other_word.word_select(block1, lanes * design.activation_bits))

        results = []
        for lane in range(lanes):
            requantizer = Requantizer(design)
            m.submodules[f"requantizer{lane}"] = requantizer
            m.d.comb += [
                requantizer.accumulator.eq(selected[lane]),
                requantizer.constants.eq(parameters.word.word_select(lane, design.parameter.width)),
                requantizer.other.eq(other.word_select(lane, design.activation_bits).as_signed()),
                requantizer.add_other.eq(config.add_other),
                requantizer.other_zero_point.eq(config.other_zero_point),
            ]
            if design.tables:
                connect(m, flipped(self.host_tables), requantizer.host_tables)
            results.append(requantizer.q)

        # What a step is and where its result goes travels beside it.
        travelling = data.StructLayout(
            {"valid": 1, "last": 1, "tile_end": 1, "address": design.address_bits, "block": width_of(blocks)}
        )
        stages = [Signal(travelling, name=f"stage{index}") for index in range(self.LATENCY + 1)]
        m.d.comb += [
            stages[0].valid.eq(stepping),
            stages[0].last.eq(layer_end),
            stages[0].tile_end.eq(tile_end),
            stages[0].address.eq(address),
            stages[0].block.eq(block),
        ]
        m.d.sync += [after.eq(before) for before, after in pairwise(stages)]
        written = stages[-1]
        m.d.comb += [
            self.write_address.eq(written.address),
            self.write_enable.eq(Mux(written.valid, 1 << written.block, 0)),
            self.write_block.eq(Cat(*results)),
            self.layer_done.eq(written.last),
        ]
        with m.If(self.begin_layer):
            m.d.sync += self.tiles_written.eq(0)
        with m.Elif(written.tile_end):
            m.d.sync += self.tiles_written.eq(self.tiles_written + 1)
        return m
