"""The sparse matrix product that other accelerators were measured on, from dense to 4% density, with loaders of two
widths."""

from __future__ import annotations

import numpy as np

from benchmarks.costs import layer_costs
from benchmarks.document import Section, percent, table
from benchmarks.settings import Settings, benchmark_design
from benchmarks.workloads import GEMM_NONZEROS, gemm
from skipstone.hw.design import Design
from skipstone.models.quantization.network import QuantizedNetwork

SIGMA_CYCLES = {18_112: (132_464, ""), 7_057: (33_227, ""), 3_321: (16_589, 61_691), 1_485: (7_258, 28_781)}
"""STONNE's SIGMA with 256 multipliers at these nonzeros, as its own code gives them: at 256 and at 64 words a cycle."""


def measure(settings: Settings) -> Section:
    narrow, wide = benchmark_design("gemm"), benchmark_design("gemm128")
    networks = {nonzeros: gemm(nonzeros) for nonzeros in GEMM_NONZEROS}
    thin = networks[GEMM_NONZEROS[-1]]
    text = (
        "64 x 576 weights with uniformly random zeros, times 576 x 1024 activations of 8 bits, requantization included. Busy: "
        "useful multiply-accumulates over cycles times PEs. SIGMA: STONNE's, with 256 multipliers.\n\n"
        + f"{_described(narrow)}:\n\n{_table(networks, narrow, SIGMA_CYCLES)}\n"
        + f"{_roof(thin, narrow, wide)}\n\n"
        + f"{_described(wide)}:\n\n{_table(networks, wide)}"
    )
    return Section("gemm", "A sparse matrix product, 64 x 1024 x 576", text)


def loader_roof(network: QuantizedNetwork, load_width: int) -> tuple[int, int]:
    """The least cycles in which a loader of ``load_width`` activations a cycle brings each pixel once.

    Returns:
        The cycles for all channels in whole words, and for only the channels that some weight reads, packed without a
        gap.
    """
    (layer,) = network.array_layers
    channels, height, width = network.tensors[layer.input].shape
    live = np.count_nonzero(layer.weights.any(axis=(0, 2, 3)))
    return -(-channels // load_width) * height * width, -(-live * height * width // load_width)


def _described(design: Design) -> str:
    size = f"{design.rows} x {design.cols} PEs, at most {design.load_width} bytes a cycle"
    return f"`benchmarks/designs/{design.name}.toml`, {size}"


def _roof(network: QuantizedNetwork, narrow: Design, wide: Design) -> str:
    """Why the thinnest product waits on the narrow design and not on the wide one."""
    (layer,) = network.array_layers
    channels, height, width = network.tensors[layer.input].shape
    ideal = layer.nnz * height * width / narrow.pes
    words, packed = loader_roof(network, narrow.load_width)
    wider, _ = loader_roof(network, wide.load_width)
    return (
        f"At {layer.nnz:,} nonzeros the loader is the roof: {channels} channels are {words // (height * width)} words of "
        f"{narrow.load_width} for each of {height * width:,} pixels, {words:,} cycles against {ideal:,.0f} of computing, so PEs "
        f"are {percent(ideal / words)} busy at most. The channels that some weight reads, packed without a gap, would still take "
        f"{packed:,} cycles. With {wide.load_width} bytes a cycle the loader needs {wider:,}."
    )


def _table(
    networks: dict[int, QuantizedNetwork], design: Design, sigma: dict[int, tuple[object, object]] | None = None
) -> str:
    rows = []
    for nonzeros, network in networks.items():
        (cost,) = layer_costs(network, design)
        rows.append(
            (
                f"{nonzeros:,}",
                percent(nonzeros / GEMM_NONZEROS[0]),
                cost.cycles,
                f"{cost.ideal_cycles:,.0f}",
                percent(cost.busy),
                f"{cost.loaded_bytes / cost.cycles:.1f}",
                f"{cost.loss} {percent(cost.loss_share)}",
                *(sigma.get(nonzeros, ("", "")) if sigma else ()),
            )
        )
    headings = ("nonzeros", "density", "cycles", "ideal", "busy", "bytes/cycle", "largest loss")
    more = ("SIGMA, 256 words/cycle", "SIGMA, 64 words/cycle") if sigma else ()
    return table((*headings, *more), rows)
