"""Collects the nodes and constants of an ONNX model: unique names, rearrangements at the ends, what the host computes.

The float export and the QDQ export write through it, so that both have the ends of the network's file in the same form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from skipstone.models.graph.ends import Arrangement, End, Ends, FileShape, strides, transposition
from skipstone.models.graph.layers import AveragePool, ConvTranspose, OnHost, Padding, Pair, Select
from skipstone.models.graph.names import Names

Attributes = dict[str, int | str | list[int]]
"""A node's attributes by name."""

OPSET = 21
IR_VERSION = 10
BATCH = "N"


class OnnxWriter:
    """Nodes and constants of one model.

    Args:
        layers: Names of layers: each is the name of one node.
        values: Names of tensors that must stay as they are.
        any_batch: Whether the batch is dynamic; else it is 1.
        opset: The version of ONNX's operators.
    """

    def __init__(
        self, layers: Iterable[str], values: Iterable[str], any_batch: bool = True, opset: int = OPSET
    ) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.any_batch = any_batch
        self._values = Names(values)
        self._node_names = Names(layers)

    def value(self, name: str) -> str:
        """A name for a tensor: ``name``, or one like it that no other tensor has."""
        return self._values.take(name)

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Takes a constant into the model and returns its name, which is like ``name``."""
        unique = self.value(name)
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), unique))
        return unique

    def node(
        self, operator: str, inputs: Sequence[str], output: str, layer: str = "", attributes: Attributes | None = None
    ) -> str:
        """Adds a node, which has the name of the ``layer`` that it is, or one like its output's; returns its output."""
        node = helper.make_node(operator, list(inputs), [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self.add(node, layer)
        return output

    def add(self, node: onnx.NodeProto, layer: str = "") -> None:
        """Adds a node that is made already, and names it."""
        node.name = layer or self._node_names.take(node.output[0])
        self.nodes.append(node)

    def arrange(self, x: str, shape: FileShape, arrangement: Arrangement, result: str) -> None:
        """Rearranges the tensor ``x`` of ONNX's ``shape`` into ``result``: a Transpose, with a Reshape before and after where
        the axes are others; a Gather where it is no transposition."""
        perm = transposition(shape, arrangement)
        if perm is not None:
            self.node("Transpose", [x], result, attributes={"perm": list(perm)})
            return
        size = math.prod(shape)
        split = strides(arrangement.order) if arrangement.order.size == size else None
        if split is None:
            flat = self._reshape(x, (1, size), f"{result}.flat")
            place = self.constant(f"{result}.places", arrangement.order)
            x = self.node("Gather", [flat, place], self.value(f"{result}.gathered"), attributes={"axis": 1})
        elif arrangement.index is not None:
            axes, order = split
            if shape != (1, *axes):
                x = self._reshape(x, (1, *axes), f"{result}.axes")
            perm = (0, *(1 + axis for axis in order))
            last = arrangement.shape == tuple((1, *axes)[axis] for axis in perm)
            output = result if last else self.value(f"{result}.transposed")
            x = self.node("Transpose", [x], output, attributes={"perm": list(perm)})
            if last:
                return
        self._reshape(x, arrangement.shape, result, named=True)

    def _reshape(self, x: str, shape: FileShape, result: str, named: bool = False) -> str:
        sizes = (0, *shape[1:]) if self.any_batch else shape
        constant = self.constant(f"{result}.shape", np.array(sizes, np.int64))
        return self.node("Reshape", [x, constant], result if named else self.value(result))

    def host_layer(
        self, layer: OnHost, inputs: Sequence[tuple[str, FileShape]], seen: Sequence[FileShape], result: str
    ) -> None:
        """The node of what the host computes.

        Args:
            layer: The layer.
            inputs: For each of its inputs, the tensor's name and its shape as it is.
            seen: The shapes in which the layer sees them.
            result: The name of its output.
        """
        views = layer.views or tuple(map(Arrangement, seen))
        names = []
        for number, ((name, shape), view) in enumerate(zip(inputs, views, strict=True)):
            if view.index is not None or view.shape != shape:
                arranged = self.value(f"{layer.name}.input{number}")
                self.arrange(name, shape, view, arranged)
                name = arranged
            names.append(name)
        self.node(layer.operator, names, result, layer.name, dict(layer.attributes))

    def model(
        self, name: str, inputs: Iterable[onnx.ValueInfoProto], outputs: Iterable[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The checked model, in versions that ONNX Runtime accepts."""
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSION)
        model.producer_name = "skipstone"
        onnx.checker.check_model(model, full_check=True)
        return model


def has_any_batch(ends: Ends, hosts: Iterable[OnHost]) -> bool:
    """Whether a network's file runs with any batch: the first axis of every end is a batch of 1, and nothing that the host
    computes crosses it."""
    every = (ends.input, *ends.outputs)
    return all(end.arrangement.batched for end in every) and all(host.batched for host in hosts)


def end_info(end: End, any_batch: bool, integer: bool = False) -> onnx.ValueInfoProto:
    """ONNX's description of an end."""
    sizes: list[int | str] = [BATCH, *end.shape[1:]] if any_batch else [*end.shape]
    return helper.make_tensor_value_info(end.name, TensorProto.INT64 if integer else TensorProto.FLOAT, sizes)


def window(kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, **others: int) -> Attributes:
    """ONNX's attributes of a Conv or a pool. Defaults are left out: ONNX Runtime copies what there is into operators of its
    own, some of which refuse it (``dilations`` of a quantized average pool)."""
    attributes: Attributes = {"kernel_shape": list(kernel), "strides": list(stride), "pads": list(padding)}
    if dilation != (1, 1):
        attributes["dilations"] = list(dilation)
    return {**attributes, **others}


def average_pool(writer: OnnxWriter, layer: AveragePool, x: str, result: str) -> None:
    """Writes an average pool of ``x`` to ``result``, in a node with the layer's name.

    Where some padding counts and some does not, the padding that counts becomes zeros of the image. (``ceil_mode`` would need
    no second node, but ONNX and ONNX Runtime do not agree on how many windows that gives.)
    """
    counted = [padding - outer for padding, outer in zip(layer.padding, layer.uncounted, strict=True)]
    mixed = any(counted) and any(layer.uncounted)
    if mixed:
        top, left, bottom, right = counted
        pads = writer.constant(f"{result}.pads", np.array((0, 0, top, left, 0, 0, bottom, right), np.int64))
        x = writer.node("Pad", [x, pads], writer.value(f"{result}.padded"))
    attributes = window(
        layer.kernel,
        layer.stride,
        layer.uncounted if mixed else layer.padding,
        layer.dilation,
        count_include_pad=0 if any(layer.uncounted) else 1,
    )
    writer.node("AveragePool", [x], result, layer.name, attributes)


def select(writer: OnnxWriter, layer: Select, x: str, result: str, node: str = "") -> None:
    """Writes a selection of ``x`` to ``result``: a Slice where it leaves out pixels, and a Gather called ``node``."""
    if layer.size is not None:
        ends = [
            first + step * (size - 1) + 1
            for first, step, size in zip(layer.offset, layer.stride, layer.size, strict=True)
        ]
        parts = {"starts": list(layer.offset), "ends": ends, "axes": [2, 3], "steps": list(layer.stride)}
        names = [writer.constant(f"{result}.{name}", np.array(values, np.int64)) for name, values in parts.items()]
        x = writer.node("Slice", [x, *names], writer.value(f"{result}.pixels"))
    channels = writer.constant(f"{result}.channels", layer.channels.astype(np.int64))
    writer.node("Gather", [x, channels], result, node, {"axis": 1})


def transposed_attributes(layer: ConvTranspose) -> Attributes:
    """ONNX's attributes of a transposed convolution."""
    kernel = (layer.weights.shape[2], layer.weights.shape[3])
    attributes = window(kernel, layer.stride, layer.padding, layer.dilation, group=layer.groups)
    return {**attributes, "output_padding": list(layer.output_padding)}


def transposed_weights(weights: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """K x C/groups x kh x kw as ONNX's C x K/groups x kh x kw, or back."""
    outputs, inputs, *kernel = weights.shape
    grouped = weights.reshape(groups, outputs // groups, inputs, *kernel).swapaxes(1, 2)
    return grouped.reshape(groups * inputs, outputs // groups, *kernel)
