"""A design made to fit how a network is quantized: the widths, and the multiplier that takes its weights' code."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from skipstone.hw.design import MAX_ACCUMULATOR_BITS, Design
from skipstone.hw.multipliers import SHIFT_WEIGHT_BITS
from skipstone.models.graph.grids import WeightCode
from skipstone.models.quantization.network import QuantizedNetwork

CODEBOOKS = 64
"""Codebooks of a design that gets the codebook multiplier here: one a layer, for all networks but the deepest."""


def fitted(
    design: Design,
    weight_code: WeightCode,
    weight_bits: int,
    activation_bits: int,
    codebook_entries: int = 16,
    fixed: Collection[str] = (),
) -> Design:
    """``design`` with these widths, the multiplier of ``weight_code``, and accumulators that hold its products; parameters
    named in ``fixed`` stay as they are."""
    wanted: dict[str, Any] = {"weight_bits": weight_bits, "activation_bits": activation_bits}
    match weight_code:
        case "power_of_two":
            wanted |= {"multiplier": "shift", "weight_bits": min(weight_bits, SHIFT_WEIGHT_BITS[1])}
        case "additive_power_of_two":
            wanted |= {"multiplier": "additive"}
        case "codebook":
            entries = 1 << (codebook_entries - 1).bit_length()
            wanted |= {"multiplier": "codebook", "codebook_entries": entries, "codebooks": CODEBOOKS}
        case "ternary" | "binary":
            wanted |= {"multiplier": "sign"}
    wanted = {key: value for key, value in wanted.items() if key not in fixed}
    changed = design.replace(**(wanted | {"accumulator_bits": MAX_ACCUMULATOR_BITS}))
    bits = changed.products.product_bits
    kept = "accumulator_bits" in fixed or bits <= 16
    return changed.replace(accumulator_bits=design.accumulator_bits if kept else min(MAX_ACCUMULATOR_BITS, bits + 12))


def design_for(network: QuantizedNetwork, design: Design, fixed: Collection[str] = ()) -> Design:
    """:func:`fitted` to a quantized network."""
    entries = 16
    if network.weight_code == "codebook":
        entries = max(len(set(layer.weights[layer.weights != 0].tolist())) for layer in network.array_layers)
    return fitted(design, network.weight_code, network.weight_bits, network.activation_bits, max(entries, 4), fixed)
