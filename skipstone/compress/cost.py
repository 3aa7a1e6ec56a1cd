"""Exact cycles, energy and area of a compressed network on a design, beside those of dense networks on the same design."""

from __future__ import annotations

from skipstone.flow.designs import design_for
from skipstone.hw.design import Design
from skipstone.mapper.cost import cost, dense_cost
from skipstone.mapper.energy.operands import operands_of
from skipstone.mapper.results.compression import DesignCost
from skipstone.models.data.images import Images
from skipstone.models.quantization.network import QuantizedNetwork


def design_cost(
    network: QuantizedNetwork, original: QuantizedNetwork, design: Design, images: Images | None
) -> DesignCost:
    """What a compressed network costs on a design that takes its weights' code.

    There is one design: that with the multiplier of the network's weight code and with memories that hold the
    compressed network. All costs are of it.

    Args:
        network: The integers of the compressed network.
        original: The integers of the network as it came, with the same bits of activations.
        design: The array.
        images: What energy is counted for (float32, N x channels x height x width); activations have a typical size
            without.

    Returns:
        Exact cycles, energy (pJ) and area (um2).

    Raises:
        MappingError: The network does not fit the design.
    """
    operands = None if images is None else operands_of(network, images)
    compressed = cost(network, design_for(network, design), memories="enlarged", operands=operands)
    operands = None if images is None else operands_of(original, images).without_zeros()
    before = dense_cost(original, compressed.design, operands=operands)
    program, design = compressed.program, compressed.design
    return DesignCost(
        design=design.name,
        multiplier=design.multiplier,
        cycles=compressed.cycles,
        energy_pj=compressed.price.energy_pj,
        area_um2=compressed.price.area_um2,
        weight_memory_bytes=-(-sum(layer.encoded_bits for layer in program.layers) // 8),
        dense_cycles=compressed.dense.cycles,
        dense_energy_pj=compressed.dense.price.energy_pj,
        original_cycles=before.cycles,
        original_energy_pj=before.price.energy_pj,
        entry_bits=design.weight_entry.width,
        value_bits=design.products.code_bits,
        layers={layer.name: cycles.cycles for layer, cycles in zip(program.layers, compressed.layers, strict=True)},
    )
