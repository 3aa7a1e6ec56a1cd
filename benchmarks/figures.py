"""Measures the figures that the README quotes: cost of mapping and of the cycle model, cycles of the carried network,
speed of the RTL simulation. ``python -m benchmarks.figures [NETWORK[:LOW,HIGH] ...]`` writes Markdown."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.machine import describe_machine
from hw.design import load_design
from mapper.compile import compile_network
from mapper.cycles import network_cycles
from skipstone.prepare import CompressionOptions, prepare_network, short_name
from skipstone.verify import verify_network

REPEATS = 9


def milliseconds(action: Callable[[], object]) -> float:
    """Median time of ``REPEATS`` calls after one to warm up."""
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    lines = [
        describe_machine(),
        "",
        "| network | pruning | design | cycles | Conv and Gemm layers | ideal | map (ms) | cost (ms) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    networks = sys.argv[1:] or ["resnet8_fashion"]
    for named in networks:
        network, _, bounds = named.partition(":")
        low, high = (float(v) for v in (bounds or "0,1").split(","))
        for pruning in ("none", "unstructured:0.8"):
            prepared = prepare_network(network, CompressionOptions(prune=pruning, input_range=(low, high)))
            for name in ("tiny", "edge", "square", "wide"):
                design = load_design(name)
                program = compile_network(prepared.compressed, design)
                cycles = network_cycles(program)
                total = sum(layer.cycles for layer in cycles)
                products = [
                    (layer, cost.cycles)
                    for layer, cost in zip(program.layers, cycles, strict=True)
                    if layer.kind in ("conv", "gemm")
                ]
                ideal = sum(layer.nnz * layer.output.height * layer.output.width for layer, _ in products) / design.pes
                mapping = milliseconds(lambda p=prepared, d=design: compile_network(p.compressed, d))
                costing = milliseconds(lambda p=program: network_cycles(p))
                lines.append(
                    f"| {short_name(network)} | {pruning} | {name} | {total:,} | {sum(c for _, c in products):,} | "
                    f"{ideal:,.0f} | {mapping:.1f} | {costing:.1f} |"
                )
    lines += ["", "| design | PEs | RTL cycles/s (Verilator under cocotb) |", "|---|---|---|"]
    for name in ("tiny", "edge", "wide"):
        done = verify_network("resnet8_fashion", load_design(name), CompressionOptions(prune="none"), images=2)
        lines.append(f"| {name} | {load_design(name).pes} | {done.cycles_per_second:,.0f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
