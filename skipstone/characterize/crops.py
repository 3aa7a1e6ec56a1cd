"""Layers to simulate: real weights of a carried network, a crop of the activations that a real image gives them.

Whole layers take too many cycles at gate level, so that a crop of the image and the first output channels stand for them. A
residual addition is left off, since the tensor it adds would need a layer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from skipstone.flow.prepare import CompressionOptions, PreparedNetwork, prepare_network, sample_inputs
from skipstone.models.graph.layers import output_size
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.scheme import INT8, QuantizationScheme


@dataclass(frozen=True)
class Crop:
    """``height`` x ``width`` pixels of the input of ``layer`` from (``y``, ``x``) on, and its first ``channels`` outputs; of
    ``network`` pruned by ``prune`` quantized by ``scheme``, run on evaluation image ``image``."""

    network: str
    prune: str
    layer: str
    height: int
    width: int
    channels: int
    y: int = 0
    x: int = 0
    image: int = 0
    scheme: QuantizationScheme = INT8

    @property
    def title(self) -> str:
        """The crop in words: network, pruning, layer, size."""
        extra = "" if self.scheme.weight_code == "linear" else f", {self.scheme.weight_code}"
        return f"{self.network} {self.prune}{extra}, {self.layer}, {self.height}x{self.width}x{self.channels}"


@lru_cache(maxsize=8)
def _prepared(network: str, options: CompressionOptions) -> PreparedNetwork:
    return prepare_network(network, options)


@lru_cache(maxsize=8)
def _activations(network: str, options: CompressionOptions, image: int) -> dict[str, NDArray[np.int64]]:
    prepared = _prepared(network, options)
    x = reference.quantize_input(prepared.compressed, sample_inputs(prepared, image + 1)[image:])
    return reference.run(prepared.compressed, x)


def cropped(crop: Crop) -> tuple[QuantizedNetwork, NDArray[np.int64]]:
    """A part of a layer as a network of its own.

    Returns:
        The network, and its input as integers (channels x height x width).
    """
    options = CompressionOptions(prune=crop.prune, scheme=crop.scheme)
    network = _prepared(crop.network, options).compressed
    layer = next(candidate for candidate in network.array_layers if candidate.name == crop.layer)
    values = _activations(crop.network, options, crop.image)[layer.input][0]
    values = values[:, crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    k = min(crop.channels, len(layer.weights))
    (top, left, bottom, right), (height, width) = layer.padding, layer.weights.shape[2:]
    size = (
        output_size(values.shape[1], height, layer.stride[0], top, bottom, layer.dilation[0]),
        output_size(values.shape[2], width, layer.stride[1], left, right, layer.dilation[1]),
    )
    single = replace(
        layer,
        weights=layer.weights[:k],
        bias=layer.bias[:k],
        multiplier=layer.multiplier[:k],
        shift=layer.shift[:k],
        other=None,
        other_multiplier=np.zeros(k, np.int64),
        weight_scale=layer.weight_scale[:k],
    )
    tensors = {
        layer.input: replace(network.tensors[layer.input], shape=tuple(values.shape)),
        layer.output: replace(network.tensors[layer.output], shape=(k, *size)),
    }
    return (
        replace(
            network,
            name=crop.title,
            input=layer.input,
            outputs=(layer.output,),
            tensors=tensors,
            layers=(single,),
            host_layers=(),
            results=(),
            file_ends=None,
            concats={},
            graph=None,
        ),
        np.ascontiguousarray(values),
    )
