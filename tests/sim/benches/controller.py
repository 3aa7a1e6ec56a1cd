"""The controller's bench: random programs with pauses; the bench plays the loader and the drain, at random speeds.

The model gives every output of every cycle in closed form, from the cycles of the starts, of the loader's last entries and of
the layers' last results; it knows nothing of states.
"""

import random
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import cocotb

from skipstone.hw import timing
from skipstone.hw.design import Design
from tests.sim.benches.ports import Ports, design_of_bench, host_port

INPUTS = ("start", "loading", "layer_done", *host_port("host_descriptors"))
OUTPUTS = ("busy", "done", "layer", "restart", "begin_layer", "layer_config", "ahead", "drain_begin", "drain_config")

LOADED_TO_DONE = timing.LOAD_LATENCY + timing.DRAIN_START_LATENCY + timing.REQUANTIZER_LATENCY
"""A layer's last result is not written sooner after the loader's last entry: the rows and the drain take that long."""
BEGUN_TO_DONE = timing.DRAIN_SETUP_LATENCY - 1 + timing.REQUANTIZER_LATENCY
"""Nor sooner after the drain's begin."""


@dataclass
class Recording:
    """Cycles in which things happened, as the bench drove or saw them: what the other units do, in order of layers, and the
    outputs of every cycle."""

    starts: list[int] = dataclass_field(default_factory=list)
    begun: list[int] = dataclass_field(default_factory=list)
    loaded: list[int] = dataclass_field(default_factory=list)
    drain_begun: list[int] = dataclass_field(default_factory=list)
    written: list[int] = dataclass_field(default_factory=list)
    outputs: list[dict[str, int]] = dataclass_field(default_factory=list)


class Stimulus:
    """Random descriptors; all but the last may pause."""

    def __init__(self, design: Design, rng: random.Random) -> None:
        self.design = design
        self.rng = rng

    def program(self, layers: int) -> list[dict[str, int]]:
        return [
            {field.name: self.rng.randint(field.low, field.high) for field in self.design.descriptor.fields}
            | {"last_layer": int(index == layers - 1), "pause": int(index < layers - 1 and self.rng.random() < 0.3)}
            for index in range(layers)
        ]


class Model:
    """``runs`` are the numbers of the layers that follow one start each."""

    def __init__(self, design: Design, program: list[dict[str, int]]) -> None:
        self.words = [design.descriptor.pack(descriptor) for descriptor in program]
        stops = [index + 1 for index, layer in enumerate(program) if layer["pause"] or layer["last_layer"]]
        self.runs = [range(first, stop) for first, stop in zip([0, *stops], stops, strict=False)]

    def begins(self, recording: Recording) -> tuple[list[int], list[int]]:
        """The ``begin`` and the ``drain_begin`` of every layer."""
        begins: list[int] = []
        drain_begins: list[int] = []
        for start, layers in zip(recording.starts, self.runs, strict=True):
            for layer in layers:
                # The first entry may be taken one cycle after ``begin``, the first drain step follows on ``drain_begin``.
                if layer == layers[0]:
                    begins.append(start + timing.START_LATENCY - 1)
                    drain_begins.append(begins[-1])
                    continue
                at = recording.loaded[layer - 1] + timing.NEXT_LAYER_LATENCY - 1
                if layer - 1 > layers[0]:
                    at = max(at, recording.written[layer - 2] + timing.LAYER_AHEAD_LATENCY - 1)
                begins.append(at)
                drain_begins.append(recording.written[layer - 1] + timing.DRAIN_SETUP_LATENCY - 1)
        return begins, drain_begins

    def outputs(self, recording: Recording, first: int, before: dict[str, int]) -> list[dict[str, int]]:
        """All outputs from cycle ``first`` on; ``before`` are those that stand there until a start changes them."""
        begins, drain_begins = self.begins(recording)
        ends = [recording.written[layers[-1]] for layers in self.runs]
        result = []
        for now in range(first, first + len(recording.outputs)):
            last = sum(begin <= now for begin in begins) - 1
            drain_last = sum(begin <= now for begin in drain_begins) - 1
            written = sum(at < now for at in recording.written)
            started = sum(start < now for start in recording.starts)
            ended = sum(end < now for end in ends)
            seen = {
                "busy": int(started > ended),
                "done": int(started == ended and started > 0),
                "layer": written,
                "restart": int(now == recording.starts[0]),
                "begin_layer": int(now in begins),
                "drain_begin": int(now in drain_begins),
                "layer_config": self.words[last] if last >= 0 else before["layer_config"],
                "drain_config": self.words[drain_last] if drain_last >= 0 else before["drain_config"],
                # Begun, and the layer before is not yet written.
                "ahead": int(last > written and last not in [layers[0] for layers in self.runs]),
            }
            if not started:
                seen |= {name: before[name] for name in ("done", "layer")}
            result.append(seen)
        return result


class Driver:
    """Plays the loader and the drain of one program, cycle by cycle."""

    def __init__(self, rng: random.Random, recording: Recording, layers: int, loading: int, draining: int) -> None:
        self.rng = rng
        self.recording = recording
        self.layers = layers
        self.loading = loading
        self.draining = draining
        self.loading_until = -1
        self.done_at = -1

    def cycle(self, now: int) -> dict[str, int]:
        recording = self.recording
        loading = now <= self.loading_until
        if now == self.loading_until:
            recording.loaded.append(now)
        done = now == self.done_at
        if done:
            recording.written.append(now)
        return {"loading": int(loading), "layer_done": int(done)}

    def after_cycle(self, now: int, outputs: dict[str, int]) -> None:
        """The loader takes its first entry in the cycle after ``begin``; a layer is drained when both have come to it."""
        recording = self.recording
        if outputs["begin_layer"]:
            recording.begun.append(now)
            self.loading_until = now + self.rng.randint(1, self.loading)
        if outputs["drain_begin"]:
            recording.drain_begun.append(now)
        layer = len(recording.written)
        if self.done_at <= now and layer < min(len(recording.loaded), len(recording.drain_begun)):
            earliest = max(recording.loaded[layer] + LOADED_TO_DONE, recording.drain_begun[layer] + BEGUN_TO_DONE)
            self.done_at = max(earliest, now + 1) + self.rng.choice((0, 0, self.rng.randrange(self.draining)))


class Testbench:
    def __init__(self, dut, seed: int) -> None:
        self.rng = random.Random(seed)
        self.design = design_of_bench()
        self.ports = Ports(dut, INPUTS)
        self.stimulus = Stimulus(self.design, self.rng)
        self.before = dict.fromkeys(OUTPUTS, 0)

    def read(self) -> dict[str, int]:
        return {name: self.ports.read(name) for name in OUTPUTS}

    async def write(self, program: list[dict[str, int]]) -> None:
        await self.ports.write_memory("host_descriptors", map(self.design.descriptor.pack, program))

    async def run(self, program: list[dict[str, int]], loading: int, draining: int) -> Recording:
        """One run of all layers, started again after every pause, with useless starts while it is busy."""
        ports, recording, model = self.ports, Recording(), Model(self.design, program)
        driver = Driver(self.rng, recording, len(program), loading, draining)
        first = ports.cycle
        limit = first + len(program) * (loading + draining + 60) + 200
        idle = 0
        while len(recording.written) < len(program) or idle < 8:
            now = ports.cycle
            assert now < limit, f"only {len(recording.written)} of {len(program)} layers are done"
            busy = ports.read("busy")
            idle = 0 if busy else idle + 1
            may_start = len(recording.starts) < len(model.runs) or bool(busy)
            start = int(may_start and self.rng.random() < 0.3)
            if start and not busy:
                recording.starts.append(now)
                idle = 0
            await ports.drive({"start": start, **driver.cycle(now)})
            recording.outputs.append(self.read())
            driver.after_cycle(now, recording.outputs[-1])
            await ports.next()
        for at, (seen, expected) in enumerate(
            zip(recording.outputs, model.outputs(recording, first, self.before), strict=True), first
        ):
            wrong = {name: (seen[name], expected[name]) for name in OUTPUTS if seen[name] != expected[name]}
            assert not wrong, f"cycle {at}: {wrong} (seen, expected)"
        self.before = recording.outputs[-1]
        return recording


@cocotb.test()
@cocotb.parametrize(seed=[1, 2, 3])
async def random_programs(dut, seed: int) -> None:
    """Every output in every cycle is the model's, with loaders and drains of all speeds, from one layer to as many as there are,
    in several runs in a row."""
    bench = Testbench(dut, seed)
    await bench.ports.reset()
    ahead = paused = 0
    for layers in (1, 2, 7, bench.design.layers):
        program = bench.stimulus.program(layers)
        await bench.write(program)
        for loading, draining in ((1, 1), (40, 1), (1, 60), (30, 30)):
            recording = await bench.run(program, loading, draining)
            ahead += sum(outputs["ahead"] for outputs in recording.outputs)
            paused += len(recording.starts) - 1
    assert ahead > 0
    assert paused > 0


@cocotb.test()
async def latencies(dut) -> None:
    """Measured on three layers of one entry each: from ``start`` and from the last entry to the first cycle in which the loader
    may take one, and from a layer's last result to the next drain step, and to the loader's layer after the next."""
    bench = Testbench(dut, 4)
    await bench.ports.reset()
    program = [descriptor | {"pause": 0} for descriptor in bench.stimulus.program(3)]
    await bench.write(program)
    recording = await bench.run(program, 1, 1)
    takes = [begin + 1 for begin in recording.begun]
    steps = [begin + 1 for begin in recording.drain_begun]
    assert takes[0] - recording.starts[0] == timing.START_LATENCY
    assert takes[1] - recording.loaded[0] == timing.NEXT_LAYER_LATENCY
    assert takes[2] - recording.written[0] == timing.LAYER_AHEAD_LATENCY
    assert steps[1] - recording.written[0] == timing.DRAIN_SETUP_LATENCY
