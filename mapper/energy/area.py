"""Area and leakage of a design: its components, each with its source, and their sum.

Memories are as CACTI lays them out, logic as synthesis gave it, scaled to the node
(``skipstone.mapper.technology.technology``). Cells only: what placement and routing add, wires between blocks, pads,
and the second and third ports of memories are not in it.
"""

from __future__ import annotations

from functools import lru_cache

from skipstone.hw.design import Design
from skipstone.mapper.energy.energy import memory_source
from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.results.network import AreaTerm
from skipstone.mapper.technology.technology import Technology


@lru_cache(maxsize=4096)
def area_terms(design: Design, technology: Technology) -> tuple[AreaTerm, ...]:
    """Lists the area and leakage of every component of a design.

    Args:
        design: The design.
        technology: The node; its file's own numbers for a component replace the model's.

    Returns:
        A term for each kind of logic and each kind of memory, in um2 and nW, each with its source.
    """
    gateware, scale = technology.gateware, technology.logic
    terms = [
        AreaTerm(
            component.name,
            component.count,
            gateware.area_um2(component.name, design) * scale.area,
            gateware.leakage_nw(component.name, design) * scale.leakage,
            "logic",
        )
        for component in gateware.components(design)
    ]
    for memory in chip_memories(design):
        sram = technology.sram(memory.words, memory.bits)
        terms.append(AreaTerm(memory.name, memory.count, sram.area_um2, sram.leakage_mw * 1e6, memory_source(memory)))
    own_components = technology.own_components
    return tuple(
        AreaTerm(term.component, term.count, own_area.um2, own_area.leakage_nw, own_area.source)
        if (own_area := own_components.get(term.component))
        else term
        for term in terms
    )


def area_um2(design: Design, technology: Technology) -> float:
    """The area of all components of a design in um2."""
    return sum(term.area_um2 for term in area_terms(design, technology))
