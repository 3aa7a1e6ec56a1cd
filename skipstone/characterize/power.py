"""What a transition of each net of a block costs, what its clock costs in every cycle, its area and its leakage.

A transition's energy is that of Liberty's own power model, as OpenSTA's ``report_power`` sums it: half of C V^2 for the net (the
pins that it drives and a wire load), the internal energy of the cell that drives it, and that of the pins it drives.
Rise and fall count their mean, since they alternate. The clock is kept apart: it rises and falls in every cycle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from skipstone.characterize.liberty import Cell, Library
from skipstone.characterize.synthesis import SynthesizedBlock

SLEW_NS = 0.1
"""Transition time at which tables are read."""
WIRE_PF_PER_UM = 1.72375e-4
WIRE_SOURCE = (
    "wire lengths by fan-out from the library's default wire load table, 0.172 fF/um (met1 of SkyWater 130 nm, "
    "OpenROAD-flow-scripts, flow/platforms/sky130hd/setRC.tcl); a library without such lengths: as much wire as pins"
)
CLOCK_FANOUT = 16
CLOCK_BUFFERS = ("sky130_fd_sc_hd__clkbuf_4", "CLKBUF1", "BUFX4")
CLOCK_SOURCE = (
    f"clock tree estimated: a tree of clock buffers ({CLOCK_BUFFERS[0]} where the library has it), {CLOCK_FANOUT} sinks or "
    "buffers each, with the wire load of that fan-out; no skew balancing, no clock gating"
)


@dataclass(frozen=True, eq=False)
class BlockPower:
    """``net_pj``: energy of a transition by bit number of the netlist. ``clock_pj``: of one cycle, clock pins and tree.
    ``delays_ps``: of each cell instance, at its load."""

    net_pj: dict[int, float]
    clock_pj: float
    clock_pins_pj: float
    flip_flops: int
    cells: int
    area_um2: float
    leakage_nw: float
    delays_ps: dict[str, int]


def wire_pf(library: Library, fanout: int, pins_pf: float) -> float:
    """Capacitance (pF) of a net's wire; see ``WIRE_SOURCE``.

    Args:
        library: The cells.
        fanout: The net's sinks.
        pins_pf: The capacitance of their pins.
    """
    if fanout == 0:
        return 0.0
    length = library.wire_um(fanout)
    return pins_pf if length is None else length * WIRE_PF_PER_UM


def block_power(block: SynthesizedBlock, library: Library) -> BlockPower:
    """Energies, area, leakage and delays of one block alone.

    What it instantiates (other blocks, memories) loads its nets with the smallest input pin of the library for each pin and is
    not counted otherwise.

    Args:
        block: The block in cells.
        library: The cells.
    """
    smallest = smallest_input_pf(library)
    driver: dict[int, tuple[str, Cell, str]] = {}
    pins: dict[int, float] = defaultdict(float)
    sinks: dict[int, int] = defaultdict(int)
    sink_power: dict[int, list[tuple[Cell, str]]] = defaultdict(list)
    clock_bits = set(block.ports["clk"][1]) if "clk" in block.ports else set()
    area = leakage = 0.0
    flip_flops = cells = 0
    clock_pins: list[tuple[Cell, str]] = []
    all_connections = [connections for _, connections in block.memories.values()]
    all_connections += [connections for kind, connections in block.cells.values() if kind not in library.cells]
    driven = {
        bit
        for connections in all_connections
        for port, bits in connections.items()
        if port == "RD_DATA"
        for bit in bits
    }
    for connections in all_connections:
        for bits in connections.values():
            for bit in bits:
                if isinstance(bit, int) and bit not in driven and bit not in clock_bits:
                    pins[bit] += smallest
                    sinks[bit] += 1
    for instance, (kind, connections) in block.cells.items():
        cell = library.cells.get(kind)
        if cell is None:
            continue
        cells += 1
        area += cell.area_um2
        leakage += cell.leakage_nw
        flip_flops += cell.flip_flop is not None
        for port, bits in connections.items():
            for bit in bits:
                if not isinstance(bit, int):
                    continue
                pin = cell.pins[port]
                if pin.output:
                    driver[bit] = (instance, cell, port)
                elif bit in clock_bits:
                    clock_pins.append((cell, port))
                else:
                    pins[bit] += pin.capacitance_pf
                    sinks[bit] += 1
                    if pin.power:
                        sink_power[bit].append((cell, port))
    outputs = {bit for direction, bits in block.ports.values() if direction == "output" for bit in bits}
    net_pj: dict[int, float] = {}
    delays: dict[str, int] = {}
    for bit in {*driver, *pins}:
        load = pins[bit] + (smallest if bit in outputs and not sinks[bit] else 0.0)
        load += wire_pf(library, max(sinks[bit], 1), load)
        energy = 0.5 * library.voltage**2 * load
        if bit in driver:
            instance, cell, port = driver[bit]
            energy += cell.pins[port].transition_pj(SLEW_NS, load)
            delays[instance] = max(delays.get(instance, 1), round(1000 * cell.pins[port].delay_ns(SLEW_NS, load)), 1)
        energy += sum(cell.pins[port].transition_pj(SLEW_NS, 0.0) for cell, port in sink_power[bit])
        net_pj[bit] = energy
    pins_pj = sum(
        2 * (cell.pins[port].transition_pj(SLEW_NS, 0.0) + 0.5 * library.voltage**2 * cell.pins[port].capacitance_pf)
        for cell, port in clock_pins
    )
    tree_pj, tree_um2, tree_nw = clock_tree(library, clock_pins)
    return BlockPower(
        net_pj,
        pins_pj + tree_pj,
        pins_pj,
        flip_flops,
        cells,
        area + tree_um2,
        leakage + tree_nw,
        delays,
    )


def smallest_input_pf(library: Library) -> float:
    """The smallest capacitance (pF) of any input pin."""
    return min(
        pin.capacitance_pf
        for cell in library.cells.values()
        for pin in cell.pins.values()
        if not pin.output and pin.capacitance_pf > 0
    )


def clock_tree(library: Library, sinks: list[tuple[Cell, str]]) -> tuple[float, float, float]:
    """The estimated clock tree over registers; see ``CLOCK_SOURCE``.

    Args:
        library: The cells.
        sinks: Registers, each with its clock pin.

    Returns:
        Energy a cycle (pJ), area (um2), leakage (nW). The energy is that of all wires and of the buffers' pins and insides;
        that of the sinks' pins is not in it.
    """
    buffer = next((library.cells[name] for name in CLOCK_BUFFERS if name in library.cells), None)
    if not sinks:
        return 0.0, 0.0, 0.0
    capacitance = sum(cell.pins[port].capacitance_pf for cell, port in sinks) / len(sinks)
    energy = area = leakage = 0.0
    below: float = len(sinks)
    while True:
        # The last buffer of a level may have fewer sinks; a block's share of the tree above it is fractional.
        buffers = below / CLOCK_FANOUT
        wire = wire_pf(library, CLOCK_FANOUT, CLOCK_FANOUT * capacitance)
        energy += buffers * library.voltage**2 * wire
        if buffer is not None:
            output = buffer.outputs[0]
            into = next(pin for pin in buffer.pins.values() if not pin.output)
            load = CLOCK_FANOUT * capacitance + wire
            inside = output.transition_pj(SLEW_NS, load) + into.transition_pj(SLEW_NS, 0.0)
            energy += buffers * (2 * inside + library.voltage**2 * into.capacitance_pf)
            area += buffers * buffer.area_um2
            leakage += buffers * buffer.leakage_nw
            capacitance = into.capacitance_pf
        if buffers <= 1 or buffer is None:
            return energy, area, leakage
        below = buffers


def energy_pj(power: BlockPower, toggles: Mapping[int, float]) -> float:
    """Energy of a block's transitions.

    Args:
        power: The block.
        toggles: Transitions by bit number.
    """
    return sum(power.net_pj.get(bit, 0.0) * count for bit, count in toggles.items())
