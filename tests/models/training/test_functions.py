"""Pointwise functions in PyTorch: every operator that the importer knows gives what ONNX Runtime gives, and has gradients."""

from __future__ import annotations

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.function import Function, Step, function
from skipstone.models.graph.layers import Pointwise
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.pointwise import POINTWISE
from tests.models.builders import graph_of

torch = pytest.importorskip("torch")

from skipstone.models.training.functions import _OPERATORS, apply_function

FUNCTIONS = [
    *(function(name) for name in ("Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu")),
    *(function(name) for name in ("Celu", "Softplus", "Softsign", "Mish", "Gelu", "Erf", "Exp", "Abs", "Neg")),
    *(function(name) for name in ("Sin", "Cos", "Reciprocal", "ThresholdedRelu", "Identity")),
    function("LeakyRelu", alpha=-0.3),
    function("HardSigmoid", alpha=0.5, beta=0.25),
    function("Elu", alpha=2.5),
    function("Selu", alpha=2.0, gamma=0.5),
    function("Celu", alpha=0.5),
    function("ThresholdedRelu", alpha=0.25),
    function("Gelu", approximate=b"tanh"),
    function("Gelu", approximate="none"),
    Function((Step("Abs"), Step("Add", (1, 0.5)), Step("Log", (2,)))),
    Function((Step("Abs"), Step("Sqrt", (1,)))),
    Function((Step("Pow", (0, 3.0)),)),
    Function((Step("Abs"), Step("Pow", (1, 1.5)))),
    Function((Step("Pow", (2.0, 0)),)),
    Function((Step("Sub", (1.0, 0)), Step("Div", (1, 3.0)))),
    Function((Step("Abs"), Step("Add", (2.0, 1)), Step("Div", (1.5, 2)))),
    Function((Step("Sigmoid"), Step("Mul", (0, 1)))),
    Function((Step("Add", (0, 3.0)), Step("Clip", (1, 0.0, 6.0)), Step("Mul", (0, 2)), Step("Div", (3, 6.0)))),
    Function((Step("Tanh"), Step("Clip", (1, None, 0.5)), Step("Clip", (2, -0.25)))),
    Function((Step("Tanh"), Step("Clip", (1,)), Step("Clip", (2, None, None)))),
    Function((Step("Max", (0, -0.25)), Step("Min", (0.5, 1)), Step("Exp", (2,)))),
    Function((Step("Tanh"), Step("Max", (0, 1, 0.1)), Step("Min", (2,)))),
]


@pytest.mark.parametrize("case", FUNCTIONS, ids=str)
def test_as_onnx_runtime(case: Function) -> None:
    graph = graph_of(Pointwise(name="f", inputs=("x",), function=case), shape=(1, 20, 21))
    # Neither 0 nor a bound of the functions above is among them.
    x = np.random.default_rng(2).normal(0, 3, (1, 1, 20, 21)).astype(np.float32)
    real = torch.from_numpy(x).requires_grad_(True)
    result = apply_function(case, real, "f")
    expected = run_onnx(to_onnx(graph), {"x": x}, optimize=False)["f"]
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-5, atol=2e-6)
    result.sum().backward()
    assert real.grad is not None
    assert bool(torch.isfinite(real.grad).all())


def test_every_operator_of_the_importer_can_be_trained() -> None:
    """PRelu and Swish reach a graph as other operators; each of the rest is tried above."""
    assert POINTWISE - {"PRelu", "Swish"} <= _OPERATORS.keys()
    assert {step.operator for case in FUNCTIONS for step in case.steps} == _OPERATORS.keys()


def test_other_operators_are_refused() -> None:
    with pytest.raises(SkipstoneError) as error:
        apply_function(function("Floor"), torch.ones(1), "steps")
    assert str(error.value) == (
        "layer 'steps': training can't go through Floor; compress this network with post-training steps, "
        "or replace the function"
    )
