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
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.models.graph.graph import Graph
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import Ranges, calibrate
from skipstone.models.quantization.scheme import INT8, QuantizationScheme

Quantizer = Callable[[Graph], QuantizedNetwork]


@dataclass(frozen=True, eq=False)
class Target:
    """A design and how a float graph is quantized for it."""

    design: Design
    quantizer: Quantizer

    def cost(self, graph: Graph) -> NetworkCost:
        """The cost of ``graph`` as it is quantized here; where it does not fit the design, with unbounded memories.

        Activations have the mean size that the gateware was characterized with: here there are no images.

        Raises:
            MappingError: No size of memories would make it fit.
        """
        network = self.quantizer(graph)
        try:
            return cost(network, self.design)
        except MappingError:
            return cost(network, self.design, memories="unbounded")

    def cycles(self, graph: Graph) -> int:
        """Exact cycles of one inference."""
        return self.cost(graph).cycles

    def energy_pj(self, graph: Graph) -> float:
        """Energy of one inference."""
        return self.cost(graph).price.energy_pj

    def misfit(self, graph: Graph) -> str | None:
        """What keeps ``graph`` from fitting the design as it is (its memories, for one); None where it fits."""
        try:
            cost(self.quantizer(graph), self.design)
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
