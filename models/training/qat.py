"""Quantization-aware training: a float graph learns with the rounding that the array will do, and comes back quantized.

:func:`quantization_aware` hangs quantizers of weights (``qat_weights``) and activations (``qat_activations``) into the module,
trains it in the one loop, and gives a graph whose weights and tensors have grids;
``skipstone.models.quantization.quantize`` uses those as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Targets
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid
from skipstone.models.quantization.concatenation import scale_groups, shared_grids, with_copies
from skipstone.models.quantization.quantize import materialized
from skipstone.models.quantization.ranges import Ranges, calibrate
from skipstone.models.quantization.scales import activation_scale
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.models.training.loop import TrainingLoop, TrainingOptions, module_for, train
from skipstone.models.training.network import GraphModule
from skipstone.models.training.qat_activations import AffineActivations, RangeKind, TensorRange
from skipstone.models.training.qat_weights import Estimator, weight_quantizer

BATCH = 256
"""Images that statistics are measured on at a time."""
STATISTICS_IMAGES = 2048
"""For a batch normalization's first statistics under quantization."""


@dataclass(frozen=True)
class QatOptions:
    """What is quantized, and how.

    Args:
        scheme: Weights have its bits and code, with a scale for each output channel; bits of single layers go with linear
            weights only. Activations begin with the ranges of its calibration method.
        estimator: Where a weight's scale comes from.
        ranges: Where the scale of activations comes from.
        first_last_bits: Weight bits of the first and the last layer; 0: those of the scheme.
        statistics: Images on which batch normalization is measured again after training; 0: none.

    Raises:
        SkipstoneError: The scheme is symmetric, has one scale for each tensor, or codes of single layers, which training
            does not know.
    """

    scheme: QuantizationScheme
    estimator: Estimator = "straight_through"
    ranges: RangeKind = "moving"
    first_last_bits: int = 0
    statistics: int = 8192

    def __post_init__(self) -> None:
        for name in ("symmetric", "per_tensor", "layer_codes"):
            if getattr(self.scheme, name):
                raise SkipstoneError(f"quantization-aware training has no {name}; leave it out")


def quantization_aware(
    graph: Graph,
    images: NDArray[np.float32],
    labels: Targets | None,
    options: TrainingOptions,
    qat: QatOptions,
    *,
    calibration_images: NDArray[np.float32] | None = None,
    teacher: Graph | None = None,
    progress: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
    own: TrainingLoop | None = None,
) -> Graph:
    """Trains a network with quantized weights and activations; pruned weights stay 0.

    Args:
        graph: The network.
        images: N x C x H x W.
        labels: N classes; None where a teacher alone says what is right.
        options: Of the training.
        qat: How weights and activations are quantized.
        calibration_images: Images for the first ranges; the first of ``images``, if None.
        teacher: The network whose outputs are learned, where ``options.distillation`` says so.
        progress: Called with a line of text for each epoch.
        checkpoint: As in :func:`skipstone.models.training.loop.train`.
        own: As in :func:`skipstone.models.training.loop.train`.

    Returns:
        A graph whose weights and materialized tensors all have grids: ``quantize(result, None)`` is the network that was
        trained.

    Raises:
        SkipstoneError: ``quantize`` or the training can't do a layer.
    """
    module = quantized_module(graph, images, options, qat, calibration_images)
    train(module, images, labels, options, teacher=teacher, progress=progress, checkpoint=checkpoint, own=own)
    if qat.statistics:
        measure_statistics(module, images[: qat.statistics])
    return replace(module.to_graph(), grids_from=f"quantization-aware training, {qat.ranges} ranges")


def quantized_module(
    graph: Graph,
    images: NDArray[np.float32],
    options: TrainingOptions,
    qat: QatOptions,
    calibration_images: NDArray[np.float32] | None = None,
) -> GraphModule:
    """A module of the network with quantizers, ready for training.

    Batch normalization is put back with the float network's statistics, then measured anew with quantized weights, so that every
    layer's output has the float output's mean and deviation. Ranges of activations are measured after that.

    Args:
        graph: The network.
        images: The training images, N x C x H x W.
        options: Of the training.
        qat: How weights and activations are quantized.
        calibration_images: Images for the first ranges; the first of ``images``, if None.
    """
    graph = replace(graph, grids={}, grids_from="")
    scheme, bits = qat.scheme, weight_bits(graph, qat)
    module = module_for(graph, images, options)
    for name, conv in module.convs.items():
        own = replace(scheme, weight_bits=bits[name], layer_bits={})
        conv.quantizer = weight_quantizer((conv.weight * conv.mask).detach(), own, qat.estimator)
    if options.normalize:
        measure_statistics(module, images[:STATISTICS_IMAGES])
    shown = images[:BATCH] if calibration_images is None else calibration_images
    ranges = calibrate(module.to_graph(), shown, scheme)
    module.quantize_activations(activation_quantizers(graph, ranges, scheme.activation_bits, qat.ranges))
    return module


def weight_bits(graph: Graph, qat: QatOptions) -> dict[str, int]:
    """Bits of every layer's weights."""
    scheme, names = qat.scheme, [layer.name for layer in graph.convs]
    if strangers := sorted(scheme.layer_bits.keys() - set(names)):
        raise SkipstoneError(
            f"layer_bits names layers without trained weights, {', '.join(strangers)}; those with are {', '.join(names)}"
        )
    bits = dict.fromkeys(names, scheme.weight_bits)
    if qat.first_last_bits:
        bits |= dict.fromkeys((names[0], names[-1]), qat.first_last_bits)
    bits |= scheme.layer_bits
    if scheme.weight_code != "linear" and len(set(bits.values())) > 1:
        raise SkipstoneError(f"layers of different bits need weight code linear, not {scheme.weight_code}")
    return bits


def activation_quantizers(graph: Graph, ranges: Ranges, bits: int, kind: RangeKind) -> dict[str, AffineActivations]:
    """Quantizers for the tensors that the array rounds, and for those that only pass on what others hold: all have grids.

    Tensors that share a scale share a :class:`TensorRange`.

    Args:
        graph: The network.
        ranges: Calibrated ranges by tensor.
        bits: Of activations.
        kind: How the ranges learn.
    """
    placed, rounded = with_copies(graph), materialized(graph)

    def grid_of(low: float, high: float) -> ActivationGrid:
        return ActivationGrid(*activation_scale(low, high, bits), bits)

    grids = shared_grids(placed, ranges, grid_of, graph.shapes.keys() - rounded)
    result: dict[str, AffineActivations] = {}
    for group in scale_groups(placed):
        members = [name for name in graph.shapes if name in group and name in rounded]
        if not members:
            continue
        shared = TensorRange(*grids[members[0]].limits, bits, kind, len(members))
        result |= {name: AffineActivations(shared, index) for index, name in enumerate(members)}
    return result


def measure_statistics(module: GraphModule, images: NDArray[np.float32]) -> None:
    """Gives every batch normalization the mean and variance of what comes in now: the mean over batches of ``images``."""
    norms = [conv.norm for conv in module.convs.values() if conv.norm is not None]
    if not norms:
        return
    ranges = [quantizer.range for quantizer in module.quantizers.values() if isinstance(quantizer, AffineActivations)]
    was, momenta = module.training, [norm.inner.momentum for norm in norms]
    frozen = [activation_range.frozen for activation_range in ranges]
    for activation_range in ranges:
        activation_range.frozen = True
    module.train()
    with torch.no_grad():
        # A last batch of few images would weigh as much as a whole one.
        batches = torch.from_numpy(images).split(BATCH)
        for index, batch in enumerate(batches if len(batches) == 1 else batches[: len(images) // BATCH]):
            for norm in norms:
                norm.inner.momentum = 1 / (index + 1)
            module(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.inner.momentum = momentum
    for activation_range, before in zip(ranges, frozen, strict=True):
        activation_range.frozen = before
    module.train(was)
