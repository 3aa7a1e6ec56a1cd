"""ResNet-18 and ResNet-50 at 224 x 224, at four densities: every layer compared with its ideal cycles, and some in the
RTL."""

from __future__ import annotations

from benchmarks.costs import layer_costs, network_total, weighted_total
from benchmarks.document import Section, percent, table
from benchmarks.rtl_layers import run_layers, spread
from benchmarks.settings import Settings, benchmark_design
from benchmarks.workloads import DENSITIES, NETWORKS
from skipstone.models.quantization.network import QuantizedNetwork


def resnet18(settings: Settings) -> Section:
    return _measure("resnet18", "ResNet-18 at 224 x 224", settings)


def resnet50(settings: Settings) -> Section:
    return _measure("resnet50", "ResNet-50 at 224 x 224", settings)


def _measure(name: str, title: str, settings: Settings) -> Section:
    design = benchmark_design("resnet")
    totals, details, equal = [], [], True
    for density in DENSITIES:
        settings.progress(f"{name} at density {density:g}")
        network = NETWORKS[name](density)
        costs = layer_costs(network, design)
        weighted, total = weighted_total(costs), network_total(costs)
        totals.append(
            (
                percent(density),
                f"{weighted.ideal_cycles:,.0f}",
                weighted.cycles,
                percent(weighted.busy),
                total.cycles,
                percent(total.busy),
            )
        )
        details.append(
            f"\nAt {percent(density)} density, layer by layer:\n\n"
            + table(
                ("layer", "shape", "bound", "largest loss", "nonzeros", "cycles", "ideal", "busy"),
                [
                    (
                        *(cost.name, cost.shape, cost.bound, f"{cost.loss} {percent(cost.loss_share)}"),
                        *(cost.nnz, cost.cycles, f"{cost.ideal_cycles:,.0f}", percent(cost.busy)),
                    )
                    for cost in costs
                ],
                left=4,
            )
        )
        if settings.rtl_layers and density == settings.rtl_density:
            text, equal = _rtl(network, settings)
            details.append(text)
    text = (
        "Random weights and uniformly random zeros in every Conv and Gemm layer, 8 bit, requantization and residual Adds "
        f"included, on `benchmarks/designs/resnet.toml` ({design.rows} x {design.cols} PEs, {design.load_width} bytes a "
        "cycle) with memories enlarged to the network. Ideal: useful multiply-accumulates over PEs; busy: ideal over "
        "cycles.\n\n"
        + table(("density", "ideal", "Conv and Gemm layers", "busy", "whole network", "busy"), totals)
        + "".join(details)
    )
    return Section(name, title, text, equal)


def _rtl(network: QuantizedNetwork, settings: Settings) -> tuple[str, bool]:
    names = spread([layer.name for layer in network.array_layers], settings.rtl_layers)
    runs = run_layers(network, names, benchmark_design("resnet"), settings.progress)
    text = (
        f"\n{len(runs)} of these layers in the RTL, each as a network of its own (its input in the order of its channels, so "
        "cycles can differ a little from those above; one that adds a tensor comes with a small layer that makes it, and the "
        "cycles of both are given):\n\n"
        + table(
            ("layer", "model cycles", "RTL cycles", "equal", "outputs", "outputs equal", "cycles/s"),
            [
                (
                    *(run.name, run.model_cycles, run.rtl_cycles, run.cycles_equal),
                    *(run.outputs, run.outputs_equal, round(run.cycles_per_second)),
                )
                for run in runs
            ],
        )
    )
    return text, all(run.cycles_equal and run.outputs_equal for run in runs)
