"""The memory that the host writes: what is read and when, at both ends; with one word, and with no power of two of words."""

import random
import re

import pytest
from amaranth.sim import Simulator

from skipstone.hw.export import to_verilog
from skipstone.hw.host_memory import HostMemory


def simulate(memory: HostMemory, bench) -> None:
    simulator = Simulator(memory)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("depth", "word_bits"), [(1, 1), (2, 8), (5, 3), (16, 70)])
def test_random_writes_and_reads(depth, word_bits):
    """In every cycle ``word`` is what stood at the address of the last cycle with ``enable``, before that cycle's write."""
    memory = HostMemory(depth, word_bits)
    rng = random.Random(1)

    async def bench(ctx):
        words = [0] * depth
        expected = ctx.get(memory.word)
        for address in [*range(depth), *(rng.randrange(depth) for _ in range(300))]:
            read, write, enable = rng.randrange(depth), rng.random() < 0.5, rng.random() < 0.7
            data = rng.getrandbits(word_bits)
            for signal, value in (
                (memory.host.write, write),
                (memory.host.address, address),
                (memory.host.data, data),
                (memory.enable, enable),
                (memory.address, read),
            ):
                ctx.set(signal, int(value))
            await ctx.tick()
            if enable:
                expected = words[read]
            if write:
                words[address] = data
            assert ctx.get(memory.word) == expected

    simulate(memory, bench)


def test_latency():
    """A word written in cycle 0 and read from cycle 1 on shows LATENCY cycles after the address."""
    memory = HostMemory(4, 8)
    shown = []

    async def bench(ctx):
        for signal, value in ((memory.host.write, 1), (memory.host.address, 3), (memory.host.data, 77)):
            ctx.set(signal, value)
        await ctx.tick()
        ctx.set(memory.host.write, 0)
        ctx.set(memory.address, 3)
        for _ in range(3):
            shown.append(ctx.get(memory.word))
            await ctx.tick()

    simulate(memory, bench)
    assert shown.index(77) == HostMemory.LATENCY


@pytest.mark.parametrize("depth", [1, 5, 8])
def test_it_is_one_memory_without_a_module_of_its_own(depth):
    """As many words as are asked for, under the submodule's name."""
    from amaranth.hdl import Module
    from amaranth.lib import wiring
    from amaranth.lib.wiring import Out

    class Parent(wiring.Component):
        word: Out(3)

        def elaborate(self, platform):
            m = Module()
            m.submodules.lists = lists = HostMemory(depth, 3)
            m.d.comb += self.word.eq(lists.word)
            return m

    text = to_verilog(Parent(), "parent")
    assert re.findall(r"^module (\S+)\(", text, flags=re.MULTILINE) == ["parent"]
    assert re.findall(r"^  reg \[2:0\] (\S+) \[(\d+):0\];$", text, flags=re.MULTILINE)[-1] == ("lists", str(depth - 1))
