"""Energy, area, delay and leakage at one node, each with its source. ``skipstone.mapper.energy.energy`` multiplies its
counts by them.

A technology is computed from a file (``skipstone.mapper.technology.files``): memories by a CACTI table
(``skipstone.mapper.technology.sram``), our own logic by factors from 130 nm to the node
(``skipstone.mapper.technology.scaling``), DRAM by a device's energy of a bit. The carried files are in
``mapper/technology/data``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from skipstone.errors import ResultError, TechnologyError
from skipstone.mapper.results.technology_tables import DramTable, MemoryTable
from skipstone.mapper.technology.logic_cells import Gateware, load_gateware
from skipstone.mapper.technology.scaling import Factors, Process, load_scaling
from skipstone.mapper.technology.sram import Sram, SramTable

if TYPE_CHECKING:
    from skipstone.mapper.technology.files import Logic, MemoryEntry, TechnologyFile

DEFAULT_NODE_NM = 45
DRAM_TABLE = "dram_energydram.json"
REFERENCE_MEMORY = (4096, 32)
"""Words and bits of a memory. Its leakage at two nodes gives the factor of logic's leakage between them."""


@dataclass(frozen=True)
class Dram:
    """Energy of a bit read from and written to off-chip memory."""

    read_pj_per_bit: float
    write_pj_per_bit: float


@dataclass(frozen=True)
class OwnComponent:
    """A file's own area and leakage of a component, in place of the model's.

    Attributes:
        um2: Area of one instance.
        leakage_nw: Leakage of one instance.
        source: The key of its source in ``Technology.sources``.
    """

    um2: float
    leakage_nw: float
    source: str


@dataclass(frozen=True, eq=False)
class Technology:
    """The numbers of one node.

    Attributes:
        node_nm: The node.
        name: What the file calls it.
        frequency_mhz: The clock.
        sram_table: The memories.
        gateware: Our own logic as synthesized.
        logic: Factors that scale ``gateware`` to the node.
        dram: The off-chip memory.
        own_actions: The file's own energies: pJ and the key of the source, by component and action.
        own_components: The file's own areas and leakages, by component.
        sources: (key, source) of every group of numbers.
        frequency_fixed: A user chose the clock. A design that does not reach it is refused and not slowed down.
    """

    node_nm: int
    name: str
    frequency_mhz: float
    sram_table: SramTable
    gateware: Gateware
    logic: Factors
    dram: Dram
    own_actions: Mapping[tuple[str, str], tuple[float, str]]
    own_components: Mapping[str, OwnComponent]
    sources: tuple[tuple[str, str], ...]
    frequency_fixed: bool = True

    def sram(self, words: int, bits_per_word: int) -> Sram:
        """A memory with one read/write port (see ``SramTable.memory``).

        Args:
            words: The number of words.
            bits_per_word: Bits of a word.

        Raises:
            TypeError: A size is not an integer.
            ValueError: A size is not positive.
        """
        for name, value in (("words", words), ("bits_per_word", bits_per_word)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value}")
        return _memory(self.sram_table, words, bits_per_word)

    def with_frequency(self, frequency_mhz: float) -> Technology:
        """The same technology at a clock that a user chose.

        Raises:
            TechnologyError: The clock is not a positive number.
        """
        return self._clocked(frequency_mhz, f"{frequency_mhz:g} MHz, as asked for", True)

    def slowed_to(self, frequency_mhz: float) -> Technology:
        """The same technology at a slower clock, because the design does not reach its own one."""
        why = f"{frequency_mhz:g} MHz, what the design reaches; {self.frequency_mhz:g} MHz for a faster one"
        return self._clocked(frequency_mhz, why, False)

    def _clocked(self, frequency_mhz: float, source: str, fixed: bool) -> Technology:
        if not 0 < frequency_mhz < float("inf"):
            raise TechnologyError(f"the frequency must be above 0 MHz, not {frequency_mhz:g}")
        sources = tuple((dict(self.sources) | {"frequency": source}).items())
        return replace(self, frequency_mhz=frequency_mhz, sources=sources, frequency_fixed=fixed)


def load_technology(which: int | str | Path = DEFAULT_NODE_NM, frequency_mhz: float | None = None) -> Technology:
    """Loads a technology.

    Args:
        which: A node in nm, such as 45 or ``"45nm"``, for a carried technology (the same object every time); or a path
            of a technology file, which as a text ends in ``.toml``.
        frequency_mhz: A clock in place of the file's.

    Raises:
        TechnologyError: There is no such node, the file cannot be used, or the clock is not a positive number.
    """
    if isinstance(which, Path) or (isinstance(which, str) and which.endswith(".toml")):
        from skipstone.mapper.technology.files import read_technology_file

        path = Path(which)
        technology = make_technology(read_technology_file(path), path.parent)
        return technology if frequency_mhz is None else technology.with_frequency(frequency_mhz)
    text = str(which).removesuffix("nm").strip()
    if not text.isdigit():
        raise TechnologyError(f"a technology is a node in nm ({_carried()}) or a .toml file, not '{which}'")
    return _load_node(int(text), frequency_mhz)


@lru_cache(maxsize=256)
def _load_node(node_nm: int, frequency_mhz: float | None) -> Technology:
    if node_nm not in technology_files(_folder()):
        raise TechnologyError(f"no technology for a node of {node_nm} nm; carried: {_carried()}; or name a .toml file")
    if frequency_mhz is not None:
        return _load_node(node_nm, None).with_frequency(frequency_mhz)
    return replace(make_technology(_carried_file(node_nm)), frequency_fixed=False)


def _carried_file(node_nm: int) -> TechnologyFile:
    from skipstone.mapper.technology.files import parse_technology_file

    file = technology_files(_folder())[node_nm]
    return parse_technology_file(file.read_text(), f"mapper/technology/data/{file.name}")


def make_technology(file: TechnologyFile, folder: Path | None = None) -> Technology:
    """Computes a technology from a file's entries.

    Args:
        file: The file's entries.
        folder: Where tables are looked for first; then the carried ones are used.

    Raises:
        TechnologyError: A table or a characterization cannot be used, or the scaling does not cover the process.
    """
    process = Process(file.node_nm, file.logic.supply_v, file.logic.transistors)
    table, gateware = _sram_table(file, process, folder), _gateware(file.logic, folder)
    sources = {part: getattr(file, part).source for part in ("frequency", "memory", "register_file", "logic")}
    sources["logic"] += f"; {gateware.table.source}"
    dram, sources["off_chip"] = _dram(file)
    own_actions, own_components = {}, {}
    for action in file.action:
        key = f"action {action.component}.{action.action}"
        own_actions[action.component, action.action] = (action.pj, key)
        sources[key] = action.source
    for component in file.component:
        key = f"component {component.name}"
        own_components[component.name] = OwnComponent(component.um2, component.leakage_nw, key)
        sources[key] = component.source
    return Technology(
        file.node_nm,
        file.name,
        file.frequency.mhz,
        table,
        gateware,
        _logic_factors(file.logic, process, table, Process(gateware.table.node_nm, gateware.table.voltage)),
        dram,
        own_actions,
        own_components,
        tuple(sources.items()),
    )


def technology_files(folder: Traversable) -> dict[int, Traversable]:
    """The carried technology files by node."""
    matches = ((re.fullmatch(r"technology_(\d+)nm\.toml", entry.name), entry) for entry in folder.iterdir())
    return dict(sorted((int(match[1]), entry) for match, entry in matches if match))


def memory_scale(memory: MemoryEntry, process: Process) -> Factors:
    """Factors that take memories from the table's node to the file's.

    Area, delay and energy scale as logic's. Leakage is an estimate: the off-current for each width of a gate stays, so
    leakage goes with the width and the supply.
    """
    if memory.node_nm == process.node_nm or memory.supply_v is None:
        return Factors()
    factors = load_scaling().factors(Process(memory.node_nm, memory.supply_v), process)
    return replace(factors, leakage=process.node_nm / memory.node_nm * process.supply_v / memory.supply_v)


def _sram_table(file: TechnologyFile, process: Process, folder: Path | None) -> SramTable:
    memory, small = file.memory, file.register_file
    own_table = folder / memory.table if folder else None
    try:
        if own_table and own_table.is_file():
            memories = MemoryTable.read(own_table)
        else:
            memories = MemoryTable.from_text((_folder() / memory.table).read_text(), f"'{memory.table}'")
        return SramTable.of(
            memories,
            memory.node_nm,
            memory.device,
            memory.smallest_bank_bits,
            small.words_exponent,
            small.bits_exponent,
            memory_scale(memory, process),
        )
    except OSError as error:
        raise TechnologyError(f"can't read the memory table '{memory.table}': {error.strerror or error}") from None
    except ResultError as error:
        raise TechnologyError(f"{error}; make a memory table with skipstone characterize") from None


def _gateware(logic: Logic, folder: Path | None) -> Gateware:
    try:
        return load_gateware((folder or Path()) / logic.characterization) if logic.characterization else load_gateware()
    except TechnologyError as error:
        raise TechnologyError(f"[logic] characterization: {error}") from None


def _logic_factors(logic: Logic, process: Process, table: SramTable, synthesis: Process) -> Factors:
    """Factors from ``synthesis`` to ``process`` by the scaling table, or as the file gives them.

    Leakage goes as that of a memory of ``REFERENCE_MEMORY``, which at ``synthesis`` is scaled as that of the 130 nm
    file.
    """
    stated = {
        name: value
        for name in ("area", "delay", "energy", "leakage")
        if (value := getattr(logic, f"{name}_factor")) is not None
    }
    factors = Factors()
    if not {"area", "delay", "energy"} <= stated.keys():
        factors = load_scaling().factors(synthesis, process)
    if "leakage" not in stated and process != synthesis:
        reference_table = _sram_table(_carried_file(130), synthesis, None)
        stated["leakage"] = (
            _memory(table, *REFERENCE_MEMORY).leakage_mw / _memory(reference_table, *REFERENCE_MEMORY).leakage_mw
        )
    return replace(factors, **stated)


def _dram(file: TechnologyFile) -> tuple[Dram, str]:
    """The energies of a bit, and their source."""
    entry = file.off_chip
    if entry.device is None:
        return Dram(entry.read_pj_per_bit or 0.0, entry.write_pj_per_bit or 0.0), entry.source
    devices = DramTable.from_text((_folder() / DRAM_TABLE).read_text(), DRAM_TABLE).devices
    if entry.device not in devices:
        raise TechnologyError(f"[off_chip] device '{entry.device}' is not known; known are {', '.join(devices)}")
    device = devices[entry.device]
    return Dram(device.read_pj_per_bit, device.write_pj_per_bit), f"{entry.source}: {device.source}"


@lru_cache(maxsize=1 << 14)
def _memory(table: SramTable, words: int, bits: int) -> Sram:
    return table.memory(words, bits)


def _folder() -> Traversable:
    return resources.files("skipstone.mapper.technology") / "data"


def _carried() -> str:
    return ", ".join(f"{node} nm" for node in technology_files(_folder()))
