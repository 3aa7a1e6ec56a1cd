"""Quantizers of activations for training: one scale and zero point for a tensor, or for several that must share them.

They round as the integer network does (``skipstone.models.quantization.reference.quantize_tensor``); 0 is always one of
the values. Ranges are fixed, follow the batches, or are learned.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn

from skipstone.models.quantization.scales import activation_scale
from skipstone.models.training.network import ActivationQuantizer

Tensor = torch.Tensor
RangeKind = Literal["fixed", "moving", "learned"]

MOVING_STEPS = 8
"""A moving range looks at every eighth batch."""
MOVING_SHARE = 0.05
"""What a batch that is looked at moves a range by."""


class TensorRange(nn.Module):
    """Scale and zero point of one tensor or several (``members``), from ``low`` and ``high``.

    - ``fixed``: they stay as they are.
    - ``moving``: ends follow each member's smallest and largest value, an exponential mean over batches (Jacob et al., 2018);
      the range holds all members.
    - ``learned``: the scale is a parameter, and the zero point too where ``low`` is below 0 (Bhalgat et al., "LSQ+: Improving
      low-bit quantization through learnable offsets and better initialization", 2020).
    """

    def __init__(self, low: float, high: float, bits: int, kind: RangeKind = "fixed", members: int = 1) -> None:
        super().__init__()
        self.bits, self.kind = bits, kind
        self.frozen = False
        self.register_buffer("ends", torch.tensor([[low, high]] * members))
        self.ends: Tensor
        if kind == "learned":
            scale, zero_point = activation_scale(low, high, bits)
            self.scale = nn.Parameter(torch.tensor(scale))
            self.zero_point = nn.Parameter(torch.tensor(float(zero_point)), requires_grad=low < 0)

    def limits(self) -> tuple[float, int]:
        """Scale (a float32 value) and zero point."""
        if self.kind == "learned":
            lowest = -(1 << (self.bits - 1))
            zero_point = round(float(self.zero_point.detach()))
            return max(abs(float(self.scale.detach())), 1e-10), min(max(zero_point, lowest), -lowest - 1)
        low, high = float(self.ends[:, 0].min()), float(self.ends[:, 1].max())
        return activation_scale(low, high, self.bits)

    def look(self, member: int, x: Tensor) -> None:
        """Moves the ends of one member toward those of ``x``."""
        with torch.no_grad():
            self.ends[member].lerp_(torch.stack((x.amin(), x.amax())), MOVING_SHARE)


class AffineActivations(ActivationQuantizer):
    """Rounds one tensor to the grid of a :class:`TensorRange`: ``clamp(rint(x / scale) + zero_point)`` in signed ``bits``."""

    def __init__(self, range_: TensorRange, member: int = 0) -> None:
        super().__init__()
        self.range = range_
        self.member = member
        self.bits = range_.bits
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.batches: Tensor

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.range
        if chosen.kind == "moving" and self.training and not chosen.frozen:
            if int(self.batches) % MOVING_STEPS == 0:
                chosen.look(self.member, x.detach())
            self.batches += 1
        scale, zero_point = chosen.limits()
        lowest = -(1 << (self.bits - 1))
        low, high = lowest - zero_point, -lowest - 1 - zero_point
        rounded: Tensor
        if chosen.kind == "learned":
            parameters = (chosen.scale, chosen.zero_point)
            rounded = _Learned.apply(x, *parameters, scale, low, high)  # type: ignore[no-untyped-call]
        else:
            rounded = _Rounded.apply(x, scale, low, high)  # type: ignore[no-untyped-call]
        return rounded

    def limits(self) -> tuple[float, int]:
        return self.range.limits()


def _rounded(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    # Divided in float32 by a tensor, as the integer reference does.
    return (x / torch.tensor(scale)).round_().clamp_(low, high).mul_(scale)


def _bounds(scale: float, low: int, high: int) -> tuple[float, float]:
    """Between which the gradient passes."""
    return (low - 0.5) * scale, (high + 0.5) * scale


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, low: int, high: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = _bounds(scale, low, high)
        return _rounded(x, scale, low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, *ctx.bounds), None, None, None


class _Learned(torch.autograd.Function):
    """With ``y = scale * clamp(rint(x / scale), low - zero, high - zero)``: dy/dscale is ``(y - x) / scale`` inside and
    ``y / scale`` outside, dy/dzero is 0 inside and ``-scale`` outside; both over ``sqrt(values * largest integer)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, parameter: Tensor, zero_point: Tensor, scale: float, low: int, high: int
    ) -> Tensor:
        y = _rounded(x, scale, low, high)
        ctx.save_for_backward(x, y)
        ctx.scale, ctx.bounds = scale, _bounds(scale, low, high)
        ctx.factor = 1 / math.sqrt(x[0].numel() * (high - low))
        ctx.trains_zero_point = zero_point.requires_grad
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None, None]:
        x, y = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(gradient, x, *ctx.bounds)
        of_scale = ((gradient * y).sum() - (inside * x).sum()) * (ctx.factor / ctx.scale)
        of_zero = (inside.sum() - gradient.sum()) * (ctx.scale * ctx.factor) if ctx.trains_zero_point else None
        return inside, of_scale, of_zero, None, None, None
