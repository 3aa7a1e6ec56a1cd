"""The requantizer's bench: every legal edge of every operand and random ones, one a cycle, against plain integers.

Two models answer: ``skipstone.models.quantization.network.requantize``, which is what the rest of the project computes
with, and the class's formula in unbounded integers. They must agree with each other and with the RTL. Tables hold
random numbers.
"""

import random
from dataclasses import dataclass
from itertools import product

import cocotb
import numpy as np

from skipstone.hw import timing
from skipstone.hw.numbers import MAX_SHIFT
from skipstone.models.quantization.network import requantize
from tests.sim.benches.ports import Ports, design_of_bench, host_port

INPUTS = ("accumulator", "constants", "other", "add_other", "other_zero_point")
TABLE_INPUTS = host_port("host_tables")
LATENCY = timing.REQUANTIZER_LATENCY - 1
"""The drain spends one more cycle: it registers the accumulators."""


@dataclass(frozen=True)
class Setting:
    """What is constant during a layer."""

    add_other: int
    other_zero_point: int


@dataclass(frozen=True)
class Placing:
    """Where a result is put: its zero point, its clamp, and the table it is looked up in (-1: none)."""

    zero_point: int
    low: int
    high: int
    table: int = -1


@dataclass(frozen=True)
class Operand:
    """What changes every cycle, beside the placing."""

    accumulator: int
    bias: int
    multiplier: int
    shift: int
    other: int
    other_multiplier: int


class Driver:
    """Puts one operand a cycle on the ports."""

    def __init__(self, ports: Ports, parameter) -> None:
        self.ports = ports
        self.parameter = parameter

    async def drive(self, setting: Setting, operand: Operand, placing: Placing) -> None:
        values = {
            "bias": operand.bias,
            "multiplier": operand.multiplier,
            "shift": operand.shift,
            "other_multiplier": operand.other_multiplier,
            "zero_point": placing.zero_point,
            "low": placing.low,
            "high": placing.high,
            "table": max(placing.table, 0),
            "use_table": int(placing.table >= 0),
        }
        word = self.parameter.pack({field.name: values[field.name] for field in self.parameter.fields})
        await self.ports.drive(
            {"accumulator": operand.accumulator, "constants": word, "other": operand.other, **vars(setting)}
        )


class Monitor:
    """Reads ``q`` in every cycle."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.seen: list[int] = []

    def sample(self) -> None:
        self.seen.append(self.ports.read_signed("q"))


class Model:
    """The two roads to the expected value, and the tables behind both."""

    def __init__(self, tables: list[list[int]]) -> None:
        self.tables = tables

    def formula(self, setting: Setting, operand: Operand, placing: Placing) -> int:
        other = operand.other - setting.other_zero_point if setting.add_other else 0
        total = (operand.accumulator + operand.bias) * operand.multiplier + other * operand.other_multiplier
        # Adding half and flooring: halves are rounded upward.
        rounded = (total + 2 ** (operand.shift - 1)) // 2**operand.shift
        return self.look_up(min(max(placing.zero_point + rounded, placing.low), placing.high), placing.table)

    def reference(self, setting: Setting, operands: list[Operand], placings: list[Placing]) -> list[int]:
        columns = {
            name: np.array([vars(item)[name] for item in group], object)
            for group in (operands, placings)
            for name in vars(group[0])
        }
        other = {}
        if setting.add_other:
            other = {
                "other": columns["other"] - setting.other_zero_point,
                "other_multiplier": columns["other_multiplier"],
            }
        q = requantize(
            columns["accumulator"], columns["bias"], columns["multiplier"], columns["shift"],
            columns["zero_point"], columns["low"], columns["high"], **other,
        )  # fmt: skip
        return [self.look_up(int(value), placing.table) for value, placing in zip(q, placings, strict=True)]

    def look_up(self, clamped: int, table: int) -> int:
        """A table begins with the lowest activation."""
        return clamped if table < 0 else self.tables[table][clamped + len(self.tables[table]) // 2]


class Checker:
    def __init__(self, model: Model, latency: int) -> None:
        self.model = model
        self.latency = latency

    def check(self, setting: Setting, operands: list[Operand], placings: list[Placing], seen: list[int]) -> None:
        expected = self.model.reference(setting, operands, placings)
        for index, (operand, placing, value) in enumerate(zip(operands, placings, expected, strict=True)):
            formula = self.model.formula(setting, operand, placing)
            assert value == formula, f"the models differ for {setting} {operand} {placing}: {value}, {formula}"
            got = seen[index + self.latency]
            assert got == value, f"{setting} {operand} {placing}: RTL {got}, expected {value}"


class Testbench:
    def __init__(self, dut) -> None:
        self.design = design_of_bench()
        self.ports = Ports(dut, INPUTS + TABLE_INPUTS * (self.design.tables > 0))
        self.driver = Driver(self.ports, self.design.parameter)
        self.activation = 1 << (self.design.activation_bits - 1)
        self.accumulator = 1 << (self.design.accumulator_bits - 1)
        rng, a = random.Random(9), self.activation
        self.model = Model([[rng.randrange(-a, a) for _ in range(2 * a)] for _ in range(self.design.tables)])

    async def start(self) -> None:
        """Resets and writes the tables, one behind the other."""
        await self.ports.reset()
        if self.design.tables:
            await self.ports.write_memory("host_tables", (value for table in self.model.tables for value in table))

    async def run(self, setting: Setting, operands: list[Operand], placings: list[Placing]) -> None:
        """The operands back to back, then others until the last has come out."""
        monitor = Monitor(self.ports)
        flush = [(Operand(1, 1, 1, 1, 0, 0), Placing(0, 0, 0))] * LATENCY
        for operand, placing in [*zip(operands, placings, strict=True), *flush]:
            await self.driver.drive(setting, operand, placing)
            monitor.sample()
            await self.ports.next()
        Checker(self.model, LATENCY).check(setting, operands, placings, monitor.seen)

    def settings(self) -> list[Setting]:
        a = self.activation
        return [Setting(1, -1), Setting(1, a - 1), Setting(0, 0), Setting(1, -a)]

    def placings(self, rng: random.Random, count: int) -> list[Placing]:
        """One after the other: zero points and clamps at their ends, the narrowest clamps, random ones; every table and none."""
        a = self.activation
        edges = [(-a, -a, a - 1), (a - 1, -a, a - 1), (0, -a, a - 1), (a - 1, -a, -a), (-a, a - 1, a - 1)]
        placings = []
        for index in range(count):
            low, high = sorted(rng.choices(range(-a, a), k=2))
            drawn = rng.choice((edges[index % len(edges)], (rng.randrange(-a, a), low, high)))
            placings.append(Placing(*drawn, rng.randrange(-1, self.design.tables)))
        return placings

    def corners(self) -> list[Operand]:
        acc, a = self.accumulator, self.activation
        return [
            Operand(accumulator, bias, multiplier, shift, other, other_multiplier)
            for accumulator, bias, multiplier, shift, (other, other_multiplier) in product(
                (-acc, -1, 0, 1, acc - 1),
                (-acc, 0, acc - 1),
                (0, 1, (1 << 16) - 1),
                (1, 2, 16, MAX_SHIFT),
                ((-a, (1 << 32) - 1), (a - 1, (1 << 32) - 1), (0, 0)),
            )
        ]

    def random_operand(self, rng: random.Random) -> Operand:
        """Mostly results inside of the clamps: the shift brings the largest term down to the size of an activation."""
        acc, a = self.accumulator, self.activation
        accumulator = rng.randrange(-acc, acc) >> rng.randrange(self.design.accumulator_bits)
        bias = rng.randrange(-acc, acc) >> rng.randrange(self.design.accumulator_bits)
        multiplier = rng.randrange(1 << 16) >> rng.randrange(16)
        other, other_multiplier = rng.randrange(-a, a), rng.randrange(1 << 32) >> rng.randrange(32)
        size = max(abs(accumulator + bias) * multiplier, abs(other) * other_multiplier).bit_length()
        shift = size - self.design.activation_bits + rng.randrange(4) if rng.random() < 0.7 else rng.randrange(48)
        return Operand(accumulator, bias, multiplier, min(max(shift, 1), MAX_SHIFT), other, other_multiplier)


@cocotb.test()
async def corners(dut) -> None:
    """Every combination of the operands' ends is exact, while zero points, clamps and tables change from value to value."""
    bench = Testbench(dut)
    await bench.start()
    rng = random.Random(1)
    for setting in bench.settings():
        operands = bench.corners()
        await bench.run(setting, operands, bench.placings(rng, len(operands)))


@cocotb.test()
async def random_operands(dut) -> None:
    """Random operands of every size, one a cycle, are exact; also ties, which round upward."""
    rng = random.Random(2)
    bench = Testbench(dut)
    await bench.start()
    ties = [Operand(odd, 0, 1, 1, 0, 0) for odd in (-5, -3, -1, 1, 3, 5)]
    for setting in bench.settings() * 2:
        operands = ties + [bench.random_operand(rng) for _ in range(300)]
        await bench.run(setting, operands, bench.placings(rng, len(operands)))


@cocotb.test()
async def latency(dut) -> None:
    """A single operand among zeros shows ``LATENCY`` cycles later, and for one cycle; so does a single wider clamp, and a single
    use of a table whose entry for 0 is 1."""
    bench = Testbench(dut)
    a = bench.activation
    for table in bench.model.tables:
        table[a] = 1
    await bench.start()
    plain, zero, unit = Placing(0, -a, a - 1), Operand(0, 0, 2, 1, 0, 0), Operand(1, 0, 2, 1, 0, 0)
    cases = [((unit, plain), (zero, plain)), ((unit, plain), (unit, Placing(0, -a, 0)))]
    if bench.design.tables:
        cases.append(((zero, Placing(0, -a, a - 1, bench.design.tables - 1)), (zero, plain)))
    for single, others in cases:
        monitor = Monitor(bench.ports)
        for cycle in range(20):
            await bench.driver.drive(Setting(0, 0), *(single if cycle == 7 else others))
            monitor.sample()
            await bench.ports.next()
        assert [cycle for cycle, q in enumerate(monitor.seen) if q == 1 and cycle >= LATENCY] == [7 + LATENCY]
