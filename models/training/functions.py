"""Pointwise functions of the graph (``skipstone.models.graph.function``) in PyTorch, operator by operator as ONNX
defines them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch.nn import functional

from skipstone.errors import SkipstoneError
from skipstone.models.graph.function import Function

Tensor = torch.Tensor
Attributes = dict[str, Any]

_OPERATORS: dict[str, Callable[[list[Any], Attributes], Tensor]] = {
    "Relu": lambda x, a: functional.relu(x[0]),
    "LeakyRelu": lambda x, a: functional.leaky_relu(x[0], a.get("alpha", 0.01)),
    "Sigmoid": lambda x, a: torch.sigmoid(x[0]),
    "HardSigmoid": lambda x, a: (a.get("alpha", 0.2) * x[0] + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda x, a: functional.hardswish(x[0]),
    "Tanh": lambda x, a: torch.tanh(x[0]),
    "Elu": lambda x, a: functional.elu(x[0], a.get("alpha", 1.0)),
    "Selu": lambda x, a: _selu(
        x[0], a.get("alpha", 1.67326319217681884765625), a.get("gamma", 1.05070102214813232421875)
    ),
    "Celu": lambda x, a: functional.celu(x[0], a.get("alpha", 1.0)),
    "Softplus": lambda x, a: functional.softplus(x[0]),
    "Softsign": lambda x, a: functional.softsign(x[0]),
    "Mish": lambda x, a: functional.mish(x[0]),
    "Gelu": lambda x, a: functional.gelu(x[0], approximate=_text(a.get("approximate", "none"))),
    "Erf": lambda x, a: torch.erf(x[0]),
    "Exp": lambda x, a: torch.exp(x[0]),
    "Log": lambda x, a: torch.log(x[0]),
    "Sqrt": lambda x, a: torch.sqrt(x[0]),
    "Sin": lambda x, a: torch.sin(x[0]),
    "Cos": lambda x, a: torch.cos(x[0]),
    "ThresholdedRelu": lambda x, a: torch.where(x[0] > a.get("alpha", 1.0), x[0], 0.0),
    "Abs": lambda x, a: torch.abs(x[0]),
    "Neg": lambda x, a: -x[0],
    "Reciprocal": lambda x, a: 1 / x[0],
    "Pow": lambda x, a: torch.pow(x[0], x[1]),
    "Add": lambda x, a: x[0] + x[1],
    "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "Div": lambda x, a: x[0] / x[1],
    "Min": lambda x, a: reduce(torch.minimum, _tensors(x)),
    "Max": lambda x, a: reduce(torch.maximum, _tensors(x)),
    "Clip": lambda x, a: _clip(*x),
    "Identity": lambda x, a: x[0],
}


def apply_function(function: Function, x: Tensor, layer: str) -> Tensor:
    """``function`` of every element of ``x``. Raises SkipstoneError for an operator that has no gradient here."""
    values: list[Any] = [x]
    for step in function.steps:
        operator = _OPERATORS.get(step.operator)
        if operator is None:
            raise SkipstoneError(
                f"layer '{layer}': training can't go through {step.operator}; compress this network with post-training "
                "steps, or replace the function"
            )
        inputs = [values[value] if isinstance(value, int) else value for value in step.inputs]
        values.append(operator(inputs, dict(step.attributes)))
    result: Tensor = values[-1]
    return result


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _selu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    return gamma * functional.elu(x, alpha)


def _clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


def _tensors(values: list[Any]) -> list[Tensor]:
    like = next(value for value in values if isinstance(value, torch.Tensor))
    return [value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=like.dtype) for value in values]
