"""What the exact cycle model counts for one layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of one layer, from the cycle that writes the last result of the layer before to the one that writes its own last,
    and where the cycles of its rows went (``rows * cycles`` row cycles in all).

    ``issue``: entries issued, fillers among them; ``load_wait``: a row waited for the loader; ``balance_wait``: it waited for
    a window that the loader could not begin because a slower row still held the slot; ``drain_wait``: it waited for a bank
    of accumulators; ``fill``: the rest, from the layer's start to its first entries and from its last entries to its last
    result. ``fill`` is negative where a layer did part of its work before the layer before it had ended.
    """

    cycles: int
    issue_row_cycles: int
    load_wait_row_cycles: int
    balance_wait_row_cycles: int
    drain_wait_row_cycles: int
    fill_row_cycles: int
