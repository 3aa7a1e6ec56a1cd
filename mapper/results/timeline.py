"""The exact schedule of a program as events, for drawings, traces and the comparison with the RTL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from skipstone.hw.design import Design
from skipstone.mapper.results.document import Document
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.results.notebook import frame

LOADER, DRAIN, SLOTS = -1, -2, -3
"""Units of events. Window slot k is ``SLOTS - k``, and row r is r."""


LOAD, ISSUE, DRAINS, HELD = "load", "issue", "drain", "held"


LOAD_WAIT, BALANCE_WAIT, DRAIN_WAIT, START_WAIT = "load_wait", "balance_wait", "drain_wait", "start_wait"


SLOT_WAIT, INPUT_WAIT, SETUP = "slot_wait", "input_wait", "setup"


LEFT_OUT = "left_out"


KINDS = {
    LOAD: "the loader takes a window's words, one a cycle",
    SLOT_WAIT: "the loader waits until the slowest row has left the window in the slot that is next",
    INPUT_WAIT: "the loader waits for results of the layers before",
    SETUP: "the loader turns to the next layer's descriptor",
    HELD: "a window's slot is taken, from the window's first word until its last row leaves it",
    ISSUE: "a row issues entries, one a cycle",
    LOAD_WAIT: "a row waits for the loader",
    BALANCE_WAIT: "a row waits for a window that a slower row kept the loader from beginning",
    DRAIN_WAIT: "a row waits for a bank of accumulators that is still drained",
    START_WAIT: "a row waits for the layer's first window",
    DRAINS: "the drain takes a tile's results, one step a cycle",
    LEFT_OUT: "not recorded: the limit of events was reached",
}
"""The meaning of each kind of event."""


ROW_WAITS = (BALANCE_WAIT, LOAD_WAIT, DRAIN_WAIT, START_WAIT)


class Event(NamedTuple):
    """What a unit does for some cycles.

    Attributes:
        unit: The loader, the drain, a window slot or a row (see ``LOADER``).
        kind: One of ``KINDS``.
        begin: The first cycle.
        end: The cycle after the last one.
        layer: The layer's number.
        tile: The tile's number in its layer: pass after pass, row after row.
        window: The window's number in its pass; -1 for none.
        amount: Words of a load or a held window, entries of an issue, steps of a drain, tiles of what is left out.
    """

    unit: int
    kind: str
    begin: int
    end: int
    layer: int
    tile: int
    window: int
    amount: int


@dataclass(frozen=True)
class LayerSpan:
    """When a layer ran. Layers overlap.

    Loads, issues and drain steps take the cycles ``..._begin`` to ``..._end - 1``.

    Attributes:
        name: The layer's name.
        segment: The number of the start that the layer runs after. There is a new start after each pause for the host.
        segment_begin: The cycle of that start. The host's own time is not in the timeline.
        load_begin: The first cycle of its loads.
        load_end: The cycle after its last load.
        issue_begin: The first cycle of its issues.
        issue_end: The cycle after its last issue.
        drain_begin: The first cycle of its drain steps.
        drain_end: The cycle after its last drain step.
        written: The cycle that writes its last result.
        cycles: Its cycles, counted from the cycle that wrote the last result of the layer before.
        passes: Passes of the layer.
        tiles_y: Rows of tiles.
        tiles_x: Columns of tiles.
        recorded: So many first tiles, over all passes, have events.
        unrecorded_work: Cycles in which the loader, each row and the drain work on the other tiles, by unit; empty where all
            tiles are recorded.
    """

    name: str
    segment: int
    segment_begin: int
    load_begin: int
    load_end: int
    issue_begin: int
    issue_end: int
    drain_begin: int
    drain_end: int
    written: int
    cycles: LayerCycles
    passes: int
    tiles_y: int
    tiles_x: int
    recorded: int
    unrecorded_work: Mapping[int, int] = field(default_factory=dict)

    @property
    def tiles(self) -> int:
        """Tiles of all passes."""
        return self.passes * self.tiles_y * self.tiles_x

    def place(self, tile: int) -> tuple[int, int, int]:
        """Pass, tile row and tile column of tile number ``tile``."""
        one_pass, rest = divmod(tile, self.tiles_y * self.tiles_x)
        return one_pass, *divmod(rest, self.tiles_x)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The events of a program.

    Attributes:
        network: The network's name.
        design: The array.
        layers: The spans of all layers.
        chosen: Numbers of the layers whose events were recorded.
        events: The events. Those of each unit are in the order of their time and do not overlap.
    """

    network: str
    design: Design
    layers: tuple[LayerSpan, ...]
    chosen: tuple[int, ...]
    events: tuple[Event, ...]

    @property
    def end(self) -> int:
        """The cycle after the one that writes the last result."""
        return self.layers[-1].written + 1

    @property
    def units(self) -> tuple[int, ...]:
        """All units: the loader, the windows' slots, the rows, the drain."""
        slots = tuple(SLOTS - slot for slot in range(self.design.windows))
        return (LOADER, *slots, *range(self.design.rows), DRAIN)

    def to_frame(self) -> Any:
        """The events as a ``pandas.DataFrame``, one a row, with cycles from ``start``.

        Raises:
            SkipstoneError: pandas is not installed (the extra ``notebook``).
        """
        return frame(
            [
                {**event._asdict(), "unit": unit_name(event.unit), "layer": self.layers[event.layer].name}
                for event in self.events
            ]
        )

    @property
    def cut(self) -> tuple[LayerSpan, ...]:
        """The chosen layers of which only the first tiles have events."""
        return tuple(
            self.layers[index] for index in self.chosen if self.layers[index].recorded < self.layers[index].tiles
        )


@dataclass(frozen=True)
class TraceDescription(Document):
    """The description of a trace in its own file (``otherData``).

    Attributes:
        network: The network's name.
        design: The design's name.
        cycles: Cycles of the trace.
        cycle_ns: Simulated time of a cycle.
        start_ns: Simulated time of cycle 0 of each start of the array.
        time_base: The same in words.
        layers: Layers whose events are recorded.
        left_out: Layers of which only the first tiles have events.
        kinds: The meaning of each kind of event.
    """

    KIND: ClassVar[str] = "trace"
    SCHEMA: ClassVar[int] = 1

    network: str
    design: str
    cycles: int
    cycle_ns: int
    start_ns: tuple[int, ...]
    time_base: str
    layers: tuple[str, ...]
    left_out: tuple[str, ...]
    kinds: Mapping[str, str]


def unit_name(unit: int) -> str:
    """The name of a unit in texts."""
    if unit >= 0:
        return f"row {unit}"
    return {LOADER: "loader", DRAIN: "drain"}.get(unit, f"window slot {SLOTS - unit}")
