"""PP-OCR's text direction classifier layer by layer, and which design takes less: a network of depthwise 5x5 kernels,
global pools and few channels, which a design for ResNets does not suit."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.costs import LayerCost, layer_costs, network_total
from benchmarks.document import Section, percent, table
from benchmarks.settings import TEXT_DIRECTION_ABSENT, Settings, benchmark_design, text_direction
from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.flow.verify import verify_network
from skipstone.hw.design import Design, load_design

TITLE = "PP-OCR's text direction classifier"
FIRST = "wide"
CANDIDATES = ("text_16x16", "text_32x16", "text_32x16_128")


def measure(settings: Settings) -> Section:
    classifier = text_direction()
    if classifier is None:
        return Section("text_direction", TITLE, f"Not measured: the network is not here. `{TEXT_DIRECTION_ABSENT}`")
    options = CompressionOptions(input_range=classifier.input_range, input_shape=classifier.input_shape)
    network = prepare_network(classifier.path, options).compressed
    designs = [load_design(FIRST), *(benchmark_design(name) for name in CANDIDATES)]
    costs = {design.name: layer_costs(network, design) for design in designs}
    settings.progress(f"running it on {FIRST}")
    done = verify_network(classifier.path, designs[0], options, fit_memories=True)
    array = [layer for layer in done.result.layers if not layer.on_host]
    outputs = sum(bool(layer.outputs_equal) for layer in array)
    text = (
        f"{len(array)} layers on the array, 8 bit, no pruning, input {'x'.join(map(str, classifier.input_shape))}; memories are "
        "enlarged to the network, the products of squeeze and excitation are the host's and take no cycles here. Ideal: useful "
        "multiply-accumulates of the Conv and Gemm layers over PEs.\n\n"
        + table(
            ("design", "PEs", "bytes/cycle", "window, words", "cycles", "ideal", "busy"),
            [_total(design, costs[design.name]) for design in designs],
        )
        + f"\nOn `{FIRST}` in the RTL (one input): {done.result.total_cycles:,} cycles by the model, "
        f"{done.result.rtl_total_cycles or 0:,} in the RTL, outputs of {outputs} of {len(array)} layers equal: "
        f"{'exact' if done.exact else 'NOT EXACT'}.\n"
        f"\nLayer by layer on `{FIRST}`, and the first of the other designs that at least halves a layer's cycles:\n\n"
        + table(
            ("layer", "shape", "bound", "largest loss", "halved by", "cycles", "ideal", "cycles there"),
            [_layer(cost, {name: costs[name] for name in CANDIDATES}) for cost in costs[FIRST]],
            left=5,
        )
    )
    return Section("text_direction", TITLE, text, done.exact)


def halved_by(cost: LayerCost, others: dict[str, list[LayerCost]]) -> tuple[str, int] | None:
    """The first of the other designs that takes at most half of a layer's cycles, with its cycles.

    A design that runs the layer together with another one does not count.
    """
    for design, costs in others.items():
        cycles = next((other.cycles for other in costs if other.name == cost.name), None)
        if cycles is not None and 2 * cycles <= cost.cycles:
            return design, cycles
    return None


def _total(design: Design, costs: Sequence[LayerCost]) -> tuple[object, ...]:
    total = network_total(costs)
    return (
        *(f"`{design.name}` {design.rows}x{design.cols}", design.pes),
        *(design.load_width * design.activation_bits // 8, design.slots),
        *(total.cycles, f"{total.ideal_cycles:,.0f}", percent(total.busy)),
    )


def _layer(cost: LayerCost, others: dict[str, list[LayerCost]]) -> tuple[object, ...]:
    name, cycles = halved_by(cost, others) or ("", "")
    return (
        *(cost.name, cost.shape, cost.bound, f"{cost.loss} {percent(cost.loss_share)}", name),
        *(cost.cycles, f"{cost.ideal_cycles:,.0f}", cycles),
    )
