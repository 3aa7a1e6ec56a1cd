"""Bits that a nonzero takes in a row's weight memory, by density and index coding, beside the entropy bound."""

from __future__ import annotations

from benchmarks.document import Section, percent, table
from benchmarks.settings import Settings, benchmark_design
from mapper.coding import DELTA_BITS, entry_bits


def measure(settings: Settings) -> Section:
    design = benchmark_design("resnet")
    rows = [
        (
            *(percent(one.density), f"{one.absolute:.2f}"),
            *(f"{one.delta[bits]:.2f}" for bits in DELTA_BITS),
            *(one.best_delta, f"{one.bound:.2f}"),
        )
        for one in entry_bits(design)
    ]
    text = (
        "Bits for each nonzero 8-bit weight with its index, random masks, fillers and escapes included, on "
        "`benchmarks/designs/resnet.toml`. Bound: entropy of the positions plus the weight's own bits.\n\n"
        + table(
            ("density", "absolute", *(f"delta, {bits} bits" for bits in DELTA_BITS), "best delta", "bound"),
            rows,
        )
    )
    return Section("weight_memory", "Bits for each nonzero", text)
