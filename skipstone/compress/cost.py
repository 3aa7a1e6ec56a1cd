"""Exact cycles, energy and area of a compressed network on a design, beside those of the network as it came."""

from __future__ import annotations

from skipstone.flow.designs import design_for
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.mapper.energy.operands import operands_of
from skipstone.mapper.results.compression import DesignCost
from skipstone.models.data.images import Images
from skipstone.models.quantization.network import QuantizedNetwork


def design_cost(network: QuantizedNetwork, dense: NetworkCost, design: Design, images: Images | None) -> DesignCost:
    """What a compressed network costs on a design that takes its weights' code, beside the network as it came.

    Args:
        network: The integers of the compressed network.
        dense: What the network as it came costs on ``design``.
        design: The array. It gets the multiplier of the network's weight code, and memories that hold the network.
        images: What energy is counted for (float32, N x channels x height x width); activations have a typical size
            without.

    Returns:
        Exact cycles, energy (pJ) and area (um2).

    Raises:
        MappingError: The network does not fit the design.
    """
    operands = None if images is None else operands_of(network, images)
    compressed = cost(network, design_for(network, design), memories="enlarged", operands=operands)
    program = compressed.program
    return DesignCost(
        design=design.name,
        multiplier=compressed.design.multiplier,
        cycles=compressed.cycles,
        energy_pj=compressed.price.energy_pj,
        area_um2=compressed.price.area_um2,
        weight_memory_bytes=sum(layer.encoded_bits for layer in program.layers) // 8,
        dense_cycles=dense.cycles,
        dense_energy_pj=dense.price.energy_pj,
        layers={layer.name: cycles.cycles for layer, cycles in zip(program.layers, compressed.layers, strict=True)},
    )
