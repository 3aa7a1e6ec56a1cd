"""Bits of weight memory for each nonzero, with absolute indices and with deltas: of random masks against the entropy
bound, and of the carried network, where escapes cost cycles too."""

from __future__ import annotations

from benchmarks.document import Section, table
from benchmarks.index_coding import DELTA_BITS, entry_bits
from benchmarks.settings import Settings
from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.hw.design import load_design
from skipstone.mapper.cost import cost

PRUNINGS = ("none", "unstructured:0.5", "unstructured:0.8")
NETWORK_DELTA_BITS = (4, 5, 6, 8)


def measure(settings: Settings) -> Section:
    design = load_design("edge")
    masks = [
        (
            f"{coded_entry.density:.0%}",
            f"{coded_entry.absolute:.1f}",
            *(f"{coded_entry.delta[bits]:.1f}" for bits in DELTA_BITS),
            f"{coded_entry.bound:.1f}",
        )
        for coded_entry in entry_bits(design)
    ]
    networks = []
    for pruning in PRUNINGS:
        network = prepare_network(
            "resnet8_fashion", CompressionOptions(prune=pruning, input_range=(0.0, 1.0))
        ).compressed
        for name, coded in (
            ("absolute", design),
            *((f"delta {bits}", design.replace(index_coding="delta", delta_bits=bits)) for bits in NETWORK_DELTA_BITS),
        ):
            mapped = cost(network, coded, memories="enlarged")
            program = mapped.program
            bits = sum(layer.encoded_bits for layer in program.layers)
            nnz = sum(layer.nnz for layer in program.layers)
            networks.append((pruning, name, coded.weight_entry.width, f"{bits / nnz:.1f}", bits, mapped.cycles))
    text = (
        "Entries of `edge`, really encoded, fillers and escapes included: 8 bits of weight, 4 that say what comes after it, and "
        "10 of index or those of a delta. Random masks; the bound is H(density) / density + 8 bits.\n\n"
        + table(("nonzeros", "absolute", *(f"delta {bits}" for bits in DELTA_BITS), "bound"), masks)
        + "\nThe carried network; an escape takes a cycle of its row.\n\n"
        + table(("pruning", "index", "entry, bits", "bits/nonzero", "bits", "cycles"), networks, left=2)
    )
    return Section("coding", "Weight index coding", text)
