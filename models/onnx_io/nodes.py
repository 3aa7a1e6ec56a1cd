"""Turns ONNX nodes into layers: what every operator's converter uses. The converters themselves are in
:mod:`skipstone.models.onnx_io.operators` and :mod:`skipstone.models.onnx_io.rearrange`;
:mod:`skipstone.models.onnx_io.reader` walks a file's nodes through.

A node either makes a layer, is absorbed by the layer whose output it alone reads (bias, batch normalization, clamp), or
only rearranges. What can't be done is collected, so that one error names all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from skipstone.models.graph.grids import ActivationGrid
from skipstone.models.graph.layers import Concat, Layer, Shape, Softmax
from skipstone.models.onnx_io.arrangement import View

MAX_NAME = 24
"""An ONNX node's own name is kept up to this length."""

Constant = NDArray[Any]
Attributes = Mapping[str, Any]
"""A node's attributes by name, as Python values."""
Converters = Mapping[str, Callable[["NodeConverter", onnx.NodeProto, Attributes], None]]
"""A converter for each operator, or domain other than ONNX's own. Each gets the walk, the node and the node's attributes."""


class UnsupportedError(Exception):
    """A node that the array can't do; the text says why, and is empty where the operator alone is the reason."""


def node_attributes(node: onnx.NodeProto) -> Attributes:
    """The node's attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


class NodeConverter:
    """Converts a model's nodes in order. ``layers`` (by name), the ``nodes`` that they are, ``views`` (by ONNX tensor) and
    ``grids`` (of tensors that the file quantizes) grow; ``unsupported`` collects refusals.

    ``input_name`` is ONNX's name of the only input, ``input_view`` what it sees of ours. With ``named``, nodes have the
    names of our layers, whatever these are.
    """

    def __init__(
        self, model: onnx.ModelProto, input_name: str, input_view: View, converters: Converters, named: bool = False
    ) -> None:
        graph = model.graph
        self.nodes: dict[str, onnx.NodeProto] = {}
        self.grids: dict[str, ActivationGrid] = {}
        self._named = named
        self.opset = max((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), default=1)
        self.layers: dict[str, Layer] = {}
        self.unsupported: list[str] = []
        self._converters = converters
        self._constants: dict[str, Constant] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self._readers = Counter(name for node in graph.node for name in node.input)
        # No layer may absorb the reader of a network output, so an output counts as two readers more.
        for output in graph.output:
            self._readers[output.name] += 2
        self._names = {input_view.tensor}
        self._numbers: Counter[str] = Counter()
        self._unknown: set[str] = set()
        self.views: dict[str, View] = {input_name: input_view}

    def convert(self, node: onnx.NodeProto) -> None:
        """Converts one node, or notes why it can't be."""
        label = f"{node.op_type} (node '{node.name or node.output[0]}')"
        converter = self._converters.get(node.op_type if node.domain in ("", "ai.onnx") else node.domain)
        if converter is None:
            self.unsupported.append(label)
        elif not self._unknown.intersection(node.input):
            try:
                if any(self._readers[name] for name in node.output[1:]):
                    raise UnsupportedError("its second output is used")
                converter(self, node, node_attributes(node))
                return
            except UnsupportedError as reason:
                self.unsupported.append(f"{label[:-1]}: {reason})")
        self._unknown.update(node.output)

    # What converters use

    def view(self, node: onnx.NodeProto, position: int = 0) -> View:
        """The activation at input ``position``, to compute with."""
        view = self.any_view(node, position)
        if isinstance(self.layers.get(view.tensor), Softmax):
            raise UnsupportedError("it reads a Softmax, which the host does after the array")
        return view

    def any_view(self, node: onnx.NodeProto, position: int = 0) -> View:
        """The activation at input ``position``, to rearrange."""
        name = node.input[position]
        if name not in self.views:
            raise UnsupportedError("it reads a constant where an activation is expected")
        return self.views[name]

    def image(self, node: onnx.NodeProto) -> View:
        """The activation at input 0, which must be a plain 1 x channels x height x width."""
        view = self.view(node)
        if not view.is_image():
            raise UnsupportedError(
                f"it reads a rearranged tensor, {view.index.shape}, not 1 x channels x height x width"
            )
        return view

    def constant(self, node: onnx.NodeProto, position: int) -> Constant | None:
        """The constant at input ``position``, None if the input is left out; an activation there is refused."""
        if position >= len(node.input) or not node.input[position]:
            return None
        if node.input[position] not in self._constants:
            raise UnsupportedError(f"its input {position + 1} is not a constant")
        return self._constants[node.input[position]]

    def is_constant(self, node: onnx.NodeProto, position: int) -> bool:
        """Whether input ``position`` is a constant."""
        return node.input[position] in self._constants

    def set_constant(self, name: str, value: Constant) -> None:
        """Makes ``name`` a constant."""
        self._constants[name] = value

    def exclusive(self, tensor: str) -> bool:
        """Whether exactly one node reads the ONNX tensor ``tensor``."""
        return self._readers[tensor] == 1

    def rearranged(self, node: onnx.NodeProto, index: NDArray[np.int64]) -> None:
        """The node's output is its input in another order."""
        self.views[node.output[0]] = self.any_view(node).rearranged(index, self.exclusive(node.output[0]))

    def emit(self, node: onnx.NodeProto, layer: Layer, shape: Shape, index: NDArray[np.int64]) -> None:
        """The node's output is ``layer``'s, of ``shape``, which ONNX sees as ``index``; names the layer."""
        self._numbers[layer.kind] += 1
        names = [node.name] if self._named and node.name else _own_names(node)
        name = next((name for name in names if name not in self._names), "")
        if not name:
            while (name := f"{layer.kind}{self._numbers[layer.kind]}") in self._names:
                self._numbers[layer.kind] += 1
        self._names.add(name)
        self.layers[name] = replace(layer, name=name)
        self.nodes[name] = node
        self.views[node.output[0]] = View(name, shape, index, self.exclusive(node.output[0]))

    def absorb(self, node: onnx.NodeProto, view: View, layer: Layer) -> None:
        """``layer`` takes the place of the one that makes ``view``, and does this node's work too; how a file quantizes what
        lies between no longer matters."""
        self.layers[view.tensor] = layer
        self.grids.pop(view.tensor, None)
        self.views[node.output[0]] = replace(view, exclusive=self.exclusive(node.output[0]))

    def producer(self, view: View) -> Layer | None:
        """The layer that makes ``view``, if it may absorb the node that reads it."""
        layer = self.layers.get(view.tensor)
        return layer if view.exclusive and not isinstance(layer, Concat) else None


def readable(name: str) -> bool:
    """Whether a name from an ONNX file is fit for reports."""
    return 0 < len(name) <= MAX_NAME and ";" not in name and "/" not in name


def _own_names(node: onnx.NodeProto) -> list[str]:
    """The names that the file gives a node, best first: PyTorch's name of the module whose weight it reads, then the
    node's own, unless PyTorch's exporter made it up (``node_conv2d_5``)."""
    names = [name.removesuffix(".weight") for name in node.input[1:2] if name.endswith(".weight")]
    return [name for name in [*names, node.name] if readable(name) and not name.startswith("node_")]
