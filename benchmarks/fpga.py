"""The model of FPGA resources against Yosys, on the carried syntheses of designs that the fit never saw."""

from __future__ import annotations

from benchmarks.document import Section, table
from benchmarks.settings import Settings
from skipstone.mapper.fpga.resources import RESOURCES, errors, hold_out, source

TITLES = {"dsps": "DSPs", "block_rams": "block RAMs", "luts": "LUTs", "flip_flops": "flip-flops"}


def measure(settings: Settings) -> Section:
    settings.progress("ecp5")
    rows = []
    for held_out in hold_out("ecp5"):
        design = held_out.design
        cells = [
            f"{getattr(held_out.modelled, name):,} / {getattr(held_out.synthesized, name):,}" for name in RESOURCES
        ]
        off = held_out.modelled.luts / held_out.synthesized.luts - 1
        rows.append((f"{design.rows}x{design.cols}", design.multiplier, design.load_width, *cells, f"{off:+.1%}"))
    summary = errors("ecp5")
    mean_errors = ", ".join(
        f"{TITLES[name]} {summary[name].mean:.1%} (largest {summary[name].largest:.1%})" for name in RESOURCES
    )
    text = (
        f"Model / Yosys of {len(rows)} designs that the fit never saw. {source('ecp5')}.\n\n"
        + table(("PEs", "multiplier", "load width", *TITLES.values(), "LUTs off"), rows, left=2)
        + f"\n\nMean relative error: {mean_errors}."
    )
    return Section("fpga", "FPGA resources", text)
