"""Exact cycles, energy and area of a compressed network on a design, beside those of the network as it came."""

from __future__ import annotations

from dataclasses import dataclass

from hw.design import Design
from mapper.actions import network_actions
from mapper.area import area_um2
from mapper.compile import compile_network
from mapper.cycles import network_cycles
from mapper.energy import network_energy
from mapper.memories import with_memories_for
from mapper.program import Program
from mapper.technology import load_technology
from mapper.timing_check import clocked
from models.quantized import QuantizedNetwork
from reports.compression import DesignCost
from skipstone.designs import design_for


@dataclass(frozen=True)
class DenseCost:
    """Of the network as it came, in int8 on the design as it was given."""

    cycles: int
    energy_pj: float


def dense_cost_of(dense: QuantizedNetwork, design: Design) -> DenseCost:
    """Costs of ``dense`` on ``design`` itself, with memories enlarged to what it needs."""
    plain = with_memories_for(dense, design)
    cycles, energy = _totals(compile_network(dense, plain), plain)
    return DenseCost(sum(cycles.values()), energy)


def design_cost(network: QuantizedNetwork, dense: DenseCost, design: Design) -> DesignCost:
    """Costs of ``network`` on ``design`` with the multipliers that its code takes, beside those of the network as it came.
    Memories are enlarged to what it needs."""
    chosen = with_memories_for(network, design_for(network, design))
    program = compile_network(network, chosen)
    cycles, energy = _totals(program, chosen)
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


def _totals(program: Program, design: Design) -> tuple[dict[str, int], float]:
    """Cycles by layer, and all energy."""
    costs = network_cycles(program)
    technology = clocked(design, load_technology())
    energy = network_energy(network_actions(program, costs), design, technology)
    return {layer.name: cost.cycles for layer, cost in zip(program.layers, costs, strict=True)}, energy
