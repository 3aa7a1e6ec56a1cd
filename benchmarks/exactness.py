"""Whole networks through the RTL over prunings and designs: every layer's cycles and every output compared."""

from __future__ import annotations

from benchmarks.document import Section, table
from benchmarks.settings import Settings
from hw.design import load_design
from skipstone.prepare import CompressionOptions, short_name
from skipstone.verify import verify_network

PRUNINGS = ("none", "unstructured:0.5", "unstructured:0.8", "unstructured:0.9", "2:4")
DESIGNS = ("tiny", "edge", "wide")


def measure(settings: Settings) -> Section:
    networks = dict([("resnet8_fashion", (0.0, 1.0)), settings.resnet8])
    rows, exact = [], True
    for network, input_range in networks.items():
        for pruning in PRUNINGS:
            for design in DESIGNS:
                settings.progress(f"{short_name(network)}, {pruning}, {design}")
                options = CompressionOptions(prune=pruning, input_range=input_range)
                done = verify_network(network, load_design(design), options, images=settings.images)
                array = [layer for layer in done.result.layers if not layer.on_host]
                equal = sum(bool(layer.outputs_equal) for layer in array)
                rows.append(
                    (
                        *(short_name(network), pruning, design, f"{equal} of {len(array)} layers equal"),
                        *(done.result.total_cycles, done.result.rtl_total_cycles),
                        *(round(done.cycles_per_second), done.exact),
                    )
                )
                exact &= done.exact
    text = f"{settings.images} images each, Verilator under cocotb.\n\n" + table(
        ("network", "pruning", "design", "outputs", "model cycles", "RTL cycles", "cycles/s", "exact"), rows, left=4
    )
    return Section("exactness", "Whole networks in the RTL", text, exact)
