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
from onnx import helper

from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import AveragePool, ConvTranspose, Layer, Pointwise, Select
from skipstone.models.graph.names import Names
from skipstone.models.graph.onnx_writer import (
    OPSET,
    OnnxWriter,
    average_pool,
    end_info,
    has_any_batch,
    select,
    transposed_attributes,
    window,
)
from skipstone.models.graph.to_onnx import RESIZE
from skipstone.models.quantization.linear import transposed_axes
from skipstone.models.quantization.network import HostProduct, QuantizedLayer, QuantizedNetwork, QuantizedTensor
from skipstone.models.quantization.weight_codes import value_bits

OPSET_8_BIT = 20
"""The opset of files without integers of 16 bits. From 21 on, ONNX Runtime (seen in 1.32) can't load 8-bit tensors that go
through a MaxPool, Reshape or Transpose: it puts a QuantizeLinear of INT8 behind, and then makes its zero point UINT8."""


def to_qdq(network: QuantizedNetwork) -> onnx.ModelProto:
    """The whole network with the ends of its file, float in and float out (host layers included); opset 21."""
    ends = network.ends
    writer = QdqWriter(network, {ends.input.name, *(end.name for end in ends.outputs)})
    source = network.tensors[network.input]
    image = ends.input.name
    if not ends.input.is_plain(network.file_shape(network.input)):
        image = writer.value(f"{network.input}.image")
        inverse = ends.input.arrangement.inverse(network.file_shape(network.input))
        writer.arrange(ends.input.name, ends.input.shape, inverse, image)
    writer.quantize(source, image, _limits(source))
    groups = by_output(network)
    for name in _in_order(network, groups):
        writer.concat(name) if name in network.concats else writer.group(groups[name])
    _write_ends(writer, network, image)
    outputs = []
    for name, end in zip(network.results or network.outputs, ends.outputs, strict=True):
        outputs.append(end_info(end, writer.any_batch, network.is_integer(name)))
    model = writer.model(network.name, [end_info(ends.input, writer.any_batch)], outputs)
    helper.set_model_props(model, _metadata(network))
    return model


def _write_ends(writer: QdqWriter, network: QuantizedNetwork, image: str) -> None:
    """The outputs from the array's integers, by way of what the host computes. ``image`` is the input's name, as ours."""
    results = list(zip(network.results or network.outputs, network.ends.outputs, strict=True))
    plain: dict[str, str] = {}
    for name, end in results:
        if end.is_plain(network.file_shape(name)):
            plain.setdefault(name, end.name)
    real = {network.input: image}
    for name in network.outputs:
        real[name] = writer.dequantize(network.tensors[name], plain.get(name) or writer.value(f"{name}.real"))
    for host in network.host_layers:
        shapes = host.layer.seen(tuple(network.tensor_shape(source) for source in host.inputs))
        inputs = [(real[source], network.file_shape(source)) for source in host.inputs]
        real[host.name] = plain.get(host.name) or writer.value(host.name)
        writer.host_layer(host.layer, inputs, shapes, real[host.name])
    for name, end in results:
        if real[name] != end.name:
            writer.arrange(real[name], network.file_shape(name), end.arrangement, end.name)


METADATA = "skipstone."
"""What the names of a file's metadata of ours begin with: ``weight_code``, ``weight_bits`` and ``activation_bits`` of the
network, ``input``, our name of its tensor, ``calibration`` in words, and ``layers``, a JSON object with each layer's ``kind``
and, where it has trained weights, ``weight_bits`` and ``weight_code``."""


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
        "input": network.input,
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
    name = Names(network.tensors).take(f"{first.name}.before")
    return replace(target, name=name, scale=first.table_scale, zero_point=first.zero_point)


def integer_type(bits: int) -> type[np.signedinteger]:
    """The NumPy type that holds signed integers of ``bits`` in a QDQ file."""
    return np.int8 if bits <= 8 else np.int16


def activation_type(network: QuantizedNetwork) -> type[np.signedinteger]:
    """The NumPy type that holds activations in a QDQ file: int16 also where only the weights need it. Such a file is of opset 21,
    with which ONNX Runtime can't load rearranged tensors of 8 bits (see ``OPSET_8_BIT``)."""
    return integer_type(max(network.activation_bits, _stored_bits(network)))


def integer_name(tensor: str) -> str:
    """The name of the integers of ``tensor`` in a QDQ file."""
    return f"{tensor}.integers"


def _limits(tensor: QuantizedTensor) -> tuple[int, int]:
    return -(1 << (tensor.bits - 1)), (1 << (tensor.bits - 1)) - 1


class QdqWriter(OnnxWriter):
    """Collects nodes and constants of one model.

    Args:
        network: The network.
        ends: ONNX's names of its input and outputs.
    """

    def __init__(self, network: QuantizedNetwork, ends: Iterable[str] = ()) -> None:
        befores = (table_input(network, group) for group in by_output(network).values())
        tensors = [*network.tensors, *(before.name for before in befores if before is not None)]
        layers = {name for layer in network.layers for name in (layer.name, *layer.sources)}
        hosts = {host.name for host in network.host_layers}
        super().__init__(
            {*layers, *hosts, *network.concats},
            {*ends, *map(integer_name, tensors)},
            _has_any_batch(network),
            OPSET if activation_type(network) is np.int16 else OPSET_8_BIT,
        )
        self._network = network
        self._kind = activation_type(network)
        self._scales: dict[str, list[str]] = {}

    def _scale(self, tensor: QuantizedTensor) -> list[str]:
        if tensor.name not in self._scales:
            self._scales[tensor.name] = [
                self.constant(f"{tensor.name}.scale", np.array(tensor.scale, np.float32)),
                self.constant(f"{tensor.name}.zero_point", np.array(tensor.zero_point, self._kind)),
            ]
        return self._scales[tensor.name]

    def quantize(
        self, tensor: QuantizedTensor, real: str, bounds: tuple[int, int], clips: bool = True, layer: str = ""
    ) -> None:
        """Quantizes ``real``; adds a Clip only where the type's range or the float layer does not already bound it."""
        if clips and (layer or self._needs_clip(bounds)):
            low, high = ((bound - tensor.zero_point) * tensor.scale for bound in bounds)
            names = [
                self.constant(f"{tensor.name}.low", np.array(low, np.float32)),
                self.constant(f"{tensor.name}.high", np.array(high, np.float32)),
            ]
            real = self.node("Clip", [real, *names], self.value(f"{tensor.name}.clipped"), layer)
        self.node("QuantizeLinear", [real, *self._scale(tensor)], integer_name(tensor.name))

    def _needs_clip(self, bounds: tuple[int, int]) -> bool:
        """Whether the ONNX type of activations has more values than ``bounds`` allow."""
        limits = np.iinfo(self._kind)
        return bounds != (limits.min, limits.max)

    def dequantize(self, tensor: QuantizedTensor, result: str) -> str:
        """The float values ``result`` of ``tensor``, whose integers are there."""
        return self.node("DequantizeLinear", [integer_name(tensor.name), *self._scale(tensor)], result)

    def concat(self, name: str) -> None:
        """The integers of a tensor that is several side by side."""
        tensors = self._network.tensors
        parts = [
            self.dequantize(tensors[part], self.value(f"{name}.part{number}"))
            for number, part in enumerate(self._network.concats[name])
        ]
        joined = self.node("Concat", parts, self.value(f"{name}.parts"), name, {"axis": 1})
        self.quantize(tensors[name], joined, _limits(tensors[name]), False)

    def group(self, group: Group) -> None:
        """The nodes of the layers that write one tensor, from integers to integers."""
        first, tensors = group[0], self._network.tensors
        target = tensors[first.output]
        if isinstance(first, HostProduct):
            factors = [
                self.dequantize(tensors[name], self.value(f"{first.name}.{which}"))
                for name, which in zip(first.inputs, "ab", strict=True)
            ]
            product = self.node("Mul", factors, self.value(f"{first.name}.product"), first.name)
            self.quantize(target, product, (first.low, first.high))
            return
        layers = [layer for layer in group if isinstance(layer, QuantizedLayer)]
        real = self._operator(layers)
        if first.other is not None:
            other = self.dequantize(tensors[first.other], self.value(f"{first.name}.other"))
            made = first.sources[0 if first.kind == "add" else 1] if len(first.sources) > 1 else _base_name(first)
            real = self.node("Add", [real, other], self.value(f"{first.name}.sum"), made)
        clamp = first.sources[0] if first.kind == "clamp" else ""
        if first.table is None:
            self.quantize(target, real, (first.low, first.high), layer=clamp)
            return
        if (before := table_input(self._network, group)) is not None:
            self.quantize(before, real, (first.low, first.high), layer=clamp)
            real = self.dequantize(before, self.value(f"{first.name}.argument"))
        pointwise = self._float_layer(first, -1)
        assert isinstance(pointwise, Pointwise)
        unbounded = pointwise.clamp is None
        bounds = _limits(target) if unbounded else (int(first.table.min()), int(first.table.max()))
        result = self.value(f"{first.name}.function")
        *steps, last = pointwise.function.nodes(real, result, self.constant, self.value, result)
        for step in steps:
            self.add(step)
        # Whoever reads the file takes function and bounds for one function, which has the name of the last node.
        clips = self._needs_clip(bounds)
        self.add(last, "" if clips else pointwise.name)
        self.quantize(target, result, bounds, layer=pointwise.name if clips else "")

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
        x, name = self.dequantize(source, self.value(f"{first.name}.input")), _base_name(first)
        kernel = (first.weights.shape[2], first.weights.shape[3])
        attributes = window(kernel, first.stride, first.padding, first.dilation)
        if first.kind == "select":
            selection = self._float_layer(first, 0)
            assert isinstance(selection, Select)
            selected = self.value(f"{first.name}.selected")
            select(self, selection, x, selected, name)
            return selected
        if first.reads is not None:
            seen = self.value(f"{first.name}.seen")
            channels = self.constant(f"{first.name}.reads", first.reads)
            x = self.node("Gather", [x, channels], seen, attributes={"axis": 1})
        match first.kind:
            case "add" | "clamp" | "table":
                return x
            case "copy":
                return self.node("Identity", [x], self.value(f"{first.name}.copied"), name)
            case "max_pool":
                return self.node("MaxPool", [x], self.value(f"{first.name}.maximum"), name, attributes)
            case "upsample":
                assert first.lattice is not None
                factors = np.array((1, 1, *first.lattice.step), np.float32)
                inputs = [x, "", self.constant(f"{first.name}.factors", factors)]
                return self.node("Resize", inputs, self.value(f"{first.name}.repeated"), name, RESIZE)
            case "average_pool" if self._network.graph is not None or first.lattice is not None:
                pool = self._float_layer(first, 0)
                assert isinstance(pool, AveragePool)
                if pool.dilation != (1, 1):
                    # ONNX Runtime would make it a quantized pool, which has no dilations, and then refuse it.
                    x = self.node("Sum", [x], self.value(f"{first.name}.seen"))
                mean = self.value(f"{first.name}.mean")
                average_pool(self, pool, x, mean)
                return mean
            case "transposed_conv":
                layer = self._float_layer(first, 0)
                assert isinstance(layer, ConvTranspose)
                return self._transposed(x, layers, layer)
            case _:
                parameters = [x, *self._parameters(first, first.weights, source)]
                linear = self.value(f"{first.name}.linear")
                return self.node("Conv", parameters, linear, name, {**attributes, "group": first.groups})

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
        if layer.groups == 1:
            weights, bias = self._parameters(first, kernel.swapaxes(0, 1), source, axis=1)
            linear = self.value(f"{first.name}.linear")
            return self.node("ConvTranspose", [x, weights, bias], linear, layer.name, transposed_attributes(layer))
        outputs, inputs, height, width = layer.weights.shape
        each = outputs // layer.groups
        shapes = (layer.groups, each, inputs, height, width), (layer.groups * inputs, each, height, width)
        # A scale for each output channel goes along axis 0, where ONNX's transposed kernels have the input channels.
        for number, shape in enumerate(shapes):
            sizes = self.constant(f"{first.name}.shape{number}", np.array(shape, np.int64))
            weights = self.node("Reshape", [weights, sizes], self.value(f"{first.name}.weights{number}"))
            if number == 0:
                swapped = self.value(f"{first.name}.swapped")
                weights = self.node("Transpose", [weights], swapped, attributes={"perm": [0, 2, 1, 3, 4]})
        linear = self.value(f"{first.name}.linear")
        return self.node("ConvTranspose", [x, weights, bias], linear, layer.name, transposed_attributes(layer))

    def _parameters(
        self, layer: QuantizedLayer, kernel: NDArray[np.int64], source: QuantizedTensor, axis: int = 0
    ) -> tuple[str, str]:
        """Names of the dequantized weights ``kernel`` (some or all of which are ``layer``'s), whose output channels are along
        ``axis``, and of the bias."""
        name = layer.name
        bias = layer.bias + source.zero_point * layer.weights.sum(axis=(1, 2, 3))
        if np.abs(bias).max() >= 1 << 31:
            raise SkipstoneError(f"layer '{name}': its bias needs more than the 32 bits of a QDQ file")
        network = self._network
        weights = kernel.astype(integer_type(_stored_bits(network)))
        weight_scale = layer.weight_scale.astype(np.float32)
        bias_scale = (source.scale * layer.weight_scale).astype(np.float32)
        return (
            self._parameter(f"{name}.weights", weights, weight_scale, axis),
            self._parameter(f"{name}.bias", bias.astype(np.int32), bias_scale),
        )

    def _parameter(self, name: str, integers: NDArray[np.generic], scale: NDArray[np.float32], axis: int = 0) -> str:
        """The dequantized ``integers``, which have a ``scale`` for each output channel, along ``axis``."""
        inputs = [
            self.constant(f"{name}.integers", integers),
            self.constant(f"{name}.scale", scale),
            self.constant(f"{name}.zero_point", np.zeros(len(scale), integers.dtype)),
        ]
        return self.node("DequantizeLinear", inputs, self.value(name), attributes={"axis": axis})


def _stored_bits(network: QuantizedNetwork) -> int:
    """Bits of the weights' integers in the file."""
    return max(network.weight_bits, value_bits(network.weight_code, network.weight_bits))


def _has_any_batch(network: QuantizedNetwork) -> bool:
    return has_any_batch(network.ends, (host.layer for host in network.host_layers))
