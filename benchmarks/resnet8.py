"""ResNet-8, MLPerf Tiny's where it is available, and the carried one, dense and at 80% zeros: in total on every
built-in design, and layer by layer on one."""

from __future__ import annotations

from benchmarks.costs import layer_costs, network_total, weighted_total
from benchmarks.document import Section, percent, table
from benchmarks.settings import Settings
from skipstone.flow.prepare import CompressionOptions, prepare_network, short_name
from skipstone.hw.design import built_in_designs

PRUNINGS = ("none", "unstructured:0.8")
CARRIED = "resnet8_fashion"
SHOWN = "wide"
"""The design of which every layer is shown."""


def measure(settings: Settings) -> Section:
    path, input_range = settings.resnet8
    networks = {path: input_range, CARRIED: (0.0, 1.0)}
    designs = built_in_designs()
    totals, layers = [], []
    for network, low_high in networks.items():
        for pruning in PRUNINGS:
            prepared = prepare_network(network, CompressionOptions(prune=pruning, input_range=low_high))
            costs = {name: layer_costs(prepared.compressed, design) for name, design in designs.items()}
            for name, design in designs.items():
                weighted, total = weighted_total(costs[name]), network_total(costs[name])
                totals.append(
                    (
                        *(short_name(network), pruning, name, design.pes, f"{weighted.ideal_cycles:,.0f}"),
                        *(weighted.cycles, percent(weighted.busy), total.cycles, percent(total.busy)),
                    )
                )
            if network == path:
                layers += [
                    (
                        *(pruning, cost.name, cost.shape, cost.bound, f"{cost.loss} {percent(cost.loss_share)}"),
                        *(cost.nnz, cost.cycles, f"{cost.ideal_cycles:,.0f}", percent(cost.busy)),
                    )
                    for cost in costs[SHOWN]
                ]
    text = (
        "8 bit, requantization included. Ideal: useful multiply-accumulates of the Conv and Gemm layers over PEs; busy: ideal "
        "over cycles.\n\n"
        + table(
            ("network", "pruning", "design", "PEs", "ideal", "Conv and Gemm layers", "busy", "whole network", "busy"),
            totals,
            left=3,
        )
        + f"\n{short_name(path)} layer by layer on `{SHOWN}`:\n\n"
        + table(
            ("pruning", "layer", "shape", "bound", "largest loss", "nonzeros", "cycles", "ideal", "busy"),
            layers,
            left=5,
        )
    )
    return Section("resnet8", "ResNet-8", text)
