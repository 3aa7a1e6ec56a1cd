"""A design made to fit how a network is quantized: the widths, and the multiplier that takes its weights' code."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from skipstone.flow.prepare import CompressionOptions, stored_options
from skipstone.hw.design import MAX_ACCUMULATOR_BITS, Design, load_design
from skipstone.hw.multipliers import MULTIPLIERS, Shift
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.scheme import QuantizationScheme, scheme_of
from skipstone.toml_files import read_toml

CODEBOOKS = 64
"""Codebooks of a design that gets the codebook multiplier here: one a layer, for all networks but the deepest."""


def fit_design(
    design: Design,
    scheme: QuantizationScheme,
    fixed: Collection[str] = (),
) -> Design:
    """A design made to fit a quantization scheme: widths, the multiplier of its code, accumulators that hold the products.

    Args:
        design: The array.
        scheme: Bits and weight code.
        fixed: Parameters of ``design`` that stay as they are.
    """
    fitting: dict[str, Any] = {"weight_bits": scheme.weight_bits, "activation_bits": scheme.activation_bits}
    if scheme.weight_code != "linear":
        fitting["multiplier"] = next(
            name for name, kind in MULTIPLIERS.items() if scheme.weight_code in kind.weight_codes
        )
    match scheme.weight_code:
        case "power_of_two":
            fitting["weight_bits"] = min(scheme.weight_bits, max(Shift.widths))
        case "codebook":
            entries = 1 << (scheme.codebook_entries - 1).bit_length()
            fitting |= {"codebook_entries": entries, "codebooks": CODEBOOKS}
    fitting = {key: value for key, value in fitting.items() if key not in fixed}
    changed = design.replace(**(fitting | {"accumulator_bits": MAX_ACCUMULATOR_BITS}))
    bits = changed.products.product_bits
    keeps_accumulators = "accumulator_bits" in fixed or bits <= 16
    return changed.replace(
        accumulator_bits=design.accumulator_bits if keeps_accumulators else min(MAX_ACCUMULATOR_BITS, bits + 12)
    )


def design_for_options(name: str, network: str, options: CompressionOptions) -> Design:
    """The design of a name, fitted to a network as it will be quantized, or as its file is already.

    What a design's TOML file says about widths and multiplier holds; where it says nothing, the scheme does, as for a
    built-in design.

    Args:
        name: A built-in design, or a TOML file.
        network: An ONNX file, or a carried network's name.
        options: How the network is compressed.

    Raises:
        SkipstoneError: The design or the network can't be read.
    """
    design = load_design(name)
    scheme = stored_options(network, options).scheme
    return fit_design(design, scheme, fixed=stated_parameters(name))


def stated_parameters(name: str) -> tuple[str, ...]:
    """The parameters that a design's TOML file names; none for a built-in design, which is made to fit any network.

    Args:
        name: A built-in design, or a TOML file.

    Raises:
        SkipstoneError: The file can't be read.
    """
    return tuple(read_toml(Path(name), "design file")) if name.endswith(".toml") else ()


def design_for(network: QuantizedNetwork, design: Design, fixed: Collection[str] = ()) -> Design:
    """:func:`fit_design` for a quantized network.

    Args:
        network: The integers.
        design: The array.
        fixed: Parameters of ``design`` that stay as they are.
    """
    return fit_design(design, scheme_of(network), fixed)
