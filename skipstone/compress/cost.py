"""Exact cycles, energy and area of a compressed network on a design, beside those of the network as it came."""

from __future__ import annotations

from dataclasses import dataclass

from skipstone.flow.designs import design_for
from skipstone.hw.design import Design
from skipstone.mapper.energy.actions import network_actions
from skipstone.mapper.energy.area import area_um2
from skipstone.mapper.energy.clock import clocked
from skipstone.mapper.energy.energy import network_energy
from skipstone.mapper.energy.operands import IMAGES, Operands
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import with_memories_for
from skipstone.mapper.program import Program
from skipstone.mapper.results.compression import DesignCost
from skipstone.mapper.technology.technology import load_technology
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.data.images import Images
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork


@dataclass(frozen=True)
class DenseCost:
    """Of the network as it came, in int8 on the design as it was given."""

    cycles: int
    energy_pj: float


def dense_cost_of(dense: QuantizedNetwork, design: Design, images: Images | None = None) -> DenseCost:
    """Costs of ``dense`` on ``design`` itself, with memories enlarged to what it needs. Energy is for ``images`` (float32, N x C
    x H x W), without which activations have a typical size."""
    plain = with_memories_for(dense, design)
    cycles, energy = _totals(compile_network(dense, plain), plain, dense, images)
    return DenseCost(sum(cycles.values()), energy)


def design_cost(
    network: QuantizedNetwork, dense: DenseCost, design: Design, images: Images | None = None
) -> DesignCost:
    """Costs of ``network`` on ``design`` with the multipliers that its code takes, beside those of the network as it came.
    Memories are enlarged to what it needs; ``images`` as in :func:`dense_cost_of`."""
    chosen = with_memories_for(network, design_for(network, design))
    program = compile_network(network, chosen)
    cycles, energy = _totals(program, chosen, network, images)
    return DesignCost(
        design=design.name,
        multiplier=chosen.multiplier,
        cycles=sum(cycles.values()),
        energy_pj=energy,
        area_um2=area_um2(chosen, load_technology()),
        weight_memory_bytes=sum(layer.encoded_bits for layer in program.layers) // 8,
        dense_cycles=dense.cycles,
        dense_energy_pj=dense.energy_pj,
        layers=cycles,
    )


def _totals(
    program: Program, design: Design, network: QuantizedNetwork, images: Images | None
) -> tuple[dict[str, int], float]:
    """Cycles by layer, and all energy."""
    costs = network_cycles(program)
    technology = clocked(design, load_technology())
    operands = None if images is None else Operands(network, reference.quantize_input(network, images[:IMAGES]))
    energy = network_energy(network_actions(program, costs, operands), design, technology)
    return {layer.name: cost.cycles for layer, cost in zip(program.layers, costs, strict=True)}, energy
