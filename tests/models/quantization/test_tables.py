"""Tables against the formulas of the functions, written again in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.graph.function import Function, Step, function
from skipstone.models.graph.layers import Pointwise
from skipstone.models.quantization.network import QuantizedTensor
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import Ranges
from skipstone.models.quantization.tables import lookup_table
from tests.models.builders import graph_of

Formula = Callable[[float], float]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


FORMULAS: list[tuple[Function, Formula]] = [
    (function("HardSwish"), lambda x: x * min(max(x + 3, 0), 6) / 6),
    (function("HardSigmoid", alpha=0.25, beta=0.5), lambda x: min(max(x / 4 + 0.5, 0), 1)),
    (function("Sigmoid"), sigmoid),
    (function("Tanh"), math.tanh),
    (function("LeakyRelu", alpha=0.1), lambda x: x if x > 0 else 0.1 * x),
    (function("Gelu"), lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    (
        function("Gelu", approximate="tanh"),
        lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    (function("Elu", alpha=0.5), lambda x: x if x > 0 else 0.5 * math.expm1(x)),
    (function("Softplus"), softplus),
    (function("Mish"), lambda x: x * math.tanh(softplus(x))),
    (Function((Step("Sigmoid"), Step("Mul", (0, 1)))), lambda x: x * sigmoid(x)),
    (
        Function((Step("Mul", (0, 2.0)), Step("Sub", (1.0, 1)), Step("Clip", (2, None, 3.0)))),
        lambda x: min(1 - 2 * x, 3),
    ),
]


@pytest.mark.parametrize(
    ("made", "formula"), FORMULAS, ids=lambda value: str(value) if isinstance(value, Function) else ""
)
@pytest.mark.parametrize("bits", [4, 8, 10])
def test_every_entry(made: Function, formula: Formula, bits: int) -> None:
    limit = 1 << (bits - 1)
    before = QuantizedTensor("b", (1, 1, 1), 12 / limit, 3, bits)
    after = QuantizedTensor("a", (1, 1, 1), 5 / limit, -limit // 2, bits)
    table = lookup_table(made, before, after, -limit + 1, limit - 2, "l")
    assert len(table) == 1 << bits
    for index, entry in enumerate(table.tolist()):
        steps = formula((index - limit - 3) * before.scale) / after.scale + after.zero_point
        # ONNX Runtime computes in float32, so a value at a tie may fall on either side.
        assert abs(entry - min(max(steps, -limit + 1), limit - 2)) <= 0.501


def test_an_infinity_is_the_largest_integer() -> None:
    tensor = QuantizedTensor("t", (1, 1, 1), 1.0, 0, 4)
    assert lookup_table(function("Exp"), tensor, tensor, -8, 7, "l")[-1] == 7
    assert lookup_table(function("Reciprocal"), tensor, tensor, -8, 7, "l")[8] == 7


def test_where_a_function_has_no_value() -> None:
    layer = Pointwise(name="root", inputs=("x",), function=function("Sqrt"))
    with pytest.raises(SkipstoneError) as error:
        quantize(graph_of(layer, shape=(1, 2, 2)), Ranges({"x": (-1.0, 1.0), "root": (0.0, 1.0)}, "by hand"))
    assert str(error.value) == "layer 'root': Sqrt is not a number at -0.996078, which its input can be"
