"""Where a layer's cycles go, by cause: from what the exact cycle model counts of its rows."""

from __future__ import annotations

from skipstone.hw.design import Design
from skipstone.mapper.program import LayerProgram
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.results.network import CAUSES


def cycles_by_cause(layer: LayerProgram, cycles: LayerCycles, design: Design) -> dict[str, float]:
    """Splits a layer's cycles by what the rows did or waited for.

    Args:
        layer: The compiled layer.
        cycles: Its cycles, from the cycle model.
        design: The array.

    Returns:
        For each of ``CAUSES``, row cycles over the number of rows. They add up to the layer's cycles.
    """
    schedule = layer.schedule
    useful = layer.products * schedule.out_height * schedule.out_width / design.cols
    causes = {
        "compute": useful,
        "edge": layer.products * schedule.tiles - useful,
        "filler": cycles.issue_row_cycles - layer.products * schedule.tiles,
        "balance": cycles.balance_wait_row_cycles,
        "load": cycles.load_wait_row_cycles,
        "drain": cycles.drain_wait_row_cycles,
        "fill": max(cycles.fill_row_cycles, 0),
        "overlap": min(cycles.fill_row_cycles, 0),
    }
    return {cause: causes[cause] / design.rows for cause in CAUSES}
