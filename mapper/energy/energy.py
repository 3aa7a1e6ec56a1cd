"""Energy of a layer and of a network: counts of actions times the energy of each, with component and source.

The counts come from ``skipstone.mapper.energy.actions``, the energies of memories and DRAM from
``skipstone.mapper.technology.technology``, those of our own logic from ``skipstone.mapper.technology.logic_cells``.
Every count is a counter of ``Actions`` times a constant of the design, so a network's energy is one sum of products.
``layer_terms`` lists these products.

Counted: the switching of all gateware, by action; clock tree and clock pins in every cycle, idle or not; reads of every
port without an enable in every cycle, needed or not; leakage of memories and logic; input and outputs from and to DRAM.

Not counted: wires between blocks and between the banks of a memory; pads and the pins' drivers; the clock's generator;
DRAM's refresh and idle time; what the host computes; cycles in which the host moves data; the area and energy of a
memory's second and third port (each port is charged as that of a memory with one). A read costs the same whether the
address changed or not, so the energy of idle reads is an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import TechnologyError
from skipstone.hw.design import Design
from skipstone.mapper.counters import COUNTERS, Actions
from skipstone.mapper.energy.ports import ChipMemory, chip_memories
from skipstone.mapper.results.network import EnergyTerm
from skipstone.mapper.technology.technology import Technology

PARTS = (
    "pe",
    "accumulators",
    "windows",
    "weights",
    "rows",
    "activations",
    "loader",
    "requantize",
    "control",
    "clock",
    "leakage",
    "off_chip",
)
"""The parts that energy is grouped by.

``pe``, ``rows``, ``loader``: switching of that logic, of the loader with its load lists; ``requantize``: drain and
requantizer lanes, with parameters and tables; ``control``: the controller and descriptors; ``windows``,
``accumulators``, ``weights`` (with codebooks), ``activations``: those memories; ``clock``: clock tree and clock pins of
all logic; ``leakage``: memories and logic; ``off_chip``: the network's input and outputs from and to DRAM.
"""

LOGIC_PARTS = {
    "pe": "pe",
    "row": "rows",
    "loader": "loader",
    "drain": "requantize",
    "requantizer": "requantize",
    "controller": "control",
}
MEMORY_PARTS = {
    "windows": "windows",
    "accumulators": "accumulators",
    "weights": "weights",
    "codebooks": "weights",
    "activations": "activations",
    "load_lists": "loader",
    "parameters": "requantize",
    "tables": "requantize",
    "descriptors": "control",
}
SMALLEST_SRAM_WORDS = 64
"""The fewest words of CACTI's memories. Smaller ones are extrapolated (``register_file``)."""


@dataclass(frozen=True)
class Rate:
    """The energy of one action, and how often it happens.

    Attributes:
        part: One of ``PARTS``.
        component: The logic or memory that acts.
        action: What it does.
        counter: The counter of ``Actions`` that the action follows.
        per: How often the action happens for each count of ``counter``.
        pj: Energy of the action once.
        source: The key of its source in ``Technology.sources``.
    """

    part: str
    component: str
    action: str
    counter: str
    per: float
    pj: float
    source: str


def layer_terms(actions: Actions, design: Design, technology: Technology) -> tuple[EnergyTerm, ...]:
    """Lists the products that a layer's energy is the sum of. Actions that never happened are left out.

    Args:
        actions: The layer's counts.
        design: The design that it runs on.
        technology: The node, at the clock that the design runs at.

    Raises:
        TechnologyError: The technology has own numbers for an action or a component that the design does not have.
    """
    return tuple(
        EnergyTerm(rate.part, rate.component, rate.action, count, rate.pj, rate.source)
        for rate in rates(design, technology)
        if (count := getattr(actions, rate.counter) * rate.per)
    )


def energy_by_part(terms: Iterable[EnergyTerm]) -> dict[str, float]:
    """Adds up the energy of ``terms`` in pJ for each of ``PARTS``."""
    parts = dict.fromkeys(PARTS, 0.0)
    for term in terms:
        parts[term.part] += term.energy_pj
    return parts


def network_energy(layers: Sequence[Actions], design: Design, technology: Technology) -> float:
    """Computes the energy of one inference.

    Args:
        layers: The counts of each layer.
        design: The design that they run on.
        technology: The node, at the clock that the design runs at.

    Returns:
        The energy in pJ, transfers to and from DRAM included.

    Raises:
        TechnologyError: The technology has own numbers for an action or a component that the design does not have.
    """
    return float((_matrix(design, technology) @ _counters(layers)).sum())


def energy_sources(technology: Technology) -> list[tuple[str, str]]:
    """Lists the sources of an energy report's numbers as (key, source), with the keys of ``Rate.source``."""
    return [("technology", technology.name), *technology.sources]


@lru_cache(maxsize=4096)
def rates(design: Design, technology: Technology) -> tuple[Rate, ...]:
    """Lists every action of a design with its energy.

    Raises:
        TechnologyError: The technology has own numbers for an action or a component that the design does not have.
    """
    all_rates = [*_logic_rates(design, technology), *_memory_rates(design, technology), *_off_chip_rates(technology)]
    _check_own(all_rates, technology)
    own_actions = technology.own_actions
    for index, rate in enumerate(all_rates):
        if (rate.component, rate.action) in own_actions:
            pj, source = own_actions[rate.component, rate.action]
            all_rates[index] = Rate(rate.part, rate.component, rate.action, rate.counter, rate.per, pj, source)
    return tuple(all_rates)


def _logic_rates(design: Design, technology: Technology) -> list[Rate]:
    """Switching, clock and leakage of our own logic."""
    gateware, scale = technology.gateware, technology.logic
    rates = [
        Rate(
            LOGIC_PARTS[action.component],
            action.component,
            action.name,
            action.counter,
            1.0,
            gateware.action_pj(action.component, action.name, design) * scale.energy,
            "logic",
        )
        for action in gateware.actions(design)
    ]
    for component in gateware.components(design):
        clock = gateware.clock_pj(component.name, design) * scale.energy
        own_component = technology.own_components.get(component.name)
        leakage_nw = (
            own_component.leakage_nw if own_component else gateware.leakage_nw(component.name, design) * scale.leakage
        )
        rates += [
            Rate("clock", component.name, "clock", "cycles", component.count, clock, "logic"),
            Rate(
                "leakage",
                component.name,
                "leakage",
                "cycles",
                component.count,
                leakage_pj(leakage_nw, technology),
                own_component.source if own_component else "logic",
            ),
        ]
    return rates


def _memory_rates(design: Design, technology: Technology) -> list[Rate]:
    """Reads and writes of every memory as its ports do them, and its leakage."""
    rates = []
    sizes = {memory.name: memory for memory in chip_memories(design)}
    for memory in sizes.values():
        rates += [
            Rate(MEMORY_PARTS[memory.name], memory.name, action, counter, per, pj, memory_source(memory))
            for action, counter, per, pj in _accesses(memory, design, technology)
        ]
        own_component = technology.own_components.get(memory.name)
        leakage_nw = (
            own_component.leakage_nw if own_component else technology.sram(memory.words, memory.bits).leakage_mw * 1e6
        )
        rates.append(
            Rate(
                "leakage",
                memory.name,
                "leakage",
                "cycles",
                memory.count,
                leakage_pj(leakage_nw, technology),
                own_component.source if own_component else memory_source(memory),
            )
        )
    return rates


def _accesses(memory: ChipMemory, design: Design, technology: Technology) -> list[tuple[str, str, float, float]]:
    """Action, counter, times and pJ of each kind of access.

    - Windows: a read fetches one activation, as from a memory of the same capacity with one activation a word. The rest
      of the word is not charged, which is optimistic where the window is read word by word. A write writes a whole
      word.
    - Accumulators: a read of the old sum, a write of the new one, and reads for the drain.
    - Activations: two ports read whole words in every cycle. A write writes ``requantizer_lanes`` activations, as into
      a memory of the same capacity with words of that width. The host writes and reads whole words.
    - All others are read by their ports in every cycle, and tables in every cycle of a layer that uses one.
    """
    sram = technology.sram(memory.words, memory.bits)
    always = ("read, every cycle", "cycles", float(memory.count * memory.always_read), sram.read_pj)
    match memory.name:
        case "windows":
            lane = technology.sram(memory.words * design.load_width, design.activation_bits)
            return [("read", "window_reads", 1.0, lane.read_pj), ("write", "window_writes", 1.0, sram.write_pj)]
        case "accumulators":
            return [
                ("read", "accumulator_reads", 1.0, sram.read_pj),
                ("write", "accumulator_writes", 1.0, sram.write_pj),
                ("read for the drain", "drain_reads", 1.0, sram.read_pj),
            ]
        case "activations":
            blocks = design.load_width // design.requantizer_lanes
            part = technology.sram(memory.words * blocks, memory.bits // blocks)
            return [
                always,
                ("write", "activation_writes", 1.0, part.write_pj),
                ("host write", "host_writes", 1.0, sram.write_pj),
                ("host read", "host_reads", 1.0, sram.read_pj),
            ]
        case "tables":
            return [("read", "table_reads", 1.0, sram.read_pj)]
    return [always]


def _off_chip_rates(technology: Technology) -> list[Rate]:
    dram = technology.dram
    return [
        Rate("off_chip", "dram", "read a bit", "off_chip_read_bits", 1.0, dram.read_pj_per_bit, "off_chip"),
        Rate("off_chip", "dram", "write a bit", "off_chip_write_bits", 1.0, dram.write_pj_per_bit, "off_chip"),
    ]


def memory_source(memory: ChipMemory) -> str:
    """The key of the source of a memory's numbers."""
    return "memory" if memory.words >= SMALLEST_SRAM_WORDS else "register_file"


def leakage_pj(nanowatts: float, technology: Technology) -> float:
    """Energy that leaks in one cycle: 1 nW for 1 us is 1e-3 pJ."""
    return nanowatts * 1e-3 / technology.frequency_mhz


def _check_own(rates: Iterable[Rate], technology: Technology) -> None:
    """Refuses a technology's own numbers for actions and components that the design does not have."""
    actions = {(rate.component, rate.action) for rate in rates}
    components = {component for component, _ in actions}
    sometimes = {"codebooks", "tables"}
    for component, action in technology.own_actions:
        if (component, action) not in actions and component not in sometimes - components:
            names = ", ".join(f"{part} {kind}" for part, kind in sorted(actions))
            raise TechnologyError(
                f"the technology has an [[action]] '{action}' of '{component}', which the array does not; it has {names}"
            )
    for name in technology.own_components:
        if name not in components | sometimes:
            raise TechnologyError(
                f"the technology has a [[component]] '{name}', which the array does not; it has {', '.join(sorted(components))}"
            )


@lru_cache(maxsize=4096)
def _matrix(design: Design, technology: Technology) -> NDArray[np.float64]:
    """pJ for a count of each of ``COUNTERS`` (columns) in each of ``PARTS`` (rows)."""
    matrix = np.zeros((len(PARTS), len(COUNTERS)))
    for rate in rates(design, technology):
        matrix[PARTS.index(rate.part), COUNTERS.index(rate.counter)] += rate.per * rate.pj
    return matrix


def _counters(layers: Sequence[Actions]) -> NDArray[np.float64]:
    """The sum of the layers' counts, in the order of ``COUNTERS``."""
    return np.array([sum(getattr(layer, name) for layer in layers) for name in COUNTERS], dtype=np.float64)
