"""A pointwise function of one tensor, as the ONNX operators that compute it: HardSwish, Gelu, ``x * Sigmoid(x)``, ...

The importer finds them, the float export writes them, and the quantizer tabulates them. ONNX itself is the one definition
of what they give, so float network, table and QDQ file can't drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

Value = int | float | str | bytes


@dataclass(frozen=True)
class Step:
    """One operator. ``inputs``: an int is a value (0 is x, n is what step n gives), a float a constant, None left out."""

    operator: str
    inputs: tuple[int | float | None, ...] = (0,)
    attributes: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True)
class Function:
    """``steps`` in order; the last one's value is the function's."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return " ".join(step.operator for step in self.steps)

    def nodes(
        self,
        x: str,
        y: str,
        constant: Callable[[str, NDArray[np.generic]], str],
        value: Callable[[str], str],
        prefix: str,
    ) -> list[onnx.NodeProto]:
        """ONNX nodes of the function.

        Args:
            x: Name of the input tensor.
            y: Name of the output tensor.
            constant: Takes a constant's name and value into a model; gives the name.
            value: Gives the name of a tensor between, like the one that it is called with.
            prefix: Begins the names of nodes and tensors between.
        """
        names = [x, *(value(f"{prefix}.step{number}") for number in range(1, len(self.steps))), y]
        nodes = []
        for number, step in enumerate(self.steps, start=1):
            inputs = [
                ""
                if value is None
                else names[value]
                if isinstance(value, int)
                else constant(f"{prefix}.constant{number}_{position}", np.array(value, np.float32))
                for position, value in enumerate(step.inputs)
            ]
            node = helper.make_node(step.operator, inputs, [names[number]], name=names[number])
            node.attribute.extend(helper.make_attribute(key, value) for key, value in step.attributes)
            nodes.append(node)
        return nodes


def function(operator: str, **attributes: Value) -> Function:
    """The function that is one ONNX operator."""
    return Function((Step(operator, (0,), tuple(attributes.items())),))
