"""Channel gating: pruning that depends on the input. Channels of a layer's input that are weak in an image are left out for
that image, in the integer reference, to see what it does to accuracy and which work it could save.

A channel's strength is the mean of its absolute values, as in feature boosting and suppression (Gao et al., "Dynamic Channel
Pruning: Feature Boosting and Suppression", 2019); here it is compared with a threshold, where they predict it by a trained
layer and keep the strongest. That the choice falls at run time, image by image, is Lin et al.'s ("Runtime Neural
Pruning", 2017), who learn it. Nothing is trained here.

The array has no gating: its load lists and weight lists are fixed when the network is compiled, so gated words are loaded
and multiplied like any others, and cycles stay what they are. All figures are what a loader and rows able to skip them
would save.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images, Labels, check_labels
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork
from skipstone.models.quantization.reference import BATCH_IMAGES, Integers

GATED_KINDS = ("conv", "depthwise", "gemm", "transposed_conv")
"""Layers with trained weights, whose inputs are gated."""

Masks = dict[str, NDArray[np.bool_]]
"""For each gated layer, images x channels of its input: True where the channel is left out."""


@dataclass(frozen=True, eq=False)
class LayerGating:
    """One layer. ``gated``: images x channels of its ``input``, True where the channel is left out. ``channel_macs``: for each
    channel, the multiplications of one image by its nonzero weights."""

    name: str
    input: str
    gated: NDArray[np.bool_]
    channel_macs: NDArray[np.int64]

    @property
    def gated_share(self) -> float:
        """Share of channels left out, 0 to 1, over all images."""
        return float(self.gated.mean())

    @property
    def macs(self) -> int:
        """Multiplications by nonzero weights, one image."""
        return int(self.channel_macs.sum())

    @property
    def saved_macs(self) -> float:
        """Those of ``macs`` that a gated channel would save, mean of the images."""
        return float((self.gated @ self.channel_macs).mean())


@dataclass(frozen=True, eq=False)
class GatingResult:
    """Top-1 accuracy (0 to 1) without and with gating on ``images`` images, and the gated layers in execution order.
    ``notes``: layers with trained weights whose input is not gated, and why."""

    threshold: float
    images: int
    accuracy: float
    gated_accuracy: float
    layers: tuple[LayerGating, ...]
    notes: tuple[str, ...]

    @property
    def saved_macs_share(self) -> float:
        """Share of the gated layers' multiplications by nonzero weights that could be saved, 0 to 1."""
        macs = sum(layer.macs for layer in self.layers)
        return sum(layer.saved_macs for layer in self.layers) / macs if macs else 0.0


def gate(
    network: QuantizedNetwork, images: Images, labels: Labels, threshold: float, means: Mapping[str, float]
) -> GatingResult:
    """Runs images with and without gating.

    A channel of a gated layer's input is set to the zero point (real 0) for an image where the mean of its absolute real values
    is below ``threshold`` times the tensor's typical mean. Only what the layer itself reads is gated: a residual Add and other
    readers of the tensor see all of it.

    Args:
        network: The integer network.
        images: N x C x H x W, real.
        labels: N classes.
        threshold: 0 gates nothing.
        means: Typical means by tensor (:func:`typical_means`, of calibration images).
    """
    integers = reference.quantize_input(network, images)
    scores = reference.class_scores(network, integers)
    check_labels(labels, len(scores), scores.shape[1])
    _check(network, threshold, means)

    def batch(start: int) -> tuple[Integers, Masks]:
        tensors, masks = run_gated(network, integers[start : start + BATCH_IMAGES], threshold, means)
        return reference.scores_of(network, tensors), masks

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = list(threads.map(batch, range(0, len(integers), BATCH_IMAGES)))
    gated_scores = np.concatenate([output for output, _ in parts])
    layers = tuple(
        LayerGating(
            layer.name,
            layer.input,
            np.concatenate([masks[layer.name] for _, masks in parts]),
            _channel_macs(network, layer),
        )
        for layer in gated_layers(network)
    )
    return GatingResult(
        threshold,
        len(labels),
        float(np.mean(scores.argmax(axis=1) == labels)),
        float(np.mean(gated_scores.argmax(axis=1) == labels)),
        layers,
        _notes(network),
    )


def gated_layers(network: QuantizedNetwork) -> tuple[QuantizedLayer, ...]:
    """The layers whose inputs are gated: those with trained weights that read another layer's output."""
    return tuple(layer for layer in network.array_layers if layer.kind in GATED_KINDS and layer.input != network.input)


def typical_means(network: QuantizedNetwork, images: Images) -> dict[str, float]:
    """The mean absolute real value of each tensor that a gated layer reads, over images, channels and pixels, without gating.

    Args:
        network: The integer network.
        images: N x C x H x W, real, for calibration; never those that accuracy is measured on.
    """
    names = {layer.input for layer in gated_layers(network)}
    integers = reference.quantize_input(network, images)
    totals = dict.fromkeys(names, 0)
    for start in range(0, len(integers), BATCH_IMAGES):
        tensors = reference.run(network, integers[start : start + BATCH_IMAGES])
        for name in names:
            totals[name] += int(np.abs(tensors[name] - network.tensors[name].zero_point).sum())
    tensors_of = network.tensors
    return {
        name: totals[name] * tensors_of[name].scale / (len(integers) * math.prod(tensors_of[name].shape))
        for name in sorted(names)
    }


def run_gated(
    network: QuantizedNetwork, images: Integers, threshold: float, means: Mapping[str, float]
) -> tuple[dict[str, Integers], Masks]:
    """All tensors, as layers write them, for quantized ``images``, and what each gated layer left out."""
    gated_names = {layer.name for layer in gated_layers(network)}
    tensors = {network.input: images}
    masks: Masks = {}
    for layer in network.layers:
        if isinstance(layer, QuantizedLayer) and layer.name in gated_names:
            x = np.concatenate([tensors[leaf] for leaf in network.leaves(layer.input)], axis=1)
            source = network.tensors[layer.input]
            strength = np.abs(x - source.zero_point).mean(axis=(2, 3)) * source.scale
            masks[layer.name] = strength < threshold * means[layer.input]
            # Under a name of its own: the layer may add the same tensor, ungated.
            gated = f"{layer.input} as {layer.name} reads it"
            tensors[gated] = np.where(masks[layer.name][:, :, None, None], source.zero_point, x)
            tensors = reference.run_layers(network, (replace(layer, input=gated),), tensors)
            del tensors[gated]
        else:
            tensors = reference.run_layers(network, (layer,), tensors)
    return tensors, masks


def _channel_macs(network: QuantizedNetwork, layer: QuantizedLayer) -> NDArray[np.int64]:
    macs = np.zeros(network.tensors[layer.input].shape[0], np.int64)
    np.add.at(macs, layer.channels_read, np.count_nonzero(layer.weights, axis=(2, 3)))
    return macs * math.prod(network.size_of(layer))


def _check(network: QuantizedNetwork, threshold: float, means: Mapping[str, float]) -> None:
    if not (math.isfinite(threshold) and threshold >= 0):
        raise SkipstoneError(f"the gating threshold must be a number from 0 on, not {threshold:g}")
    missing = sorted({layer.input for layer in gated_layers(network)} - means.keys())
    if missing:
        raise SkipstoneError(
            f"gating needs the typical mean of tensors {', '.join(missing)}; take typical_means of this network"
        )


def _notes(network: QuantizedNetwork) -> tuple[str, ...]:
    return tuple(
        f"layer '{layer.name}' reads the network's input, which is never gated"
        for layer in network.array_layers
        if layer.kind in GATED_KINDS and layer.input == network.input
    )
