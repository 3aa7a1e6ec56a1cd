"""The sparse matrix product that the peers were measured at, from dense to 4% density."""

from __future__ import annotations

from benchmarks.costs import layer_costs
from benchmarks.document import Section, percent, table
from benchmarks.settings import Settings, benchmark_design
from benchmarks.workloads import GEMM_NONZEROS, gemm
from mapper.memories import with_memories_for

SIGMA_CYCLES = {18_112: (132_464, ""), 7_057: (33_227, ""), 3_321: (16_589, 61_691), 1_485: (7_258, 28_781)}
"""STONNE's SIGMA with 256 multipliers at these nonzeros, as its own code gives them: at 256 and at 64 words a cycle."""


def measure(settings: Settings) -> Section:
    design = benchmark_design("gemm")
    rows = []
    for nonzeros in GEMM_NONZEROS:
        network = gemm(nonzeros)
        (cost,) = layer_costs(network, with_memories_for(network, design))
        rows.append(
            (
                f"{nonzeros:,}",
                percent(nonzeros / GEMM_NONZEROS[0]),
                cost.cycles,
                f"{cost.ideal_cycles:,.0f}",
                percent(cost.busy),
                f"{cost.loaded_bytes / cost.cycles:.1f}",
                f"{cost.loss} {percent(cost.loss_share)}",
                *SIGMA_CYCLES.get(nonzeros, ("", "")),
            )
        )
    text = (
        "64 x 576 weights with uniformly random zeros, times 576 x 1024 activations of 8 bits, requantization included, on "
        f"`benchmarks/designs/gemm.toml`: {design.rows} x {design.cols} PEs, {design.load_width} bytes a cycle at most. "
        "Busy: useful multiply-accumulates over cycles times PEs.\n\n"
    )
    headings = ("nonzeros", "density", "cycles", "ideal", "busy", "bytes/cycle", "largest loss")
    return Section(
        "gemm",
        "A sparse matrix product, 64 x 1024 x 576",
        text + table((*headings, "SIGMA, 256 words/cycle", "SIGMA, 64 words/cycle"), rows),
    )
