"""What one descriptor does: a sparse matrix over windows of one tensor, in the array's own terms.

A layer becomes a workload by *folding*: a tensor folded by (fy, fx) is stored as ``height / fy`` x ``width / fx``
pixels of ``channels * fy * fx`` channels. Tensors of few channels then fill whole memory words, and strided layers
become unstrided. The layer's kernel grows by zeros only, which cost nothing. Layers that read the same tensor in the
same way become one workload by *merging*.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skipstone.mapper.lowering.windows import Nonzeros
from skipstone.mapper.program import Geometry
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork

Ints = NDArray[np.int64]
Fold = tuple[int, int]
UNFOLDED: Fold = (1, 1)


@dataclass(frozen=True, eq=False)
class Part:
    """One layer of a workload.

    It makes the workload's output channels from ``first`` to ``first + channels - 1``, which are the channels of its
    folded output tensor: channel c of the tensor at (i, j) of the fold is ``(c * fy + i) * fx + j``.
    """

    layer: QuantizedLayer
    first: int
    channels: int
    fold: Fold

    @property
    def of_layer(self) -> Ints:
        """For each of the part's channels, the layer's own output channel."""
        return np.arange(self.channels, dtype=np.int64) // (self.fold[0] * self.fold[1])


@dataclass(frozen=True, eq=False)
class Workload:
    """One or several layers that the array runs at once.

    ``nonzeros`` have the folded tensors' channels (``position`` is the input's channel), ``size`` is the output's
    height and width in folded pixels. ``pattern`` is for layers without zeros, whose output channels are alike: each
    channel's number in ``nonzeros``, which then lists channels that are alike once. It is None where every channel has
    nonzeros of its own.
    """

    parts: tuple[Part, ...]
    nonzeros: Nonzeros
    geometry: Geometry
    size: tuple[int, int]
    pattern: Ints | None = None

    @property
    def layer(self) -> QuantizedLayer:
        """The first of the layers, for everything that they have in common."""
        return self.parts[0].layer

    @property
    def channels(self) -> int:
        return sum(part.channels for part in self.parts)

    @cached_property
    def patterns(self) -> Ints:
        """For each output channel, its number in ``nonzeros``."""
        return np.arange(self.channels, dtype=np.int64) if self.pattern is None else self.pattern

    @property
    def products(self) -> int:
        """Nonzeros of all output channels."""
        if self.pattern is None:
            return len(self.nonzeros.channel)
        return int(np.bincount(self.nonzeros.channel, minlength=int(self.pattern.max()) + 1)[self.pattern].sum())

    def seen_as(self, geometry: Geometry) -> Workload:
        """The same work, where ``geometry`` has a kernel that contains this one's."""
        if geometry == self.geometry:
            return self
        return replace(self, nonzeros=_moved(self, geometry), geometry=geometry)

    @property
    def name(self) -> str:
        return "+".join(part.layer.name for part in self.parts)


def folded_shape(shape: tuple[int, int, int], fold: Fold) -> tuple[int, int, int]:
    channels, height, width = shape
    return channels * fold[0] * fold[1], height // fold[0], width // fold[1]


def effective_stride(network: QuantizedNetwork, layer: QuantizedLayer) -> tuple[int, int]:
    """The stride of a layer, with 1 along an axis that has one output pixel.

    There the stride means nothing, and that of a global pool would only be too large.
    """
    height, width = network.size_of(layer)
    return (layer.stride[0] if height > 1 else 1, layer.stride[1] if width > 1 else 1)


def can_fold(size: int, stride: int, source: int, target: int) -> bool:
    """Whether a layer can read and write tensors with these folds along one axis.

    The folded layer's stride must be an integer, unless the layer has only one output pixel.

    Args:
        size: Output pixels of the layer.
        stride: Stride of the layer.
        source: Fold of the input.
        target: Fold of the output.
    """
    return size == target or stride * target % source == 0


def lower(
    network: QuantizedNetwork,
    layer: QuantizedLayer,
    source_fold: Fold = UNFOLDED,
    target_fold: Fold = UNFOLDED,
    *,
    alike: bool = False,
) -> Workload:
    """The workload of one layer.

    Args:
        network: The quantized network.
        layer: One of its layers.
        source_fold: (fy, fx) of the input.
        target_fold: (fy, fx) of the output.
        alike: The layer has no zeros: list the nonzeros of one output channel of each group for all of them.
    """
    height, width = network.size_of(layer)
    channels = len(layer.weights)
    of_group = channels // layer.groups if alike else 1
    listed = layer.weights[::of_group]
    channel, inner, ky, kx = np.nonzero(listed)
    value = listed[channel, inner, ky, kx]
    source = layer.channels_read[::of_group][channel, inner]
    nonzeros = Nonzeros(channel, source, ky, kx, value)
    stride = effective_stride(network, layer)
    kernel = (layer.weights.shape[2], layer.weights.shape[3])
    geometry = Geometry(kernel, stride, (layer.padding[0], layer.padding[1]), layer.dilation)
    if source_fold != UNFOLDED or target_fold != UNFOLDED:
        nonzeros, geometry = _fold(nonzeros, geometry, (height, width), source_fold, target_fold)
    size = (height // target_fold[0], width // target_fold[1])
    part = Part(layer, 0, channels * target_fold[0] * target_fold[1], target_fold)
    pattern = None
    if alike:
        phases = target_fold[0] * target_fold[1]
        pattern = np.repeat(np.arange(layer.groups) * phases, of_group * phases) + np.arange(part.channels) % phases
    return Workload((part,), nonzeros, geometry, size, pattern)


def merge(first: Workload, second: Workload) -> Workload:
    """Merges two workloads that slide over the same tensor in the same way. The smaller kernel is a part of the larger
    one."""
    low = tuple(min(a, b) for a, b in zip(first.geometry.low, second.geometry.low, strict=True))
    high = tuple(max(a, b) for a, b in zip(first.geometry.high, second.geometry.high, strict=True))
    geometry = Geometry((high[0] - low[0] + 1, high[1] - low[1] + 1), first.geometry.stride, (-low[0], -low[1]), (1, 1))
    moved = [_moved(workload, geometry) for workload in (first, second)]
    patterns = int(first.patterns.max()) + 1
    shifted = replace(moved[1], channel=moved[1].channel + patterns)
    nonzeros = Nonzeros(*(np.concatenate([getattr(part, name) for part in (moved[0], shifted)]) for name in _NAMES))
    parts = (*first.parts, *(replace(part, first=part.first + first.channels) for part in second.parts))
    pattern = None
    if first.pattern is not None or second.pattern is not None:
        pattern = np.concatenate([first.patterns, second.patterns + patterns])
    return Workload(parts, nonzeros, geometry, first.size, pattern)


_NAMES = ("channel", "position", "ky", "kx", "value")


def _moved(workload: Workload, geometry: Geometry) -> Nonzeros:
    """The nonzeros with their taps counted from the first of ``geometry``."""
    taps = []
    for axis, tap in enumerate((workload.nonzeros.ky, workload.nonzeros.kx)):
        taps.append(tap * workload.geometry.dilation[axis] + workload.geometry.low[axis] - geometry.low[axis])
    return replace(workload.nonzeros, ky=taps[0], kx=taps[1])


def _fold(
    nonzeros: Nonzeros, geometry: Geometry, size: tuple[int, int], source_fold: Fold, target_fold: Fold
) -> tuple[Nonzeros, Geometry]:
    """Each nonzero once for every output pixel of the fold, at the folded tap and channel that hold its input pixel."""
    shape = (*target_fold, len(nonzeros.channel))
    phases = np.meshgrid(*(np.arange(fold) for fold in target_fold), indexing="ij")
    taps, places, strides, paddings, kernels = [], [], [], [], []
    for axis, tap in enumerate((nonzeros.ky, nonzeros.kx)):
        source, target = source_fold[axis], target_fold[axis]
        offset = tap * geometry.dilation[axis] - geometry.padding[axis]
        pixel = np.broadcast_to(geometry.stride[axis] * phases[axis][..., None] + offset, shape).ravel()
        folded = pixel // source
        first = int(folded.min(initial=0)) if len(folded) else 0
        taps.append(folded - first)
        places.append(pixel % source)
        paddings.append(-first)
        kernels.append(int((folded - first).max(initial=0)) + 1)
        strides.append(geometry.stride[axis] * target // source if size[axis] > target else 1)

    def repeated(values: Ints) -> Ints:
        return np.broadcast_to(values, shape).ravel()

    channel = (repeated(nonzeros.channel) * target_fold[0] + repeated(phases[0][..., None])) * target_fold[1]
    channel = channel + repeated(phases[1][..., None])
    source_channel = (repeated(nonzeros.position) * source_fold[0] + places[0]) * source_fold[1] + places[1]
    folded_nonzeros = Nonzeros(channel, source_channel, taps[0], taps[1], repeated(nonzeros.value))
    return folded_nonzeros, Geometry(
        (kernels[0], kernels[1]), (strides[0], strides[1]), (paddings[0], paddings[1]), (1, 1)
    )
