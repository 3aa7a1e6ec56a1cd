"""The quantized network as a standard QDQ ONNX file, for every tool that reads those.

A layer is DequantizeLinear (activations, weights per channel, int32 bias), Conv or MaxPool, Add where one is fused,
Clip, QuantizeLinear; the function of a table stands between its own pair of them. Layers that write one tensor together
are the one operator that the float network had. Integers narrower than their ONNX type (below 8 bits int8, from 9 to 16
int16) are bounded by the Clip. ONNX Runtime computes this in float and rounds to even, so it may differ from the array
by one step. The nodes that compute have the names of our layers, and what ONNX has no place for is in the file's metadata,
so that :mod:`skipstone.models.onnx_io.qdq_import` reads the same network again.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import AveragePool, ConvTranspose, Layer, Pointwise
from skipstone.models.graph.to_onnx import (
    RESIZE,
    Attributes,
    average_nodes,
    make_model,
    tensor_info,
    transposed_attributes,
)
from skipstone.models.quantization.linear import transposed_axes
from skipstone.models.quantization.network import HostProduct, QuantizedLayer, QuantizedNetwork, QuantizedTensor
from skipstone.models.quantization.weight_codes import value_bits


def to_qdq(network: QuantizedNetwork) -> onnx.ModelProto:
    """The whole network, float in and float out (host layers included), any batch; opset 21."""
    writer = QdqWriter(network)
    source = network.tensors[network.input]
    writer.quantize(source, source.name, _limits(source))
    groups = by_output(network)
    for name in _in_order(network, groups):
        writer.concat(name) if name in network.concats else writer.group(groups[name])
    real = {name: writer.dequantize(network.tensors[name], result=name) for name in network.outputs}
    hosts = {host.output: host for host in network.host_layers}
    outputs = []
    for name in network.results or network.outputs:
        host = hosts.get(name)
        if host is None:
            outputs.append(tensor_info(real[name], network.tensors[name].shape))
        else:
            result = writer.node(host.operator, [real[host.input]], host.output, axis=1)
            outputs.append(tensor_info(result, network.tensors[host.input].shape))
    model = writer.model([tensor_info(network.input, source.shape)], outputs)
    helper.set_model_props(model, _metadata(network))
    return model


METADATA = "skipstone."
"""What the names of a file's metadata of ours begin with: ``weight_code``, ``weight_bits`` and ``activation_bits`` of the
network, ``calibration`` in words, and ``layers``, a JSON object with each layer's ``kind`` and, where it has trained
weights, ``weight_bits`` and ``weight_code``."""


def _metadata(network: QuantizedNetwork) -> dict[str, str]:
    layers: dict[str, dict[str, str | int]] = {}
    for layer in network.array_layers:
        entry: dict[str, str | int] = {"kind": layer.kind}
        if layer.weight_bits is not None and layer.weight_code is not None:
            entry |= {"weight_bits": layer.weight_bits, "weight_code": layer.weight_code}
        layers.setdefault(_base_name(layer), entry)
    values = {
        "weight_code": network.weight_code,
        "weight_bits": str(network.weight_bits),
        "activation_bits": str(network.activation_bits),
        "calibration": network.calibration,
        "layers": json.dumps(layers),
    }
    return {METADATA + name: value for name, value in values.items()}


def _base_name(layer: QuantizedLayer) -> str:
    """The name of the float layer that ``layer`` is, or is a part of."""
    return layer.sources[0] if layer.sources else layer.name


def _in_order(network: QuantizedNetwork, groups: Mapping[str, Group]) -> list[str]:
    """Tensors in an order where each follows its parts; otherwise the network's order."""
    place = {name: number for number, name in enumerate(network.tensors)}
    waiting = sorted(network.concats, key=place.__getitem__)
    made, order = {network.input}, []

    def join(before: Callable[[str], bool]) -> None:
        while ready := [name for name in waiting if made.issuperset(network.concats[name]) and before(name)]:
            for name in ready:
                waiting.remove(name)
                made.add(name)
                order.append(name)

    for output, group in groups.items():
        join(lambda name, output=output: place[name] < place[output])  # type: ignore[misc]
        if not made.issuperset(inputs_of(group[0])):
            join(lambda _: True)
        made.add(output)
        order.append(output)
    join(lambda _: True)
    return order


Group = list[QuantizedLayer] | list[HostProduct]
"""The layers that write one tensor; a host product always does so alone."""


def by_output(network: QuantizedNetwork) -> dict[str, Group]:
    """The layers that write each tensor, in order."""
    groups: dict[str, Group] = {}
    for layer in network.layers:
        if isinstance(layer, HostProduct):
            groups[layer.output] = [layer]
        else:
            groups.setdefault(layer.output, []).append(layer)  # type: ignore[arg-type]
    return groups


def inputs_of(layer: QuantizedLayer | HostProduct) -> tuple[str, ...]:
    """The tensors that a layer reads, each once."""
    if isinstance(layer, HostProduct):
        return tuple(dict.fromkeys(layer.inputs))
    return tuple(dict.fromkeys([layer.input, *([layer.other] if layer.other is not None else [])]))


def table_input(network: QuantizedNetwork, group: Group) -> QuantizedTensor | None:
    """The tensor that ``group`` looks up in its table, where it has one and does not read it as it is."""
    first = group[0]
    if isinstance(first, HostProduct) or first.table is None or first.kind == "table":
        return None
    target = network.tensors[first.output]
    return replace(target, name=f"{first.name}.before", scale=first.table_scale, zero_point=first.zero_point)


def integer_type(bits: int) -> type[np.signedinteger]:
    """The NumPy type that holds signed integers of ``bits`` in a QDQ file."""
    return np.int8 if bits <= 8 else np.int16


def integer_name(tensor: str) -> str:
    """The name of the integers of ``tensor`` in a QDQ file."""
    return f"{tensor}.integers"


def _limits(tensor: QuantizedTensor) -> tuple[int, int]:
    return -(1 << (tensor.bits - 1)), (1 << (tensor.bits - 1)) - 1


class QdqWriter:
    """Collects nodes and constants of one model."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self._network = network
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def model(self, inputs: Iterable[onnx.ValueInfoProto], outputs: Iterable[onnx.ValueInfoProto]) -> onnx.ModelProto:
        constants = list(self._constants.values())
        return make_model(helper.make_graph(self._nodes, self._network.name, list(inputs), list(outputs), constants))

    def node(
        self, operator: str, inputs: list[str], output: str, layer: str = "", **attributes: int | str | list[int]
    ) -> str:
        """A node with the name of the float ``layer`` that it is, or else of its output."""
        node = helper.make_node(operator, inputs, [output], name=layer or output)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        return output

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _scale(self, tensor: QuantizedTensor) -> list[str]:
        return [
            self.constant(f"{tensor.name}.scale", np.array(tensor.scale, np.float32)),
            self.constant(f"{tensor.name}.zero_point", np.array(tensor.zero_point, integer_type(tensor.bits))),
        ]

    def quantize(
        self, tensor: QuantizedTensor, real: str, bounds: tuple[int, int], clips: bool = True, layer: str = ""
    ) -> None:
        """Quantizes ``real``; adds a Clip only where the type's range or the float layer does not already bound it."""
        limits = np.iinfo(integer_type(tensor.bits))
        if clips and (layer or bounds != (limits.min, limits.max)):
            low, high = ((bound - tensor.zero_point) * tensor.scale for bound in bounds)
            names = [
                self.constant(f"{tensor.name}.low", np.array(low, np.float32)),
                self.constant(f"{tensor.name}.high", np.array(high, np.float32)),
            ]
            real = self.node("Clip", [real, *names], f"{tensor.name}.clipped", layer)
        self.node("QuantizeLinear", [real, *self._scale(tensor)], integer_name(tensor.name))

    def dequantize(self, tensor: QuantizedTensor, result: str) -> str:
        inputs = [integer_name(tensor.name), *self._scale(tensor)]
        return self.node("DequantizeLinear", inputs, result, f"{result}.real")

    def concat(self, name: str) -> None:
        """The integers of a tensor that is several side by side."""
        tensors = self._network.tensors
        parts = [
            self.dequantize(tensors[part], f"{name}.part{number}")
            for number, part in enumerate(self._network.concats[name])
        ]
        joined = self.node("Concat", parts, f"{name}.parts", name, axis=1)
        self.quantize(tensors[name], joined, _limits(tensors[name]), False)

    def group(self, group: Group) -> None:
        """The nodes of the layers that write one tensor, from integers to integers."""
        first, tensors = group[0], self._network.tensors
        target = tensors[first.output]
        if isinstance(first, HostProduct):
            factors = [
                self.dequantize(tensors[name], f"{first.name}.{which}")
                for name, which in zip(first.inputs, "ab", strict=True)
            ]
            product = self.node("Mul", factors, f"{first.name}.product", first.name)
            self.quantize(target, product, (first.low, first.high))
            return
        layers = [layer for layer in group if isinstance(layer, QuantizedLayer)]
        real = self._operator(layers)
        if first.other is not None:
            other = self.dequantize(tensors[first.other], f"{first.name}.other")
            made = first.sources[0 if first.kind == "add" else 1] if len(first.sources) > 1 else _base_name(first)
            real = self.node("Add", [real, other], f"{first.name}.sum", made)
        clamp = first.sources[0] if first.kind == "clamp" else ""
        if first.table is None:
            self.quantize(target, real, (first.low, first.high), layer=clamp)
            return
        if (before := table_input(self._network, group)) is not None:
            self.quantize(before, real, (first.low, first.high), layer=clamp)
            real = self.dequantize(before, f"{first.name}.argument")
        pointwise = self._float_layer(first, -1)
        assert isinstance(pointwise, Pointwise)
        result = f"{first.name}.function"
        self._nodes.extend(pointwise.function.nodes(real, result, self.constant, result))
        unbounded = pointwise.clamp is None
        bounds = _limits(target) if unbounded else (int(first.table.min()), int(first.table.max()))
        self.quantize(target, result, bounds)
        # Whoever reads the file takes function and bounds for one function, which has the name of the node before the last.
        self._nodes[-2].name = pointwise.name

    def _float_layer(self, layer: QuantizedLayer, which: int) -> Layer:
        """The float network's layer that ``layer`` computes, the first (0) or last (-1) of its sources."""
        if self._network.graph is None:
            raise SkipstoneError(
                f"layer '{layer.name}': its operator is known to the float network only, which is not here"
            )
        return self._network.graph.layer(layer.sources[which])

    def _operator(self, layers: list[QuantizedLayer]) -> str:
        """The float result of what ``layers`` compute together, before the Add and all that follows."""
        first, tensors = layers[0], self._network.tensors
        source = tensors[first.input]
        x, name = self.dequantize(source, f"{first.name}.input"), _base_name(first)
        window: Attributes = {
            "kernel_shape": list(first.weights.shape[2:]),
            "strides": list(first.stride),
            "pads": list(first.padding),
            "dilations": list(first.dilation),
        }
        match first.kind:
            case "add" | "clamp" | "table":
                return x
            case "copy":
                return self.node("Identity", [x], f"{first.name}.copied", name)
            case "max_pool":
                return self.node("MaxPool", [x], f"{first.name}.maximum", name, **window)
            case "upsample":
                assert first.lattice is not None
                factors = np.array((1, 1, *first.lattice.step), np.float32)
                inputs = [x, "", self.constant(f"{first.name}.factors", factors)]
                return self.node("Resize", inputs, f"{first.name}.repeated", name, **RESIZE)
            case "average_pool" if self._network.graph is not None or first.lattice is not None:
                pool = self._float_layer(first, 0)
                assert isinstance(pool, AveragePool)
                self._nodes.extend(average_nodes(pool, x, f"{first.name}.mean", self.constant))
                self._nodes[-1].name = name
                return f"{first.name}.mean"
            case "transposed_conv":
                layer = self._float_layer(first, 0)
                assert isinstance(layer, ConvTranspose)
                return self._transposed(x, layers, layer)
            case _:
                parameters = [x, *self._parameters(first, first.weights, source)]
                return self.node("Conv", parameters, f"{first.name}.linear", name, group=first.groups, **window)

    def _transposed(self, x: str, layers: list[QuantizedLayer], layer: ConvTranspose) -> str:
        """One ConvTranspose of the kernel that ``layers`` have the taps of."""
        first, tensors = layers[0], self._network.tensors
        source, target = tensors[first.input], tensors[first.output]
        rows, columns = transposed_axes(layer, source.shape, target.shape)
        kernel: NDArray[np.int64] = np.zeros(layer.weights.shape, np.int64)
        for part, (row, column) in zip(layers, itertools.product(rows, columns), strict=True):
            if row.taps and column.taps:
                kernel[:, :, np.array(row.taps)[:, None], np.array(column.taps)] = part.weights
        weights, bias = self._parameters(first, kernel, source)
        outputs, inputs, height, width = layer.weights.shape
        each = outputs // layer.groups
        shapes = (layer.groups, each, inputs, height, width), (layer.groups * inputs, each, height, width)
        # A scale for each output channel goes along axis 0, where ONNX's transposed kernels have the input channels.
        for number, shape in enumerate(shapes):
            sizes = self.constant(f"{first.name}.shape{number}", np.array(shape, np.int64))
            weights = self.node("Reshape", [weights, sizes], f"{first.name}.weights{number}")
            if number == 0:
                weights = self.node("Transpose", [weights], f"{first.name}.swapped", perm=[0, 2, 1, 3, 4])
        attributes = transposed_attributes(layer)
        return self.node("ConvTranspose", [x, weights, bias], f"{first.name}.linear", layer.name, **attributes)

    def _parameters(self, layer: QuantizedLayer, kernel: NDArray[np.int64], source: QuantizedTensor) -> tuple[str, str]:
        """Names of the dequantized weights ``kernel`` (some or all of which are ``layer``'s) and of the bias."""
        name = layer.name
        bias = layer.bias + source.zero_point * layer.weights.sum(axis=(1, 2, 3))
        if np.abs(bias).max() >= 1 << 31:
            raise SkipstoneError(f"layer '{name}': its bias needs more than the 32 bits of a QDQ file")
        network = self._network
        weights = kernel.astype(
            integer_type(max(network.weight_bits, value_bits(network.weight_code, network.weight_bits)))
        )
        weight_scale = self.constant(f"{name}.weight_scale", layer.weight_scale.astype(np.float32))
        weight_zero = self.constant(f"{name}.weight_zero_point", np.zeros(len(weights), weights.dtype))
        bias_scale = self.constant(f"{name}.bias_scale", (source.scale * layer.weight_scale).astype(np.float32))
        bias_zero = self.constant(f"{name}.bias_zero_point", np.zeros(len(weights), np.int32))
        return (
            self.node(
                "DequantizeLinear",
                [self.constant(f"{name}.weights.integers", weights), weight_scale, weight_zero],
                f"{name}.weights",
                axis=0,
            ),
            self.node(
                "DequantizeLinear",
                [self.constant(f"{name}.bias.integers", bias.astype(np.int32)), bias_scale, bias_zero],
                f"{name}.bias",
                axis=0,
            ),
        )
