"""The one road from a quantized network and a design to what it costs: program, exact cycles, actions, energy, area, clock.

``NetworkCost.dense`` is what the same network without zeros costs on the same design: the other side of every speed-up
and saving. ``cost`` maps the network and counts its cycles. Everything else follows from the program and is computed when
it is first asked for, so that a search that compares cycles pays for nothing more. ``price`` turns actions into time,
energy and area; a search that knows the actions of a mapping asks it once for each clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.counters import Actions
from skipstone.mapper.energy.actions import network_actions
from skipstone.mapper.energy.area import area_um2
from skipstone.mapper.energy.clock import clocked
from skipstone.mapper.energy.energy import network_energy
from skipstone.mapper.energy.operands import Operands
from skipstone.mapper.lowering.compile import compile_dense, compile_network
from skipstone.mapper.lowering.memory_fit import all_too_small, with_memories_for
from skipstone.mapper.lowering.memory_sizes import memories_needed, unbounded
from skipstone.mapper.program import Program
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.technology.technology import Technology, load_technology
from skipstone.mapper.timing.causes import cycles_by_cause
from skipstone.mapper.timing.cycles import layer_cycles, network_cycles
from skipstone.mapper.timing.savings import bound_of, layer_savings
from skipstone.models.quantization.network import QuantizedNetwork, without_zeros

MemorySizes = Literal["of_design", "enlarged", "unbounded", "of_design_or_unbounded"]
"""Which memories a network is mapped into: the design's own; those, enlarged to what the network needs; memories and
accumulators that hold anything, for the cycles of a network that need not fit; or these only where it does not fit."""


@dataclass(frozen=True)
class Price:
    """Time, energy and area of one inference at ``frequency_mhz``, the clock that the design runs at."""

    frequency_mhz: float
    latency_us: float
    energy_pj: float
    area_um2: float

    @property
    def power_mw(self) -> float:
        """Mean power. pJ / us is uW."""
        return self.energy_pj / self.latency_us * 1e-3


@dataclass(frozen=True, eq=False)
class NetworkCost:
    """What a network costs on a design.

    Attributes:
        network: The integers that were mapped.
        design: The design that energy, area and clock are of. Its memories are enlarged where that was asked for; where
            memories are unbounded it is the design as it came, and ``program.design`` the one with unbounded memories.
        program: The network mapped onto ``program.design``.
        layers: Exact cycles of each workload of ``program``.
        operands: What the multipliers see of images; None for activations of the mean size of the characterization.
        asked_technology: The technology that was asked for; None for the carried one of 45 nm.
    """

    network: QuantizedNetwork
    design: Design
    program: Program
    layers: tuple[LayerCycles, ...]
    operands: Operands | None
    asked_technology: Technology | None

    @property
    def cycles(self) -> int:
        """Exact cycles of one inference."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def loaded_words(self) -> int:
        """Words that the loader takes for one inference, over all tiles and passes."""
        return sum(
            sum(int(words.sum()) for words in layer.schedule.words) * layer.schedule.tiles
            for layer in self.program.layers
        )

    @property
    def memories_needed(self) -> dict[str, int]:
        """The least size of each memory that holds the program, by the design's parameter."""
        return memories_needed(self.program)

    @cached_property
    def causes(self) -> tuple[dict[str, float], ...]:
        """Where the cycles of each workload go."""
        return tuple(
            cycles_by_cause(layer, cycles, self.program.design)
            for layer, cycles in zip(self.program.layers, self.layers, strict=True)
        )

    @cached_property
    def alone(self) -> tuple[int, ...]:
        """Cycles of each workload if it ran alone."""
        return tuple(layer_cycles(layer.schedule, self.program.design).cycles for layer in self.program.layers)

    @cached_property
    def savings(self) -> tuple[dict[str, int], ...]:
        """What each change would save each workload that runs alone (``skipstone.mapper.timing.savings``)."""
        return tuple(
            layer_savings(layer, self.program.design, alone)
            for layer, alone in zip(self.program.layers, self.alone, strict=True)
        )

    @cached_property
    def bounds(self) -> tuple[str, ...]:
        """What bounds each workload."""
        return tuple(
            bound_of(savings, alone, layer.trained)
            for layer, savings, alone in zip(self.program.layers, self.savings, self.alone, strict=True)
        )

    @cached_property
    def actions(self) -> tuple[Actions, ...]:
        """What the hardware does for each workload."""
        return network_actions(self.program, self.layers, self.operands)

    @cached_property
    def dense(self) -> NetworkCost:
        """The cost of the dense network on the same design."""
        operands = None if self.operands is None else self.operands.without_zeros()
        return dense_cost(self.network, self.design, self.asked_technology, operands)

    @cached_property
    def technology(self) -> Technology:
        """The technology at the clock that ``design`` runs at. Raises TechnologyError where it does not reach the clock."""
        return clocked(self.design, self.asked_technology or load_technology())

    @cached_property
    def price(self) -> Price:
        """Time, energy and area. Raises TechnologyError where ``design`` does not reach the clock."""
        return price(self.actions, self.design, self.technology)

    def layer_bounds(self) -> dict[str, str]:
        """What bounds the workload that each of the network's layers is part of, by the layer's name."""
        return {
            name: bound for layer, bound in zip(self.program.layers, self.bounds, strict=True) for name in layer.layers
        }

    def layer_cycles(self) -> dict[str, int]:
        """Cycles of the workload that each of the network's layers is part of; layers that run together show the same."""
        return {
            name: cycles.cycles
            for layer, cycles in zip(self.program.layers, self.layers, strict=True)
            for name in layer.layers
        }


def cost(
    network: QuantizedNetwork,
    design: Design,
    technology: Technology | None = None,
    *,
    memories: MemorySizes = "of_design",
    operands: Operands | None = None,
) -> NetworkCost:
    """Map ``network`` onto ``design`` and count its cycles.

    Args:
        network: The integers.
        design: The array.
        technology: What energy, area and clock are of; the carried 45 nm if None.
        memories: Which memories the network is mapped into. Enlarged ones show in the name of the result's design.
        operands: What the multipliers see of images; activations have the mean size of the characterization without.

    Returns:
        The cost, whose parts beyond cycles are computed when they are first asked for.

    Raises:
        MappingError: The network does not fit the design.
        TechnologyError: The design does not reach the clock that ``technology`` asks for.
    """
    if memories == "enlarged":
        design = with_memories_for(network, design)
    if technology is not None:
        technology = clocked(design, technology)
    try:
        program = compile_network(network, unbounded(design) if memories == "unbounded" else design)
    except MappingError as error:
        if memories != "of_design_or_unbounded":
            raise all_too_small(network, design, error) from None
        program = compile_network(network, unbounded(design))
    return NetworkCost(network, design, program, network_cycles(program), operands, technology)


def dense_cost(
    network: QuantizedNetwork, design: Design, technology: Technology | None = None, operands: Operands | None = None
) -> NetworkCost:
    """Map ``network`` without zeros onto ``design`` and count its cycles.

    Every trained weight counts as nonzero (:func:`skipstone.models.quantization.network.without_zeros`). The dense
    network need not fit: its program is one for unbounded memories and accumulators, and its energy is that of the same
    actions on ``design`` as it is. Memories that hold it would take more area and energy.

    Args:
        network: The integers.
        design: The array.
        technology: What energy is of; the carried 45 nm if None.
        operands: What the multipliers of the dense network see of images (``Operands.without_zeros``).

    Returns:
        The cost. Its program has no words.
    """
    program = compile_dense(network, design)
    return NetworkCost(without_zeros(network), design, program, network_cycles(program), operands, technology)


def price(actions: Sequence[Actions], design: Design, technology: Technology) -> Price:
    """Time, energy and area of one inference.

    Args:
        actions: What the hardware does for each workload.
        design: The array, with the sizes of its memories.
        technology: The technology at its clock; a clock that the design does not reach is lowered or refused as
            ``skipstone.mapper.energy.clock.clocked`` says.

    Raises:
        TechnologyError: The design does not reach the clock that was asked for.
    """
    technology = clocked(design, technology)
    return Price(
        frequency_mhz=technology.frequency_mhz,
        latency_us=sum(layer.cycles for layer in actions) / technology.frequency_mhz,
        energy_pj=network_energy(actions, design, technology),
        area_um2=area_um2(design, technology),
    )
