"""Turns ONNX nodes into layers: what every operator's converter uses, and the walk over a file's nodes.

A converter gets an :class:`OnnxNode` and returns what the node's output is: a :class:`View` of a layer's output, or a constant.
It either adds layers, changes the layer whose output the node alone reads (bias, batch normalization, clamp), or only
rearranges. Which operators have converters is in :mod:`skipstone.models.onnx_io.registry`. Refusals are collected, so that one
error names all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.graph.grids import ActivationGrid
from skipstone.models.graph.layers import (
    LAYER_TYPES,
    Affine,
    Clamp,
    ClampLayer,
    Concat,
    Conv,
    Join,
    Layer,
    OnHost,
    Shape,
)
from skipstone.models.onnx_io.arrangement import View, image_index
from skipstone.models.onnx_io.selection import selection

MAX_NAME = 24
"""An ONNX node's own name is kept up to this length."""

FOLDED_DOMAIN = "skipstone.pointwise"
"""The domain of nodes that stand for pointwise functions; messages call them by their operator alone."""

Constant = NDArray[Any]
Attributes = Mapping[str, Any]
"""A node's attributes by name, as Python values; strings are bytes."""
Converter = Callable[["OnnxNode"], "View | Constant | tuple[View, ...]"]
"""Makes layers of a node and returns what the node's output is; a tuple for several outputs."""
OperatorKey = tuple[str, str]
"""The domain ("" is ONNX's own) and the operator's type."""


class UnsupportedError(SkipstoneError):
    """Raised by a converter that refuses a node. The text says why, as it goes on after the node's name; empty where the
    operator alone is the reason."""


def operator_key(node: onnx.NodeProto) -> OperatorKey:
    """The domain and type of a node's operator; ONNX's own domain is "", however it is spelled."""
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def operator_name(domain: str, op_type: str) -> str:
    """An operator as messages call it: ``Relu``, ``MyDomain.ScaledRelu``."""
    return f"{domain}.{op_type}" if domain not in ("", FOLDED_DOMAIN) else op_type


def node_label(node: onnx.NodeProto) -> str:
    """A node as messages call it: ``Relu (node 'relu1')``."""
    return f"{operator_name(*operator_key(node))} (node '{node.name or node.output[0]}')"


def node_attributes(node: onnx.NodeProto) -> Attributes:
    """The node's attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


class ArrangementError(UnsupportedError):
    """Raised by a converter to which a tensor's elements come in an order that the array has no use for."""


class OnnxNode:
    """A node of an ONNX file, as a converter sees it: what it reads, and what can be made of it.

    Example: ``y = max(0, slope * x)`` as part of the layer before, where it can be::

        @register_operator("ScaledRelu", domain="MyDomain")
        def scaled_relu(node: OnnxNode) -> View:
            view = node.view()
            slope = np.full(view.shape[0], node.attributes.get("slope", 1.0), np.float32)
            return node.clamp(node.affine(view, slope, np.zeros_like(slope)), (0.0, math.inf))

    Members:
        op_type: The operator's type, without the domain.
        inputs: Names of the ONNX tensors that it reads; "" for one that is left out.
        attributes: Attributes by name as Python values. ONNX's defaults are not filled in; strings are bytes.
        opset: The version of the operator's domain that the file asks for.
        name: A name for messages and new layers: the node's own, or its output's.
        conversion: What was converted before. For the importer's own operators.
    """

    def __init__(self, conversion: Conversion, proto: onnx.NodeProto, opset: int) -> None:
        self.conversion = conversion
        self.proto = proto
        self.opset = opset
        self.op_type: str = proto.op_type
        self.inputs: tuple[str, ...] = tuple(proto.input)
        self.attributes = node_attributes(proto)
        self.name: str = proto.name or proto.output[0]

    # What the node reads

    def view(self, position: int = 0) -> View:
        """The activation at input ``position``, to compute with. A part of a tensor is selected first.

        Raises:
            UnsupportedError: The input is a constant or left out, or comes from what the host does; or it is a part of a
                tensor that is not channels and a grid of their pixels.
        """
        view = self.array_view(position)
        return view if view.is_whole() else self.selected(view)

    def array_view(self, position: int = 0) -> View:
        """The activation at input ``position``, which the array makes; it may be a part of a tensor.

        Raises:
            UnsupportedError: The input is a constant or left out, or comes from what the host does.
        """
        view = self.any_view(position)
        if isinstance(layer := self.conversion.layers.get(view.tensor), OnHost):
            article = "an" if layer.operator[0] in "AEIOU" else "a"
            where = f" along axis {layer.axis}, not the channels" if isinstance(layer, Join) else ""
            raise UnsupportedError(f"it reads {article} {layer.operator}{where}, which the host does after the array")
        return view

    def any_view(self, position: int = 0) -> View:
        """The activation at input ``position``, only to rearrange or for the host: it may come from what the host does.

        Raises:
            UnsupportedError: The input is a constant or left out.
        """
        name = self._input(position)
        if name not in self.conversion.views:
            what = "a constant" if name else "nothing"
            raise UnsupportedError(f"it reads {what} where an activation is expected")
        return self.conversion.views[name]

    def is_on_host(self, position: int = 0) -> bool:
        """Whether input ``position`` is what the host makes after the array."""
        return isinstance(self.conversion.layers.get(self.any_view(position).tensor), OnHost)

    def image(self, position: int = 0, line: bool = False) -> View:
        """The activation at input ``position``, which must be a plain 1 x channels x height x width.

        Args:
            position: The input's number.
            line: ONNX sees it without the height, which is 1; see :meth:`add_image`.

        Raises:
            UnsupportedError: As ``view``, or the tensor is rearranged.
        """
        view = self.array_view(position)
        if line and view.index.ndim == 3:
            view = view.rearranged(view.index[:, :, None])
        if not view.is_image():
            view = self.selected(view)
        if not view.is_image():
            raise ArrangementError(
                f"it reads a rearranged tensor, {view.index.shape}, not 1 x channels x height x width"
            )
        return view

    def aligned(self, first: View, second: View) -> tuple[View, View]:
        """Two activations with their elements in one order, where both have the same shape and can be selected."""
        if first.index.shape != second.index.shape or np.array_equal(first.index, second.index):
            return first, second
        if selection(first) is None or selection(second) is None:
            return first, second
        return self.selected(first), self.selected(second)

    def selected(self, view: View) -> View:
        """A tensor that is what ``view`` sees of another one, by layers that select it.

        Raises:
            UnsupportedError: What it sees is not channels and a grid of their pixels.
        """
        return self.conversion.select(self.proto, view)

    def constant(self, position: int) -> Constant:
        """The constant at input ``position``.

        Raises:
            UnsupportedError: The input is an activation or left out.
        """
        constant = self.optional_constant(position)
        if constant is None:
            raise UnsupportedError(f"its input {position + 1} is left out")
        return constant

    def optional_constant(self, position: int) -> Constant | None:
        """The constant at input ``position``; None if the input is left out.

        Raises:
            UnsupportedError: The input is an activation.
        """
        name = self._input(position)
        if not name:
            return None
        if name not in self.conversion.constants:
            raise UnsupportedError(f"its input {position + 1} is not a constant")
        return self.conversion.constants[name]

    def is_constant(self, position: int) -> bool:
        """Whether input ``position`` is a constant."""
        return self._input(position) in self.conversion.constants

    def _input(self, position: int) -> str:
        return self.inputs[position] if position < len(self.inputs) else ""

    # What can be made of it

    def add(self, layer: Layer, index: NDArray[np.int64] | None = None) -> View:
        """Adds a layer to the network.

        Args:
            layer: One of :mod:`skipstone.models.graph.layers`; its ``inputs`` name tensors of views (``view.tensor``). Its
                name is replaced by a short unique one: the node's own where that is fit, else the layer's kind and a number.
            index: How ONNX sees the output (:mod:`skipstone.models.onnx_io.arrangement`); ``view.index`` for a layer that
                works element by element. Left out, 1 x channels x height x width.

        Returns:
            The layer's output.

        Raises:
            SkipstoneError: The layer does not fit its inputs, or is of a class that Skipstone does not have.
        """
        return self.conversion.add(self.proto, layer, index)

    def add_image(self, layer: Layer, line: bool) -> View:
        """Adds a layer that makes an image, or where ``line``, what ONNX sees without the height."""
        view = self.add(layer)
        return view.rearranged(view.index[:, :, 0]) if line else view

    def on_host(self, layer: OnHost) -> View:
        """Adds a layer that the host computes after the array; its result is seen in ONNX's order.

        Args:
            layer: The layer; see :meth:`add`.
        """
        shape = layer.result_shape(tuple(self.conversion.shape(tensor) for tensor in layer.inputs))
        return self.add(layer, np.arange(math.prod(shape)).reshape(shape))

    def producer(self, view: View) -> Layer | None:
        """The layer that makes ``view``, if it may do this node's work too: nothing else reads its output."""
        return self.conversion.producer(view)

    def absorb(self, view: View, layer: Layer) -> View:
        """``layer`` takes the place of the one that makes ``view``, which ``producer`` gave, and does this node's work too.

        Returns:
            The new output. ``view`` must not be used any more, since its tensor now holds other values.
        """
        return self.conversion.absorb(view, layer)

    def affine(self, view: View, scale: NDArray[np.float32], bias: NDArray[np.float32]) -> View:
        """``x * scale + bias`` for each channel: absorbed by a convolution or another such layer, else a layer of its own.

        Args:
            view: The activation; not to be used any more, as with ``absorb``.
            scale: One factor for each channel, float32.
            bias: One summand for each channel, float32.
        """
        producer = self.producer(view)
        # What overflows is refused with the weights that it makes infinite.
        with np.errstate(over="ignore", invalid="ignore"):
            if isinstance(producer, Conv) and producer.clamp is None:
                weights = producer.weights * scale[:, None, None, None]
                return self.absorb(view, replace(producer, weights=weights, bias=producer.bias * scale + bias))
            if isinstance(producer, Affine) and producer.clamp is None:
                both = replace(producer, scale=producer.scale * scale, bias=producer.bias * scale + bias)
                return self.absorb(view, both)
        return self.add(Affine(name=self.name, inputs=(view.tensor,), scale=scale, bias=bias), view.index)

    def clamp(self, view: View, bounds: Clamp) -> View:
        """``min(max(x, low), high)``: absorbed by the layer before, or a layer of its own.

        Args:
            view: The activation; not to be used any more, as with ``absorb``.
            bounds: (low, high); a side without a bound is infinite. ReLU is (0, inf).
        """
        producer = self.producer(view)
        if producer is None:
            return self.add(ClampLayer(name=self.name, inputs=(view.tensor,), clamp=bounds), view.index)
        before = producer.clamp or (-math.inf, math.inf)
        both = (min(max(before[0], bounds[0]), bounds[1]), min(max(before[1], bounds[0]), bounds[1]))
        return self.absorb(view, replace(producer, clamp=both))


class Conversion:
    """Converts a model's nodes in order.

    Args:
        model: The ONNX model, simplified.
        input_name: ONNX's name of the only input.
        input_view: How ONNX sees our input tensor.
        converters: A converter for each operator.
        named: Whether nodes have the names of our layers, whatever these are.

    Members:
        layers: The layers so far, by name.
        nodes: The node that each layer stems from, by the layer's name.
        views: What ONNX's tensors are, by their names.
        constants: Constant tensors, by ONNX's names.
        grids: Of tensors that the file quantizes, by our names.
        unsupported: The refusals.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        input_name: str,
        input_view: View,
        converters: Mapping[OperatorKey, Converter],
        named: bool = False,
    ) -> None:
        graph = model.graph
        self.layers: dict[str, Layer] = {}
        self.nodes: dict[str, onnx.NodeProto] = {}
        self.views: dict[str, View] = {input_name: input_view}
        self.constants: dict[str, Constant] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.grids: dict[str, ActivationGrid] = {}
        self.unsupported: list[str] = []
        self._named = named
        self._converters = converters
        self._opsets = {
            "" if opset.domain == "ai.onnx" else opset.domain: opset.version for opset in model.opset_import
        }
        self._shapes: dict[str, Shape] = {input_view.tensor: input_view.shape}
        self._readers = Counter(name for node in graph.node for name in node.input)
        # No layer may absorb the reader of a network output, so an output counts as two readers more.
        for output in graph.output:
            self._readers[output.name] += 2
        self._tensors_read: set[str] = set()
        self._selected: dict[tuple[str, tuple[int, ...], bytes], View] = {}
        self._numbers: Counter[str] = Counter()
        self._unknown: set[str] = set()
        self._assumed: set[str] = set()
        self._onnx_shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*graph.value_info, *graph.output)
        }

    def convert(self, proto: onnx.NodeProto) -> None:
        """Converts one node, or notes why it can't be."""
        key = operator_key(proto)
        label = node_label(proto)
        converter = self._converters.get(key)
        assumed = not self._assumed.isdisjoint(proto.input)
        if converter is None:
            self.unsupported.append(label)
        elif self._unknown.isdisjoint(proto.input):
            try:
                made = converter(OnnxNode(self, proto, self._opsets.get(key[0], 1)))
                outputs = made if isinstance(made, tuple) else (made,)
                if any(self._readers[name] for name in proto.output[len(outputs) :]):
                    raise UnsupportedError("its second output is used")
                for name, value in zip(proto.output, outputs, strict=False):
                    self._set(name, value)
                if assumed:
                    self._assumed.update(proto.output)
                return
            except UnsupportedError as reason:
                if not (assumed and isinstance(reason, ArrangementError)):
                    self.unsupported.append(f"{label[:-1]}: {reason})" if str(reason) else label)
            except Exception:
                # Of a tensor that only its shape is known of, anything can be wrong.
                if not assumed:
                    raise
        for name in proto.output:
            self._assume(name)

    def _assume(self, name: str) -> None:
        """Goes on behind a node that was refused as if its output were an ordinary tensor, to see what else is refused."""
        sizes = self._onnx_shapes.get(name, ())
        if len(sizes) not in (2, 3, 4) or sizes[0] != 1 or 0 in sizes:
            self._unknown.add(name)
            return
        channels, *pixels = sizes[1:]
        shape: Shape = (channels, *([1] * (2 - len(pixels))), *pixels)
        tensor = f"output '{name}' of what was refused"
        self._shapes[tensor] = shape
        self._assumed.add(name)
        self._set(name, View(tensor, shape, image_index(shape).reshape(sizes), exclusive=False))

    def _set(self, name: str, value: View | Constant) -> None:
        """Says what the ONNX tensor ``name`` is."""
        if isinstance(value, View):
            self.views[name] = replace(value, exclusive=value.exclusive and self._readers[name] == 1)
        else:
            self.constants[name] = value

    def add(self, proto: onnx.NodeProto, layer: Layer, index: NDArray[np.int64] | None) -> View:
        """Adds a layer that ``proto`` becomes, under a name that fits; see :meth:`OnnxNode.add`."""
        if type(layer) not in LAYER_TYPES:
            raise SkipstoneError(
                f"{node_label(proto)} becomes a layer of class {type(layer).__name__}; the layers of "
                "skipstone.models.graph.layers are all that there are"
            )
        shape = layer.output_shape(tuple(self._shapes[tensor] for tensor in layer.inputs))
        name = self._free_name(proto, layer.kind)
        self._shapes[name] = shape
        self._tensors_read.update(layer.inputs)
        self.layers[name] = replace(layer, name=name)
        self.nodes[name] = proto
        return View(name, shape, image_index(shape) if index is None else index, exclusive=True)

    def select(self, proto: onnx.NodeProto, view: View) -> View:
        """See :meth:`OnnxNode.selected`. Nodes that select the same share it."""
        key = (view.tensor, view.index.shape, view.index.tobytes())
        if key not in self._selected:
            part = selection(view)
            if part is None:
                raise ArrangementError(
                    f"it reads a rearranged part of a tensor, {view.index.shape}, not channels and a grid of their pixels"
                )
            if part.is_all:
                return view
            own = onnx.NodeProto(op_type=proto.op_type, output=proto.output, name=proto.name if self._named else "")
            self._selected[key] = part.add(lambda layer: self.add(own, layer, None).tensor)
        return self._selected[key]

    def shape(self, tensor: str) -> Shape:
        """The shape of a tensor of ours."""
        return self._shapes[tensor]

    def _free_name(self, proto: onnx.NodeProto, kind: str) -> str:
        self._numbers[kind] += 1
        names = [proto.name] if self._named and proto.name else _own_names(proto)
        name = next((name for name in names if name not in self._shapes), "")
        if not name:
            while (name := f"{kind}{self._numbers[kind]}") in self._shapes:
                self._numbers[kind] += 1
        return name

    def absorb(self, view: View, layer: Layer) -> View:
        """See :meth:`OnnxNode.absorb`. How a file quantizes what lies between no longer matters."""
        self.layers[view.tensor] = layer
        self.grids.pop(view.tensor, None)
        return view

    def producer(self, view: View) -> Layer | None:
        """See :meth:`OnnxNode.producer`."""
        layer = self.layers.get(view.tensor)
        shared = not view.exclusive or view.tensor in self._tensors_read
        return None if shared or isinstance(layer, Concat) else layer


def readable(name: str) -> bool:
    """Whether a name from an ONNX file is fit for reports."""
    return 0 < len(name) <= MAX_NAME and ";" not in name and "/" not in name


def _own_names(node: onnx.NodeProto) -> list[str]:
    """The names that the file gives a node, best first: PyTorch's name of the module whose weight it reads, then the
    node's own, unless PyTorch's exporter made it up (``node_conv2d_5``)."""
    names = [name.removesuffix(".weight") for name in node.input[1:2] if name.endswith(".weight")]
    return [name for name in [*names, node.name] if readable(name) and not name.startswith("node_")]
