"""What the exact cycle model counts for one layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of one layer, and what its rows did in them (``rows * cycles`` row cycles in all).

    A layer's cycles begin after the cycle that writes the last result of the layer before, and end with the one that
    writes its own last result.

    Attributes:
        cycles: Cycles of the layer.
        issue_row_cycles: Entries issued, fillers included.
        load_wait_row_cycles: A row waited for the loader.
        balance_wait_row_cycles: A row waited for a window that the loader could not begin, because a slower row still
            held the slot.
        drain_wait_row_cycles: A row waited for a bank of accumulators.
        fill_row_cycles: The rest: from the layer's start to its first entries and from its last entries to its last
            result. It is negative where a layer did part of its work before the layer before it had ended.
    """

    cycles: int
    issue_row_cycles: int
    load_wait_row_cycles: int
    balance_wait_row_cycles: int
    drain_wait_row_cycles: int
    fill_row_cycles: int
