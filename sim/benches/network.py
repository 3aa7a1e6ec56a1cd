"""The network bench: runs inside the simulator, takes jobs from a session, and drives the whole array through its ports.

The driver writes memories over the host port and starts the array; the monitor watches ``layer`` and ``done`` and reads
activation memory when a layer ends. Comparing is left to the session's side, which knows the reference and the model.
"""

import os
import time
from collections.abc import Iterable
from multiprocessing.connection import Client
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer, ValueChange
from cocotb.utils import get_sim_time

from skipstone.hw.array import SELECT_ACTIVATIONS
from skipstone.sim.jobs import PERIOD_NS, RESET_CYCLES, Load, RunInput, RunResult, Stop


class HostDriver:
    """Writes words through the host port, one a cycle."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut

    async def reset(self) -> None:
        dut = self.dut
        for signal in (dut.start, dut.host_write, dut.host_select, dut.host_address, dut.host_data):
            signal.value = 0
        dut.rst.value = 1
        for _ in range(RESET_CYCLES):
            await FallingEdge(dut.clk)
        dut.rst.value = 0

    async def write(self, select: int, words: Iterable[tuple[int, int]]) -> None:
        """Writes (address, word) pairs to one memory. Signals change at the falling edge: no race with the design is possible."""
        dut = self.dut
        edge = FallingEdge(dut.clk)
        dut.host_select.value = select
        dut.host_write.value = 1
        for address, word in words:
            dut.host_address.value = address
            dut.host_data.value = word
            await edge
        dut.host_write.value = 0

    async def read(self, base: int, count: int) -> list[int]:
        """Activation words through the host port, one a cycle; only while the array is idle."""
        dut = self.dut
        words: list[int] = []
        for address in range(base, base + count):
            dut.host_address.value = address
            await FallingEdge(dut.clk)
            words.append(_bits(dut.host_read.value))
        return words


class LayerMonitor:
    """Waits for layers to finish and says at which simulated time they did."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut

    async def next_layer(self, limit: int) -> int | None:
        """Simulated time (ns) at which ``layer`` changes next, or None after ``limit`` cycles without a change."""
        change = ValueChange(self.dut.layer)
        fired = await First(change, Timer(limit * PERIOD_NS, unit="ns"))
        return int(get_sim_time("ns")) if fired is change else None

    def words(self, base: int, count: int) -> list[int]:
        """Activation memory as it stands, without a cycle passing."""
        memory = self.dut.activations
        return [_bits(memory[base + index].value) for index in range(count)]


def _bits(value: Any) -> int:
    """Unknown bits (never written) read as 0; a comparison looks only at written ones and would find the difference."""
    return (
        value.to_unsigned()
        if value.is_resolvable
        else int(str(value).translate(str.maketrans("XZUWxzuw", "00000000")), 2)
    )


async def run_network(dut: Any, driver: HostDriver, monitor: LayerMonitor, job: RunInput) -> RunResult:
    """Does one ``RunInput``: writes the input, starts, and reads every layer's tensors when it ends."""
    await driver.write(SELECT_ACTIVATIONS, job.input)
    seconds = 0.0
    dut.start.value = 1
    await RisingEdge(dut.busy)
    before = int(get_sim_time("ns"))
    cycles: list[int] = []
    words: list[tuple[tuple[int, ...], ...]] = []
    # ``start`` stays high through the first cycle only; the layers' times do not depend on it.
    lowered = cocotb.start_soon(_lower_start(dut))
    # ``layer`` goes back to 0 together with ``busy``; that change is not the end of a layer.
    await FallingEdge(dut.clk)
    for complete in job.reads:
        wall = time.perf_counter()
        at = await monitor.next_layer(job.limit)
        seconds += time.perf_counter() - wall
        if at is None:
            return RunResult(
                tuple(cycles), tuple(words), (), False, seconds,
                f"layer {len(cycles)} did not finish within {job.limit} cycles",
            )  # fmt: skip
        cycles.append((at - before) // PERIOD_NS)
        before = at
        await FallingEdge(dut.clk)
        words.append(tuple(tuple(monitor.words(base, count)) for base, count in complete))
    await lowered
    done = int(dut.done.value) == 1 and int(dut.busy.value) == 0
    host_words = tuple([tuple(await driver.read(*read)) for read in job.host_reads]) if done else ()
    return RunResult(tuple(cycles), tuple(words), host_words, done, seconds)


async def _lower_start(dut: Any) -> None:
    await FallingEdge(dut.clk)
    dut.start.value = 0


@cocotb.test()
async def serve(dut: Any) -> None:
    """Takes jobs until a ``Stop``. The simulation stands still while it waits for one."""
    Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start()
    driver, monitor = HostDriver(dut), LayerMonitor(dut)
    await driver.reset()
    with Client(os.environ["SKIPSTONE_SOCKET"], family="AF_UNIX") as connection:
        connection.send(os.getpid())
        while True:
            job = connection.recv()
            if isinstance(job, Stop):
                return
            if isinstance(job, Load):
                await driver.reset()
                for select, words in job.images:
                    await driver.write(select, enumerate(words))
                connection.send(None)
            else:
                result = await run_network(dut, driver, monitor, job)
                if result.error is not None:
                    await driver.reset()
                connection.send(result)
