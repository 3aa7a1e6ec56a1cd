"""ResNet-8, MLPerf Tiny's where it is at hand, else the carried one: its layers and the whole, dense and at 80% zeros."""

from __future__ import annotations

from benchmarks.costs import layer_costs, network_total, weighted_total
from benchmarks.document import Section, percent, table
from benchmarks.settings import Settings
from hw.design import built_in_designs
from skipstone.prepare import CompressionOptions, prepare_network, short_name

PRUNINGS = ("none", "unstructured:0.8")
SHOWN = "wide"
"""The design of which every layer is shown."""


def measure(settings: Settings) -> Section:
    network, input_range = settings.resnet8
    designs = built_in_designs()
    totals, layers = [], []
    for pruning in PRUNINGS:
        prepared = prepare_network(network, CompressionOptions(prune=pruning, input_range=input_range))
        for design in designs.values():
            costs = layer_costs(prepared.compressed, design)
            weighted, whole = weighted_total(costs), network_total(costs)
            totals.append(
                (
                    pruning,
                    design.name,
                    design.pes,
                    f"{weighted.ideal_cycles:,.0f}",
                    weighted.cycles,
                    percent(weighted.busy),
                    whole.cycles,
                    percent(whole.busy),
                )
            )
        layers += [
            (
                *(pruning, cost.name, cost.shape, cost.bound, f"{cost.loss} {percent(cost.loss_share)}"),
                *(cost.nnz, cost.cycles, f"{cost.ideal_cycles:,.0f}", percent(cost.busy)),
            )
            for cost in layer_costs(prepared.compressed, designs[SHOWN])
        ]
    text = (
        f"{short_name(network)}, 8 bit, requantization included. Ideal: useful multiply-accumulates of the Conv and Gemm "
        "layers over PEs; busy: ideal over cycles.\n\n"
        + table(
            ("pruning", "design", "PEs", "ideal", "Conv and Gemm layers", "busy", "whole network", "busy"),
            totals,
            left=2,
        )
        + f"\nLayer by layer on `{SHOWN}`:\n\n"
        + table(
            ("pruning", "layer", "shape", "bound", "largest loss", "nonzeros", "cycles", "ideal", "busy"),
            layers,
            left=5,
        )
    )
    return Section("resnet8", "ResNet-8", text)
