"""Exact cycles, energy and area of a compressed network on a design, beside those of the network as it came."""

from __future__ import annotations

from skipstone.flow.designs import design_for
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.mapper.energy.operands import operands_of
from skipstone.mapper.results.compression import DesignCost
from skipstone.models.data.images import Images
from skipstone.models.quantization.network import QuantizedNetwork


def cost_of(network: QuantizedNetwork, design: Design, images: Images | None = None) -> NetworkCost:
    """The cost of ``network`` on ``design`` itself, with memories enlarged to what it needs.

    Args:
        network: The integers.
        design: The array as it was given.
        images: What energy is counted for (float32, N x channels x height x width); activations have a typical size without.
    """
    operands = None if images is None else operands_of(network, images)
    return cost(network, design, memories="enlarged", operands=operands)


def fitted_cost(network: QuantizedNetwork, design: Design, images: Images | None = None) -> NetworkCost:
    """:func:`cost_of` on ``design`` with the multipliers that the network's weight code takes."""
    return cost_of(network, design_for(network, design), images)


def design_cost(
    network: QuantizedNetwork, dense: NetworkCost, design: Design, images: Images | None = None
) -> DesignCost:
    """:func:`fitted_cost`, beside ``dense``, the cost of the network as it came."""
    compressed = fitted_cost(network, design, images)
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
