"""One measurement: a cropped layer on one design at gate level, its energy by block, and the actions that the mapper counts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipstone.characterize import simulation
from skipstone.characterize.crops import Crop, cropped
from skipstone.characterize.liberty import Library
from skipstone.characterize.power import BlockPower, block_power, energy_pj
from skipstone.characterize.synthesis import SynthesizedBlock, synthesize
from skipstone.errors import SkipstoneError
from skipstone.files import write_json
from skipstone.hw.design import Design
from skipstone.mapper.energy.actions import count_actions
from skipstone.mapper.energy.activity import activation_bits, awake_macs, exposed_entries
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.technology.logic_cells import counted
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.quantization import reference

VERSION = 2


@dataclass(frozen=True)
class Measurement:
    """``energy_pj`` by block, transitions only, of all instances together: the clock is not in it. ``actions``: those
    of ``skipstone.mapper.energy.actions.Actions``, and those of ``skipstone.mapper.energy.activity``. ``equal``:
    outputs and cycles were the reference's and the model's. ``toggles`` by block."""

    design: str
    crop: str
    cycles: int
    equal: bool
    words: int
    energy_pj: dict[str, float]
    toggles: dict[str, int]
    actions: dict[str, int]


@dataclass(frozen=True, eq=False)
class Synthesized:
    """A design in cells."""

    design: Design
    blocks: Mapping[str, SynthesizedBlock]
    powers: Mapping[str, BlockPower]


def synthesized(design: Design, liberty: Path, library: Library, cache: Path) -> Synthesized:
    """A design in cells.

    Args:
        design: The array.
        liberty: The library's file.
        library: What it says.
        cache: A folder; blocks that are there already are not synthesized again.

    Raises:
        SkipstoneError: Yosys is not installed, or fails.
    """
    blocks = synthesize(design, liberty, cache)
    return Synthesized(design, blocks, {name: block_power(block, library) for name, block in blocks.items()})


def measure(point: Synthesized, crop: Crop, library: Library, cache: Path, *, delays: bool = True) -> Measurement:
    """Simulates a part of a layer in gates, or takes the result of an equal run.

    Args:
        point: The design in cells.
        crop: The part of a layer.
        library: The cells.
        cache: A folder for results.
        delays: Cells have their delays; without, no glitch comes about.

    Raises:
        SkipstoneError: The simulation fails.
    """
    design = point.design
    identity = hashlib.sha256(
        json.dumps(
            [
                VERSION,
                library.name,
                design.replace(name="", description="").to_dict(),
                dataclasses.asdict(crop),
                {name: [power.cells, round(sum(power.net_pj.values()), 6)] for name, power in point.powers.items()},
                *([] if delays else ["no delays"]),
            ],
            sort_keys=True,
        ).encode()
    ).hexdigest()[:24]
    cached = cache / "runs" / f"{identity}.json"
    cached.parent.mkdir(parents=True, exist_ok=True)
    if not cached.exists():
        made = simulated(point, crop, library, cache / "runs" / f"{identity}.{os.getpid()}", delays)
        write_json(cached, dataclasses.asdict(made), indent=None)
    measurement = Measurement(**json.loads(cached.read_text()))
    network, x = cropped(crop)
    layer, program = network.array_layers[0], compile_network(network, design).layers[0]
    return dataclasses.replace(
        measurement,
        design=design.name,
        actions={name: count for name, count in measurement.actions.items() if name in counted()}
        | {
            "awake_macs": awake_macs(program),
            "exposed_entries": exposed_entries(program, design),
            "activation_bits": activation_bits(network, layer, program, x[None]),
        },
    )


def simulated(point: Synthesized, crop: Crop, library: Library, folder: Path, delays: bool) -> Measurement:
    """Simulates a part of a layer in gates; see :func:`measure`.

    Args:
        point: The design in cells.
        crop: The part of a layer.
        library: The cells.
        folder: For the simulation's files.
        delays: Cells have their delays.

    Raises:
        SkipstoneError: The simulation fails.
    """
    network, x = cropped(crop)
    program = compile_network(network, point.design)
    cycles = sum(layer.cycles for layer in network_cycles(program))
    expected = reference.run(network, x[None])[network.outputs[0]][0]
    try:
        run = simulation.run(
            point.design, point.blocks, point.powers, library, program, cycles, x, expected, folder, delays=delays
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not run.equal:
        raise SkipstoneError(
            f"{crop.title} on {point.design.name} at gate level: {run.cycles} cycles, the model says {run.model_cycles}; "
            f"{run.wrong_words} of {run.words} output words differ"
        )
    energy: dict[str, float] = {}
    toggles: dict[str, int] = {}
    for (_, block), counts in run.toggles.items():
        energy[block] = energy.get(block, 0.0) + energy_pj(point.powers[block], counts)
        toggles[block] = toggles.get(block, 0) + sum(counts.values())
    actions: dict[str, Any] = dataclasses.asdict(count_actions(program.layers[0], point.design, cycles))
    return Measurement(point.design.name, crop.title, run.cycles, run.equal, run.words, energy, toggles, actions)
