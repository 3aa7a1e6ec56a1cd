"""Reads what characterization needs of a Liberty file: area, leakage, pin capacitances, logic functions, internal power, delay.

Energies leave this file in pJ, capacitances in pF, times in ns, leakage in nW and areas in um2, whatever the library's own units
are. Only table-lookup libraries are read; a file that is not Liberty is refused with its name.
"""

from __future__ import annotations

import gzip
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from skipstone.errors import SkipstoneError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z0-9_.+\-\[\]*/!&|^\'$<>]+|[(){}:;,=]', re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
REPEATED = ("fanout_length",)
_SCALES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}


@dataclass
class Group:
    """A Liberty group as it stands in the file: ``kind (arguments) { attributes, groups }``."""

    kind: str
    arguments: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def of(self, *kinds: str) -> Iterator[Group]:
        """The groups of some kinds, in the file's order."""
        return (group for group in self.groups if group.kind in kinds)

    def text(self, name: str, default: str = "") -> str:
        """The first value of an attribute."""
        values = self.attributes.get(name)
        return values[0] if values else default

    def number(self, name: str, default: float = 0.0) -> float:
        """The first value of an attribute as a number."""
        values = self.attributes.get(name)
        return float(values[0]) if values else default


@dataclass(frozen=True)
class Table:
    """A lookup table of one or two axes, read between its points linearly and beyond them along the last piece."""

    axes: tuple[tuple[float, ...], ...]
    values: tuple[float, ...]

    def at(self, *where: float) -> float:
        """The value at a point, given by its place on each axis."""
        if not self.axes:
            return self.values[0]
        x = self.axes[0]
        rest = len(self.values) // len(x)

        def row(index: int) -> float:
            part = Table(self.axes[1:], self.values[index * rest : (index + 1) * rest])
            return part.at(*where[1:])

        if len(x) == 1:
            return row(0)
        right = min(max(bisect_right(x, where[0]), 1), len(x) - 1)
        share = (where[0] - x[right - 1]) / (x[right] - x[right - 1])
        return row(right - 1) * (1 - share) + row(right) * share


@dataclass(frozen=True)
class Power:
    """Internal energy of a pin, mean of a rise and a fall; ``load_axis``: the axis that is the load, slew being the other."""

    tables: tuple[Table, ...]
    load_axis: int | None

    def pj(self, slew_ns: float, load_pf: float) -> float:
        """The sum of the tables at a slew and a load. Pins use it for delays, too, in ns."""
        total = 0.0
        for table in self.tables:
            where = [slew_ns] * len(table.axes)
            if self.load_axis is not None and self.load_axis < len(where):
                where[self.load_axis] = load_pf
            total += table.at(*where)
        return total


@dataclass(frozen=True)
class Pin:
    """``function`` of an output; ``power``: energy of one transition of the pin (several groups: their mean). ``delays`` (load
    axis as in ``Power``) are the cell's propagation delays to the pin."""

    name: str
    output: bool
    clock: bool
    capacitance_pf: float
    function: str
    power: tuple[Power, ...]
    delays: tuple[Power, ...]

    def transition_pj(self, slew_ns: float, load_pf: float) -> float:
        """Energy of one transition, the mean of the groups."""
        if not self.power:
            return 0.0
        return sum(power.pj(slew_ns, load_pf) for power in self.power) / len(self.power)

    def delay_ns(self, slew_ns: float, load_pf: float) -> float:
        """The cell's propagation delay to the pin, the mean of the groups."""
        if not self.delays:
            return 0.0
        return sum(delay.pj(slew_ns, load_pf) for delay in self.delays) / len(self.delays)


@dataclass(frozen=True)
class Cell:
    """``flip_flop``: of an edge-triggered register without set and reset, (clock, next state, name of the state, of its
    complement); None for other cells."""

    name: str
    area_um2: float
    leakage_nw: float
    pins: dict[str, Pin]
    flip_flop: tuple[str, ...] | None
    sequential: bool

    @property
    def outputs(self) -> tuple[Pin, ...]:
        """The pins that are outputs."""
        return tuple(pin for pin in self.pins.values() if pin.output)


@dataclass(frozen=True)
class Library:
    """``wire_load``: of the library's default wire load, the lengths by fan-out and the length that each further sink adds, both
    in um; None where the library has none. (Its capacitance per length is not used: SkyWater's is ten times too small.)"""

    name: str
    voltage: float
    cells: dict[str, Cell]
    wire_load: tuple[tuple[tuple[float, float], ...], float] | None

    def wire_um(self, fanout: int) -> float | None:
        """Length of a net with so many sinks; None where the library has no wire loads.

        Where the table falls, the longest length of a smaller fan-out holds.
        """
        if self.wire_load is None:
            return None
        lengths, slope = self.wire_load
        longest = max(length for count, length in lengths if count <= max(fanout, lengths[0][0]))
        return longest + slope * max(0.0, fanout - lengths[-1][0])


def read_liberty(path: Path) -> Library:
    """Reads a library of cells.

    Raises:
        SkipstoneError: The file can't be read or is not a Liberty file.
    """
    try:
        return _library(parse(liberty_text(path)))
    except (ValueError, IndexError, KeyError, StopIteration) as error:
        raise SkipstoneError(f"{path} is not a Liberty file that characterization can read: {error}") from None


def liberty_text(path: Path) -> str:
    """A Liberty file's text, unpacked where it is gzipped.

    Raises:
        SkipstoneError: The file can't be read.
    """
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("latin-1")
    except (OSError, EOFError) as error:
        raise SkipstoneError(f"cannot read the Liberty file {path}: {error}") from None


def parse(text: str) -> Group:
    """The ``library`` group of a Liberty text.

    Raises:
        ValueError: Something stands where it can't.
        StopIteration: There is no such group.
    """
    tokens = _TOKEN.findall(_COMMENT.sub(" ", text).replace("\\\n", " "))
    root = Group("", ())
    stack = [root]
    at, count = 0, len(tokens)
    while at < count:
        token = tokens[at]
        if token == "}":
            stack.pop()
            if not stack:
                raise ValueError("unbalanced braces")
            at += 1
        elif token in ";,":
            at += 1
        elif at + 1 < count and tokens[at + 1] == ":":
            end = at + 2
            # An attribute ends with a semicolon or, in careless files, with the line's one value.
            while end < count and tokens[end] not in (";", "}"):
                end += 1
            stack[-1].attributes[token] = tuple(part.strip('"') for part in tokens[at + 2 : end])
            at = end
        elif at + 1 < count and tokens[at + 1] == "(":
            end = tokens.index(")", at)
            arguments = tuple(part.strip('"') for part in tokens[at + 2 : end] if part != ",")
            if end + 1 < count and tokens[end + 1] == "{":
                group = Group(token, arguments)
                stack[-1].groups.append(group)
                stack.append(group)
                at = end + 2
            else:
                # Complex attributes may come again (``fanout_length``): their arguments are joined.
                earlier = stack[-1].attributes.get(token, ()) if token in REPEATED else ()
                stack[-1].attributes[token] = (*earlier, *arguments)
                at = end + 1
        else:
            raise ValueError(f"'{token[:40]}' where an attribute or a group should be")
    if len(stack) != 1:
        raise ValueError("it ends within a group")
    return next(root.of("library"))


def _library(group: Group) -> Library:
    unit = group.attributes.get("capacitive_load_unit", ("1", "pf"))
    cap_pf = float(unit[0]) * _SCALES[unit[1][0].lower() if len(unit[1]) > 1 else ""] / 1e-12
    time_ns = _unit(group.text("time_unit", "1ns"), "s") / 1e-9
    leak_nw = _unit(group.text("leakage_power_unit", "1nW"), "w") / 1e-9
    volt = _unit(group.text("voltage_unit", "1V"), "v")
    conditions = {condition.arguments[0]: condition for condition in group.of("operating_conditions")}
    chosen = conditions.get(group.text("default_operating_conditions")) or next(iter(conditions.values()), None)
    voltage = chosen.number("voltage") if chosen is not None else group.number("nom_voltage")
    templates = {template.arguments[0]: template for template in group.of("lu_table_template", "power_lut_template")}
    # Liberty's internal energy is in units of voltage squared times capacitance.
    energy_pj = volt * volt * cap_pf
    cells = {
        cell.arguments[0]: _cell(cell, templates, cap_pf, time_ns, leak_nw, energy_pj) for cell in group.of("cell")
    }
    return Library(group.arguments[0], voltage * volt, cells, _wire_load(group))


def _unit(text: str, symbol: str) -> float:
    match = re.fullmatch(rf"([0-9.]+)\s*([a-z]?){symbol}", text.strip().lower())
    if match is None:
        raise ValueError(f"unit '{text}'")
    return float(match[1]) * _SCALES[match[2]]


def _wire_load(group: Group) -> tuple[tuple[tuple[float, float], ...], float] | None:
    name = group.text("default_wire_load")
    wire_load = next((load for load in group.of("wire_load") if load.arguments[0] == name), None)
    if wire_load is None or "fanout_length" not in wire_load.attributes:
        return None
    values = wire_load.attributes["fanout_length"]
    lengths = tuple(sorted((float(a), float(b)) for a, b in zip(values[::2], values[1::2], strict=True)))
    return lengths, wire_load.number("slope")


def _cell(
    group: Group, templates: dict[str, Group], cap_pf: float, time_ns: float, leak_nw: float, energy_pj: float
) -> Cell:
    pins = {}
    for pin in group.of("pin"):
        for name in pin.arguments:
            output = pin.text("direction") == "output"
            power = [
                table
                for part in pin.of("internal_power")
                if (table := _power(part, templates, ("rise_power", "fall_power", "power"), cap_pf, time_ns, energy_pj))
            ]
            delays = [
                table
                for part in pin.of("timing")
                if output
                and (table := _power(part, templates, ("cell_rise", "cell_fall"), cap_pf, time_ns, time_ns)) is not None
            ]
            pins[name] = Pin(
                name,
                output,
                pin.text("clock") == "true",
                pin.number("capacitance") * cap_pf,
                " ".join(pin.attributes.get("function", ())),
                tuple(power),
                tuple(delays),
            )
    ff = next(group.of("ff"), None)
    flip_flop = None
    if ff is not None and not {"clear", "preset"} & ff.attributes.keys():
        flip_flop = (*(" ".join(ff.attributes[name]) for name in ("clocked_on", "next_state")), *ff.arguments[:2])
    sequential = any(True for _ in group.of("ff", "latch", "statetable"))
    leakage = group.number("cell_leakage_power")
    if not leakage:
        values = [part.number("value") for part in group.of("leakage_power")]
        leakage = sum(values) / len(values) if values else 0.0
    return Cell(group.arguments[0], group.number("area"), leakage * leak_nw, pins, flip_flop, sequential)


def _power(
    group: Group, templates: dict[str, Group], kinds: tuple[str, ...], cap_pf: float, time_ns: float, scale: float
) -> Power | None:
    groups = [table for kind in kinds for table in group.of(kind)]
    if not groups:
        return None
    tables, load_axis = [], None
    for table in groups:
        template = templates.get(table.arguments[0]) if table.arguments else None
        axes = []
        for number in (1, 2):
            texts = table.attributes.get(f"index_{number}") or (
                template.attributes.get(f"index_{number}") if template else None
            )
            variable = template.text(f"variable_{number}") if template else ""
            if texts is None or (template is not None and not variable):
                continue
            is_load = "capacitance" in variable
            if is_load:
                load_axis = number - 1
            unit = cap_pf if is_load else time_ns
            axes.append(tuple(float(value) * unit for text in texts for value in _NUMBER.findall(text)))
        values = tuple(
            float(value) * scale / len(groups)
            for text in table.attributes.get("values", ())
            for value in _NUMBER.findall(text)
        )
        size = 1
        for axis in axes:
            size *= len(axis)
        if size != len(values):
            if len(values) == 1:
                axes = []
            else:
                raise ValueError(f"a table of {len(values)} values for axes of {[len(axis) for axis in axes]}")
        tables.append(Table(tuple(axes), values))
    return Power(tuple(tables), load_axis)
