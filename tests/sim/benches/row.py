"""The row's bench: random lists, tiles and passes; the bench plays the loader and the drain at random speeds, and begins a
layer while the row still works on the layer before.

Two models stand beside the RTL, both written from the documents and not from the gateware. ``IssueModel`` is the
max-plus rule of ``skipstone.mapper.timing.cycles``: from the recorded times of the loader's and the drain's events it
says in which cycle every entry issues. ``ValueModel`` sums products per tile, with windows as plain arrays that belong
to one window only.
"""

import random
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from itertools import accumulate

import cocotb

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from tests.sim.benches.ports import (
    Ports,
    design_of_bench,
    field,
    host_port,
    operand_bits,
    operand_one,
    signed,
    weight_of,
)

INPUTS = (
    "begin_layer", "tiles", "passes", "maximum", "restart", "load_begun", "load_done", "load", "load_word", "taken", "released",
    "drain_bank", "drain_accumulator", "drain_column", *host_port("host_weights"),
)  # fmt: skip
CODEBOOK_INPUTS = ("codebook", *host_port("host_codebooks"))


@dataclass(frozen=True)
class Entry:
    """One list entry in the terms of its tile: it reads window ``window`` of the tile. ``value`` is the weight's code,
    ``delta`` what stands for slot, lane and accumulator where indices are coded so."""

    window: int
    value: int
    filler: int
    slot: int
    lane: int
    accumulator: int
    leave: int
    last: int
    delta: int = 0


@dataclass
class Layer:
    """What the row runs through: each pass has a list, replayed for each tile, and its number of windows a tile."""

    passes: list[list[Entry]]
    windows: list[int]
    tiles: int
    maximum: int
    codebook: int = 0

    @property
    def all_tiles(self) -> int:
        """Over all passes."""
        return self.tiles * len(self.passes)

    @property
    def all_windows(self) -> int:
        return self.tiles * sum(self.windows)

    @property
    def all_entries(self) -> int:
        return self.tiles * sum(map(len, self.passes))


@dataclass
class Recording:
    """Cycles in which things happened, as the bench drove or saw them; ``layers``: the ``begin`` of every layer."""

    layers: list[int] = dataclass_field(default_factory=list)
    begun: list[int] = dataclass_field(default_factory=list)
    done: list[int] = dataclass_field(default_factory=list)
    released: list[int] = dataclass_field(default_factory=list)
    taken: list[int] = dataclass_field(default_factory=list)
    issued: list[int] = dataclass_field(default_factory=list)
    held: dict[int, int] = dataclass_field(default_factory=dict)
    finished: dict[int, int] = dataclass_field(default_factory=dict)


class Stimulus:
    """Random layers, legal for the design: a list begins in the tile's first window and leaves all of them."""

    def __init__(self, design: Design, rng: random.Random) -> None:
        self.design = design
        self.rng = rng

    def layer(self, tiles: int) -> Layer:
        windows = [self.rng.randint(1, 2 * self.design.windows) for _ in range(self.rng.randint(1, 3))]
        passes, codebook = [self.tile_list(count) for count in windows], self.rng.randrange(self.design.codebooks)
        return Layer(passes, windows, tiles, int(self.rng.random() < 0.3), codebook)

    def tile_list(self, windows: int) -> list[Entry]:
        rng, longest = self.rng, (1 << self.design.leave_bits) - 1
        stops = [0]
        while windows - stops[-1] > longest or (rng.random() < 0.7 and stops[-1] < windows - 1):
            stops.append(rng.randint(stops[-1] + 1, min(stops[-1] + longest, windows - 1)))
        entries = []
        for stop, next_stop in zip(stops, [*stops[1:], windows], strict=True):
            count = rng.choice((1, 1, 2, 5, 9))
            before = -1
            for index in range(count):
                drawn, before = self.entry(stop, before)
                ends = index == count - 1 or before == self.highest
                leave = next_stop - stop if ends else 0
                entries.append(replace(drawn, leave=leave, last=int(ends and next_stop == windows)))
                if ends:
                    break
        return entries

    @property
    def highest(self) -> int:
        """The highest index."""
        return (1 << self.design.weight_index.width) - 1

    def entry(self, window: int, before: int) -> tuple[Entry, int]:
        """An entry that leaves no window, and its index; ``before`` is the index before it in the window."""
        rng, design = self.rng, self.design
        slot, lane, accumulator = (
            rng.randrange(count) for count in (design.slots, design.load_width, design.accumulators)
        )
        delta, index, legal = 0, before, True
        if design.index_coding == "delta":
            delta = rng.randint(0, min((1 << design.delta_bits) - 1, self.highest - before - 1))
            index = before + delta + 1
            rest, lane = divmod(index, 1 << width_of(design.load_width))
            accumulator, slot = divmod(rest, 1 << width_of(design.slots))
            # Indices between those of activations and accumulators that exist are passed by fillers only.
            legal = lane < design.load_width and slot < design.slots and accumulator < design.accumulators
        filler = int(not legal or rng.random() < 0.15)
        return Entry(window, self.code(filler), filler, slot, lane, accumulator, 0, 0, delta), index

    def code(self, filler: int) -> int:
        """Any code; the kinds that can say 0 have no bit that marks a filler, but the code 0."""
        rng, design = self.rng, self.design
        if design.multiplier == "codebook":
            return rng.randrange(design.codebook_entries)
        bits = operand_bits(design)
        if design.multiplier == "additive":
            return 0 if filler else rng.randrange(1, 1 << bits)
        if design.multiplier != "linear":
            return rng.getrandbits(bits)
        half = 1 << (bits - 1)
        return 0 if filler else rng.choice((-half, half - 1, rng.randrange(1, half)))


class IssueModel:
    """``issue = max(previous + 1, the window's done + 1, for a tile's first entry: released(t - 2) + BANK_LATENCY)``, tiles and
    windows counted over all layers; an entry of a layer also comes after the layer's ``begin``."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers

    def issues(self, recording: Recording) -> tuple[list[int], list[int], list[int]]:
        """Issue cycle and ``leave`` of every entry, and the last issue of every tile."""
        issued, leaves, tile_ends = [], [], []
        previous, first_window = 0, 0
        for layer, begin in zip(self.layers, recording.layers, strict=True):
            previous = max(previous, begin)
            for entries, windows in zip(layer.passes, layer.windows, strict=True):
                for _ in range(layer.tiles):
                    tile = len(tile_ends)
                    bank_free = recording.released[tile - 2] + timing.BANK_LATENCY if tile >= 2 else 0
                    for index, entry in enumerate(entries):
                        # ``done`` comes ISSUE_LATENCY before the window may be used.
                        ready = recording.done[first_window + entry.window] + 1
                        previous = max(previous + 1, ready, bank_free if index == 0 else 0)
                        issued.append(previous)
                        leaves.append(entry.leave)
                    tile_ends.append(previous)
                    first_window += windows
        return issued, leaves, tile_ends


class ValueModel:
    """The accumulators of every tile, from the contents that every window had when it was complete."""

    def __init__(self, design: Design, layer: Layer, codebooks: list[list[int]]) -> None:
        self.design = design
        self.layer = layer
        self.codebooks = codebooks

    def weight(self, code: int) -> int:
        if self.design.multiplier == "codebook":
            return self.codebooks[self.layer.codebook][code]
        return weight_of(self.design, code)

    def tile(self, number: int, contents: list[list[list[int]]]) -> list[list[int]]:
        """``contents[window][column][slot]`` are words; the result is ``[column][accumulator]``, untouched ones zero."""
        design, bits = self.design, self.design.activation_bits
        p, tile = divmod(number, self.layer.tiles)
        first = sum(self.layer.windows[:p]) * self.layer.tiles + tile * self.layer.windows[p]
        result = []
        for column in range(design.cols):
            terms: dict[int, list[int]] = {}
            for entry in self.layer.passes[p]:
                if not entry.filler:
                    word = contents[first + entry.window][column][entry.slot]
                    terms.setdefault(entry.accumulator, []).append(
                        self.weight(entry.value) * signed(field(word, entry.lane, bits), bits)
                    )
            combine = max if self.layer.maximum else sum
            result.append(
                [
                    signed(combine(terms[a]), design.accumulator_bits) if a in terms else 0
                    for a in range(design.bank_depth)
                ]
            )
        return result


class LoaderDriver:
    """Plays the loader: begins a window while the row holds fewer than there are, sends its words, and tells when done.

    As in the loader, the word taken in cycle u is on the load port in u + LOAD_LATENCY and ``done`` comes one cycle before
    the port carries the window's last word.
    """

    def __init__(self, design: Design, rng: random.Random, recording: Recording, pause: float) -> None:
        self.design = design
        self.rng = rng
        self.recording = recording
        self.pause = pause
        """The share of cycles in which it hesitates to begin a window."""
        self.memory = [[0] * (design.windows * design.slots) for _ in range(design.cols)]
        self.contents: list[list[list[int]]] = []
        self.total = 0
        """Windows of the layers that are begun."""
        self.first_slot = 0
        self.words_left = 0
        self.loads: dict[int, dict[str, int]] = {}

    def cycle(self, now: int, held: int) -> dict[str, int]:
        values = {"load_begun": 0, "load_done": int(now in self.recording.done), "load": 0, "load_word": self.word()}
        if self.words_left == 0:
            may_begin = held < self.design.windows and len(self.recording.begun) < self.total
            if may_begin and self.rng.random() >= self.pause:
                self.recording.begun.append(now)
                values["load_begun"] = 1
                self.words_left = self.rng.choice((1, 1, 2, 3, 7))
        if self.words_left:
            self.words_left -= 1
            self.take(now + timing.LOAD_LATENCY)
            if self.words_left == 0:
                self.recording.done.append(now + timing.LOAD_LATENCY - 1)
                # What the window holds from now on is what its entries must read, whatever is loaded afterwards.
                slots = range(self.first_slot, self.first_slot + self.design.slots)
                self.contents.append([[column[slot] for slot in slots] for column in self.memory])
                self.first_slot = (self.first_slot + self.design.slots) % (self.design.windows * self.design.slots)
        return values | self.loads.pop(now, {})

    def take(self, at: int) -> None:
        """One word for a random part of the columns, at a random slot of the window in each."""
        word = self.word()
        load = {}
        for column in range(self.design.cols):
            if self.rng.random() < 0.7:
                address = self.first_slot + self.rng.randrange(self.design.slots)
                load[column] = address
                self.memory[column][address] = word
        self.loads[at] = {"load": self.pack(load), "load_word": word}

    def fill(self, address: int) -> dict[str, int]:
        """Before the start: one word for all columns, so that no slot is unknown."""
        word = self.word()
        for column in self.memory:
            column[address] = word
        return {"load": self.pack(dict.fromkeys(range(self.design.cols), address)), "load_word": word}

    def pack(self, addresses: dict[int, int]) -> int:
        """The load port: ``enable`` and ``address`` for each column."""
        width = 1 + width_of(self.design.windows * self.design.slots)
        return sum((1 | address << 1) << (column * width) for column, address in addresses.items())

    def word(self) -> int:
        return self.rng.getrandbits(self.design.activation_word_bits)


class DrainDriver:
    """Plays the drain: takes a finished tile, reads accumulators for a while and releases the bank with the last read."""

    def __init__(self, design: Design, rng: random.Random, recording: Recording, slow: bool) -> None:
        self.design = design
        self.rng = rng
        self.recording = recording
        self.slow = slow
        self.reads_remaining = 0
        # Banks change with every tile, over all layers and starts.
        self.bank = 1
        self.taken = False

    def cycle(self, now: int, finished: int) -> tuple[dict[str, int], tuple[int, int] | None]:
        """The ports' values, and the (column, accumulator) that is read in this cycle."""
        values = {"taken": 0, "released": 0}
        read = None
        idle = self.reads_remaining == 0
        if not idle:
            column = self.rng.randrange(self.design.cols)
            step = self.design.accumulators_per_step
            accumulator = self.rng.randrange(self.design.bank_depth // step) * step
            read = column, accumulator
            values |= {"drain_bank": self.bank, "drain_column": column, "drain_accumulator": accumulator}
            self.reads_remaining -= 1
            if self.reads_remaining == 0:
                values["released"] = 1
                self.recording.released.append(now)
                idle = True
        if idle and finished and self.rng.random() < (0.3 if self.slow else 0.9):
            values["taken"] = 1
            self.recording.taken.append(now)
            self.reads_remaining = self.rng.randint(1, 40 if self.slow else 6)
            self.taken = True
        return values, read

    def after_cycle(self) -> None:
        """The bank changes with the first step, one cycle after ``taken``."""
        if self.taken:
            self.bank, self.taken = 1 - self.bank, False


class Monitor:
    """Reads the row's outputs and its inner signal ``issue``."""

    def __init__(self, ports: Ports, design: Design) -> None:
        self.ports = ports
        self.design = design

    def held(self) -> int:
        return self.ports.read_signed("held")

    def finished(self) -> int:
        return self.ports.read("finished")

    def issue(self) -> int:
        return self.ports.read("issue")

    def values(self) -> list[int]:
        bits, values = self.design.accumulator_bits, self.ports.read("values")
        return [signed(field(values, index, bits), bits) for index in range(self.design.accumulators_per_step)]


class Checker:
    """Compares the recording of finished layers with the models."""

    def __init__(self, design: Design, layers: list[Layer], recording: Recording) -> None:
        self.design = design
        self.layers = layers
        self.recording = recording

    def check_issues(self) -> list[int]:
        """Order and cycle of all issues, then ``held`` and ``finished`` of every cycle; gives the ends of the tiles."""
        recording = self.recording
        issued, leaves, tile_ends = IssueModel(self.layers).issues(recording)
        assert recording.issued == issued, f"issued in {recording.issued}, expected {issued}"
        for now, held in recording.held.items():
            begun = sum(cycle < now for cycle in recording.begun)
            freed = sum(
                leave for cycle, leave in zip(issued, leaves, strict=True) if cycle + timing.ISSUE_LATENCY <= now
            )
            assert held == begun - freed, f"cycle {now}: held {held}, expected {begun} - {freed}"
            assert held <= self.design.windows
        for now, finished in recording.finished.items():
            waiting = sum(end + timing.PE_LATENCY <= now for end in tile_ends) - sum(t < now for t in recording.taken)
            assert finished == int(waiting > 0), f"cycle {now}: finished {finished}, but {waiting} tiles wait"
            assert waiting <= 2
        return tile_ends

    def check_values(
        self,
        reads: list[tuple[int, int, int, list[int]]],
        contents: list[list[list[int]]],
        codebooks: list[list[int]],
    ) -> None:
        """``reads`` are (tile, column, accumulator, values), tiles counted over all layers."""
        tiles_read = {tile for tile, _, _, _ in reads}
        tiles: dict[int, list[list[int]]] = {}
        first_tile, first_window = 0, 0
        for layer in self.layers:
            model = ValueModel(self.design, layer, codebooks)
            windows = contents[first_window : first_window + layer.all_windows]
            for number in range(layer.all_tiles):
                if first_tile + number in tiles_read:
                    tiles[first_tile + number] = model.tile(number, windows)
            first_tile, first_window = first_tile + layer.all_tiles, first_window + layer.all_windows
        for tile, column, accumulator, seen in reads:
            expected = tiles[tile][column][accumulator : accumulator + len(seen)]
            assert seen == expected, f"tile {tile}, column {column}, from {accumulator}: {seen}, expected {expected}"


class Testbench:
    def __init__(self, dut, seed: int) -> None:
        self.rng = random.Random(seed)
        self.design = design_of_bench()
        self.ports = Ports(dut, INPUTS + CODEBOOK_INPUTS * (self.design.multiplier == "codebook"))
        self.monitor = Monitor(self.ports, self.design)
        self.codebooks: list[list[int]] = []
        if self.design.multiplier == "codebook":
            half = 1 << (self.design.weight_bits - 1)
            for _ in range(self.design.codebooks):
                ends = [-half, half - 1, 1, -1]
                inner = [self.rng.randrange(-half, half) for _ in range(self.design.codebook_entries - len(ends))]
                self.rng.shuffle(ends)
                self.codebooks.append(ends + inner)
        self.stimulus = Stimulus(self.design, self.rng)
        # The row's first window follows on the last one of the layer before.
        self.loader = LoaderDriver(self.design, self.rng, Recording(), 0.0)
        self.drain = DrainDriver(self.design, self.rng, Recording(), slow=False)

    async def start(self, layers: list[Layer]) -> None:
        """Resets, writes the lists one after the other, and the codebooks, and fills the windows."""
        await self.ports.reset()
        if self.codebooks:
            await self.ports.write_memory(
                "host_codebooks", (value for codebook in self.codebooks for value in codebook)
            )
        entries = [entry for layer in layers for entries in layer.passes for entry in entries]
        fields = self.design.weight_entry
        await self.ports.write_memory(
            "host_weights", (fields.pack({f.name: vars(entry)[f.name] for f in fields.fields}) for entry in entries)
        )
        for address in range(self.design.windows * self.design.slots):
            await self.cycle(self.loader.fill(address))
        await self.cycle({"load": 0})

    def codebook(self, number: int) -> dict[str, int]:
        return {"codebook": number} if self.codebooks else {}

    async def cycle(self, values: dict[str, int]) -> None:
        await self.ports.drive(values)
        await self.ports.next()

    async def restart(self) -> None:
        """As the controller does: ``restart`` two cycles before ``begin``."""
        await self.cycle({"restart": 1})
        await self.cycle({"restart": 0})

    def configuration(self, layer: Layer) -> dict[str, int]:
        return {
            "tiles": layer.tiles - 1,
            "passes": len(layer.passes) - 1,
            "maximum": layer.maximum,
            **self.codebook(layer.codebook),
        }

    def other_configuration(self) -> dict[str, int]:
        """What stands on the ports of the configuration when the row has entered its layer."""
        rng = self.rng
        names = {"tiles": rng.getrandbits(8), "passes": rng.getrandbits(8), "maximum": rng.getrandbits(1)}
        return names | self.codebook(rng.randrange(self.design.codebooks))

    async def run(self, layers: list[Layer], pause: float, slow_drain: bool) -> Recording:
        """Begins one layer after the other, as early as the loader and the drain allow or somewhat later, plays both until the
        last tile is released, then checks everything."""
        recording, first = Recording(), self.ports.cycle
        loader, drain = self.loader, self.drain
        loader.recording, loader.pause, loader.contents, loader.total = recording, pause, [], 0
        drain.recording, drain.slow = recording, slow_drain
        tiles = sum(layer.all_tiles for layer in layers)
        windows = sum(layer.all_windows for layer in layers)
        limit = first + 200 * (windows + tiles) + 30 * sum(layer.all_entries for layer in layers)
        reads = []
        begun, tiles_before, entries_before = 0, [0], 0
        # A row may leave windows that are not loaded yet; other rows, which are not here, would wait for them.
        while len(recording.released) < tiles or len(recording.done) < windows or loader.loads:
            now = self.ports.cycle
            assert now < limit, f"only {len(recording.released)} of {tiles} tiles finished"
            # Registers show their value from the start of the cycle, so the bench may answer in the same cycle.
            held, finished = self.monitor.held(), self.monitor.finished()
            recording.held[now], recording.finished[now] = held, finished
            tile = len(recording.released)
            drained, read = drain.cycle(now, finished)
            values = {"begin_layer": 0} | drained
            # The loader is done with the layer before, and the drain has come to that layer.
            loaded = len(recording.begun) == loader.total and loader.words_left == 0
            if begun < len(layers) and loaded and tile >= tiles_before[max(begun - 1, 0)] and self.rng.random() < 0.5:
                values |= {"begin_layer": 1, **self.configuration(layers[begun])}
                recording.layers.append(now)
                tiles_before.append(tiles_before[-1] + layers[begun].all_tiles)
                begun += 1
            elif begun and len(recording.issued) >= entries_before:
                # The row has entered the layer that was begun last.
                values |= self.other_configuration()
            await self.ports.drive({**loader.cycle(now, held), **values})
            loader.total = sum(layer.all_windows for layer in layers[:begun])
            entries_before = sum(layer.all_entries for layer in layers[: max(begun - 1, 0)])
            if self.monitor.issue():
                recording.issued.append(now)
            if read is not None:
                reads.append((tile, *read, self.monitor.values()))
            drain.after_cycle()
            await self.ports.next()
        assert self.monitor.held() == 0, "the row keeps windows after its last tile"
        checker = Checker(self.design, layers, recording)
        checker.check_issues()
        checker.check_values(reads, loader.contents, self.codebooks)
        for _ in range(self.rng.randint(1, 4)):
            assert not self.monitor.issue()
            await self.cycle({"load_done": 0, "load_begun": 0, "load": 0, "released": 0, "taken": 0})
        return recording


@cocotb.test()
@cocotb.parametrize(seed=[1, 2, 3])
async def random_lists(dut, seed: int) -> None:
    """Layers one after the other and overlapping, at every mixture of fast and slow loader and drain, again after a restart:
    every issue, ``held``, ``finished`` and every drained value is the model's."""
    bench = Testbench(dut, seed)
    layers = [bench.stimulus.layer(tiles) for tiles in (2, 1, 5, 1, 3)]
    await bench.start(layers)
    overlaps = 0
    for together, pause, slow_drain in (
        (1, 0.7, True),
        (1, 0.7, False),
        (2, 0.0, True),
        (5, 0.0, True),
        (5, 0.0, False),
    ):
        await bench.restart()
        for index in range(0, len(layers), together):
            group = layers[index : index + together]
            overlaps += overlapping(group, await bench.run(group, pause, slow_drain))
    assert overlaps > 0, "no layer was begun while the row worked on the one before"


def overlapping(layers: list[Layer], recording: Recording) -> int:
    """How many layers were begun before the row had issued all entries of those before."""
    entries = list(accumulate(layer.all_entries for layer in layers))
    return sum(
        begin < recording.issued[before - 1] for begin, before in zip(recording.layers[1:], entries, strict=False)
    )


@cocotb.test()
async def banks(dut) -> None:
    """With a drain that is far behind, exactly two tiles are open, and the third begins BANK_LATENCY after a release."""
    bench = Testbench(dut, 7)
    entry = replace(bench.stimulus.entry(0, -1)[0], leave=1, last=1)
    layer = Layer([[entry]], [1], 6, 0)
    await bench.start([layer])
    await bench.restart()
    recording = await bench.run([layer], pause=0.0, slow_drain=True)
    for index in range(2, 6):
        ready = max(recording.released[index - 2] + timing.BANK_LATENCY, recording.done[index] + 1)
        assert recording.issued[index] == ready
    assert any(recording.issued[i] == recording.released[i - 2] + timing.BANK_LATENCY for i in range(2, 6))


@cocotb.test()
async def latency(dut) -> None:
    """Measured on one entry: ``done`` to issue 1, issue to the accumulator PE_LATENCY, issue to ``held`` ISSUE_LATENCY, and
    issue of a tile's last entry to the cycle after ``taken`` (the drain's first step) DRAIN_START_LATENCY."""
    bench = Testbench(dut, 8)
    design, ports, monitor = bench.design, bench.ports, bench.monitor
    code = bench.codebooks[0].index(1) if bench.codebooks else operand_one(design)
    entry = Entry(0, code, 0, 0, 0, 0, 1, 1)
    await bench.start([Layer([[entry]], [1], 1, 0)])
    all_ones = dict.fromkeys(range(design.cols), 0)
    await bench.cycle({"load": bench.loader.pack(all_ones), "load_word": 1})
    await bench.cycle({"load": 0})
    await bench.restart()
    at_zero = {"drain_bank": 0, "drain_column": 0, "drain_accumulator": 0}
    await bench.cycle({"begin_layer": 1, "tiles": 0, "passes": 0, **at_zero, **bench.codebook(0)})
    await bench.cycle({"begin_layer": 0, "load_begun": 1})
    seen: dict[str, list[int]] = {"issue": [], "value": [], "held": [], "finished": []}
    done = ports.cycle
    for _ in range(14):
        await ports.drive({"load_begun": 0, "load_done": int(ports.cycle == done)})
        for name, happened in (
            ("issue", monitor.issue()),
            ("value", monitor.values()[0] == 1),
            ("held", monitor.held() == 0),
            ("finished", monitor.finished()),
        ):
            if happened:
                seen[name].append(ports.cycle)
        await ports.next()
    (issue,) = seen["issue"]
    assert issue == done + 1
    assert seen["value"][0] - issue == timing.PE_LATENCY
    assert seen["held"][0] - issue == timing.ISSUE_LATENCY
    assert seen["finished"][0] + 1 - issue == timing.DRAIN_START_LATENCY
