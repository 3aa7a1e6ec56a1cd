"""The layers of a quantized network and what their weights take."""

from __future__ import annotations

from models.quantized import QuantizedNetwork
from models.size import encoded_bytes
from reports.compression import LayerSize

_TRAINED = ("conv", "depthwise", "gemm", "affine", "transposed_conv")


def layer_sizes(network: QuantizedNetwork) -> tuple[LayerSize, ...]:
    """The layers with trained weights, in order; parts of one layer stand as they run."""
    return tuple(
        LayerSize(
            name=layer.name,
            kind=layer.kind,
            weights=layer.weights.size,
            nnz=layer.nnz,
            code=network.weight_code,
            bits=layer.weight_bits or network.weight_bits,
            encoded_bytes=encoded_bytes(layer.weights, network.weight_code, layer.weight_bits or network.weight_bits),
        )
        for layer in network.array_layers
        if layer.kind in _TRAINED
    )
