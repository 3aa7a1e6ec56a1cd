"""What a network looks up on a design: the tables of its layers, and the integers behind its weights' codes.

Equal tables and equal codebooks are stored once. Networks are refused here whose actual weights the design's
multipliers cannot represent, or that need more tables or codebooks than the design has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import MappingError
from skipstone.hw.design import LIMITS, MAX_TABLE_BITS, Design
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lookups:
    """The tables and codebooks of a network on a design.

    Attributes:
        tables: The tables in the order of their numbers.
        codebooks: The codebooks in the order of their numbers, each as long as the design's codebooks.
        table_of: A table's number by the layer's name.
        codebook_of: A codebook's number by the layer's name.
    """

    design: Design
    tables: tuple[tuple[int, ...], ...]
    codebooks: tuple[tuple[int, ...], ...]
    table_of: dict[str, int]
    codebook_of: dict[str, int]

    def codes(self, layer: QuantizedLayer, weights: Ints) -> Ints:
        """The codes of some nonzero ``weights`` of ``layer``."""
        values = self.design.products.values
        if self.design.products.looked_up:
            values = self.codebooks[self.codebook_of[layer.name]]
        return weights if values is None else codes_of(values, weights)

    def descriptor(self, layer: QuantizedLayer) -> dict[str, int]:
        """The fields of the layer's descriptor that name its codebook."""
        return {"codebook": self.codebook_of[layer.name]} if self.design.products.looked_up else {}

    def parameter(self, layer: QuantizedLayer) -> dict[str, int]:
        """The fields of the parameter words of the layer's channels that name its table."""
        if not self.design.tables:
            return {}
        return {"table": self.table_of.get(layer.name, 0), "use_table": int(layer.name in self.table_of)}


def codes_of(values: Sequence[int], weights: Ints) -> Ints:
    """The place of each weight among ``values``, which contain all weights."""
    array = np.array(values, np.int64)
    order = np.argsort(array, kind="stable")
    codes: Ints = order[np.searchsorted(array[order], weights)]
    return codes


def collect_lookups(network: QuantizedNetwork, design: Design) -> Lookups:
    """Checks all weights and tables of a network and numbers its tables and codebooks.

    Raises:
        MappingError: The design cannot represent a weight, or has too few tables or codebooks.
    """
    for layer in network.array_layers:
        _check_weights(layer, design)
    looked_up = [layer for layer in network.array_layers if layer.table is not None]
    tables, table_of = _numbered(
        {layer.name: tuple(layer.table.tolist()) for layer in looked_up if layer.table is not None}
    )
    if len(tables) > design.tables:
        raise MappingError(
            f"the network looks up {len(tables)} different table{'s' * (len(tables) > 1)} (layers "
            f"{', '.join(map(repr, table_of))}), design '{design.name}' has tables = {design.tables}; "
            f"raise tables to {len(tables)}"
            + (
                f", with activations of {MAX_TABLE_BITS} bits or fewer"
                if design.activation_bits > MAX_TABLE_BITS
                else ""
            ),
            parameter="tables",
            need=len(tables),
            have=design.tables,
        )
    books = {layer.name: _codebook(layer, design) for layer in network.array_layers if design.products.looked_up}
    codebooks, codebook_of = _numbered(books)
    if len(codebooks) > design.codebooks:
        raise MappingError(
            f"the network's layers need {len(codebooks)} different codebooks, design '{design.name}' has {design.codebooks}; "
            f"raise codebooks to {len(codebooks)}",
            parameter="codebooks",
            need=len(codebooks),
            have=design.codebooks,
        )
    return Lookups(design, tables, codebooks, table_of, codebook_of)


def _numbered(lists: dict[str, tuple[int, ...]]) -> tuple[tuple[tuple[int, ...], ...], dict[str, int]]:
    """The different lists, and for each name the number of its list."""
    numbers: dict[tuple[int, ...], int] = {}
    of = {name: numbers.setdefault(values, len(numbers)) for name, values in lists.items()}
    return tuple(numbers), of


def _distinct(layer: QuantizedLayer) -> tuple[int, ...]:
    values = np.unique(layer.weights)
    return tuple(values[values != 0].tolist())


def _codebook(layer: QuantizedLayer, design: Design) -> tuple[int, ...]:
    """The layer's values, and behind them zeros, for which no code stands."""
    values = _distinct(layer)
    return values + (0,) * (design.codebook_entries - len(values))


def _check_weights(layer: QuantizedLayer, design: Design) -> None:
    kind = design.products
    if kind.values is not None:
        wrong = [value for value in _distinct(layer) if value not in kind.values]
        if wrong:
            width = f" of {design.weight_bits} bits" if kind.code_bits > 1 else ""
            raise MappingError(
                f"layer '{layer.name}' has the weight {wrong[0]}, design '{design.name}' with multiplier = "
                f"'{design.multiplier}' takes {kind.values_text}; quantize with weight code {kind.weight_codes[0]}{width} "
                "or use a design with multiplier = 'linear'",
                layer=layer.name,
                parameter="multiplier",
            )
        return
    bits, extreme = max((signed_bits(value), value) for value in (int(layer.weights.min()), int(layer.weights.max())))
    if bits > design.weight_bits:
        raise MappingError(
            f"layer '{layer.name}' has the weight {extreme}, of {bits} bits, design '{design.name}' takes "
            f"{design.weight_bits}; quantize to weight_bits {design.weight_bits} or set the design's to {bits}",
            layer=layer.name,
            parameter="weight_bits",
            need=bits,
            have=design.weight_bits,
        )
    if not kind.looked_up:
        return
    different = len(_distinct(layer))
    if different > design.codebook_entries:
        enough = 1 << (different - 1).bit_length()
        more = f"raise codebook_entries to {enough}, " if enough <= LIMITS["codebook_entries"] else ""
        raise MappingError(
            f"layer '{layer.name}' has {different} different weights (such as {int(layer.weights.max())}), the codebooks of "
            f"design '{design.name}' have {design.codebook_entries}; quantize with weight code "
            f"codebook:{design.codebook_entries}, {more}or use a design with multiplier = 'linear'",
            layer=layer.name,
            parameter="codebook_entries",
            need=enough,
            have=design.codebook_entries,
        )


def signed_bits(value: int) -> int:
    """Bits of a signed integer that holds ``value``."""
    return (value if value >= 0 else -value - 1).bit_length() + 1
