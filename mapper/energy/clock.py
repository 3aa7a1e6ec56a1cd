"""The clock that a design reaches at a node, and what happens where that is too slow.

Longest paths come from synthesis (``skipstone.mapper.technology.logic_cells``), access times of memories from CACTI's
table (``skipstone.mapper.technology.sram``), both scaled to the technology's node.
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
    """The longest paths of a design.

    Attributes:
        logic_ns: The longest path through logic.
        memory_ns: The access time of the slowest memory.
        memory: The name of that memory.
    """

    logic_ns: float
    memory_ns: float
    memory: str

    @property
    def period_ns(self) -> float:
        """The shortest clock period: a memory's read and the longest path in one cycle.

        A row's weight memory takes that long, because the word that it reads decides on the next address. The period is
        pessimistic where the longest path is another one.
        """
        return self.logic_ns + self.memory_ns

    @property
    def fmax_mhz(self) -> float:
        """The highest clock in MHz."""
        return 1e3 / self.period_ns


@lru_cache(maxsize=4096)
def timing(design: Design, technology: Technology) -> Timing:
    """Estimates the longest paths of a design at the technology's node, for typical cells before placement."""
    logic_ns = technology.gateware.min_period_ns(design) * technology.logic.delay
    memory_ns, memory = max(
        (technology.sram(memory.words, memory.bits).access_ns, memory.name) for memory in chip_memories(design)
    )
    return Timing(logic_ns, memory_ns, memory)


@lru_cache(maxsize=4096)
def clocked(design: Design, technology: Technology) -> Technology:
    """Sets the technology's clock to one that the design reaches.

    Args:
        design: The design.
        technology: The technology with its own clock, which a user chose or a carried file suggests.

    Returns:
        ``technology`` itself where the design reaches its clock. Where it does not reach a suggested clock, the
        technology at the fastest whole MHz that it reaches.

    Raises:
        TechnologyError: The design does not reach a clock that a user chose.
    """
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
