"""Quantizers of weights for training: what the forward pass uses are the integers of a weight code, times a scale.

:func:`weight_quantizer` makes the one that a layer gets. Gradients pass the rounding as if it weren't there; a scale follows
the weights, or is learned with them. A weight that is exactly 0 stays 0 in all of them.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skipstone.errors import SkipstoneError
from skipstone.models.graph.grids import WeightCode, WeightGrid
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.models.quantization.weight_codes import code_weights, weight_levels
from skipstone.models.training.network import WeightQuantizer

Tensor = torch.Tensor
Estimator = Literal["straight_through", "learned_step"]

CODEBOOK_STEPS = 50
"""Training steps for which a codebook stays as it is; weights find their nearest entry in every step."""
SCALE_STEPS = 8
"""Training steps for which a scale that code_weights tried out keeps its proportion to the largest weight."""
_SMALLEST = 1e-10
"""Of scales, so that nothing is divided by 0."""
_FRACTIONS = np.linspace(0.2, 1.0, 33)
"""Clipping points tried for a learned step's first value, in units of a channel's largest weight."""


def weight_quantizer(
    weights: Tensor, scheme: QuantizationScheme, estimator: Estimator = "straight_through"
) -> WeightQuantizer:
    """The quantizer of a layer's weights.

    Args:
        weights: K x C/groups x kh x kw.
        scheme: The layer's own.
        estimator: How gradients pass the rounding.

    Raises:
        SkipstoneError: Linear weights of more than 8 bits, or a learned step of a codebook.
    """
    code, bits = scheme.weight_code, scheme.weight_bits
    if code == "linear":
        if not 2 <= bits <= 8:
            raise SkipstoneError(f"weight_bits must be from 2 to 8 for training with linear weights, not {bits}")
        return LinearWeights(weights, bits, estimator)
    if code == "codebook":
        if estimator == "learned_step":
            raise SkipstoneError("a codebook has no step to learn; use estimator = 'straight_through'")
        return CodebookWeights(bits, scheme.codebook_entries)
    if estimator == "learned_step":
        return LearnedLevels(weights, code, bits)
    return CodedWeights(weights, code, bits)


class LinearWeights(WeightQuantizer):
    """Evenly spaced integers from ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1``, rounded and scaled by Brevitas.

    ``straight_through``: the scale of an output channel makes its largest weight the largest integer (Jacob et al.,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018; gradients as in
    Bengio, Leonard, Courville, 2013). ``learned_step``: the scale is a parameter (Esser et al., "Learned Step Size
    Quantization", 2020), whose gradient is multiplied by ``1 / sqrt(weights of a channel * largest integer)``; it starts where
    the squared error of the channel is smallest.
    """

    def __init__(self, weights: Tensor, bits: int, estimator: Estimator) -> None:
        super().__init__()
        brevitas = _brevitas()
        self.bits = bits
        largest = (1 << (bits - 1)) - 1
        shape = (len(weights), 1, 1, 1)
        scaling: Any
        if estimator == "straight_through":
            scaling = brevitas.StatsFromParameterScaling(
                brevitas.AbsMax(stats_reduce_dim=1),
                brevitas.OverOutputChannelView(None),
                1,
                [nn.Parameter(weights.detach(), requires_grad=False)],
                shape,
                restrict_scaling_impl=brevitas.FloatRestrictValue(),
                scaling_min_val=_SMALLEST,
            )
        else:
            levels = np.arange(largest + 1, dtype=np.float64)
            first = torch.from_numpy(first_scales(weights.detach().numpy(), levels) * largest).float()
            scaling = brevitas.ParameterScaling(first.reshape(shape), shape, scaling_min_val=_SMALLEST)
            # The parameter is the largest weight that is not clipped: its steps are those of the scale, times the levels.
            factor = largest**2 / math.sqrt(weights[0].numel() * largest)
            scaling.value.register_hook(lambda gradient: gradient * factor)
        self.inner = brevitas.RescalingIntQuant(
            brevitas.IntQuant(narrow_range=True, signed=True, input_view_impl=nn.Identity()),
            scaling,
            brevitas.IntScaling(signed=True, narrow_range=True),
            brevitas.ZeroZeroPoint(),
            brevitas.BitWidthConst(bits),
        )

    def forward(self, weights: Tensor) -> Tensor:
        quantized: Tensor = self.inner(weights)[0]
        return quantized

    def grid(self, weights: Tensor) -> WeightGrid:
        with torch.no_grad():
            quantized, scale, _, _ = self.inner(weights)
        return _grid(quantized, scale, "linear", self.bits)


class CodedWeights(WeightQuantizer):
    """The integers and scales of :func:`skipstone.models.quantization.weight_codes.code_weights`, with the gradient of
    the identity: powers of two, additive powers of two, ternary (Li, Zhang, Liu, 2016) and binary (Rastegari et al.,
    2016).

    Where that function tries several scales, training lets it do so in every :data:`SCALE_STEPS`-th step; between, a channel's
    scale keeps its proportion to the channel's largest weight. Without gradients, nothing is kept.
    """

    def __init__(self, weights: Tensor, code: WeightCode, bits: int) -> None:
        super().__init__()
        self.code, self.bits = code, bits
        self.tried = code in ("power_of_two", "additive_power_of_two")
        if self.tried:
            self.register_buffer("levels", torch.from_numpy(weight_levels(code, bits)).float())
            self.levels: Tensor
            self.register_buffer("share", torch.zeros(len(weights), 1, 1, 1))
            self.share: Tensor
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
            self.steps: Tensor

    def forward(self, weights: Tensor) -> Tensor:
        if not (self.tried and self.training and torch.is_grad_enabled()):
            return _straight_through(weights, _real(*_coded(weights, self.code, self.bits, 0)))
        step = int(self.steps)
        self.steps += 1
        with torch.no_grad():
            largest = weights.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_SMALLEST)
            if step % SCALE_STEPS == 0:
                integers, scales = _coded(weights, self.code, self.bits, 0)
                quantized = _real(integers, scales)
                self.share.copy_(torch.from_numpy(scales).float().reshape(-1, 1, 1, 1) / largest)
            else:
                scale = (self.share * largest).clamp_min(_SMALLEST)
                quantized = _nearest(weights, scale, self.levels) * scale
        return _straight_through(weights, quantized)

    def grid(self, weights: Tensor) -> WeightGrid:
        integers, scale = _coded(weights, self.code, self.bits, 0)
        return WeightGrid(integers, scale, self.code, self.bits)


class CodebookWeights(WeightQuantizer):
    """A few integers for the whole layer, which k-means finds anew every :data:`CODEBOOK_STEPS` training steps
    (:func:`skipstone.models.quantization.weight_codes.code_weights`; Han, Mao, Dally, "Deep Compression", 2016);
    between, weights move from one to another."""

    def __init__(self, bits: int, entries: int) -> None:
        super().__init__()
        self.bits, self.entries = bits, entries
        self.register_buffer("book", torch.zeros(entries + 1, dtype=torch.int64))
        self.book: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.steps: Tensor

    def forward(self, weights: Tensor) -> Tensor:
        if self.training:
            if int(self.steps) % CODEBOOK_STEPS == 0:
                self._cluster(weights)
            self.steps += 1
        return _straight_through(weights, _real(*self._nearest(weights)))

    def grid(self, weights: Tensor) -> WeightGrid:
        return WeightGrid(*self._nearest(weights), "codebook", self.bits)

    def _cluster(self, weights: Tensor) -> None:
        book = np.unique([0, *np.unique(_coded(weights, "codebook", self.bits, self.entries)[0]).tolist()])
        self.book.copy_(torch.from_numpy(np.pad(book, (0, self.entries + 1 - len(book)), mode="edge")))

    def _nearest(self, weights: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not self.book.any():
            self._cluster(weights)
        book = np.unique(self.book.numpy())
        real = weights.detach().numpy().astype(np.float64)
        largest = np.abs(real).reshape(len(real), -1).max(axis=1)
        scale = np.maximum(largest / ((1 << (self.bits - 1)) - 1), _SMALLEST).astype(np.float32).astype(np.float64)
        steps = real / scale.reshape(-1, 1, 1, 1)
        integers = book[np.searchsorted((book[1:] + book[:-1]) / 2, steps)].astype(np.int64)
        return np.where(real == 0, 0, integers), scale


class LearnedLevels(WeightQuantizer):
    """A code of fixed levels with a learned scale for each channel: each weight takes the nearest level.

    As Esser et al. (2020) learn a step, for levels of any kind: with ``q`` the level of ``w / scale``, the scale's gradient is
    the output's times ``q - w / scale``, or ``q`` where a weight is beyond the largest level, and divided by the square root of
    the channel's number of weights and the largest level; the weight's own gradient is 0 there. Binary weights have one level,
    and pass their gradient up to twice the scale.
    """

    def __init__(self, weights: Tensor, code: WeightCode, bits: int) -> None:
        super().__init__()
        self.code, self.bits = code, bits
        levels = code_levels(code, bits)
        self.register_buffer("levels", torch.from_numpy(levels).float())
        self.levels: Tensor
        self.scale = nn.Parameter(torch.from_numpy(first_scales(weights.detach().numpy(), levels)).float())
        factor = 1 / (math.sqrt(weights[0].numel()) * float(levels[-1]))
        self.scale.register_hook(lambda gradient: gradient * factor)

    def forward(self, weights: Tensor) -> Tensor:
        quantized: Tensor = _Levels.apply(weights, self._scale(), self.levels)  # type: ignore[no-untyped-call]
        return quantized

    def grid(self, weights: Tensor) -> WeightGrid:
        with torch.no_grad():
            scale = self._scale()
            return _grid(_nearest(weights, scale, self.levels) * scale, scale, self.code, self.bits)

    def _scale(self) -> Tensor:
        return self.scale.abs().clamp_min(_SMALLEST).reshape(-1, 1, 1, 1)


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
        chosen = _nearest(weights, scale, levels)
        ctx.save_for_backward(weights / scale, chosen)
        ctx.limit = float(levels[-1]) if len(levels) > 1 else 2.0
        ctx.signs = len(levels) == 1
        return chosen * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        steps, chosen = ctx.saved_tensors
        inside = steps.abs() <= ctx.limit
        toward = chosen if ctx.signs else chosen - steps * inside
        return gradient * inside, (gradient * toward).sum(dim=(1, 2, 3), keepdim=True), None


def code_levels(code: WeightCode, bits: int) -> NDArray[np.float64]:
    """The magnitudes, in integers from the smallest up, of a code whose levels are fixed."""
    if code == "binary":
        return np.array([1.0])
    if code == "ternary":
        return np.array([0.0, 1.0])
    return weight_levels(code, bits)


def first_scales(weights: NDArray[np.float32], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each output channel, the scale with the smallest squared error of its nonzero weights.

    Candidates are scales up to the one that makes the channel's largest weight the largest level.

    Args:
        weights: K x C/groups x kh x kw.
        levels: Magnitudes that the code can say, from 0 upward.
    """
    sizes = np.abs(weights.astype(np.float64)).reshape(len(weights), -1)
    largest = sizes.max(axis=1)
    bounds = (levels[1:] + levels[:-1]) / 2
    errors = []
    for fraction in _FRACTIONS:
        scale = np.where(largest > 0, largest * fraction / levels[-1], 1.0)[:, None]
        near = levels[np.searchsorted(bounds, sizes / scale, side="right")] * scale
        errors.append((np.square(near - sizes) * (sizes > 0)).sum(axis=1))
    best: NDArray[np.float64] = _FRACTIONS[np.argmin(errors, axis=0)] * np.where(largest > 0, largest, 1.0) / levels[-1]
    return best


def _nearest(weights: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    """The signed level of every weight, in real numbers; 0 for a weight that is 0."""
    bounds = (levels[1:] + levels[:-1]) / 2
    steps = (weights.abs() / scale).contiguous()
    return torch.sign(weights) * levels[torch.bucketize(steps, bounds, right=True)]


def _coded(weights: Tensor, code: WeightCode, bits: int, entries: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    real = weights.detach().numpy()
    return code_weights(real, bits, code, entries, np.zeros(len(real)), np.full(len(real), _SMALLEST))


def _real(integers: NDArray[np.int64], scale: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy((integers * scale.reshape(-1, 1, 1, 1)).astype(np.float32))


def _straight_through(weights: Tensor, quantized: Tensor) -> Tensor:
    through: Tensor = _Replaced.apply(weights, quantized)  # type: ignore[no-untyped-call]
    return through


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, quantized: Tensor) -> Tensor:
        return quantized

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _grid(quantized: Tensor, scale: Tensor, code: WeightCode, bits: int) -> WeightGrid:
    """Of quantized weights, the integers: the scale divides them but for rounding. A channel of zeros gets the smallest scale,
    whose bias the quantizer then has room for."""
    scales = scale.detach().reshape(-1).numpy().astype(np.float64)
    integers = np.rint(quantized.detach().numpy().astype(np.float64) / scales.reshape(-1, 1, 1, 1)).astype(np.int64)
    empty = ~integers.reshape(len(integers), -1).any(axis=1)
    return WeightGrid(integers, np.where(empty, float(np.float32(_SMALLEST)), scales), code, bits)


def _brevitas() -> SimpleNamespace:
    """The parts of Brevitas that are used here."""
    from brevitas.core import bit_width, function_wrapper, quant, restrict_val, scaling, stats, zero_point

    parts: dict[str, Any] = {}
    for module in (bit_width, function_wrapper, quant, restrict_val, scaling, stats, zero_point):
        parts |= vars(module)
    return SimpleNamespace(**parts)
