"""The layers of a quantized network and what their weights take."""

from __future__ import annotations

import numpy as np

from skipstone.mapper.results.compression import LayerSize
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Affine
from skipstone.models.quantization.encoded_size import encoded_bytes, value_code_bits
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork


def layer_sizes(network: QuantizedNetwork) -> tuple[LayerSize, ...]:
    """Sizes of the layers with trained weights, in order; parts of one layer stand as they run."""
    return tuple(
        LayerSize(
            name=layer.name,
            kind=layer.kind,
            weights=layer.weights.size,
            nnz=layer.nnz,
            code=network.weight_code,
            bits=_bits(layer, network),
            encoded_bytes=encoded_bytes(layer.weights, network.weight_code, layer.weight_bits or network.weight_bits),
        )
        for layer in network.array_layers
        if layer.trained
    )


def trained_weights(graph: Graph) -> int:
    """How many weights the layers that :func:`layer_sizes` lists have in the float network."""
    convs = sum(layer.weights.size for layer in graph.convs)
    return convs + sum(layer.scale.size for layer in graph.layers if isinstance(layer, Affine))


def _bits(layer: QuantizedLayer, network: QuantizedNetwork) -> int:
    """Bits of one nonzero weight of the layer."""
    bits = layer.weight_bits or network.weight_bits
    entries = len(np.unique(layer.weights[layer.weights != 0]))
    return bits if network.weight_code == "codebook" else value_code_bits(network.weight_code, bits, entries)
