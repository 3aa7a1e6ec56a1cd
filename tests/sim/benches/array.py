"""The whole array's bench, for one program that is worked out by hand; only ports are touched.

The network has two layers and two channels. The input is one row of four pixels; the first layer is a 1x1 convolution,
the second takes the maximum of neighbouring pixels with stride 2::

    input    channel 0:  1  2  3  4        weights  channel 0:  1  2
             channel 1:  5 -6  7 -8                 channel 1:  3 -1

    sums     channel 0:  1+10= 11,  2-12=-10,  3+14= 17,  4-16=-12
             channel 1:  3- 5= -2,  6+ 6= 12,  9- 7=  2, 12+ 8= 20

    layer 1  channel 0: (sum + 1) * 1 / 2 + 3, halves upward:  6+3=9, -4.5->-4+3=-1, 9+3=12, -5.5->-5+3=-2
             channel 1: (sum - 2) * 3 / 4 + 3:  -3+3=0, 7.5->8+3=11, 0+3=3, 13.5->14+3=17 -> clamped to 15

    layer 2  channel 0: max( 9, -1) =  9, max(12, -2) = 12
             channel 1: max( 0, 11) = 11, max( 3, 15) = 15

Row 0 computes channel 0 and row 1 channel 1; every further row and lane has nothing to do and its outputs are
``requantize(0)`` with all constants 0: 0. Tiles are one pixel high and ``cols`` pixels wide, so a third column makes
tiles that hang over the image.

The cycles follow from the latencies of ``skipstone.hw.timing``, ``_cycles`` adds them up for this program.
"""

import cocotb

from skipstone.hw import timing
from skipstone.hw.array import SELECT_ACTIVATIONS, SELECT_DESCRIPTORS, SELECT_LOADS, SELECT_PARAMETERS, SELECT_WEIGHTS
from skipstone.hw.design import Design
from tests.sim.benches.ports import Ports, design_of_bench, field, signed

INPUTS = ("start", "host_select", "host_address", "host_data", "host_write")
INPUT = ((1, 5), (2, -6), (3, 7), (4, -8))
MIDDLE = ((9, 0), (-1, 11), (12, 3), (-2, 15))
OUTPUT = ((9, 11), (12, 15))
INPUT_BASE, MIDDLE_BASE, OUTPUT_BASE = 3, 10, 20
ROWS_USED = 2


class Program:
    """The memories' words, field by field as the documents of ``Design`` say."""

    def __init__(self, design: Design, pause: bool) -> None:
        """``pause``: the array stops after the first layer."""
        self.design = design
        self.pause = pause
        # The bench's placement needs both channels in one word, drained in one step for each accumulator.
        assert design.rows >= ROWS_USED
        assert design.load_width == design.requantizer_lanes >= design.rows
        assert design.slots >= 2
        assert design.reach >= 2

    def tiles(self, pixels: int) -> int:
        return -(-pixels // self.design.cols)

    def weights(self) -> list[list[int]]:
        """Layer 1 reads both lanes of slot 0. Layer 2 reads the row's own lane of slots 0 and 1."""

        def entry(value: int, slot: int, lane: int, last: int) -> int:
            return self.design.weight_entry.pack(
                {"value": value, "slot": slot, "lane": lane, "accumulator": 0, "leave": last, "last": last}
            )

        used = [
            [entry(first, 0, 0, 0), entry(second, 0, 1, 1), entry(1, 0, row, 0), entry(1, 1, row, 1)]
            for row, (first, second) in enumerate(((1, 2), (3, -1)))
        ]
        # A row without a nonzero passes the time with one filler for each tile.
        idle = [entry(0, 0, 0, 1), entry(0, 0, 0, 1)]
        return used + [idle] * (self.design.rows - ROWS_USED)

    def loads(self) -> list[int]:
        """Layer 1: the pixel of each column, with one tap. Layer 2: two pixels for each column, with two taps."""
        words = []
        for count in (self.design.cols, 2 * self.design.cols):
            for x in range(count):
                last = int(x == count - 1)
                words.append(
                    self.design.load_entry.pack(
                        {
                            "y": 0,
                            "x": x,
                            "dy": 0,
                            "dx": x,
                            "offset": x,
                            "slot": 0,
                            "last_of_window": last,
                            "last_of_tile": last,
                        }
                    )
                )
        return words

    def parameters(self) -> list[int]:
        """One word for each layer: its lanes are the rows."""
        words = []
        names = ("bias", "multiplier", "shift", "other_multiplier", "zero_point", "low", "high")
        for constants in (((1, 1, 1, 0, 3, -8, 15), (-2, 3, 2, 0, 3, -8, 15)), ((0, 2, 1, 0, 0, -16, 15),) * 2):
            word = 0
            for lane in reversed(range(self.design.requantizer_lanes)):
                values = dict(zip(names, constants[lane] if lane < ROWS_USED else (0,) * 7, strict=True))
                word = word << self.design.parameter.width | self.design.parameter.pack(values)
            words.append(word)
        return words

    def descriptors(self) -> list[int]:
        cols = self.design.cols
        shape = self.design.tile_shapes.index((1, cols))
        layers = (
            (len(INPUT), len(INPUT), 1, INPUT_BASE, MIDDLE_BASE, {}),
            (len(INPUT), len(OUTPUT), 2, MIDDLE_BASE, OUTPUT_BASE, {"maximum": 1}),
        )
        words = []
        for index, (width, out_width, stride, base, out_base, more) in enumerate(layers):
            tiles = self.tiles(out_width)
            values = dict.fromkeys((field.name for field in self.design.descriptor.fields), 0) | {
                "last_layer": index,
                "pause": int(self.pause and index == 0),
                "tile_shape": shape,
                "tile_w": cols - 1,
                "tiles_x": tiles - 1,
                "tiles": tiles - 1,
                "stride_y": 1,
                "stride_x": stride,
                "height": 1,
                "width": width,
                "origin": base,
                "tile_step_x": stride * cols,
                "tile_address_step_x": stride * cols,
                "tap_y0_valid": 1,
                **{f"tap_x{tap}": tap for tap in range(stride)},
                **{f"tap_x{tap}_valid": 1 for tap in range(stride)},
                "out_height": 1,
                "out_width": out_width,
                "out_base": out_base,
                "out_pixel_step": 1,
                "out_tile_step_x": cols,
                **more,
            }
            words.append(self.design.descriptor.pack(values))
        return words

    def images(self) -> list[tuple[int, list[int]]]:
        images = [
            (SELECT_LOADS, self.loads()),
            (SELECT_PARAMETERS, self.parameters()),
            (SELECT_DESCRIPTORS, self.descriptors()),
        ]
        return images + [(SELECT_WEIGHTS + row, words) for row, words in enumerate(self.weights())]


class Model:
    """The words the two layers leave in memory, and the cycles they take."""

    def __init__(self, design: Design, pause: bool) -> None:
        self.design = design
        self.pause = pause

    def word(self, pixel: tuple[int, ...], rest: int) -> int:
        bits = self.design.activation_bits
        lanes = [*pixel, *[rest] * (self.design.load_width - len(pixel))]
        return sum((value & ((1 << bits) - 1)) << (lane * bits) for lane, value in enumerate(lanes))

    def words(self, pixels, rest: int) -> list[int]:
        return [self.word(pixel, rest) for pixel in pixels]

    def cycles(self) -> list[int]:
        """Both layers load one window a tile; the slowest row issues two entries in it. The second one needs all that
        the first one writes, or is started by itself after a pause. With ``windows`` free windows the loader never
        waits in the few tiles there are, if loading a tile takes no less than issuing its two entries."""
        result, first_word, done = [], timing.START_LATENCY, 0
        for pixels, words in ((len(INPUT), self.design.cols), (len(OUTPUT), 2 * self.design.cols)):
            assert words >= 2
            tiles = -(-pixels // self.design.cols)
            drained = 0
            for tile in range(tiles):
                last_word = first_word + (tile + 1) * words - 1
                last_issue = last_word + timing.LOAD_LATENCY + 1
                steps = min(self.design.cols, pixels - tile * self.design.cols)
                drained = max(last_issue + timing.DRAIN_START_LATENCY, drained + 1) + steps - 1
            result.append(drained + timing.REQUANTIZER_LATENCY - done)
            done += result[-1]
            first_word = timing.START_LATENCY if self.pause else done + timing.LAYER_DONE_LATENCY
            done = 0 if self.pause else done
        return result


class Driver:
    """The host: writes and reads words, starts."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    async def cycle(self, **values: int) -> None:
        await self.ports.drive(values)
        await self.ports.next()

    async def write(self, select: int, base: int, words: list[int]) -> None:
        for address, word in enumerate(words, base):
            await self.cycle(host_select=select, host_address=address, host_data=word, host_write=1)
        await self.cycle(host_write=0)

    async def read(self, base: int, count: int) -> list[int]:
        """The word stands on the port one cycle after its address."""
        words = []
        for address in range(base, base + count):
            await self.cycle(host_select=0, host_address=address)
            words.append(self.ports.read("host_read"))
        return words


class Monitor:
    """Follows ``busy``, ``done`` and ``layer`` through a run."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.trace: list[tuple[int, int, int]] = []

    def sample(self) -> None:
        self.trace.append(tuple(self.ports.read(name) for name in ("busy", "done", "layer")))  # type: ignore[arg-type]


class Checker:
    """``trace`` begins in the cycle of ``start``, whose state is the one before the run."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def check_protocol(
        self, trace: list[tuple[int, int, int]], before: tuple[int, int, int], layers: slice = slice(None)
    ) -> None:
        cycles = self.model.cycles()[layers]
        first = range(2)[layers][0]
        assert trace[0] == before
        # ``start`` is answered one cycle later; a layer counts one cycle after its last result was written.
        expected = [(1, 0, first + index) for index, count in enumerate(cycles) for _ in range(count)]
        expected += [(0, 1, first + len(cycles))] * (len(trace) - 1 - sum(cycles))
        for now, (seen, state) in enumerate(zip(trace[1:], expected, strict=True), 1):
            assert seen == state, f"cycle {now}: (busy, done, layer) is {seen}, expected {state} of {cycles} cycles"

    def check_words(self, name: str, seen: list[int], expected: list[int]) -> None:
        bits = self.model.design.activation_bits
        lanes = range(self.model.design.load_width)

        def pixels(words: list[int]) -> list[list[int]]:
            return [[signed(field(word, lane, bits), bits) for lane in lanes] for word in words]

        assert seen == expected, f"{name}: {pixels(seen)}, expected {pixels(expected)}"


class Testbench:
    def __init__(self, dut, pause: bool = False) -> None:
        self.design = design_of_bench()
        self.ports = Ports(dut, INPUTS)
        self.driver = Driver(self.ports)
        self.program = Program(self.design, pause)
        self.model = Model(self.design, pause)
        self.checker = Checker(self.model)

    async def load(self) -> None:
        await self.ports.reset()
        for select, words in self.program.images():
            await self.driver.write(select, 0, words)
        await self.driver.write(SELECT_ACTIVATIONS, INPUT_BASE, self.model.words(INPUT, 7))

    async def run(self, before: tuple[int, int, int], disturb=None, layers: slice = slice(None)) -> None:
        """One run, of the layers up to a pause; ``disturb(cycle)`` gives port values for the cycles after ``start``."""
        monitor = Monitor(self.ports)
        cycles = sum(self.model.cycles()[layers])
        for cycle in range(cycles + 6):
            busy = 0 < cycle < cycles
            values = disturb(cycle) if disturb and busy else {"host_write": 0}
            await self.ports.drive({"start": int(cycle == 0), **values})
            monitor.sample()
            await self.ports.next()
        self.checker.check_protocol(monitor.trace, before, layers)

    async def check_results(self) -> None:
        for name, base, words in (
            ("input", INPUT_BASE, self.model.words(INPUT, 7)),
            ("layer 1", MIDDLE_BASE, self.model.words(MIDDLE, 0)),
            ("layer 2", OUTPUT_BASE, self.model.words(OUTPUT, 0)),
        ):
            self.checker.check_words(name, await self.driver.read(base, len(words)), words)

    async def forget(self) -> None:
        """Overwrites the results, so that a later run cannot pass with those of the one before."""
        await self.driver.write(SELECT_ACTIVATIONS, MIDDLE_BASE, [0] * len(MIDDLE))
        await self.driver.write(SELECT_ACTIVATIONS, OUTPUT_BASE, [0] * len(OUTPUT))


@cocotb.test()
async def memory(dut) -> None:
    """Activation words written over the host port read back, at both ends of the memory; other memories' writes don't
    touch them."""
    bench = Testbench(dut)
    await bench.ports.reset()
    design = bench.design
    top = (1 << design.activation_word_bits) - 1
    # Alternating bits, all ones, zero, and a word that differs in each lane.
    words = [top // 3, top, 0, bench.model.words(INPUT, 7)[1]]
    for base in (0, design.activation_words - len(words)):
        await bench.driver.write(SELECT_ACTIVATIONS, base, words)
    for select in range(1, SELECT_WEIGHTS + design.rows):
        await bench.driver.write(select, 0, [top // 5])
    for base in (0, design.activation_words - len(words)):
        bench.checker.check_words("memory", await bench.driver.read(base, len(words)), words)


@cocotb.test()
async def hand_made_program(dut) -> None:
    """The results and the cycles are those of this file's docstring; a second run in a row gives the same."""
    bench = Testbench(dut)
    await bench.load()
    await bench.run(before=(0, 0, 0))
    await bench.check_results()
    await bench.forget()
    await bench.run(before=(0, 1, 2))
    await bench.check_results()


@cocotb.test()
async def start_while_busy(dut) -> None:
    """``start`` in every single cycle of a run changes neither its cycles nor its results."""
    bench = Testbench(dut)
    await bench.load()
    await bench.run(before=(0, 0, 0), disturb=lambda cycle: {"start": 1})
    await bench.check_results()


@cocotb.test()
async def host_writes_while_busy(dut) -> None:
    """Garbage written to every memory in every cycle of a run is ignored: this run and the next are exact."""
    bench = Testbench(dut)
    await bench.load()
    selects = SELECT_WEIGHTS + bench.design.rows
    garbage = (1 << bench.ports.inputs["host_data"].value.range.left + 1) // 3

    def disturb(cycle: int) -> dict[str, int]:
        address = (0, INPUT_BASE, MIDDLE_BASE, OUTPUT_BASE, 1)[cycle // selects % 5]
        return {"host_write": 1, "host_select": cycle % selects, "host_address": address, "host_data": garbage}

    await bench.run(before=(0, 0, 0), disturb=disturb)
    await bench.check_results()
    await bench.forget()
    await bench.run(before=(0, 1, 2))
    await bench.check_results()


@cocotb.test()
async def pause(dut) -> None:
    """The array stops after the first layer; the host changes what it left, and the next start goes on with the second layer
    from there. The start after that begins anew."""
    bench = Testbench(dut, pause=True)
    await bench.load()
    for before in ((0, 0, 0), (0, 1, 2)):
        await bench.run(before, layers=slice(0, 1))
        words = await bench.driver.read(MIDDLE_BASE, len(MIDDLE))
        bench.checker.check_words("layer 1", words, bench.model.words(MIDDLE, 0))
        # Two pixels change places with their neighbours, and so do the maxima.
        await bench.driver.write(SELECT_ACTIVATIONS, MIDDLE_BASE, words[2:] + words[:2])
        await bench.run((0, 1, 1), layers=slice(1, 2))
        words = await bench.driver.read(OUTPUT_BASE, len(OUTPUT))
        bench.checker.check_words("layer 2", words, bench.model.words(OUTPUT[::-1], 0))
        await bench.forget()
