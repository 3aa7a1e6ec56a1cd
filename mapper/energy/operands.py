"""Sizes of the activations that a program's multipliers see, measured on a network's own images.

A multiplier whose operand does not change switches little, and after a ReLU at least half of the activations are the
zero point. So energy depends on data; cycles do not. ``skipstone.mapper.energy.actions`` takes the counts from here.
"""

from __future__ import annotations

from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from skipstone.mapper.energy.activity import activation_bits
from skipstone.mapper.program import LayerProgram
from skipstone.models.data.images import Images
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork, without_zeros

IMAGES = 4
"""The most images that a mean is taken over."""
MACS = 1e9
"""The most multiply-accumulates of the images together. One image is always taken."""


class Operands:
    """Bits of the activations' distances from their zero points, summed over multiply-accumulates, as a mean over
    images.

    The images are run when a layer is first asked for. Layers with the same extent are counted once.

    Args:
        network: The quantized network.
        images: Quantized images, N x channels x height x width. At most ``IMAGES`` of them are used.
    """

    def __init__(self, network: QuantizedNetwork, images: NDArray[np.int64]) -> None:
        self._network = network
        macs = sum(layer.weights.size * prod(network.tensors[layer.output].shape[1:]) for layer in network.array_layers)
        count = max(1, min(IMAGES, int(MACS // max(macs, 1))))
        self._images = images[:count]
        self._layers = {layer.name: layer for layer in network.array_layers}
        self._counted: dict[tuple[object, ...], int] = {}

    @cached_property
    def _tensors(self) -> dict[str, NDArray[np.int64]]:
        return reference.run(self._network, self._images)

    def without_zeros(self) -> Operands:
        """What the multipliers of the network without zeros see: the same activations, at every weight.

        A weight that stands for a zero has no value, so that the activations stay those of the network.
        """
        dense = Operands(without_zeros(self._network), self._images)
        dense._tensors = self._tensors
        return dense

    def bits(self, program: LayerProgram) -> int:
        """Bits of one layer of a program of the network, for one image."""
        schedule = program.schedule
        extent = tuple(
            tiles * size for tiles, size in zip((schedule.tiles_y, schedule.tiles_x), schedule.tile, strict=True)
        )
        key = (program.layers, extent, program.outputs[0].fold)
        if key not in self._counted:
            self._counted[key] = sum(
                activation_bits(self._network, self._layers[name], program, self._tensors[self._layers[name].input])
                for name in program.layers
            )
        return self._counted[key]


def operands_of(network: QuantizedNetwork, images: Images) -> Operands:
    """Measures what the multipliers of a network see of images.

    Args:
        network: The quantized network.
        images: Float images, N x channels x height x width. The first ``IMAGES`` are used.
    """
    return Operands(network, reference.quantize_input(network, images[:IMAGES]))
