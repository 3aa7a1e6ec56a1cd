"""The clock that a design can have at a node, and what happens to one that it can't.

Longest paths come from synthesis (``skipstone.mapper.technology.logic_cells``, by the technology), access times of
memories from CACTI's table (``skipstone.mapper.technology.technology``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import floor

from skipstone.errors import TechnologyError
from skipstone.hw.design import Design
from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.technology.technology import Technology


@dataclass(frozen=True)
class Timing:
    """``logic_ns``: the longest path through logic; ``memory_ns``: the slowest memory's access, of ``memory``."""

    logic_ns: float
    memory_ns: float
    memory: str

    @property
    def period_ns(self) -> float:
        """A memory's read and the longest path behind it in one cycle: what a row's weight memory takes, whose word
        decides on the next address. Pessimistic where the longest path is another one."""
        return self.logic_ns + self.memory_ns

    @property
    def fmax_mhz(self) -> float:
        return 1e3 / self.period_ns


@lru_cache(maxsize=4096)
def timing(design: Design, technology: Technology) -> Timing:
    """Of ``design`` at the technology's node: typical cells before placement, as synthesis estimates them."""
    logic_ns = technology.gateware.min_period_ns(design) * technology.logic.delay
    memory_ns, memory = max(
        (technology.sram(memory.words, memory.bits).access_ns, memory.name) for memory in chip_memories(design)
    )
    return Timing(logic_ns, memory_ns, memory)


@lru_cache(maxsize=4096)
def clocked(design: Design, technology: Technology) -> Technology:
    """The technology at the clock that ``design`` runs at: its own where the design reaches it. Where it does not, a
    carried default gives way to whole MHz that it does reach, and TechnologyError refuses a clock that someone
    chose."""
    fastest = timing(design, technology)
    if technology.frequency_mhz > fastest.fmax_mhz:
        if not technology.frequency_fixed:
            return technology.slowed_to(floor(fastest.fmax_mhz) or fastest.fmax_mhz)
        raise TechnologyError(
            f"design '{design.name}' reaches {floor(fastest.fmax_mhz)} MHz at {technology.node_nm} nm, not "
            f"{technology.frequency_mhz:g}: {fastest.logic_ns:.2f} ns of logic "
            f"and {fastest.memory_ns:.2f} ns of its {fastest.memory}; choose a lower frequency or smaller memories"
        )
    return technology
