"""Finds the pointwise functions in an ONNX graph: HardSwish and the like, and what exporters write in their place.

A region is a set of nodes that together compute a function of one tensor, element by element. Only the last node's output
is read outside the region. So Gelu by Erf, ``x * Sigmoid(x)``, ``x * Clip(x + 3, 0, 6) / 6`` and any other spelling
become one :class:`skipstone.models.graph.function.Function`, without a list of spellings. What is linear, or only a clamp,
is left to the layers that can absorb it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from skipstone.models.graph.function import Function, Step, Value
from skipstone.models.graph.layers import Pointwise
from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import (
    FOLDED_DOMAIN,
    ArrangementError,
    Constant,
    Converter,
    OnnxNode,
    OperatorKey,
    UnsupportedError,
    node_attributes,
    operator_key,
)
from skipstone.models.onnx_io.registry import register_operator

_LINEAR = {"Add", "Sub", "Mul", "Div", "Neg"}
"""Linear where only one operand is an activation, and that is not divided by."""
_CLAMPS = {"Relu", "Clip"}
_CURVED = {
    "Abs", "Celu", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish",
    "PRelu", "Pow", "Reciprocal", "Selu", "Sigmoid", "Sin", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh",
    "ThresholdedRelu",
}  # fmt: skip
POINTWISE = frozenset(_LINEAR | _CLAMPS | _CURVED)


@dataclass(frozen=True)
class _Region:
    """Nodes in order that compute a function of the ONNX tensor ``root``; the last makes its result."""

    root: str
    nodes: tuple[onnx.NodeProto, ...]


def fold_pointwise(model: onnx.ModelProto) -> dict[OperatorKey, Converter]:
    """Puts a single node in the place of every function that needs a table.

    Args:
        model: Changed in place. A new node has the name and operator of the function's last node, and :data:`FOLDED_DOMAIN`.

    Returns:
        The converters of the new nodes.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    finder = _Finder(graph, constants)
    regions: dict[str, _Region] = {}
    folded: set[str] = set()
    for node in reversed(graph.node):
        if node.output[0] not in folded and (region := finder.region(node)) is not None:
            regions[node.output[0]] = region
            folded.update(inner.output[0] for inner in region.nodes)
    nodes = [node for node in graph.node if node.output[0] in regions or node.output[0] not in folded]
    for index, node in enumerate(nodes):
        if (region := regions.get(node.output[0])) is not None:
            nodes[index] = helper.make_node(
                node.op_type, [region.root], node.output, name=node.name, domain=FOLDED_DOMAIN
            )
    del graph.node[:]
    graph.node.extend(nodes)
    functions = {name: _as_function(region, constants) for name, region in regions.items()}
    shapes = {name: _constants_shape(region, constants) for name, region in regions.items()}

    def convert(node: OnnxNode) -> View:
        view, name = node.view(), node.proto.output[0]
        if not _fits(shapes[name], view.index.shape):
            raise ArrangementError(
                f"its constants of shape {shapes[name]} do not fit {view.index.shape}; one for each channel is (channels, 1, 1)"
            )
        return node.add(Pointwise(name=name, inputs=(view.tensor,), function=functions[name]), view.index)

    return {(FOLDED_DOMAIN, op_type): convert for op_type in POINTWISE}


@register_operator(*sorted(_CURVED - {"PRelu"}))
def _not_folded(node: OnnxNode) -> View:
    """What :func:`fold_pointwise` left."""
    raise UnsupportedError("it is not a function of one activation and numbers")


def _fits(constant: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a constant of that shape can be spread over ``shape``."""
    try:
        return np.broadcast_shapes(shape, constant) == shape
    except ValueError:
        return False


def _constants_shape(region: _Region, constants: Mapping[str, Constant]) -> tuple[int, ...]:
    return np.broadcast_shapes(
        *(constants[name].shape for node in region.nodes for name in node.input if name in constants)
    )


def _as_function(region: _Region, constants: Mapping[str, Constant]) -> Function:
    """The function that ``region`` computes."""
    numbers = {region.root: 0}
    steps: list[Step] = []
    for node in region.nodes:
        inputs = tuple(
            None if not name else numbers[name] if name in numbers else float(constants[name].ravel()[0])
            for name in node.input
        )
        steps.extend(_steps(node, inputs, len(steps)))
        numbers[node.output[0]] = len(steps)
    return Function(tuple(steps))


def _steps(node: onnx.NodeProto, inputs: tuple[int | float | None, ...], before: int) -> list[Step]:
    """``node`` in operators of the opset we write; ``before`` steps precede it."""
    attributes: dict[str, Value] = dict(node_attributes(node))
    match node.op_type:
        case "Clip" if attributes:  # opset 6
            return [Step("Clip", (*inputs, attributes.get("min"), attributes.get("max")))]  # type: ignore[arg-type]
        case "PRelu":
            slope = inputs[1]
            assert isinstance(slope, float)
            return [Step("LeakyRelu", inputs[:1], (("alpha", slope),))]
        case "Swish":  # opset 24
            alpha = attributes.get("alpha", 1.0)
            assert isinstance(alpha, float)
            scaled = Step("Mul", (*inputs, alpha))
            return [scaled, Step("Sigmoid", (before + 1,)), Step("Mul", (*inputs, before + 2))]
    return [Step(node.op_type, inputs, tuple(attributes.items()))]


class _Finder:
    def __init__(self, graph: onnx.GraphProto, constants: Mapping[str, Constant]) -> None:
        self._constants = constants
        self._place = {node.output[0]: index for index, node in enumerate(graph.node)}
        self._nodes = graph.node
        self._readers: dict[str, list[str]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node.output[0])
        for output in graph.output:
            self._readers.setdefault(output.name, []).append("")

    def region(self, last: onnx.NodeProto) -> _Region | None:
        """The largest region that ends with ``last``, without what the layer before it can absorb; None if no region that
        needs a table ends with it."""
        if not self._able(last):
            return None
        inside = {last.output[0]}
        best: _Region | None = None
        while True:
            edge = {name for output in inside for name in self._activations(self._node(output))} - inside
            if len(edge) == 1:
                best = self._without_absorbable(_Region(next(iter(edge)), self._ordered(inside)))
            private = [name for name in edge if name in self._place and inside.issuperset(self._readers[name])]
            added = [name for name in private if self._able(self._node(name))]
            if not added:
                return best if best is not None and self._needs_table(best) else None
            inside.update(added)

    def _node(self, output: str) -> onnx.NodeProto:
        node: onnx.NodeProto = self._nodes[self._place[output]]
        return node

    def _ordered(self, inside: set[str]) -> tuple[onnx.NodeProto, ...]:
        return tuple(self._nodes[place] for place in sorted(self._place[output] for output in inside))

    def _activations(self, node: onnx.NodeProto) -> list[str]:
        return [name for name in node.input if name and name not in self._constants]

    def _able(self, node: onnx.NodeProto) -> bool:
        """Whether the node is pointwise with constants of one value."""
        constants = [self._constants[name] for name in node.input if name in self._constants]
        domain, op_type = operator_key(node)
        if domain or op_type not in POINTWISE or len(node.output) > 1:
            return False
        if any(array.size == 0 or (array != array.ravel()[0]).any() for array in constants):
            return False
        return node.op_type != "PRelu" or len(constants) == 1

    def _needs_table(self, region: _Region) -> bool:
        """Whether the region is neither linear nor a clamp of something linear."""
        clamped = False
        for node in region.nodes:
            activations = self._activations(node)
            divides = node.op_type == "Div" and node.input[1] in activations
            if node.op_type in _CURVED or divides or (node.op_type == "Mul" and len(activations) > 1):
                return True
            if node.op_type in _CLAMPS:
                clamped = True
            elif clamped and len(activations) == 1:
                return True
        return False

    def _without_absorbable(self, region: _Region) -> _Region:
        """Without leading nodes that a layer before can absorb, as long as the rest needs a table. If the region's input is
        rounded, the layer before it can absorb nothing."""
        rounded = region.root in self._place and self._node(region.root).op_type == "DequantizeLinear"
        while len(region.nodes) > 1 and not rounded:
            first = region.nodes[0]
            rest = _Region(first.output[0], region.nodes[1:])
            activations = self._activations(first)
            reads_root = sum(region.root in self._activations(node) for node in region.nodes)
            plain = first.op_type in _LINEAR | _CLAMPS and len(activations) == 1
            reversed_operands = first.op_type in ("Sub", "Div") and first.input[0] in self._constants
            if (
                reads_root > 1
                or not plain
                or reversed_operands
                or first.op_type == "Neg"
                or not self._needs_table(rest)
            ):
                return region
            region = rest
        return region
