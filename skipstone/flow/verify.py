"""Runs the whole network through the RTL and compares every cycle and every output with the model and the reference."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.flow.evaluate import Evaluated, evaluate
from skipstone.flow.prepare import CompressionOptions, Progress, sample_inputs
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost
from skipstone.mapper.results import notebook
from skipstone.mapper.results.network import NetworkResult
from skipstone.mapper.technology.technology import Technology
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.sim.session import NetworkRun, RtlSession


@dataclass(frozen=True)
class Difference:
    """The first output of a layer that is not the reference's: position (channel, y, x), what was expected, what came."""

    layer: str
    image: int
    position: tuple[int, int, int]
    expected: int
    got: int
    count: int

    def __str__(self) -> str:
        channel, y, x = self.position
        return (
            f"image {self.image}, channel {channel}, y {y}, x {x}: expected {self.expected}, got {self.got} "
            f"({self.count} outputs differ)"
        )


@dataclass(frozen=True)
class Verification:
    """``result`` with RTL cycles and equality filled in; ``differences`` are the first ones, by layer name;
    ``cycles_per_second`` is the simulator's speed, ``error`` what kept a layer from finishing."""

    result: NetworkResult
    differences: dict[str, Difference]
    cycles_per_second: float
    error: str | None

    @property
    def exact(self) -> bool:
        """Whether every layer's cycles and every output were equal."""
        array_layers = [layer for layer in self.result.layers if not layer.on_host]
        return self.error is None and all(
            layer.outputs_equal and layer.rtl_cycles == layer.model_cycles for layer in array_layers
        )

    def to_frame(self) -> Any:
        """The layers' frame of the result, with the first difference of each layer in words."""
        rows = [
            {**layer.to_row(), "difference": str(self.differences.get(layer.name, ""))} for layer in self.result.layers
        ]
        return notebook.frame(rows)

    def _repr_html_(self) -> str:
        verdict = "exact" if self.exact else self.error or "DIFFERS"
        figures = [
            ("RTL against the model", verdict),
            ("images", notebook.whole(self.result.images_verified)),
            ("simulated cycles a second", notebook.whole(self.cycles_per_second)),
        ]
        rows = [
            (
                layer.name,
                notebook.whole(layer.model_cycles),
                notebook.whole(layer.rtl_cycles),
                {None: "", True: "equal", False: "DIFFER"}[layer.outputs_equal],
                str(self.differences.get(layer.name, "")),
            )
            for layer in self.result.layers
        ]
        header = ("layer", "cycles", "RTL cycles", "outputs", "first difference")
        title = f"{self.result.network} on {self.result.design}, in simulation"
        return notebook.result_html(title, figures, header, rows)


def verify_network(
    network: str,
    design: Design,
    options: CompressionOptions | None = None,
    *,
    images: int = 1,
    waves: Path | None = None,
    simulator: str = "verilator",
    progress: Progress = lambda _: None,
    fit_memories: bool = False,
    technology: Technology | None = None,
) -> Verification:
    """Evaluates a network on a design, runs it through the RTL, and compares every cycle and every output.

    Args:
        network: An ONNX file, or the name of a carried network.
        design: The array.
        options: Pruning, quantization and data. None: 8 bits, no pruning.
        images: Inputs to run.
        waves: An FST file to write the first input's waves to.
        simulator: ``verilator`` or ``icarus``.
        progress: Called with a few words before each stage.
        fit_memories: Enlarge the design's memories to what the network needs.
        technology: Of the energies, the area and the clock. None: the carried one of 45 nm.

    Returns:
        The result with the RTL's cycles, and whether all was ``exact``.

    Raises:
        SkipstoneError: As ``evaluate_network``; also where the simulator is missing.
    """
    evaluated = evaluate(network, design, options, progress, fit_memories=fit_memories, technology=technology)
    return verify_evaluated(evaluated, images, waves, simulator, progress)


def verify_evaluated(
    evaluated: Evaluated,
    images: int,
    waves: Path | None = None,
    simulator: str = "verilator",
    progress: Progress = lambda _: None,
) -> Verification:
    """Runs a network that is evaluated already in the RTL, and compares: the second half of :func:`verify_network`.

    Args:
        evaluated: The network, its cost and its result.
        images: How many inputs are run.
        waves: Where the waves are written, or None.
        simulator: ``verilator`` or ``icarus``.
        progress: Called with a few words before each stage.

    Raises:
        SimulationError: The simulator could not be built or run.
    """
    prepared, design, cost, result = evaluated.prepared, evaluated.design, evaluated.cost, evaluated.result
    compressed = prepared.compressed
    inputs = reference.quantize_input(compressed, sample_inputs(prepared, images))
    expected = reference.run(compressed, inputs)
    session = RtlSession(design, simulator=simulator, waves=waves)
    progress("generating the Verilog")
    session.compile(
        building=lambda: progress(f"compiling the RTL of {design.pes} PEs with {simulator}, once per design")
    )
    runs: list[NetworkRun] = []
    with session:
        progress("loading the program")
        session.load(cost.program)
        for index, x in enumerate(inputs):
            progress(f"simulating image {index + 1} of {images} ({cost.cycles:,} cycles)")
            runs.append(session.run(x, cost.cycles))
            if runs[-1].error is not None:
                break
    return compare_runs(compressed, cost, result, runs, expected)


def compare_runs(
    network: QuantizedNetwork,
    cost: NetworkCost,
    result: NetworkResult,
    runs: list[NetworkRun],
    expected: dict[str, NDArray[np.int64]],
) -> Verification:
    """Fills RTL cycles and equality into a result. A layer that did not run is not equal.

    Args:
        network: The integers.
        cost: The network mapped onto the design, with the model's cycles.
        result: The result to fill.
        runs: What the RTL gave, a run for each input.
        expected: The reference's tensors by name, inputs x channels x height x width.
    """
    layers = list(result.layers)
    differences: dict[str, Difference] = {}
    for index, layer in enumerate(cost.program.layers):
        cycles: set[int] = set()
        equal = True
        for image, run in enumerate(runs):
            if index >= len(run.layers):
                equal = False
                continue
            cycles.add(run.cycles[index])
            for name, got in run.layers[index].items():
                want = expected[name][image]
                wrong = np.argwhere(got != want)
                if len(wrong):
                    equal = False
                    at = tuple(int(v) for v in wrong[0])
                    difference = Difference(
                        layer.name, image, (at[0], at[1], at[2]), int(want[at]), int(got[at]), len(wrong)
                    )
                    differences.setdefault(layer.name, difference)
        # Of several counts (they should all be the same) the one that differs from the model is shown.
        model = cost.layers[index].cycles
        shown = next(iter(sorted(cycles - {model})), model if cycles else None)
        layers[index] = dataclasses.replace(layers[index], rtl_cycles=shown, outputs_equal=equal)
    unfinished = [
        f"image {image}: {run.error or 'done did not rise'}"
        for image, run in enumerate(runs)
        if run.error or not run.done
    ]
    unfinished += [
        f"image {image}: the host port reads other words than the memory holds"
        for image, run in enumerate(runs)
        if run.done and not run.error and not run.from_host
    ]
    counted = [layer.rtl_cycles for layer in layers if not layer.on_host]
    total = sum(c for c in counted if c is not None) if all(c is not None for c in counted) else None
    seconds = sum(run.seconds for run in runs)
    return Verification(
        dataclasses.replace(
            result,
            layers=tuple(layers),
            rtl_total_cycles=total,
            images_verified=len(runs),
        ),
        differences,
        sum(sum(run.cycles) for run in runs) / seconds if seconds else 0.0,
        unfinished[0] if unfinished else None,
    )
