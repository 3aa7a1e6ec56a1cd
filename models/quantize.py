"""Post-training quantization: a float graph and its tensors' ranges become the integers that the array computes with.

Weights are symmetric with one scale per output channel, activations affine with one scale per tensor and 0 exactly
representable. Every layer becomes a sparse linear map (or a maximum over windows); ReLU and Clip become the bounds of
the requantization, and an Add is done in the drain of a layer that makes one of its operands, where there is one.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibrate import Ranges
from models.errors import SkipstoneError
from models.graph import Add, Affine, AveragePool, Clamp, Conv, Graph, Layer, MaxPool, Padding, Pair, Softmax
from models.quantized import (
    MAX_SHIFT,
    MULTIPLIER_BITS,
    OTHER_MULTIPLIER_BITS,
    HostLayer,
    Operation,
    QuantizedLayer,
    QuantizedNetwork,
    QuantizedTensor,
)

_log = logging.getLogger(__name__)

_BIAS_ROOM_BITS = 4
"""A channel's weight scale is raised until its bias is at most ``2**(weight bits + activation bits + 4)``, which costs
nothing: the weights of such a channel are that small beside its bias, and accumulators stay as narrow as other channels
need them."""


def quantize(graph: Graph, ranges: Ranges, weight_bits: int = 8, activation_bits: int = 8) -> QuantizedNetwork:
    """The network in integers; ``ranges`` come from :func:`models.calibrate.calibrate` on the same graph.

    Raises SkipstoneError for bit widths outside 2 to 16, a tensor without a range, and a layer whose scales leave what
    the requantizer can multiply by. Whether a bias fits the accumulators is the mapper's question.
    """
    for what, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits)):
        if not 2 <= bits <= 16:
            raise SkipstoneError(f"{what} must be from 2 to 16, not {bits}")
    hosts = _fused_adds(graph)
    fused = {host for host, _ in hosts.values()}
    tensors = _tensors(graph, ranges, activation_bits, fused)
    layers: list[QuantizedLayer] = []
    host_layers: list[HostLayer] = []
    for layer in graph.order:
        if layer.name in fused:
            continue
        if isinstance(layer, Softmax):
            elements = math.prod(graph.shapes[layer.name])
            host_layers.append(HostLayer(layer.name, "Softmax", layer.inputs[0], layer.name, elements))
        elif layer.name in hosts:
            host, other = hosts[layer.name]
            sources = (host, layer.name)
            layers.append(_quantize_layer(graph.layer(host), layer, other, sources, tensors, weight_bits))
        else:
            second = layer.inputs[1] if isinstance(layer, Add) else None
            layers.append(_quantize_layer(layer, layer, second, (layer.name,), tensors, weight_bits))
    if not layers:
        raise SkipstoneError(f"network '{graph.name}' has no layer that the array computes")
    after = {layer.output: layer.input for layer in host_layers}
    outputs = tuple(dict.fromkeys(after.get(name, name) for name in graph.outputs))
    _log.info("%s: %d layers, %d adds fused", graph.name, len(layers), len(hosts))
    return QuantizedNetwork(
        graph.name,
        graph.input,
        outputs,
        tensors,
        tuple(layers),
        tuple(host_layers),
        weight_bits,
        activation_bits,
        ranges.description,
        tuple(graph.outputs),
    )


def _fused_adds(graph: Graph) -> dict[str, tuple[str, str]]:
    """For every Add that a drain can do: the name of the layer that hosts it and the tensor that it adds.

    A host computes one operand, for nobody else, and unclamped; it runs where the Add stands, so the other operand is
    complete. Where both operands qualify, the later layer hosts.
    """
    hosts = {}
    for add in graph.order:
        if not isinstance(add, Add) or add.inputs[0] == add.inputs[1]:
            continue
        for layer in reversed(graph.order):
            alone = layer.name not in graph.outputs and graph.readers(layer.name) == (add.name,)
            if alone and layer.clamp is None and isinstance(layer, Conv | Affine | AveragePool):
                other = add.inputs[1] if layer.name == add.inputs[0] else add.inputs[0]
                hosts[add.name] = (layer.name, other)
                break
    return hosts


def _tensors(graph: Graph, ranges: Ranges, bits: int, fused: set[str]) -> dict[str, QuantizedTensor]:
    tensors: dict[str, QuantizedTensor] = {}
    for name, shape in graph.shapes.items():
        layer = None if name == graph.input else graph.layer(name)
        if name in fused or isinstance(layer, Softmax):
            continue
        if isinstance(layer, MaxPool):
            source = tensors[layer.inputs[0]]
            scale, zero_point = source.scale, source.zero_point
        elif name in ranges.limits:
            scale, zero_point = activation_scale(*ranges.limits[name], bits)
        else:
            raise SkipstoneError(f"tensor '{name}' has no range; calibrate the same network that is quantized")
        tensors[name] = QuantizedTensor(name, shape, scale, zero_point, bits)
    return tensors


def activation_scale(low: float, high: float, bits: int) -> tuple[float, int]:
    """Scale (a float32 value, as ONNX stores it) and zero point for ``low`` to ``high``, widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    qmin, qmax = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if high - low < np.finfo(np.float32).tiny * (qmax - qmin):
        low, high = 0.0, 1.0
    scale = float(np.float32((high - low) / (qmax - qmin)))
    return scale, int(np.clip(round(qmin - low / scale), qmin, qmax))


@dataclass(frozen=True, eq=False)
class _Linear:
    """A layer as the array sees it; ``bias`` is in units of ``input scale * weight_scale``, without zero points."""

    weights: NDArray[np.int64]
    weight_scale: NDArray[np.float64]
    bias: NDArray[np.float64]
    groups: int
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    operation: Operation = "multiply_add"


def _linear(layer: Layer, source: QuantizedTensor, output_scale: float, weight_bits: int) -> _Linear:
    channels = source.shape[0]

    def ones(kernel: Pair) -> NDArray[np.int64]:
        return np.ones((channels, 1, *kernel), dtype=np.int64)

    unit, zero = np.ones(channels), np.zeros(channels)
    match layer:
        case Conv():
            weights, scale, bias = _quantize_weights(layer.weights, layer.bias, source, output_scale, weight_bits)
            return _Linear(weights, scale, bias, layer.groups, layer.stride, layer.padding, layer.dilation)
        case Affine():
            each = layer.scale.reshape(-1, 1, 1, 1)
            weights, scale, bias = _quantize_weights(each, layer.bias, source, output_scale, weight_bits)
            return _Linear(weights, scale, bias, channels)
        case AveragePool():
            scale = unit / math.prod(layer.kernel)
            return _Linear(ones(layer.kernel), scale, zero, channels, layer.stride, layer.padding, layer.dilation)
        case MaxPool():
            return _Linear(ones(layer.kernel), unit, zero, channels, layer.stride, layer.padding, layer.dilation, "max")
        case _:
            return _Linear(ones((1, 1)), unit, zero, channels)


def _quantize_weights(
    weights: NDArray[np.float32], bias: NDArray[np.float32], source: QuantizedTensor, output_scale: float, bits: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Integer weights, their scale per output channel, and the bias in units of the input's scale times it."""
    input_scale = source.scale
    real = weights.astype(np.float64)
    largest = np.abs(real).reshape(len(real), -1).max(axis=1)
    limit = (1 << (bits - 1)) - 1
    # A channel without weights only has a bias, which is kept to 1/256 of an output step.
    scale = np.where(largest > 0, largest / limit, output_scale / input_scale / 256)
    scale = np.maximum(
        scale, np.abs(bias.astype(np.float64)) / (input_scale * 2.0 ** (bits + source.bits + _BIAS_ROOM_BITS))
    )
    scale = np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny).astype(np.float64)
    integers = np.clip(np.rint(real / scale[:, None, None, None]), -limit, limit).astype(np.int64)
    return integers, scale, np.rint(bias / (input_scale * scale))


def _quantize_layer(
    layer: Layer,
    result: Layer,
    other_name: str | None,
    sources: tuple[str, ...],
    tensors: dict[str, QuantizedTensor],
    weight_bits: int,
) -> QuantizedLayer:
    """``layer``, whose drain gives ``result``'s tensor (``layer``'s own, or that of the Add it hosts)."""
    source, target = tensors[layer.inputs[0]], tensors[result.name]
    other = tensors[other_name] if other_name is not None else None
    linear = _linear(layer, source, target.scale, weight_bits)
    maximum = linear.operation == "max"
    folded = 1 if maximum else linear.weights.sum(axis=(1, 2, 3))
    bias = linear.bias.astype(np.int64) - source.zero_point * folded
    ratio = source.scale * linear.weight_scale / target.scale
    other_ratio = other.scale / target.scale if other is not None else None
    multiplier, shift, other_multiplier = requantization(ratio, other_ratio, layer.name)
    low, high = _bounds(result.clamp, target)
    return QuantizedLayer(
        name=layer.name,
        kind=layer.kind,
        operation=linear.operation,
        input=source.name,
        output=target.name,
        weights=linear.weights,
        groups=linear.groups,
        stride=linear.stride,
        padding=linear.padding,
        dilation=linear.dilation,
        pad_value=-(1 << (source.bits - 1)) if maximum else source.zero_point,
        bias=bias,
        multiplier=multiplier,
        shift=shift,
        zero_point=target.zero_point,
        low=low,
        high=high,
        other=other_name,
        other_zero_point=other.zero_point if other is not None else 0,
        other_multiplier=other_multiplier,
        weight_scale=linear.weight_scale,
        sources=sources,
    )


def requantization(
    ratio: NDArray[np.float64], other_ratio: float | None, layer: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """``multiplier``, ``shift`` and ``other_multiplier``: for each channel ``multiplier / 2**shift`` is ``ratio``.

    The multiplier has all its 16 bits unless ``shift`` would pass 47, or make the other multiplier pass 32 bits.
    """
    limit = MAX_SHIFT
    if other_ratio is not None:
        limit = min(limit, OTHER_MULTIPLIER_BITS - math.frexp(other_ratio)[1])
        if round(math.ldexp(other_ratio, limit)) >= 1 << OTHER_MULTIPLIER_BITS:
            limit -= 1
    shift = np.minimum(MULTIPLIER_BITS - np.frexp(ratio)[1], limit).astype(np.int64)
    multiplier = np.rint(np.ldexp(ratio, shift))
    carried = multiplier >= 1 << MULTIPLIER_BITS
    shift = shift - carried
    multiplier = np.rint(np.ldexp(ratio, shift)).astype(np.int64)
    if shift.min() < 1:
        coarser = float(max(ratio.max(), other_ratio or 0))
        raise SkipstoneError(
            f"layer '{layer}': its input is {coarser:.3g} times coarser than its output, "
            "which the requantizer can't multiply by; check the calibration ranges"
        )
    other = np.zeros_like(multiplier) if other_ratio is None else np.rint(np.ldexp(other_ratio, shift)).astype(np.int64)
    return multiplier, shift, other


def _bounds(clamp: Clamp | None, tensor: QuantizedTensor) -> tuple[int, int]:
    """The clamp in integers of ``tensor``, within its bits."""
    qmin, qmax = -(1 << (tensor.bits - 1)), (1 << (tensor.bits - 1)) - 1
    low, high = clamp or (-math.inf, math.inf)

    def integer(bound: float) -> int:
        return int(np.clip(np.rint(np.clip(bound / tensor.scale, -1e9, 1e9)) + tensor.zero_point, qmin, qmax))

    return integer(low), integer(high)
