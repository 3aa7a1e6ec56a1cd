"""The quantized network as a standard QDQ ONNX file, for every tool that reads those.

A layer is DequantizeLinear (activations, weights per channel, int32 bias), Conv or MaxPool, Add where one is fused,
Clip, QuantizeLinear. Integers narrower than their ONNX type (below 8 bits int8, from 9 to 16 int16) are bounded by the
Clip. ONNX Runtime computes this in float and rounds to even, so it may differ from the array by one step.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.errors import SkipstoneError
from models.onnx_export import make_model, tensor_info
from models.quantized import QuantizedLayer, QuantizedNetwork, QuantizedTensor


def to_qdq(network: QuantizedNetwork) -> onnx.ModelProto:
    """The whole network, float in and float out (host layers included), any batch; opset 21."""
    writer = _Writer(network)
    source = network.tensors[network.input]
    writer.quantize(source, source.name, _limits(source))
    for layer in network.layers:
        writer.layer(layer)
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
    return writer.model([tensor_info(network.input, source.shape)], outputs)


def layer_to_qdq(network: QuantizedNetwork, layer: QuantizedLayer) -> onnx.ModelProto:
    """One layer alone, integers in (inputs ``input`` and, if it adds one, ``other``) and integers out (``output``)."""
    writer = _Writer(network)
    writer.layer(layer)
    names = dict.fromkeys([layer.input, *([layer.other] if layer.other is not None else [])])
    tensors = [network.tensors[name] for name in names]
    target = network.tensors[layer.output]
    return writer.model(
        [tensor_info(integer_name(tensor.name), tensor.shape, _onnx_type(tensor.bits)) for tensor in tensors],
        [tensor_info(integer_name(target.name), target.shape, _onnx_type(target.bits))],
    )


def integer_type(bits: int) -> type[np.signedinteger]:
    """The NumPy type that holds signed integers of ``bits`` in a QDQ file."""
    return np.int8 if bits <= 8 else np.int16


def integer_name(tensor: str) -> str:
    """The name of the integers of ``tensor`` in a QDQ file."""
    return f"{tensor}.integers"


def _onnx_type(bits: int) -> int:
    return int(TensorProto.INT8 if bits <= 8 else TensorProto.INT16)


def _limits(tensor: QuantizedTensor) -> tuple[int, int]:
    return -(1 << (tensor.bits - 1)), (1 << (tensor.bits - 1)) - 1


class _Writer:
    """Collects nodes and constants of one model."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self._network = network
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def model(self, inputs: Iterable[onnx.ValueInfoProto], outputs: Iterable[onnx.ValueInfoProto]) -> onnx.ModelProto:
        constants = list(self._constants.values())
        return make_model(helper.make_graph(self._nodes, self._network.name, list(inputs), list(outputs), constants))

    def node(self, operator: str, inputs: list[str], output: str, **attributes: int | list[int]) -> str:
        node = helper.make_node(operator, inputs, [output], name=output)
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

    def quantize(self, tensor: QuantizedTensor, real: str, bounds: tuple[int, int]) -> None:
        """The integers of ``tensor``, from its float values ``real``, within ``bounds``."""
        limits = np.iinfo(integer_type(tensor.bits))
        if bounds != (limits.min, limits.max):
            low, high = ((bound - tensor.zero_point) * tensor.scale for bound in bounds)
            names = [
                self.constant(f"{tensor.name}.low", np.array(low, np.float32)),
                self.constant(f"{tensor.name}.high", np.array(high, np.float32)),
            ]
            real = self.node("Clip", [real, *names], f"{tensor.name}.clipped")
        self.node("QuantizeLinear", [real, *self._scale(tensor)], integer_name(tensor.name))

    def dequantize(self, tensor: QuantizedTensor, result: str) -> str:
        return self.node("DequantizeLinear", [integer_name(tensor.name), *self._scale(tensor)], result)

    def layer(self, layer: QuantizedLayer) -> None:
        """The layer's nodes, from integers to integers."""
        tensors = self._network.tensors
        source, target = tensors[layer.input], tensors[layer.output]
        x = self.dequantize(source, f"{layer.name}.input")
        window: dict[str, int | list[int]] = {
            "kernel_shape": list(layer.weights.shape[2:]),
            "strides": list(layer.stride),
            "pads": list(layer.padding),
            "dilations": list(layer.dilation),
        }
        if layer.operation == "max":
            real = self.node("MaxPool", [x], f"{layer.name}.maximum", **window)
        else:
            parameters = [x, *self._parameters(layer, source)]
            real = self.node("Conv", parameters, f"{layer.name}.linear", group=layer.groups, **window)
        if layer.other is not None:
            other = self.dequantize(tensors[layer.other], f"{layer.name}.other")
            real = self.node("Add", [real, other], f"{layer.name}.sum")
        self.quantize(target, real, (layer.low, layer.high))

    def _parameters(self, layer: QuantizedLayer, source: QuantizedTensor) -> list[str]:
        name = layer.name
        bias = layer.bias + source.zero_point * layer.weights.sum(axis=(1, 2, 3))
        if np.abs(bias).max() >= 1 << 31:
            raise SkipstoneError(f"layer '{name}': its bias needs more than the 32 bits of a QDQ file")
        weights = layer.weights.astype(integer_type(self._network.weight_bits))
        weight_scale = self.constant(f"{name}.weight_scale", layer.weight_scale.astype(np.float32))
        weight_zero = self.constant(f"{name}.weight_zero_point", np.zeros(len(weights), weights.dtype))
        bias_scale = self.constant(f"{name}.bias_scale", (source.scale * layer.weight_scale).astype(np.float32))
        bias_zero = self.constant(f"{name}.bias_zero_point", np.zeros(len(weights), np.int32))
        return [
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
        ]
