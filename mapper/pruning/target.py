"""What a float graph costs on one design: quantized, compiled and counted exactly, by the road that the final result takes.

Every hardware-aware method asks it before and after a change; nothing here is estimated. A dense network that overflows the
design's memories is counted with larger ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import MappingError
from skipstone.hw.design import MAX_ACCUMULATOR_BITS, Design
from skipstone.mapper.energy.actions import network_actions
from skipstone.mapper.energy.clock import clocked
from skipstone.mapper.energy.energy import network_energy
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import ROOMY
from skipstone.mapper.program import Program
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.technology.technology import load_technology
from skipstone.mapper.timing.causes import bound_of, cycles_by_cause
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.graph.graph import Graph
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import Ranges, calibrate
from skipstone.models.quantization.scheme import INT8, QuantizationScheme

Quantizer = Callable[[Graph], QuantizedNetwork]


@dataclass(frozen=True, eq=False)
class Costed:
    """A graph on the design: the integers, the program, exact cycles of every layer of the program (``layers``)."""

    network: QuantizedNetwork
    program: Program
    layers: tuple[LayerCycles, ...]

    @property
    def cycles(self) -> int:
        """Exact cycles of the whole network."""
        return sum(layer.cycles for layer in self.layers)

    def bounds(self) -> dict[str, str]:
        """What bounds the workload that each of the network's layers is part of, by the layer's name."""
        return {
            name: bound_of(cycles_by_cause(layer, cycles, self.program.design))
            for layer, cycles in zip(self.program.layers, self.layers, strict=True)
            for name in layer.layers
        }

    def layer_cycles(self) -> dict[str, int]:
        """Cycles of the workload that each of the network's layers is part of; layers that run together show the same."""
        return {
            name: cycles.cycles
            for layer, cycles in zip(self.program.layers, self.layers, strict=True)
            for name in layer.layers
        }


@dataclass(frozen=True, eq=False)
class Target:
    """A design and how a float graph is quantized for it."""

    design: Design
    quantizer: Quantizer

    def cost(self, graph: Graph) -> Costed:
        """Quantizes, compiles and counts ``graph``. MappingError where no memory size would make it fit."""
        network = self.quantizer(graph)
        try:
            program = compile_network(network, self.design)
        except MappingError:
            program = compile_network(network, roomy(self.design))
        return Costed(network, program, network_cycles(program))

    def cycles(self, graph: Graph) -> int:
        """Exact cycles of one inference."""
        return self.cost(graph).cycles

    def energy_pj(self, graph: Graph) -> float:
        """Energy of one inference: counts of actions times the energy of each (``skipstone.mapper.energy.energy``),
        for activations of the mean
        size that the gateware was characterized with: here there are no images."""
        costed = self.cost(graph)
        technology = clocked(self.design, load_technology())
        return network_energy(network_actions(costed.program, costed.layers), self.design, technology)

    def loaded_words(self, graph: Graph) -> int:
        """Words that the loader takes for one inference."""
        return loaded_words(self.cost(graph).program)

    def misfit(self, graph: Graph) -> str | None:
        """What keeps ``graph`` from fitting the design as it is (its memories, for one); None where it fits."""
        try:
            compile_network(self.quantizer(graph), self.design)
        except MappingError as error:
            return str(error)
        return None


def target_for(
    graph: Graph,
    design: Design,
    images: NDArray[np.float32] | None = None,
    scheme: QuantizationScheme = INT8,
    *,
    ranges: Ranges | None = None,
) -> Target:
    """A target that quantizes as ``scheme`` says, with ``ranges``, or with those of ``graph`` on ``images``.

    Cycles don't depend on activation ranges, so those of the unpruned graph do for all that is pruned of it.
    """
    measured = ranges if ranges is not None else calibrate(graph, images, scheme)
    return Target(design, lambda pruned: quantize(pruned, measured, scheme))


def roomy(design: Design) -> Design:
    """``design`` with memories that hold anything and accumulators that don't overflow: cycles don't depend on either."""
    sizes = {
        name: max(getattr(design, name), size) for name, size in ROOMY.items() if name not in ("tables", "codebooks")
    }
    return design.replace(accumulator_bits=MAX_ACCUMULATOR_BITS, **sizes)


def loaded_words(program: Program) -> int:
    """Words that the loader takes for one inference, over all tiles and passes."""
    return sum(sum(int(w.sum()) for w in layer.schedule.words) * layer.schedule.tiles for layer in program.layers)
