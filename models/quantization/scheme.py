"""How a network becomes integers, as one object: bits and code of weights, bits and ranges of activations, exceptions
for single layers.

Ranges are measured, weights are rounded, designs are fitted and results are reported by the same scheme. A network's
own grids take precedence over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from skipstone.errors import SkipstoneError
from skipstone.models.graph.grids import WeightCode
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.range_methods import parse_method
from skipstone.models.quantization.weight_codes import check_bits

BITS = (2, 16)
"""The fewest and the most bits of weights and activations."""
CODEBOOK_ENTRIES = (4, 256)
"""The fewest and the most values of a codebook that a weight code in words may ask for, and a design can have."""
DEFAULT_CODEBOOK_ENTRIES = 16


@dataclass(frozen=True)
class QuantizationScheme:
    """How weights and activations become integers, where a network's own grids don't say.

    Args:
        weight_bits: Bits of weights, 2 to 16; with ``additive_power_of_two`` 3, 5 or 7.
        activation_bits: Bits of activations, 2 to 16.
        weight_code: What weights may be (:func:`skipstone.models.quantization.weight_codes.code_weights`).
        codebook_entries: Nonzero values of a layer's codebook, for ``codebook``.
        symmetric: Activations have the zero point 0.
        per_tensor: All weights of a layer have one scale, in place of one for each output channel.
        calibration_method: Where activation ranges come from: ``minmax``, ``percentile:P``, ``mse`` or ``entropy``.
        layer_bits: Weight bits of single layers, by name.
        layer_codes: Weight codes of single layers, by name.

    Raises:
        SkipstoneError: A value is out of range, or bits and code don't go together.

    Example:
        ``QuantizationScheme(weight_bits=4)``, or ``QuantizationScheme.parse("codebook:16")``.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    weight_code: WeightCode = "linear"
    codebook_entries: int = DEFAULT_CODEBOOK_ENTRIES
    symmetric: bool = False
    per_tensor: bool = False
    calibration_method: str = "minmax"
    layer_bits: Mapping[str, int] = field(default_factory=dict, hash=False)
    layer_codes: Mapping[str, WeightCode] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_range("weight_bits", self.weight_bits, "weight_bits")
        _check_range("activation_bits", self.activation_bits, "activation_bits")
        for name, bits in self.layer_bits.items():
            _check_range(f"layer_bits of '{name}'", bits, "layer_bits")
        for code in (self.weight_code, *self.layer_codes.values()):
            _check_code(code, self.codebook_entries)
        check_bits(self.weight_code, self.weight_bits)
        for name in {*self.layer_bits, *self.layer_codes}:
            check_bits(self.code_of(name), self.bits_of(name))
        parse_method(self.calibration_method)

    @classmethod
    def parse(
        cls, weight_code: str, weight_bits: int = 8, activation_bits: int = 8, calibration_method: str = "minmax"
    ) -> QuantizationScheme:
        """A scheme with a weight code in words (:func:`parse_weight_code`), as users write it."""
        code, entries = parse_weight_code(weight_code)
        return cls(weight_bits, activation_bits, code, entries, calibration_method=calibration_method)

    def bits_of(self, layer: str) -> int:
        """Bits of one layer's weights."""
        return self.layer_bits.get(layer, self.weight_bits)

    def code_of(self, layer: str) -> WeightCode:
        """Code of one layer's weights."""
        return self.layer_codes.get(layer, self.weight_code)

    def of_layer(self, layer: str) -> QuantizationScheme:
        """The scheme of one layer alone: its bits and its code are those of all weights."""
        return replace(
            self, weight_bits=self.bits_of(layer), weight_code=self.code_of(layer), layer_bits={}, layer_codes={}
        )


def parse_weight_code(text: str) -> tuple[WeightCode, int]:
    """The code that ``text`` names, and the values of a codebook (``codebook:N``).

    Raises:
        SkipstoneError: No such code, or N outside 4 to 256.
    """
    name, colon, entries = text.partition(":")
    codes = {code: code for code in get_args(WeightCode)}
    if name not in codes or (colon and name != "codebook"):
        plain = ", ".join(code for code in codes if code != "codebook")
        raise SkipstoneError(f"weight_code must be {plain}, or codebook:N, not '{text}'", parameter="weight_code")
    if name != "codebook":
        return codes[name], DEFAULT_CODEBOOK_ENTRIES
    fewest, most = CODEBOOK_ENTRIES
    if not entries.isdigit() or not fewest <= int(entries) <= most:
        raise SkipstoneError(
            f"weight_code codebook:N needs N from {fewest} to {most}, not '{text}'", parameter="weight_code"
        )
    return codes[name], int(entries)


def scheme_of(network: QuantizedNetwork) -> QuantizationScheme:
    """The bits and the code that all weights of a quantized network have in common, for fitting a design to it."""
    entries = DEFAULT_CODEBOOK_ENTRIES
    if network.weight_code == "codebook":
        values = [np.unique(layer.weights[layer.weights != 0]) for layer in network.array_layers]
        entries = max(CODEBOOK_ENTRIES[0], *(len(layer_values) for layer_values in values))
    return QuantizationScheme(network.weight_bits, network.activation_bits, network.weight_code, entries)


def _check_range(what: str, bits: int, parameter: str) -> None:
    fewest, most = BITS
    if not fewest <= bits <= most:
        raise SkipstoneError(f"{what} must be {fewest} to {most}, not {bits}", parameter=parameter)


def _check_code(code: str, codebook_entries: int) -> None:
    codes = get_args(WeightCode)
    if code not in codes:
        raise SkipstoneError(f"no weight code '{code}'; the codes are {', '.join(codes)}", parameter="weight_code")
    if code == "codebook" and codebook_entries < 1:
        raise SkipstoneError(f"codebook_entries must be at least 1, not {codebook_entries}")


INT8 = QuantizationScheme()
"""Integers of 8 bits, weights with a scale for each output channel, activations between their least and greatest value."""
