"""The loader's bench: random region lists, tiles, strides and taps, against a model in closed form.

The model never walks: it computes from (pass, tile, entry) where the word lies, whether it is inside the image and which
columns take it at which slot. The bench plays the activation memory, refuses windows at random, and plays the drain that the
loader is ahead of.
"""

import random
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import cocotb
import numpy as np

from skipstone.hw import timing
from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.hw.fields import width_of
from tests.sim.benches.ports import Ports, design_of_bench, field, host_port

INPUTS = (
    "begin_layer", "restart", "layer_config", "may_begin", "ahead", "tiles_written", "read_word", *host_port("host_lists"),
)  # fmt: skip


@dataclass(frozen=True)
class Word:
    """One entry of a tile's list, in the terms of the document of ``Design.load_entry``."""

    y: int
    x: int
    dy: int
    dx: int
    offset: int
    slot: int
    last_of_window: int
    last_of_tile: int


@dataclass
class Layer:
    """One layer: the descriptor's fields and each pass's list."""

    config: dict[str, int]
    lists: list[list[Word]]
    tile: tuple[int, int]
    taps: dict[str, dict[int, int]]


@dataclass(frozen=True)
class Expected:
    """What the loader does with one word, apart from when."""

    tile: int | None
    """The number of the tile that it begins."""
    first: bool
    last: bool
    read_address: int
    inside: bool
    slots: tuple[int | None, ...]
    """For each column, the address in the windows, or None where the column does not take the word."""


class Stimulus:
    """Random layers that keep to the ranges of the descriptor: slots stay in the window, counts are small."""

    def __init__(self, design: Design, rng: random.Random) -> None:
        self.design = design
        self.rng = rng

    def layer(self, at_the_end: bool) -> Layer:
        """``at_the_end``: the image is as large as the design allows, and the tiles lie across its end."""
        design, rng = self.design, self.rng
        shape = rng.randrange(len(design.tile_shapes))
        words = 1 << design.address_bits
        dimension = design.max_dimension
        height, width = (dimension, dimension) if at_the_end else (rng.randint(1, 12), rng.randint(1, 12))
        origin = (lambda: dimension - rng.randint(0, 6)) if at_the_end else (lambda: rng.randint(-design.reach, 2))
        config = {field.name: 0 for field in design.descriptor.fields} | {
            "tile_shape": shape,
            "tiles_y": rng.randrange(3),
            "tiles_x": rng.randrange(4),
            "passes": rng.randrange(3),
            "wait_tiles": rng.randrange(5),
            "free_tiles": rng.choice((0, 1, 2, 5, ALL_TILES_FREE - 1, ALL_TILES_FREE)),
            "stride_y": rng.randint(1, design.max_stride),
            "stride_x": rng.randint(1, design.max_stride),
            "height": height,
            "width": width,
            "origin_y": origin(),
            "origin_x": origin(),
            "origin": rng.randrange(words),
            "tile_step_y": rng.randint(1, 5),
            "tile_step_x": rng.randint(1, 5),
            "tile_address_step_y": rng.randrange(words),
            "tile_address_step_x": rng.randrange(words),
            "pad_value": rng.choice((-(1 << (design.activation_bits - 1)), (1 << (design.activation_bits - 1)) - 1, 0)),
        }
        # Slots of a tap: y's part and x's part together stay below what the window holds.
        parts = {"y": rng.randint(0, design.slots - 1)}
        parts["x"] = design.slots - 1 - parts["y"]
        taps: dict[str, dict[int, int]] = {"y": {}, "x": {}}
        for axis in "yx":
            for index in range(design.reach):
                if rng.random() < 0.6:
                    taps[axis][index] = rng.randint(0, parts[axis])
                    config[f"tap_{axis}{index}"] = taps[axis][index]
                    config[f"tap_{axis}{index}_valid"] = 1
                else:
                    # No tap: the slot's part must not matter.
                    config[f"tap_{axis}{index}"] = rng.getrandbits(design.tap_bits)
        highest = sum(max(axis.values(), default=0) for axis in taps.values())
        layer = Layer(config, [], design.tile_shapes[shape], taps)
        layer.lists = [self.words(layer, design.slots - 1 - highest) for _ in range(config["passes"] + 1)]
        return layer

    def words(self, layer: Layer, highest_slot: int) -> list[Word]:
        rng, design = self.rng, self.design
        windows = [rng.choice((1, 1, 2, 4, 9)) for _ in range(rng.randint(1, 4))]
        return [
            Word(
                rng.randrange(6),
                rng.randrange(6),
                self.position(layer, "y"),
                self.position(layer, "x"),
                rng.randrange(1 << design.address_bits),
                rng.randint(0, highest_slot),
                int(index == count - 1),
                int(index == count - 1 and window == len(windows) - 1),
            )
            for window, count in enumerate(windows)
            for index in range(count)
        ]

    def position(self, layer: Layer, axis: str) -> int:
        """Mostly a tap of some column, else anything; both ends of the range are drawn often."""
        extent, taps = self.design.region_extent, layer.taps[axis]
        if taps and self.rng.random() < 0.7:
            pixel = self.rng.randrange(layer.tile[axis == "x"])
            return pixel * layer.config[f"stride_{axis}"] + self.rng.choice(sorted(taps))
        return self.rng.choice((0, extent - 1, self.rng.randrange(extent), self.rng.randrange(min(extent, 8))))


@dataclass
class Played:
    """What the bench answered in every cycle, as the rows and the drain."""

    may_begin: dict[int, int] = dataclass_field(default_factory=dict)
    ahead: dict[int, int] = dataclass_field(default_factory=dict)
    tiles_written: dict[int, int] = dataclass_field(default_factory=dict)


class Model:
    """Closed form; ``first_window`` counts the windows since the reset, since the loader uses them in turn."""

    def __init__(self, design: Design, layer: Layer, first_window: int) -> None:
        self.design = design
        self.layer = layer
        self.first_window = first_window

    def words(self) -> list[Expected]:
        config, design = self.layer.config, self.design
        result, window, tile = [], self.first_window, 0
        for words in self.layer.lists:
            for ty, tx in np.ndindex(config["tiles_y"] + 1, config["tiles_x"] + 1):
                base = config["origin"] + ty * config["tile_address_step_y"] + tx * config["tile_address_step_x"]
                first = True
                for index, word in enumerate(words):
                    y = config["origin_y"] + ty * config["tile_step_y"] + word.y
                    x = config["origin_x"] + tx * config["tile_step_x"] + word.x
                    result.append(
                        Expected(
                            tile if index == 0 else None,
                            first,
                            bool(word.last_of_window),
                            (base + word.offset) % (1 << design.address_bits),
                            0 <= y < config["height"] and 0 <= x < config["width"],
                            tuple(self.slot(word, window % design.windows, column) for column in range(design.cols)),
                        )
                    )
                    first = bool(word.last_of_window)
                    window += first
                tile += 1
        self.first_window = window
        return result

    def slot(self, word: Word, window: int, column: int) -> int | None:
        """A column takes the word if it lies on a tap of its output pixel, counted from the pixel's own origin."""
        row, col = divmod(column, self.layer.tile[1])
        tap_y = word.dy - row * self.layer.config["stride_y"]
        tap_x = word.dx - col * self.layer.config["stride_x"]
        if tap_y not in self.layer.taps["y"] or tap_x not in self.layer.taps["x"]:
            return None
        return window * self.design.slots + word.slot + self.layer.taps["y"][tap_y] + self.layer.taps["x"][tap_x]

    def takes(self, words: list[Expected], first: int, played: Played) -> list[int]:
        """The cycle of every word: one a cycle, but the first of a window only in a cycle with ``may_begin``, and the first
        of a tile only if the drain has come far enough."""
        cycles, now = [], first
        for word in words:
            while word.first and not (
                played.may_begin.get(now, 1) and (word.tile is None or self.input_ready(word.tile, now, played))
            ):
                now += 1
            cycles.append(now)
            now += 1
        return cycles

    def input_ready(self, tile: int, now: int, played: Played) -> bool:
        """A tile that is counted in the cycle after its last result is written is seen TILE_DONE_LATENCY after that."""
        if not played.ahead.get(now, 0):
            return True
        config = self.layer.config
        written = played.tiles_written[now + 1 - timing.TILE_DONE_LATENCY]
        free = config["free_tiles"]
        return written >= config["wait_tiles"] and (free == ALL_TILES_FREE or tile < free)


class Driver:
    """Plays the controller, the rows' permission, the drain ahead of which the loader is, and the activation memory with its one
    cycle of latency."""

    def __init__(self, ports: Ports, design: Design, rng: random.Random, refuse: float) -> None:
        self.ports = ports
        self.rng = rng
        self.refuse = refuse
        self.memory = [rng.getrandbits(design.activation_word_bits) for _ in range(1 << design.address_bits)]
        self.played = Played()
        self.address = 0
        self.ahead_for = 0
        self.tiles_written = 0

    def be_ahead(self, cycles: int) -> None:
        """The drain needs ``cycles`` cycles more for the layer before, of which it may have written some tiles."""
        self.ahead_for = cycles
        self.tiles_written = self.rng.randrange(3)

    async def cycle(self, begin: int = 0) -> None:
        """``read_word`` is the word at the address that stood on the port one cycle ago."""
        now, allowed = self.ports.cycle, int(self.rng.random() >= self.refuse)
        ahead = int(self.ahead_for > 0)
        self.ahead_for -= ahead
        self.tiles_written = self.tiles_written + int(self.rng.random() < 0.1) if ahead else 0
        self.played.may_begin[now] = allowed
        self.played.ahead[now] = ahead
        self.played.tiles_written[now] = self.tiles_written
        await self.ports.drive(
            {
                "begin_layer": begin,
                "may_begin": allowed,
                "ahead": ahead,
                "tiles_written": self.tiles_written,
                "read_word": self.memory[self.address],
            }
        )
        self.address = self.ports.read("read_address")


class Monitor:
    """Keeps what the ports showed in every cycle."""

    def __init__(self, ports: Ports, design: Design) -> None:
        self.ports = ports
        self.design = design
        self.begun: list[int] = []
        self.done: list[int] = []
        self.addresses: dict[int, int] = {}
        self.loads: dict[int, tuple[tuple[int | None, ...], int]] = {}

    def sample(self) -> None:
        now, ports = self.ports.cycle, self.ports
        if ports.read("begun"):
            self.begun.append(now)
        if ports.read("done"):
            self.done.append(now)
        self.addresses[now] = ports.read("read_address")
        width = 1 + width_of(self.design.windows * self.design.slots)
        parts = [field(ports.read("load"), column, width) for column in range(self.design.cols)]
        self.loads[now] = tuple(part >> 1 if part & 1 else None for part in parts), ports.read("load_word")


class Checker:
    def __init__(self, design: Design, layer: Layer, memory: list[int]) -> None:
        self.design = design
        self.layer = layer
        self.memory = memory

    def check(self, monitor: Monitor, words: list[Expected], takes: list[int]) -> int:
        """Returns the number of captures compared."""
        bits = self.design.activation_bits
        pad = sum(
            (self.layer.config["pad_value"] & ((1 << bits) - 1)) << (lane * bits)
            for lane in range(self.design.load_width)
        )
        begun = [at for at, word in zip(takes, words, strict=True) if word.first]
        assert monitor.begun == begun, f"windows begun in {monitor.begun}, expected {begun}"
        # ``done`` allows an issue one cycle later, which is LOAD_LATENCY after the take.
        done = [at + timing.LOAD_LATENCY - 1 for at, word in zip(takes, words, strict=True) if word.last]
        assert monitor.done == done, f"windows done in {monitor.done}, expected {done}"
        captures = 0
        loading = {}
        for index, (at, word) in enumerate(zip(takes, words, strict=True)):
            address = monitor.addresses[at + 1]
            assert address == word.read_address, f"word {index}: read {address}, expected {word.read_address}"
            slots, seen = monitor.loads[at + timing.LOAD_LATENCY]
            assert slots == word.slots, f"word {index} ({word}): captured at {slots}"
            expected = self.memory[word.read_address] if word.inside else pad
            if any(slot is not None for slot in slots):
                assert seen == expected, f"word {index} ({word}): loads {seen:x}, expected {expected:x}"
            captures += sum(slot is not None for slot in slots)
            loading[at + timing.LOAD_LATENCY] = True
        for now, (slots, _) in monitor.loads.items():
            assert now in loading or slots == (None,) * self.design.cols, f"cycle {now}: a load without a word"
        return captures


class Testbench:
    def __init__(self, dut, seed: int, refuse: float) -> None:
        self.rng = random.Random(seed)
        self.design = design_of_bench()
        self.ports = Ports(dut, INPUTS)
        self.stimulus = Stimulus(self.design, self.rng)
        self.driver = Driver(self.ports, self.design, self.rng, refuse)
        self.windows = 0
        self.captures = 0
        self.held_up = 0
        """Cycles that layers took longer because the loader waited for the drain."""

    async def start(self, layers: list[Layer]) -> None:
        """Resets and writes the lists of all layers and passes, one behind the other."""
        await self.ports.reset()
        words = [word for layer in layers for words in layer.lists for word in words]
        await self.ports.write_memory("host_lists", (self.design.load_entry.pack(vars(word)) for word in words))

    async def restart(self) -> None:
        for restart in (1, 0):
            await self.ports.drive({"restart": restart})
            await self.ports.next()

    async def run(self, layer: Layer, ahead_for: int = 0) -> Monitor:
        """``config`` comes with ``begin``; the first word may be taken one cycle later. The loader is ahead of the drain for
        ``ahead_for`` cycles."""
        design, ports = self.design, self.ports
        model = Model(design, layer, self.windows)
        words = model.words()
        monitor = Monitor(ports, design)
        begin = ports.cycle
        ports.values["layer_config"] = -1
        ports.inputs["layer_config"].value = design.descriptor.pack(layer.config)
        windows = sum(word.last for word in words)
        limit = begin + 20 + 3 * len(words) + 60 * windows + ahead_for
        self.driver.be_ahead(ahead_for)
        while len(monitor.done) < windows and ports.cycle < limit:
            await self.driver.cycle(begin=int(ports.cycle == begin))
            monitor.sample()
            await ports.next()
        for _ in range(8):
            await self.driver.cycle()
            monitor.sample()
            await ports.next()
        played = self.driver.played
        takes = model.takes(words, begin + 1, played)
        self.held_up += takes[-1] - model.takes(words, begin + 1, Played(played.may_begin))[-1]
        self.captures += Checker(design, layer, self.driver.memory).check(monitor, words, takes)
        self.windows = model.first_window
        return monitor


@cocotb.test()
@cocotb.parametrize(seed=[1, 2], refuse=[0.0, 0.8])
async def random_layers(dut, seed: int, refuse: float) -> None:
    """Layers one behind the other and again after a restart: the cycle, address and value of every word, and the slot in
    every column, are the model's, with and without stalls, ahead of the drain and not; half of the images are as large as the
    design allows."""
    bench = Testbench(dut, seed, refuse)
    layers = [bench.stimulus.layer(at_the_end=index % 2 == 1) for index in range(6)]
    await bench.start(layers)
    for _ in range(2):
        await bench.restart()
        for layer in layers:
            await bench.run(layer, ahead_for=bench.rng.choice((0, 10, 60, 200)))
    assert bench.captures > 500, "the random layers capture next to nothing"
    assert bench.held_up > 0, "no layer waits for the drain"


@cocotb.test()
async def many_tiles(dut) -> None:
    """More tiles than ``free_tiles`` can count, 280 of one word, 300 cycles ahead of the drain: a layer that never waits does
    not, and where as many as can be counted are free, the loader waits in tile 254."""
    bench = Testbench(dut, 6, 0.0)
    held_up = []
    for free_tiles in (ALL_TILES_FREE, ALL_TILES_FREE - 1):
        layer = bench.stimulus.layer(at_the_end=False)
        layer.config |= {"passes": 0, "tiles_y": 13, "tiles_x": 19, "wait_tiles": 0, "free_tiles": free_tiles}
        layer.lists = [[Word(0, 0, 0, 0, 0, 0, 1, 1)]]
        await (bench.start([layer]) if not held_up else bench.restart())
        await bench.run(layer, ahead_for=300)
        held_up.append(bench.held_up)
    # ``ahead`` begins with the layer's ``begin``, one cycle before the first word.
    assert held_up == [0, 300 - 1 - (ALL_TILES_FREE - 1)]


@cocotb.test()
async def latency(dut) -> None:
    """Measured on one word that every column takes: from the take (``begun``) to the load, and to the cycle after ``done``,
    LOAD_LATENCY each."""
    bench = Testbench(dut, 5, 0.0)
    layer = bench.stimulus.layer(at_the_end=False)
    layer.config |= {
        "passes": 0,
        "tiles_y": 0,
        "tiles_x": 0,
        "tap_y0": 0,
        "tap_y0_valid": 1,
        "tap_x0": 0,
        "tap_x0_valid": 1,
    }
    layer.taps["y"][0] = layer.taps["x"][0] = 0
    layer.lists = [[Word(0, 0, 0, 0, 0, 0, 1, 1)]]
    await bench.start([layer])
    await bench.restart()
    monitor = await bench.run(layer)
    (begun,), (done,) = monitor.begun, monitor.done
    first_load = min(now for now, (slots, _) in monitor.loads.items() if slots[0] is not None)
    assert first_load - begun == timing.LOAD_LATENCY
    assert done + 1 - begun == timing.LOAD_LATENCY
