"""Post-training quantization: a float graph and its tensors' ranges become the integers that the array computes with.

Weights are symmetric with one scale per output channel. Activations are affine with one scale per tensor, and 0 is
exactly representable. Every layer becomes a sparse linear map (or a maximum over windows), or several that write one
tensor. ReLU and Clip become the bounds of the requantization. An Add is computed in the drain of a layer that makes one
of its operands. A pointwise function becomes the table of the layer before it, where there is such a layer. Channels
that a layer selects are read where they lie (:mod:`skipstone.models.quantization.addressing`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.hw.numbers import MAX_SHIFT, MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid, WeightCode
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Clamp,
    ClampLayer,
    Concat,
    Conv,
    ConvTranspose,
    Layer,
    OnHost,
    Pointwise,
    Product,
    Select,
)
from skipstone.models.graph.names import Names
from skipstone.models.quantization.addressing import add_operands, addressed
from skipstone.models.quantization.concatenation import shared_grids, with_copies
from skipstone.models.quantization.linear import LinearLayer, linear_layers, writes_alone
from skipstone.models.quantization.network import (
    HostLayer,
    HostProduct,
    QuantizedLayer,
    QuantizedNetwork,
    QuantizedTensor,
)
from skipstone.models.quantization.ranges import Ranges
from skipstone.models.quantization.scales import activation_scale
from skipstone.models.quantization.scheme import INT8, QuantizationScheme
from skipstone.models.quantization.tables import lookup_table
from skipstone.models.quantization.weight_codes import value_bits

_log = logging.getLogger(__name__)


def quantize(
    graph: Graph,
    ranges: Ranges | None,
    scheme: QuantizationScheme = INT8,
) -> QuantizedNetwork:
    """The network in integers, as ``scheme`` says.

    What is quantized already stays as it is: weights with a grid (a channel is rounded anew only where its bias needs a
    coarser scale), and tensors in ``graph.grids``; ``ranges`` may be None where all tensors that are materialized have one.

    Args:
        graph: The float network, pruned or not.
        ranges: Of every tensor, from :func:`skipstone.models.quantization.ranges.calibrate` on the same graph.
        scheme: Bits, codes and zero points.

    Raises:
        SkipstoneError: A tensor has no range, the scheme names a layer without trained weights or one that is quantized
            otherwise, or a layer's scales leave what the requantizer can multiply by. Whether a bias fits the
            accumulators is the mapper's question.
    """
    schemes = _layer_schemes(graph, scheme)
    placed = with_copies(graph)
    quantizer = _Quantizer(placed, _tensors(placed, ranges, scheme), schemes)
    layers: list[QuantizedLayer | HostProduct] = []
    host_layers: list[HostLayer] = []
    concats: dict[str, tuple[str, ...]] = {}
    for layer in placed.order:
        match layer:
            case OnHost():
                host_layers.append(HostLayer(layer, math.prod(placed.shapes[layer.name])))
            case Concat():
                concats[layer.name] = layer.inputs
            case Product():
                layers.append(quantizer.product(layer))
            case _:
                if layer.name not in quantizer.fused:
                    layers.extend(quantizer.layers(layer))
    if not any(isinstance(layer, QuantizedLayer) for layer in layers):
        raise SkipstoneError(f"network '{graph.name}' has no layer that the array computes")
    outputs = tuple(_array_outputs(placed))
    if not outputs:
        raise SkipstoneError(f"network '{graph.name}' has no output that the array computes")
    _log.info("%s: %d layers, %d fused", graph.name, len(layers), len(quantizer.fused))
    tensors = {name: tensor for name, tensor in quantizer.tensors.items() if name not in quantizer.fused}
    weight_code, weight_bits = _network_coding(layers, scheme)
    return QuantizedNetwork(
        name=graph.name,
        input=graph.input,
        outputs=outputs,
        tensors=tensors,
        layers=tuple(layers),
        host_layers=tuple(host_layers),
        weight_bits=weight_bits,
        activation_bits=next(iter(tensors.values())).bits,
        calibration=_calibration(graph, ranges),
        results=tuple(graph.outputs),
        concats=concats,
        weight_code=weight_code,
        graph=placed,
        file_ends=graph.file_ends,
    )


def _array_outputs(graph: Graph) -> Iterable[str]:
    """The tensors that the host reads from the array for the network's outputs, each once. (It has the input already.)"""
    waiting, seen = list(reversed(graph.outputs)), {graph.input}
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if graph.on_host(tensor):
            waiting.extend(reversed(graph.layer(tensor).inputs))
        else:
            yield tensor


def _calibration(graph: Graph, ranges: Ranges | None) -> str:
    """The source of scales, in words."""
    if ranges is None or (graph.grids_from and materialized(graph) <= graph.grids.keys()):
        return graph.grids_from
    return f"{graph.grids_from}; the others: {ranges.description}" if graph.grids_from else ranges.description


def materialized(graph: Graph) -> frozenset[str]:
    """The tensors that the array rounds to integers.

    They are all but the operand of an Add that the Add's own layer makes, and what the host computes in float. The
    operands of tables are among them, though no memory holds them.
    """
    placed = with_copies(graph)
    adds = _fused_adds(placed)
    unrounded = {host for host, _ in adds.values()} | _on_host(placed) | addressed(placed, adds)
    return frozenset(graph.shapes.keys() - unrounded)


def _layer_schemes(graph: Graph, scheme: QuantizationScheme) -> dict[str, QuantizationScheme]:
    """The scheme of each layer with trained weights."""
    bits, codes = scheme.layer_bits, scheme.layer_codes
    trained = {layer.name: layer for layer in graph.order if isinstance(layer, Conv | Affine)}
    for what, single in (("layer_bits", bits), ("layer_codes", codes)):
        if strangers := sorted(single.keys() - trained.keys()):
            raise SkipstoneError(
                f"{what} names layers without trained weights, {', '.join(strangers)}; those with are {', '.join(trained)}"
            )
    result = {}
    for name, layer in trained.items():
        result[name] = scheme.of_layer(name)
        if layer.grid is None:
            continue
        fixed = (layer.grid.bits, layer.grid.code)
        if (bits.get(name, fixed[0]), codes.get(name, fixed[1])) != fixed:
            raise SkipstoneError(
                f"layer '{name}': its weights are quantized already, {fixed[1]} of {fixed[0]} bits; "
                "leave it out of layer_bits and layer_codes"
            )
    return result


def _network_coding(
    layers: Sequence[QuantizedLayer | HostProduct], scheme: QuantizationScheme
) -> tuple[WeightCode, int]:
    """The code and bits that the weights of all layers have in common; integers where layers have different codes."""
    trained = {
        (layer.weight_code, layer.weight_bits)
        for layer in layers
        if isinstance(layer, QuantizedLayer) and layer.weight_code is not None and layer.weight_bits is not None
    }
    codes = {code for code, _ in trained}
    if not trained:
        return scheme.weight_code, scheme.weight_bits
    if len(codes) == 1:
        return codes.pop(), max(bits for _, bits in trained)
    return "linear", max(value_bits(code, bits) for code, bits in trained)


class _Quantizer:
    """Makes the layers of ``graph``. All ``tensors`` have scales, also those that fusion leaves out.

    ``fused`` are the graph's layers that another layer's integers compute: the host of an Add, and a layer before a
    table.
    """

    def __init__(
        self, graph: Graph, tensors: dict[str, QuantizedTensor], schemes: dict[str, QuantizationScheme]
    ) -> None:
        self.tensors = tensors
        self._graph = graph
        self._names = Names(graph.shapes)
        self._schemes = schemes
        self._adds = _fused_adds(graph)
        self._tables = _fused_tables(graph)
        self._addressed = addressed(graph, self._adds)
        self.fused = {host for host, _ in self._adds.values()} | set(self._tables.values()) | self._addressed

    def layers(self, layer: Layer) -> list[QuantizedLayer]:
        """The array's layers that make ``layer``'s tensor."""
        pointwise = layer if isinstance(layer, Pointwise) else None
        before = self._graph.layer(self._tables[layer.name]) if layer.name in self._tables else layer
        host, other = self._adds.get(before.name, (before.name, None))
        base = self._graph.layer(host)
        read = base.inputs[0]
        if other is None and isinstance(base, Add):
            read, other = add_operands(self._graph, base)
        (source, reads), target = self._source(read), self.tensors[layer.name]
        # What the requantizer makes: with a table, what the table is looked up with.
        made = target if pointwise is None else source if before is pointwise else self.tensors[before.name]
        clamp = None if before is pointwise else before.clamp
        table = None
        if pointwise is not None:
            table = lookup_table(pointwise.function, made, target, *_bounds(pointwise.clamp, target), layer.name)
        sources = tuple(dict.fromkeys((host, before.name, layer.name)))
        size = self._graph.shapes[base.name]
        return [
            self._layer(base, linear, source, made, target, clamp, other, sources, table, reads)
            for linear in linear_layers(base, source, size, made.scale, self._schemes.get(base.name))
        ]

    def _source(self, tensor: str) -> tuple[QuantizedTensor, NDArray[np.int64] | None]:
        """What a layer reads as ``tensor``, and which channels of it where ``tensor`` itself lies in no memory."""
        if tensor not in self._addressed:
            return self.tensors[tensor], None
        select = self._graph.layer(tensor)
        assert isinstance(select, Select)
        return replace(self.tensors[select.inputs[0]], shape=self._graph.shapes[tensor]), select.channels

    def _layer(
        self,
        base: Layer,
        linear: LinearLayer,
        source: QuantizedTensor,
        made: QuantizedTensor,
        target: QuantizedTensor,
        clamp: Clamp | None,
        other_name: str | None,
        sources: tuple[str, ...],
        table: NDArray[np.int64] | None,
        reads: NDArray[np.int64] | None,
    ) -> QuantizedLayer:
        name = self._names.take(f"{base.name}.{linear.part}") if linear.part else base.name
        other = self.tensors[other_name] if other_name is not None else None
        maximum = linear.operation == "max"
        folded = 1 if maximum else linear.weights.sum(axis=(1, 2, 3))
        ratio = source.scale * linear.weight_scale / made.scale
        other_ratio = other.scale / made.scale if other is not None else None
        multiplier, shift, other_multiplier = requantization(ratio, other_ratio, name)
        low, high = _bounds(clamp, made)
        return QuantizedLayer(
            name=name,
            kind=base.kind,
            operation=linear.operation,
            input=source.name,
            output=target.name,
            weights=linear.weights,
            groups=linear.groups,
            stride=linear.stride,
            padding=linear.padding,
            dilation=linear.dilation,
            pad_value=-(1 << (source.bits - 1)) if maximum else source.zero_point,
            bias=linear.bias.astype(np.int64) - source.zero_point * folded,
            multiplier=multiplier,
            shift=shift,
            zero_point=made.zero_point,
            low=low,
            high=high,
            other=other_name,
            other_zero_point=other.zero_point if other is not None else 0,
            other_multiplier=other_multiplier,
            weight_scale=linear.weight_scale,
            sources=sources,
            lattice=linear.lattice,
            table=table,
            table_scale=made.scale if table is not None else 1.0,
            weight_bits=linear.scheme.weight_bits if linear.scheme is not None else None,
            weight_code=linear.scheme.weight_code if linear.scheme is not None else None,
            reads=reads if linear.reads is None else linear.reads,
        )

    def product(self, layer: Product) -> HostProduct:
        """The host's product of two tensors."""
        a, b = (self.tensors[name] for name in layer.inputs)
        target = self.tensors[layer.name]
        multiplier, shift, _ = requantization(np.array([a.scale * b.scale / target.scale]), None, layer.name)
        low, high = _bounds(layer.clamp, target)
        return HostProduct(
            name=layer.name,
            inputs=(a.name, b.name),
            output=target.name,
            multiplier=int(multiplier[0]),
            shift=int(shift[0]),
            zero_points=(a.zero_point, b.zero_point),
            zero_point=target.zero_point,
            low=low,
            high=high,
            elements=math.prod(target.shape),
            sources=(layer.name,),
        )


def _alone(graph: Graph, tensor: str, reader: str) -> bool:
    """Whether ``reader`` is the only reader of ``tensor`` and reads it once."""
    return tensor != graph.input and tensor not in graph.outputs and graph.readers(tensor) == (reader,)


def _fused_adds(graph: Graph) -> dict[str, tuple[str, str]]:
    """For every Add that a drain can compute: the name of the layer that hosts it and the tensor that it adds.

    A host computes one operand, which nothing else reads, in one layer, unclamped, and without a grid to round it to.
    It runs in the Add's place, so the other operand is complete. Where both operands qualify, the later layer hosts.
    """
    hosts = {}
    for add in graph.order:
        if not isinstance(add, Add) or add.inputs[0] == add.inputs[1]:
            continue
        for layer in reversed(graph.order):
            able = isinstance(layer, Conv | Affine | AveragePool) and layer.clamp is None and writes_alone(layer)
            if able and layer.name not in graph.grids and _alone(graph, layer.name, add.name):
                other = add.inputs[1] if layer.name == add.inputs[0] else add.inputs[0]
                hosts[add.name] = (layer.name, other)
                break
    return hosts


def _fused_tables(graph: Graph) -> dict[str, str]:
    """For every pointwise function that becomes a table of the layer before it: that layer, or the Add that it hosts."""
    able = Conv | ConvTranspose | Affine | AveragePool | Add | ClampLayer
    return {
        layer.name: layer.inputs[0]
        for layer in graph.order
        if isinstance(layer, Pointwise)
        and _alone(graph, layer.inputs[0], layer.name)
        and isinstance(graph.layer(layer.inputs[0]), able)
    }


def _on_host(graph: Graph) -> set[str]:
    """The tensors that the host computes in float."""
    return {layer.name for layer in graph.layers if isinstance(layer, OnHost)}


def _tensors(graph: Graph, ranges: Ranges | None, scheme: QuantizationScheme) -> dict[str, QuantizedTensor]:
    """All tensors that are rounded to integers."""

    def grid_of(low: float, high: float) -> ActivationGrid:
        bits = scheme.activation_bits
        return ActivationGrid(*activation_scale(low, high, bits, scheme.symmetric), bits)

    adds = _fused_adds(graph)
    by_address = addressed(graph, adds)
    without = {host for host, _ in adds.values()} | _on_host(graph) | by_address
    grids = shared_grids(graph, ranges, grid_of, without, by_address)
    if len(widths := sorted({grid.bits for grid in grids.values()})) > 1:
        raise SkipstoneError(
            f"network '{graph.name}': tensors of {' and '.join(map(str, widths))} bits; the array has one width of "
            "activations, so give activation_bits that of the grids"
        )
    return {
        name: QuantizedTensor(name, shape, grids[name].scale, grids[name].zero_point, grids[name].bits)
        for name, shape in graph.shapes.items()
        if name in grids
    }


def requantization(
    ratio: NDArray[np.float64], other_ratio: float | None, layer: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The integers of a requantization: for each channel ``multiplier / 2**shift`` is ``ratio``.

    The multiplier uses all its 16 bits unless ``shift`` would exceed 47 or the other multiplier would exceed 32 bits.

    Args:
        ratio: For each channel, what accumulators are multiplied by.
        other_ratio: What the added tensor is multiplied by.
        layer: The layer's name, for messages.

    Returns:
        ``multiplier``, ``shift`` and ``other_multiplier``.

    Raises:
        SkipstoneError: The input's step is too much coarser than the output's.
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
