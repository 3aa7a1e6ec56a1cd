"""What a float graph costs on one design: quantized, compiled and counted exactly, in the same way as the final result.

Every hardware-aware method uses it before and after a change; nothing is estimated. A dense network that overflows the
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
    """A design, and how a float graph is quantized for it.

    Args:
        design: The array.
        quantizer: Makes the integers of a float graph.
    """

    design: Design
    quantizer: Quantizer

    def cost(self, graph: Graph) -> NetworkCost:
        """Computes the cost of a graph, with unbounded memories where it does not fit the design.

        Activations have the mean size of the gateware's characterization, because there are no images here.

        Raises:
            MappingError: The graph does not fit, however large the memories are.
        """
        return cost(self.quantizer(graph), self.design, memories="of_design_or_unbounded")

    def cycles(self, graph: Graph) -> int:
        """Exact cycles of one inference.

        Raises:
            MappingError: As for :meth:`cost`.
        """
        return self.cost(graph).cycles

    def energy_pj(self, graph: Graph) -> float:
        """Energy of one inference.

        Raises:
            MappingError: As for :meth:`cost`.
        """
        return self.cost(graph).price.energy_pj

    def misfit(self, graph: Graph) -> str | None:
        """Why ``graph`` does not fit the design, its memories included; None where it fits."""
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
    """Makes a target that quantizes with fixed activation ranges.

    Cycles do not depend on activation ranges, so the ranges of the unpruned graph serve for all pruned ones.

    Args:
        graph: The unpruned graph.
        design: The array.
        images: Images that ranges are measured on where ``ranges`` is None, N x channels x height x width.
        scheme: How weights and activations become integers.
        ranges: Activation ranges, in place of measured ones.
    """
    measured = ranges if ranges is not None else calibrate(graph, images, scheme)
    return Target(design, lambda pruned: quantize(pruned, measured, scheme))
