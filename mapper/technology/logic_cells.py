"""Energy, area, leakage and clock period of our own gateware in standard cells, fitted to syntheses and gate-level
runs.

The numbers stand in ``data/gateware_sky130.json``, which ``skipstone characterize`` makes: for every component,
coefficients of the features of a design that are named here. Memories are not included; see
``skipstone.mapper.technology.sram``. Nothing is computed that the file's measurements do not support; the file carries
the fit's errors and the layers that were held out.

The energy of an action can depend on a counter that only data gives (``skipstone.mapper.energy.activity``). Where
``skipstone.mapper.energy.actions`` does not count it, the nearest counter is used, times the share that was measured on
average.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

from skipstone.errors import ResultError, TechnologyError
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from skipstone.mapper.results.technology_tables import ComponentCoefficients, GatewareTable

COMPONENTS = ("pe", "row", "loader", "drain", "requantizer", "controller")
CARRIED = "gateware_sky130.json"


def _window_address_bits(design: Design) -> int:
    return width_of(design.windows * design.slots)


def _accumulator_address_bits(design: Design) -> int:
    return width_of(2 * design.bank_depth)


FEATURES: dict[str, Callable[[Design], float]] = {
    "one": lambda d: 1,
    # PE: a multiplier's partial products, or the additions and multiplexers that stand in its place; registers and adder.
    "partial_products": lambda d: d.products.partial_products,
    "product_adder_bits": lambda d: d.products.negated_bits + d.products.adder_bits,
    "product_multiplexer_bits": lambda d: d.products.multiplexer_bits,
    "operand_bits": lambda d: d.products.operand_bits if d.products.partial_products else 0,
    "product_bits": lambda d: d.products.product_bits,
    "accumulator_bits": lambda d: d.accumulator_bits,
    "activation_bits": lambda d: d.activation_bits,
    "lane_bits": lambda d: (d.load_width - 1) * d.activation_bits,
    # Row: one bit an accumulator that was touched, the multiplexer of its columns, and the registers of the sequencer.
    "touched_bits": lambda d: 2 * d.bank_depth,
    "column_bits": lambda d: (d.cols - 1) * d.accumulator_bits * d.accumulators_per_step,
    "value_bits": lambda d: d.accumulator_bits * d.accumulators_per_step,
    "row_state_bits": lambda d: (
        2 * width_of(d.weight_entries)
        + 4 * d.dimension_bits
        + _window_address_bits(d)
        + width_of(d.load_width)
        + 3 * _accumulator_address_bits(d)
        + 2 * d.products.operand_bits
    ),
    "delta_bits": lambda d: d.weight_index.width if d.index_coding == "delta" else 0,
    # Loader: the captures of all columns, the word that it multicasts, and its coordinates.
    "capture_bits": lambda d: d.cols * (4 * d.region_bits + 2 * _window_address_bits(d)),
    "tap_bits": lambda d: d.cols * 2 * d.reach * (d.tap_bits + 1),
    "word_bits": lambda d: d.activation_word_bits,
    "position_bits": lambda d: 6 * d.dimension_bits + 4 * d.address_bits + 4 * width_of(d.load_entries),
    # Drain: two walkers, the choice of rows for lanes, and the part of a word that is added.
    "walker_bits": lambda d: 8 * d.address_bits,
    "lane_value_bits": lambda d: d.requantizer_lanes * d.accumulator_bits,
    "row_choice_bits": lambda d: (d.steps_per_accumulator - 1) * min(d.requantizer_lanes, d.rows) * d.accumulator_bits,
    "pixel_bits": lambda d: 6 * d.dimension_bits + width_of(d.parameter_words) * 2,
    # Requantizer and controller.
    "table_bits": lambda d: width_of(d.tables) if d.tables else 0,
    "descriptor_bits": lambda d: d.descriptor.width,
    # Clock periods: levels of logic.
    "column_levels": lambda d: width_of(d.cols),
    "lane_levels": lambda d: width_of(d.load_width),
    "row_levels": lambda d: width_of(d.rows),
}
"""The features that coefficients multiply, by name. Most are a number of bits of the design."""


@dataclass(frozen=True)
class Component:
    """A block of the gateware, and how many instances of it a design has."""

    name: str
    count: int


@dataclass(frozen=True)
class Action:
    """An action of a component that takes energy.

    Attributes:
        component: The component's name.
        name: The action's name.
        counter: The field of ``skipstone.mapper.counters.Actions`` that counts it.
    """

    component: str
    name: str
    counter: str


@dataclass(frozen=True, eq=False)
class Gateware:
    """The gateware's numbers of one characterization file, at the node and voltage of its cell library.

    Attributes:
        table: The content of the file, with fit errors and held-out layers.
    """

    table: GatewareTable

    def components(self, design: Design) -> tuple[Component, ...]:
        """The components of a design."""
        counts = (design.pes, design.rows, 1, 1, design.requantizer_lanes, 1)
        return tuple(Component(name, count) for name, count in zip(COMPONENTS, counts, strict=True))

    def area_um2(self, name: str, design: Design) -> float:
        """Area of one instance of component ``name``, with its share of the clock tree."""
        return self._value(name, "area_um2", design)

    def leakage_nw(self, name: str, design: Design) -> float:
        """Leakage of one instance of component ``name``."""
        return self._value(name, "leakage_nw", design)

    def clock_pj(self, name: str, design: Design) -> float:
        """Energy of one instance's clock pins and clock tree in one cycle, idle or not."""
        return self._value(name, "clock_pj", design)

    def actions(self, design: Design) -> tuple[Action, ...]:
        """Every action with its counter, in a fixed order."""
        return tuple(
            Action(name, action, values.counter)
            for name in COMPONENTS
            for action, values in self.table.components[name].actions.items()
        )

    def action_pj(self, name: str, action: str, design: Design) -> float:
        """Energy of one count of action ``action`` of component ``name``, without the clock."""
        return _action(self, name, action, design)

    def min_period_ns(self, design: Design) -> float:
        """The longest path through logic by static timing, without the access times of memories."""
        return max(
            self._value(name, "min_period_ns", design)
            for name in COMPONENTS
            if self.table.components[name].min_period_ns
        )

    def _value(self, name: str, quantity: str, design: Design) -> float:
        return _value(self, name, quantity, design)


@lru_cache(maxsize=65536)
def _value(gateware: Gateware, name: str, quantity: str, design: Design) -> float:
    return evaluate_features(getattr(gateware.table.components[name], quantity), design)


@lru_cache(maxsize=65536)
def _action(gateware: Gateware, name: str, action: str, design: Design) -> float:
    return evaluate_features(gateware.table.components[name].actions[action].pj, design)


def evaluate_features(coefficients: Mapping[str, float], design: Design) -> float:
    """Adds up coefficients times the design's features."""
    return sum(value * FEATURES[feature](design) for feature, value in coefficients.items())


@cache
def counted() -> frozenset[str]:
    """The counters of ``skipstone.mapper.energy.actions``."""
    # Actions know of memories, memories of technology, and technology of this file.
    from skipstone.mapper.counters import Actions

    return frozenset(field.name for field in dataclasses.fields(Actions))


def load_gateware(path: Path | None = None) -> Gateware:
    """Loads a characterization of the gateware.

    Args:
        path: A file of ``skipstone characterize``; None for the carried one, which is the same object every time.

    Raises:
        TechnologyError: The file cannot be read or is no characterization.
    """
    if path is None:
        return _carried()
    try:
        return _checked_gateware(GatewareTable.read(path), str(path))
    except OSError as error:
        raise TechnologyError(f"cannot read the characterization file {path}: {error.strerror or error}") from None
    except ResultError as error:
        raise TechnologyError(f"{error}; make a characterization with skipstone characterize") from None


@cache
def _carried() -> Gateware:
    return parse_gateware((resources.files("skipstone.mapper.technology") / "data" / CARRIED).read_text(), CARRIED)


def parse_gateware(text: str, where: str) -> Gateware:
    """Reads the text of a characterization file.

    Args:
        text: The JSON text.
        where: The file's name, for messages.

    Raises:
        TechnologyError: It is no characterization, lacks a component, or has a counter or feature that is unknown here.
    """
    try:
        table = GatewareTable.from_text(text, where)
    except ResultError as error:
        raise TechnologyError(f"{error}; make a characterization with skipstone characterize") from None
    return _checked_gateware(table, where)


def _checked_gateware(table: GatewareTable, where: str) -> Gateware:
    if missing := [name for name in COMPONENTS if name not in table.components]:
        raise TechnologyError(
            f"{where} has no component {', '.join(missing)}; make it again with skipstone characterize"
        )
    parts = {name: table.components[name] for name in COMPONENTS}
    unknown = sorted(_features(parts) - FEATURES.keys() | _counters(parts) - counted())
    if unknown:
        raise TechnologyError(
            f"{where}: unknown features or counters {', '.join(unknown)}; make it again with skipstone characterize"
        )
    return Gateware(table)


def _features(parts: Mapping[str, ComponentCoefficients]) -> set[str]:
    return {
        feature
        for part in parts.values()
        for coefficients in (
            part.area_um2,
            part.leakage_nw,
            part.clock_pj,
            part.min_period_ns,
            *(action.pj for action in part.actions.values()),
        )
        for feature in coefficients
    }


def _counters(parts: Mapping[str, ComponentCoefficients]) -> set[str]:
    return {action.counter for part in parts.values() for action in part.actions.values()}
