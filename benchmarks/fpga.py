"""The model of FPGA resources against Yosys, on the carried syntheses of designs that the fit never saw."""

from __future__ import annotations

from benchmarks.document import Section, table
from benchmarks.settings import Settings
from skipstone.mapper.fpga.resources import RESOURCES, errors, hold_out, source

TITLES = {"dsps": "DSPs", "block_rams": "block RAMs", "luts": "LUTs", "flip_flops": "flip-flops"}


def measure(settings: Settings) -> Section:
    settings.progress("ecp5")
    rows = []
    for one in hold_out("ecp5"):
        design = one.design
        cells = [f"{getattr(one.modelled, name):,} / {getattr(one.synthesized, name):,}" for name in RESOURCES]
        off = one.modelled.luts / one.synthesized.luts - 1
        rows.append((f"{design.rows}x{design.cols}", design.multiplier, design.load_width, *cells, f"{off:+.1%}"))
    found = errors("ecp5")
    said = ", ".join(f"{TITLES[name]} {found[name].mean:.1%} (largest {found[name].largest:.1%})" for name in RESOURCES)
    text = (
        f"Model / Yosys of {len(rows)} designs that the fit never saw. {source('ecp5')}.\n\n"
        + table(("PEs", "multiplier", "load width", *TITLES.values(), "LUTs off"), rows, left=2)
        + f"\n\nMean relative error: {said}."
    )
    return Section("fpga", "FPGA resources", text)
