"""The requantizer's bench: every legal edge of every operand and random ones, one a cycle, against plain integers.

Two models answer: ``models.quantized.requantize``, which is what the rest of the project computes with, and the class's
formula in unbounded integers. They must agree with each other and with the RTL.
"""

import random
from dataclasses import dataclass
from itertools import product

import cocotb
import numpy as np

from hw import timing
from models.quantized import MAX_SHIFT, requantize
from sim.benches.ports import Ports, design_of_bench

INPUTS = ("accumulator", "parameter", "other", "add_other", "other_zero_point", "zero_point", "low", "high")
LATENCY = timing.REQUANTIZER_LATENCY - 1
"""The drain spends one more cycle: it registers the accumulators."""


@dataclass(frozen=True)
class Setting:
    """What is constant during a layer."""

    add_other: int
    other_zero_point: int
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True)
class Operand:
    """What changes every cycle."""

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

    async def drive(self, setting: Setting, operand: Operand) -> None:
        word = self.parameter.pack(
            {
                "bias": operand.bias,
                "multiplier": operand.multiplier,
                "shift": operand.shift,
                "other_multiplier": operand.other_multiplier,
            }
        )
        await self.ports.drive(
            {"accumulator": operand.accumulator, "parameter": word, "other": operand.other, **vars(setting)}
        )


class Monitor:
    """Reads ``q`` in every cycle."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.seen: list[int] = []

    def sample(self) -> None:
        self.seen.append(self.ports.read_signed("q"))


class Model:
    """The two roads to the expected value."""

    @staticmethod
    def formula(setting: Setting, operand: Operand) -> int:
        other = operand.other - setting.other_zero_point if setting.add_other else 0
        total = (operand.accumulator + operand.bias) * operand.multiplier + other * operand.other_multiplier
        # Adding half and flooring: halves are rounded upward.
        rounded = (total + 2 ** (operand.shift - 1)) // 2**operand.shift
        return min(max(setting.zero_point + rounded, setting.low), setting.high)

    @staticmethod
    def reference(setting: Setting, operands: list[Operand]) -> list[int]:
        columns = {name: np.array([vars(o)[name] for o in operands], object) for name in vars(operands[0])}
        other = {}
        if setting.add_other:
            other = {
                "other": columns["other"] - setting.other_zero_point,
                "other_multiplier": columns["other_multiplier"],
            }
        q = requantize(
            columns["accumulator"], columns["bias"], columns["multiplier"], columns["shift"],
            setting.zero_point, setting.low, setting.high, **other,
        )  # fmt: skip
        return [int(value) for value in q]


class Checker:
    def __init__(self, latency: int) -> None:
        self.latency = latency

    def check(self, setting: Setting, operands: list[Operand], seen: list[int]) -> None:
        expected = Model.reference(setting, operands)
        for index, (operand, value) in enumerate(zip(operands, expected, strict=True)):
            formula = Model.formula(setting, operand)
            assert value == formula, f"the models differ for {setting} {operand}: {value}, {formula}"
            got = seen[index + self.latency]
            assert got == value, f"{setting} {operand}: RTL {got}, expected {value}"


class Testbench:
    def __init__(self, dut) -> None:
        self.design = design_of_bench()
        self.ports = Ports(dut, INPUTS)
        self.driver = Driver(self.ports, self.design.parameter)
        self.activation = 1 << (self.design.activation_bits - 1)
        self.accumulator = 1 << (self.design.accumulator_bits - 1)

    async def run(self, setting: Setting, operands: list[Operand]) -> None:
        """The operands back to back, then garbage until the last has come out."""
        monitor = Monitor(self.ports)
        flush = [Operand(1, 1, 1, 1, 0, 0)] * LATENCY
        for operand in operands + flush:
            await self.driver.drive(setting, operand)
            monitor.sample()
            await self.ports.next()
        Checker(LATENCY).check(setting, operands, monitor.seen)

    def settings(self, rng: random.Random) -> list[Setting]:
        """Zero points and clamps at their ends, the narrowest clamps, and random ones."""
        a = self.activation
        edges = [Setting(1, z, -1 - z, -a, a - 1) for z in (-a, a - 1)]
        edges += [Setting(0, -a, 0, -a, a - 1), Setting(1, a - 1, a - 1, -a, -a), Setting(0, 0, -a, a - 1, a - 1)]
        for _ in range(4):
            low, high = sorted(rng.choices(range(-a, a), k=2))
            edges.append(Setting(rng.randrange(2), rng.randrange(-a, a), rng.randrange(-a, a), low, high))
        return edges

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
    """Every combination of the operands' ends, under zero points and clamps at theirs, is exact."""
    bench = Testbench(dut)
    await bench.ports.reset()
    for setting in bench.settings(random.Random(1))[:5]:
        await bench.run(setting, bench.corners())


@cocotb.test()
async def random_operands(dut) -> None:
    """Random operands of every size, one a cycle, are exact; also ties, which round upward."""
    rng = random.Random(2)
    bench = Testbench(dut)
    await bench.ports.reset()
    ties = [Operand(odd, 0, 1, 1, 0, 0) for odd in (-5, -3, -1, 1, 3, 5)]
    for setting in bench.settings(rng):
        await bench.run(setting, ties + [bench.random_operand(rng) for _ in range(300)])


@cocotb.test()
async def latency(dut) -> None:
    """A single operand among zeros shows ``LATENCY`` cycles later, and for one cycle."""
    bench = Testbench(dut)
    await bench.ports.reset()
    setting = Setting(0, 0, 0, -bench.activation, bench.activation - 1)
    monitor = Monitor(bench.ports)
    for cycle in range(20):
        await bench.driver.drive(setting, Operand(1 if cycle == 7 else 0, 0, 2, 1, 0, 0))
        monitor.sample()
        await bench.ports.next()
    assert [cycle for cycle, q in enumerate(monitor.seen) if q == 1] == [7 + LATENCY]
