"""A float graph as a PyTorch module, and back: what every training step works on.

The module computes what ONNX Runtime computes for the graph. Weights that are 0 at the start stay 0 (their mask is multiplied
in), a batch normalization may be put back behind each convolution for training, and quantizers of weights and activations
can be hung in; :meth:`GraphModule.to_graph` folds all of it into plain weights and, where quantizers stand, integers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid, WeightGrid
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Clamp,
    ClampLayer,
    Concat,
    Conv,
    ConvTranspose,
    Copy,
    Layer,
    MaxPool,
    OnHost,
    Padding,
    Pointwise,
    Product,
    Select,
    Upsample,
)
from skipstone.models.training.functions import apply_function

Tensor = torch.Tensor

EPSILON = 1e-5
"""Added to variances, as in PyTorch's batch normalization."""


class WeightQuantizer(nn.Module, ABC):
    """What stands between a layer's real weights and those that the forward pass uses."""

    @abstractmethod
    def forward(self, weights: Tensor) -> Tensor:
        """Quantized weights, of the same shape, with a gradient."""

    @abstractmethod
    def grid(self, weights: Tensor) -> WeightGrid:
        """The integers and scales of the same weights, exactly those of the forward pass."""


class ActivationQuantizer(nn.Module, ABC):
    """What rounds an activation tensor to the signed integers (of ``bits``) of a scale and zero point, with a gradient."""

    bits: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Rounded values, of the same shape."""

    @abstractmethod
    def limits(self) -> tuple[float, int]:
        """Scale (a float32 value) and zero point."""


class ConvModule(nn.Module):
    """One Conv, Gemm or ConvTranspose. ``weight`` is K x C/groups x kh x kw as in the graph; ``mask`` (same shape) is 1 where
    weights live. ``effective`` holds the weights of the last forward pass, for methods that need their gradients."""

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(torch.tensor(layer.weights))
        self.bias = nn.Parameter(torch.tensor(layer.bias))
        self.register_buffer("mask", (self.weight.detach() != 0).to(self.weight.dtype))
        self.mask: Tensor
        self.norm: Normalization | None = None
        self.quantizer: WeightQuantizer | None = None
        self.keep_effective = False
        self.effective: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.mask
        if self.quantizer is not None:
            weight = self.quantizer(weight)
        if self.keep_effective:
            if weight.requires_grad:
                weight.retain_grad()
            self.effective = weight
        if self.norm is None:
            return self.convolve(x, weight, self.bias)
        return self.norm(self.convolve(x, weight, None))

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        layer = self.layer
        if isinstance(layer, ConvTranspose):
            return _transposed(x, weight, bias, layer)
        x, padding = padded(x, layer.padding)
        return functional.conv2d(x, weight, bias, layer.stride, padding, layer.dilation, layer.groups)

    def deployed(self) -> Tensor:
        """The real weights with normalization folded in, with a gradient."""
        weight = self.weight * self.mask
        return weight if self.norm is None else weight * self.norm.factor().reshape(-1, 1, 1, 1)

    def folded_weights(self) -> NDArray[np.float32]:
        """What :meth:`deployed` gives, as an array."""
        with torch.no_grad():
            weight = self.deployed()
        # 0 is added lest a negative weight be -0.0 where it is masked.
        return np.ascontiguousarray(weight.numpy() + np.float32(0))

    def to_layer(self) -> Conv:
        """The layer with the weights (and bias) that training left, normalization folded in."""
        with torch.no_grad():
            factor, offset = torch.ones(len(self.weight)), self.bias.detach()
            if self.norm is not None:
                factor, offset = self.norm.folded()
            bias = offset.numpy().astype(np.float32)
            if self.quantizer is None:
                return replace(self.layer, weights=self.folded_weights(), bias=bias, grid=None)
            grid = self.quantizer.grid((self.weight * self.mask).detach())
        scale = (grid.scale * factor.numpy().astype(np.float64)).astype(np.float32).astype(np.float64)
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        weights = (grid.integers * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
        return replace(self.layer, weights=weights, bias=bias, grid=replace(grid, scale=scale))


class Normalization(nn.Module):
    """A batch normalization put back behind a convolution; its scale is never negative, so that a folded weight keeps its sign.

    At first it changes nothing: with the mean m and the deviation s of the convolution's own output on some images,
    ``(y - m) / s * s + m + bias = y + bias``.
    """

    def __init__(self, channels: int, bias: Tensor) -> None:
        super().__init__()
        self.inner = nn.BatchNorm2d(channels, eps=EPSILON)
        self.register_buffer("first_bias", bias.detach().clone())
        self.first_bias: Tensor
        self.measuring = False

    def forward(self, x: Tensor) -> Tensor:
        if self.measuring:
            self._measure(x)
        norm = self.inner
        # One value a channel has no deviation; what is known of earlier batches stands for it.
        several = x.numel() > x.shape[1]
        return functional.batch_norm(
            x,
            norm.running_mean,
            norm.running_var,
            norm.weight.abs(),
            norm.bias,
            norm.training and several,
            norm.momentum or 0.0,
            EPSILON,
        )

    def factor(self) -> Tensor:
        """What the normalization multiplies each channel by, with a gradient."""
        norm = self.inner
        assert norm.running_var is not None
        return norm.weight.abs() / torch.sqrt(norm.running_var + EPSILON)

    def folded(self) -> tuple[Tensor, Tensor]:
        """The factor and the offset of each channel that the normalization amounts to."""
        norm = self.inner
        assert norm.running_mean is not None
        factor = self.factor().detach()
        return factor, norm.bias.detach() - norm.running_mean * factor

    def _measure(self, x: Tensor) -> None:
        norm = self.inner
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_(torch.sqrt(variance + EPSILON))
            norm.bias.copy_(mean + self.first_bias)


class GraphModule(nn.Module):
    """``graph`` as a module from N x C x H x W images to N x classes scores (``graph.scores``, without a Softmax, which no class
    depends on).

    ``convs`` are the layers with weights, by name. ``quantizers`` (by tensor name) round activations where they stand.
    Raises SkipstoneError for what the host computes and other layers read.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        for layer in graph.order:
            if isinstance(layer, OnHost) and not all(graph.on_host(reader) for reader in graph.readers(layer.name)):
                raise SkipstoneError(
                    f"layer '{layer.name}': training can't go through a {layer.operator} that other layers read; "
                    "compress this network with post-training steps"
                )
        self.graph = graph
        self.convs: dict[str, ConvModule] = {layer.name: ConvModule(layer) for layer in graph.convs}
        self._modules_in_order = nn.ModuleList(self.convs.values())
        self.affines: dict[str, nn.ParameterList] = {
            layer.name: nn.ParameterList([torch.tensor(layer.scale), torch.tensor(layer.bias)])
            for layer in graph.order
            if isinstance(layer, Affine)
        }
        self._affines_in_order = nn.ModuleList(self.affines.values())
        self.quantizers: dict[str, ActivationQuantizer] = {}
        self._quantizers_in_order = nn.ModuleList()
        self._needed = _last_readers(graph)

    def quantize_activations(self, quantizers: Mapping[str, ActivationQuantizer]) -> None:
        """Hangs quantizers behind tensors (the input's name, or a layer's); one may stand behind several."""
        self.quantizers = dict(quantizers)
        self._quantizers_in_order = nn.ModuleList(dict.fromkeys(quantizers.values()))

    def normalize(self, images: NDArray[np.float32]) -> None:
        """Puts a batch normalization behind every convolution (not behind Gemm layers), measured on ``images`` so that the
        network computes what it did before."""
        for conv in self.convs.values():
            if not conv.layer.gemm and conv.norm is None:
                conv.norm = Normalization(len(conv.weight), conv.bias)
                conv.norm.measuring = True
                conv.bias.requires_grad_(False)
        was = self.training
        self.eval()
        with torch.no_grad():
            self(torch.from_numpy(images))
        self.train(was)
        for conv in self.convs.values():
            if conv.norm is not None:
                conv.norm.measuring = False

    def tensors(self, images: Tensor) -> dict[str, Tensor]:
        """Every tensor of the graph by name."""
        return self._run(images, keep=True)

    def forward(self, images: Tensor) -> Tensor:
        name, order = self.graph.scores
        flat = self._run(images, keep=False)[name].flatten(1)
        return flat if order is None else flat[:, torch.from_numpy(order)]

    def _run(self, images: Tensor, keep: bool) -> dict[str, Tensor]:
        tensors = {self.graph.input: self._quantized(self.graph.input, images)}
        for layer in self.graph.order:
            tensors[layer.name] = self._quantized(layer.name, _clamped(self._layer(layer, tensors), layer.clamp))
            if not keep:
                for name in self._needed.get(layer.name, ()):
                    del tensors[name]
        return tensors

    def _quantized(self, name: str, x: Tensor) -> Tensor:
        quantizer = self.quantizers.get(name)
        return x if quantizer is None else quantizer(x)

    def _layer(self, layer: Layer, tensors: Mapping[str, Tensor]) -> Tensor:
        x = tensors[layer.inputs[0]]
        match layer:
            case Conv():
                return self.convs[layer.name](x)  # type: ignore[no-any-return]
            case Add():
                return x + tensors[layer.inputs[1]]
            case Product():
                return x * tensors[layer.inputs[1]]
            case Concat():
                return torch.cat([tensors[name] for name in layer.inputs], 1)
            case AveragePool():
                return _average(x, layer)
            case MaxPool():
                return _maximum(x, layer)
            case Upsample():
                return x.repeat_interleave(layer.factor[0], 2).repeat_interleave(layer.factor[1], 3)
            case Pointwise():
                return apply_function(layer.function, x, layer.name)
            case Affine():
                scale, bias = self.affines[layer.name]
                return x * scale.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
            case Select():
                return _selected(x, layer)
            case ClampLayer() | Copy() | OnHost():
                return x
            case _:
                raise SkipstoneError(f"layer '{layer.name}' ({layer.kind}) can't be trained")

    def to_graph(self) -> Graph:
        """The graph with the trained weights, and with the integers and grids of its quantizers."""
        layers: list[Layer] = []
        for layer in self.graph.layers:
            if isinstance(layer, Conv):
                layers.append(self.convs[layer.name].to_layer())
            elif isinstance(layer, Affine):
                scale, bias = (value.detach().numpy().copy() for value in self.affines[layer.name])
                layers.append(replace(layer, scale=scale, bias=bias, grid=None))
            else:
                layers.append(layer)
        grids = dict(self.graph.grids)
        for name, quantizer in self.quantizers.items():
            scale, zero_point = quantizer.limits()
            grids[name] = ActivationGrid(scale, zero_point, quantizer.bits)
        return replace(self.graph, layers=tuple(layers), grids=grids)


def padded(x: Tensor, padding: Padding) -> tuple[Tensor, tuple[int, int]]:
    """``x`` and the padding that is left for the operator; a one-sided one is done here."""
    top, left, bottom, right = padding
    if top == bottom and left == right:
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom)), (0, 0)


def _selected(x: Tensor, layer: Select) -> Tensor:
    if layer.size is not None:
        rows, columns = (
            slice(first, first + step * (size - 1) + 1, step)
            for first, step, size in zip(layer.offset, layer.stride, layer.size, strict=True)
        )
        x = x[:, :, rows, columns]
    return x[:, torch.from_numpy(layer.channels)]


def _last_readers(graph: Graph) -> dict[str, list[str]]:
    """For each layer, the tensors that no later layer reads."""
    last = {name: layer.name for layer in graph.order for name in layer.inputs}
    result: dict[str, list[str]] = {}
    for tensor, reader in last.items():
        if tensor not in (*graph.outputs, graph.scores[0]):
            result.setdefault(reader, []).append(tensor)
    return result


def _clamped(x: Tensor, clamp: Clamp | None) -> Tensor:
    if clamp is None:
        return x
    low, high = clamp
    if (low, high) == (0.0, math.inf):
        return functional.relu(x)
    return x.clamp(None if math.isinf(low) else low, None if math.isinf(high) else high)


def _transposed(x: Tensor, weight: Tensor, bias: Tensor | None, layer: ConvTranspose) -> Tensor:
    outputs, inputs, *kernel = weight.shape
    grouped = weight.reshape(layer.groups, outputs // layer.groups, inputs, *kernel).transpose(1, 2)
    swapped = grouped.reshape(layer.groups * inputs, outputs // layer.groups, *kernel)
    full = functional.conv_transpose2d(x, swapped, None, layer.stride, 0, 0, layer.groups, layer.dilation)
    top, left, bottom, right = layer.padding
    # What output padding adds lies behind the last pixel, where nothing but the bias reaches.
    full = functional.pad(full, (0, layer.output_padding[1], 0, layer.output_padding[0]))
    cropped = full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]
    return cropped if bias is None else cropped + bias.reshape(-1, 1, 1)


def _windows(x: Tensor, layer: AveragePool | MaxPool) -> Tensor:
    """``x``, already padded, as N x C x taps x output height x output width."""
    (kh, kw), (sv, sh), (dv, dh) = layer.kernel, layer.stride, layer.dilation
    height = (x.shape[2] - dv * (kh - 1) - 1) // sv + 1
    width = (x.shape[3] - dh * (kw - 1) - 1) // sh + 1
    taps = [
        x[:, :, i * dv : i * dv + (height - 1) * sv + 1 : sv, j * dh : j * dh + (width - 1) * sh + 1 : sh]
        for i in range(kh)
        for j in range(kw)
    ]
    return torch.stack(taps, 2)


def _average(x: Tensor, layer: AveragePool) -> Tensor:
    top, left, bottom, right = layer.padding
    if not any(layer.uncounted) and layer.dilation == (1, 1):
        return functional.avg_pool2d(functional.pad(x, (left, right, top, bottom)), layer.kernel, layer.stride)
    counted = torch.ones((1, 1, *x.shape[2:]))
    a, b, c, d = (padding - outer for padding, outer in zip(layer.padding, layer.uncounted, strict=True))
    counted = functional.pad(counted, (b, d, a, c), value=1.0)
    counted = functional.pad(counted, (left - b, right - d, top - a, bottom - c))
    total = _windows(functional.pad(x, (left, right, top, bottom)), layer).sum(2)
    return total / _windows(counted, layer).sum(2)


def _maximum(x: Tensor, layer: MaxPool) -> Tensor:
    top, left, bottom, right = layer.padding
    x = functional.pad(x, (left, right, top, bottom), value=-math.inf)
    if layer.dilation == (1, 1):
        return functional.max_pool2d(x, layer.kernel, layer.stride)
    return _windows(x, layer).amax(2)
