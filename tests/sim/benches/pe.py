"""The PE's bench: random loads and random entries, several in flight, against windows and accumulators in dictionaries.

The bench plays the row: it puts an entry's control on the ports in three stages, one, two and three cycles after the
cycle that counts as its issue. In between the ports carry garbage, which must have no effect.
"""

import random
from dataclasses import dataclass

import cocotb

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from tests.sim.benches.ports import (
    Ports,
    design_of_bench,
    field,
    operand_bits,
    operand_ends,
    operand_one,
    signed,
    weight_of,
)

INPUTS = (
    "load", "load_word", "x_valid", "x_address", "x_lane", "m_valid", "m_weight", "a_valid", "a_first", "a_maximum",
    "a_address", "drain_address",
)  # fmt: skip


@dataclass(frozen=True)
class Load:
    address: int
    word: int


@dataclass(frozen=True)
class Entry:
    """One multiply-add (or maximum); ``address`` and ``lane`` name the activation, ``operand`` says the weight."""

    address: int
    lane: int
    operand: int
    accumulator: int
    first: int
    maximum: int


class Driver:
    """Sends one cycle's load and the three stages of the entries issued one, two and three cycles ago."""

    def __init__(self, ports: Ports, design: Design, rng: random.Random) -> None:
        self.ports = ports
        self.design = design
        self.rng = rng
        self.in_flight: list[Entry | None] = [None] * 4

    def garbage(self) -> dict[str, int]:
        return {name: self.rng.getrandbits(len(self.ports.inputs[name])) for name in INPUTS}

    async def drive(self, load: Load | None, entry: Entry | None, drain_address: int) -> None:
        """``entry`` is issued in this cycle: its ``x`` stage is driven in the next."""
        self.in_flight = [entry, *self.in_flight[:3]]
        _, x, m, a = self.in_flight
        values = self.garbage()
        values |= {"x_valid": int(x is not None), "m_valid": int(m is not None), "a_valid": int(a is not None)}
        values["load"] = (values["load"] & ~1) if load is None else 1 | load.address << 1
        values["drain_address"] = drain_address
        if load is not None:
            values["load_word"] = load.word
        if x is not None:
            values |= {"x_address": x.address, "x_lane": x.lane}
        if m is not None:
            values["m_weight"] = m.operand
        if a is not None:
            values |= {"a_first": a.first, "a_maximum": a.maximum, "a_address": a.accumulator}
        await self.ports.drive(values)


class Monitor:
    """Reads the drained accumulators."""

    def __init__(self, ports: Ports, design: Design) -> None:
        self.ports = ports
        self.design = design

    def sample(self) -> list[int]:
        bits, values = self.design.accumulator_bits, self.ports.read("values")
        return [signed(field(values, index, bits), bits) for index in range(self.design.accumulators_per_step)]


class Model:
    """Windows and accumulators as dictionaries; every change carries the cycle from which on it holds."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.windows: dict[int, int] = {}
        self.sums: dict[int, int] = {}
        self.pending: list[tuple[int, int, int]] = []
        self.reads: list[tuple[int, Entry]] = []
        self.shown: dict[int, int] = {}

    def cycle(self, now: int, load: Load | None, entry: Entry | None) -> None:
        """Called once a cycle with what is driven in it. An entry issued now reads its window one cycle from now, so it
        sees a load of this cycle, but none of the next."""
        if load is not None:
            self.windows[load.address] = load.word
        if entry is not None:
            bits = self.design.activation_bits
            product = weight_of(self.design, entry.operand) * signed(
                field(self.windows[entry.address], entry.lane, bits), bits
            )
            old = self.sums.get(entry.accumulator)
            if entry.first or old is None:
                new = product
            else:
                new = max(old, product) if entry.maximum else signed(old + product, self.design.accumulator_bits)
            self.sums[entry.accumulator] = new
            self.pending.append((now + timing.PE_LATENCY, entry.accumulator, new))

    def values(self, now: int, address: int) -> int | None:
        """What the accumulator shows in cycle ``now``; None if nothing has been written yet."""
        while self.pending and self.pending[0][0] <= now:
            _, accumulator, value = self.pending.pop(0)
            self.shown[accumulator] = value
        return self.shown.get(address)


class Checker:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.compared = 0

    def check(self, now: int, address: int, seen: list[int]) -> None:
        for index, got in enumerate(seen):
            expected = self.model.values(now, address + index)
            if expected is not None:
                self.compared += 1
                assert got == expected, f"cycle {now}: accumulator {address + index} is {got}, expected {expected}"


class Stimulus:
    """Random loads and entries; a third of all numbers stand at an end of their range."""

    def __init__(self, design: Design, rng: random.Random) -> None:
        self.design = design
        self.rng = rng
        self.loaded: set[int] = set()
        self.touched: set[int] = set()

    def number(self, bits: int) -> int:
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        return (
            self.rng.choice((low, low, high, high, -1, 1)) if self.rng.random() < 0.35 else self.rng.randint(low, high)
        )

    def operand(self) -> int:
        if self.rng.random() < 0.35:
            return self.rng.choice(operand_ends(self.design))
        return self.rng.getrandbits(operand_bits(self.design))

    def load(self, address: int | None = None) -> Load:
        bits, word = self.design.activation_bits, 0
        for _ in range(self.design.load_width):
            word = word << bits | (self.number(bits) & ((1 << bits) - 1))
        if address is None:
            address = self.rng.randrange(self.design.windows * self.design.slots)
        self.loaded.add(address)
        return Load(address, word)

    def entry(self, maximum: int) -> Entry:
        accumulator = self.rng.randrange(2 * self.design.bank_depth)
        first = int(accumulator not in self.touched or self.rng.random() < 0.15)
        self.touched.add(accumulator)
        return Entry(
            self.rng.choice(sorted(self.loaded)),
            self.rng.randrange(self.design.load_width),
            self.operand(),
            accumulator,
            first,
            maximum,
        )


class Testbench:
    def __init__(self, dut, seed: int) -> None:
        self.rng = random.Random(seed)
        self.design = design_of_bench()
        self.ports = Ports(dut, INPUTS)
        self.driver = Driver(self.ports, self.design, self.rng)
        self.monitor = Monitor(self.ports, self.design)
        self.model = Model(self.design)
        self.checker = Checker(self.model)
        self.stimulus = Stimulus(self.design, self.rng)

    async def cycle(
        self, load: Load | None = None, entry: Entry | None = None, drain_address: int | None = None
    ) -> None:
        if drain_address is None:
            steps = 2 * self.design.bank_depth // self.design.accumulators_per_step
            drain_address = self.rng.randrange(steps) * self.design.accumulators_per_step
        await self.driver.drive(load, entry, drain_address)
        self.model.cycle(self.ports.cycle, load, entry)
        self.checker.check(self.ports.cycle, drain_address, self.monitor.sample())
        await self.ports.next()

    async def run(self, maximum: bool, cycles: int) -> None:
        """``a_maximum`` is constant during a layer, so one mode a run; accumulators start with a ``first`` entry again."""
        self.stimulus.touched.clear()
        for _ in range(cycles):
            load = self.stimulus.load() if self.rng.random() < 0.4 else None
            entry = self.stimulus.entry(int(maximum)) if self.rng.random() < 0.75 else None
            await self.cycle(load, entry)
        for address in range(0, 2 * self.design.bank_depth, self.design.accumulators_per_step):
            for _ in range(timing.PE_LATENCY):
                await self.cycle(drain_address=address)


@cocotb.test()
@cocotb.parametrize(seed=[1, 2])
async def random_entries(dut, seed: int) -> None:
    """Multiply-add and maximum, first and later entries back to back, on the same accumulator or not: every accumulator shows
    the model's value in every cycle in which it is drained."""
    bench = Testbench(dut, seed)
    await bench.ports.reset()
    for address in range(bench.design.windows * bench.design.slots):
        await bench.cycle(bench.stimulus.load(address))
    for maximum in (False, True, False):
        await bench.run(maximum, 500)
    assert bench.checker.compared > 1000


@cocotb.test()
async def corner_products(dut) -> None:
    """The products of all ends of the operands are exact, alone and as the first of a sum."""
    bench = Testbench(dut, 3)
    await bench.ports.reset()
    design = bench.design
    a = 1 << (design.activation_bits - 1)
    for activation in (-a, a - 1, -1, 0, 1):
        word = 0
        for _ in range(design.load_width):
            word = word << design.activation_bits | (activation & (2 * a - 1))
        for operand in operand_ends(design):
            for first in (1, 0):
                entry = Entry(0, design.load_width - 1, operand, 0, first, 0)
                await bench.cycle(Load(0, word), entry, drain_address=0)
            for _ in range(timing.PE_LATENCY):
                await bench.cycle(drain_address=0)
            expected = 2 * weight_of(design, operand) * activation
            assert bench.monitor.sample()[0] == signed(expected, design.accumulator_bits)


@cocotb.test()
async def latency(dut) -> None:
    """From the issue (one cycle before ``x``) to the first cycle that shows the result: PE_LATENCY. A word loaded in the
    cycle of ``x`` comes too late, one cycle before is just in time."""
    bench = Testbench(dut, 4)
    await bench.ports.reset()
    design, ports, driver = bench.design, bench.ports, bench.driver
    entry = Entry(design.windows * design.slots - 1, 0, operand_one(design), 2 * design.bank_depth - 1, 1, 0)
    drain_address = 2 * design.bank_depth - design.accumulators_per_step
    lane_mask = (1 << design.activation_bits) - 1
    assert width_of(design.windows * design.slots) + 1 == len(ports.inputs["load"])

    async def measure(load_at: int) -> list[int]:
        """The accumulator in 12 cycles, the entry being issued in the first and 1 being loaded in cycle ``load_at``."""
        shown = []
        for now in range(12):
            load = Load(entry.address, 1) if now == load_at else None
            await driver.drive(load, entry if now == 0 else None, drain_address)
            shown.append(bench.monitor.sample()[-1])
            await ports.next()
        return shown

    await driver.drive(Load(entry.address, lane_mask), None, drain_address)
    await ports.next()
    assert (await measure(load_at=1))[-1] == -1, "a word loaded in the cycle of x was read"
    await driver.drive(Load(entry.address, lane_mask), None, drain_address)
    await ports.next()
    shown = await measure(load_at=0)
    assert shown.index(1) == timing.PE_LATENCY, f"the accumulator shows {shown}"
    assert shown[: timing.PE_LATENCY] == [-1] * timing.PE_LATENCY
