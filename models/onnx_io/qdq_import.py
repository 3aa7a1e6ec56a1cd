"""Reads a quantized ONNX file in QDQ form: besides its float network, the integers of weights and the grids of tensors.

:func:`unwrap` goes over the model before :mod:`skipstone.models.onnx_io.reader` simplifies it: dequantized constants become
float constants, and a single pair of QuantizeLinear and DequantizeLinear stays for each tensor, as a mark that the converters
here read. :meth:`Stored.attach` then gives the graph its grids. Files of :mod:`skipstone.models.onnx_io.qdq_export` come back
as they were, bit for bit. In other files, a tensor that our array does not round (what an Add's own layer makes) keeps more
digits than in the file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid, WeightCode, WeightGrid
from skipstone.models.graph.layers import Affine, AveragePool, Conv, Copy, Layer, Padding
from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import (
    Attributes,
    Constant,
    Conversion,
    Converter,
    OnnxNode,
    OperatorKey,
    UnsupportedError,
    node_attributes,
    node_label,
    operator_key,
)
from skipstone.models.onnx_io.operators import clip
from skipstone.models.onnx_io.pools import pads_of, pair, pool
from skipstone.models.onnx_io.qdq_export import METADATA
from skipstone.models.onnx_io.selection import selection
from skipstone.models.quantization.quantize import materialized

_log = logging.getLogger(__name__)

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


@dataclass(frozen=True, eq=False)
class _Integers:
    """A dequantized constant: ``integers`` (less their zero point) times ``each`` (a scale for every element). ``scale`` has
    the scales in the file's order. ``zero_point`` is the first that is not 0, or 0. ``bits``: width of the file's type."""

    integers: NDArray[np.int64]
    each: NDArray[np.float64]
    scale: NDArray[np.float64]
    zero_point: int
    bits: int

    @property
    def real(self) -> NDArray[np.float32]:
        return (self.integers * self.each).astype(np.float32)


@dataclass(eq=False)
class Stored:
    """What :func:`unwrap` took out of a file. ``ours``: :mod:`skipstone.models.onnx_io.qdq_export` wrote the file.
    ``weights``: the integers behind float initializers, by name. ``pads``: the pixels around tensors, in our files."""

    ours: bool
    metadata: dict[str, str]
    weights: dict[str, _Integers] = field(default_factory=dict)
    pads: dict[str, Padding] = field(default_factory=dict)
    quantized: bool = False

    @property
    def converters(self) -> dict[OperatorKey, Converter]:
        """Converters of the marks, and of what only our own files have."""
        marks: dict[OperatorKey, Converter] = {
            ("", "QuantizeLinear"): self._quantize,
            ("", "DequantizeLinear"): self._dequantize,
        }
        own: dict[OperatorKey, Converter] = {
            ("", "Identity"): _copy,
            ("", "Pad"): self._pad,
            ("", "AveragePool"): self._average,
            ("", "Clip"): _clip,
            ("", "Gather"): self._select,
            ("", "Sum"): OnnxNode.image,
        }
        return {**marks, **own} if self.ours else marks

    def attach(self, graph: Graph, conversion: Conversion) -> Graph:
        """``graph``, which ``conversion`` made, with the grids of its weights and tensors."""
        if not self.quantized:
            return graph
        described = json.loads(self.metadata.get("layers", "{}"))
        layers = [
            self._with_grid(layer, conversion.nodes[layer.name], described.get(layer.name, {}))
            if isinstance(layer, Conv)
            else layer
            for layer in graph.layers
        ]
        words = "as stored in the file"
        if text := self.metadata.get("calibration"):
            words = text if text.startswith(words) else f"{words} ({text})"
        quantized = replace(graph, layers=tuple(layers), grids_from=words)
        if self.ours:
            return replace(quantized, grids=conversion.grids)
        rounded = materialized(quantized)
        dropped = sorted(conversion.grids.keys() - rounded)
        if dropped:
            _log.info("%s: the array does not round %s, which the file does", graph.name, ", ".join(dropped))
        return replace(quantized, grids={name: grid for name, grid in conversion.grids.items() if name in rounded})

    def _with_grid(self, layer: Conv, node: onnx.NodeProto, described: dict[str, Any]) -> Layer:
        own = [self.weights[name] for name in node.input[1:2] if name in self.weights]
        grids = (_grid_of(layer.weights, integers, described) for integers in [*own, *self.weights.values()])
        grid = next((grid for grid in grids if grid is not None), None)
        if grid is None:
            _log.info("layer '%s': its weights are not those of the file's integers, and quantized anew", layer.name)
            return layer
        kind = described.get("kind")
        if kind == "affine":
            return Affine(
                name=layer.name,
                inputs=layer.inputs,
                clamp=layer.clamp,
                scale=layer.weights.ravel(),
                bias=layer.bias,
                grid=grid,
            )
        return replace(layer, grid=grid, gemm=layer.gemm or kind == "gemm")

    def _quantize(self, node: OnnxNode) -> View:
        view, grid, conversion = node.any_view(), self._grid(node), node.conversion
        if node.is_on_host() or conversion.grids.setdefault(view.tensor, grid) == grid:
            return view
        copy = node.add(Copy(name=node.name, inputs=(view.tensor,)), view.index)
        conversion.grids[copy.tensor] = grid
        return copy

    def _dequantize(self, node: OnnxNode) -> View:
        view = node.any_view()
        # In our own files every rounding stays where it is; in others, the layer before may do what follows the rounding.
        return replace(view, exclusive=view.exclusive and not self.ours)

    def _select(self, node: OnnxNode) -> View:
        """A Gather of channels is a layer of ours, which has memory or is only seen; of a flat tensor, it is an end's."""
        view, axis = node.any_view(), int(node.attributes.get("axis", 0))
        part = replace(view, index=np.take(view.index, node.constant(1), axis=axis), exclusive=False)
        if axis != 1 or view.index.ndim != 4:
            return part
        described = json.loads(self.metadata["layers"])
        if node.name in described and (selected := selection(part)) is not None:
            return selected.add(lambda layer: node.add(layer).tensor)
        return node.selected(part)

    def _pad(self, node: OnnxNode) -> View:
        """Zeros around an image, which the average pool after it counts."""
        pads = node.constant(1)
        top, left, bottom, right = (int(pads[place]) for place in (2, 3, 6, 7))
        self.pads[node.proto.output[0]] = (top, left, bottom, right)
        return node.image()

    def _average(self, node: OnnxNode) -> View:
        pads = self.pads.get(node.inputs[0])
        if pads is None:
            return pool(node)
        attributes = node.attributes
        view, kernel = node.image(), pair(attributes["kernel_shape"], 1)
        stride, dilation = pair(attributes.get("strides"), 1), pair(attributes.get("dilations"), 1)
        uncounted = pads_of(attributes, view.shape, kernel, stride, dilation)
        top, left, bottom, right = (counted + outer for counted, outer in zip(pads, uncounted, strict=True))
        layer = AveragePool(
            name=node.name,
            inputs=(view.tensor,),
            kernel=kernel,
            stride=stride,
            padding=(top, left, bottom, right),
            dilation=dilation,
            uncounted=uncounted,
        )
        return node.add(layer)

    def _grid(self, node: OnnxNode) -> ActivationGrid:
        scale, zero_point = node.constant(1), node.optional_constant(2)
        if scale.size > 1:
            raise UnsupportedError("an activation with several scales")
        stated = node.attributes.get("output_dtype", 0) or TensorProto.UINT8
        kind = helper.tensor_dtype_to_np_dtype(stated) if zero_point is None else zero_point.dtype
        zero = 0 if zero_point is None else int(zero_point.ravel()[0])
        bits, shift = _bits_of(kind)
        if self.ours:
            bits = int(self.metadata["activation_bits"])
        try:
            return ActivationGrid(float(scale.ravel()[0]), zero - shift, bits)
        except SkipstoneError as error:
            raise UnsupportedError(str(error)) from None


def unwrap(model: onnx.ModelProto, file: str) -> Stored:
    """Turns a QDQ model into its float network, in place; other models stay as they are.

    Args:
        model: The model as read.
        file: The file's name, for messages.

    Raises:
        SkipstoneError: Weights have a zero point, or integers are read without a DequantizeLinear.
    """
    entries = {entry.key: entry.value for entry in model.metadata_props}
    metadata = {key.removeprefix(METADATA): value for key, value in entries.items() if key.startswith(METADATA)}
    stored, graph = Stored(_is_ours(metadata, file), metadata), model.graph
    if not holds_qdq(model):
        stored.ours = False
        return stored
    stored.quantized = True
    constants = _constants(graph)
    dequantized = _fold_constants(graph, constants)
    _check_weights(graph, dequantized, file)
    _check_pairs(graph, constants, file)
    # Ours has a pair for each reader, so that the product of a tensor with itself does not become a function of it.
    if not stored.ours:
        _merge_pairs(graph, file)
    makers = {name: node for node in graph.node for name in node.output}
    exact = _bias_scales(graph, makers, constants, dequantized)
    initializers = []
    for name, rounded in dequantized.items():
        integers = replace(rounded, each=exact.get(name, rounded.each))
        initializers.append(numpy_helper.from_array(integers.real, name))
        if not integers.zero_point:
            stored.weights[name] = integers
    _set_initializers(graph, constants, initializers)
    return stored


def _is_ours(metadata: dict[str, str], file: str) -> bool:
    """Whether the metadata is ours. Raises SkipstoneError if it is damaged."""
    if not metadata:
        return False
    try:
        layers = json.loads(metadata["layers"])
        intact = 2 <= int(metadata["activation_bits"]) <= 16 and isinstance(layers, dict)
        intact = intact and all(_is_description(layer) for layer in layers.values())
    except (KeyError, ValueError, RecursionError):
        intact = False
    if not intact:
        raise SkipstoneError(f"{file}: its metadata, '{METADATA}...', is damaged; export the network again")
    return True


def _is_description(layer: object) -> bool:
    """Whether the metadata's entry of a layer is one that we write."""
    if not isinstance(layer, dict) or not isinstance(layer.get("kind"), str):
        return False
    bits, code = layer.get("weight_bits", 8), layer.get("weight_code", "linear")
    return type(bits) is int and 1 <= bits <= 16 and code in get_args(WeightCode)


def holds_qdq(model: onnx.ModelProto) -> bool:
    """Whether a model quantizes anything."""
    marks = {("", "QuantizeLinear"), ("", "DequantizeLinear")}
    return any(operator_key(node) in marks for node in model.graph.node)


def _bits_of(kind: np.dtype[Any]) -> tuple[int, int]:
    """Bits of an integer type, and what to subtract from its values to make them signed."""
    bits = {"uint4": 4, "int4": 4, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "int32": 32}.get(kind.name)
    if bits is None:
        raise UnsupportedError(f"integers of type {kind.name}")
    return bits, 1 << (bits - 1) if kind.name.startswith("u") else 0


def _constants(graph: onnx.GraphProto) -> dict[str, Constant]:
    """All constants. Constant nodes leave the graph."""
    constants: dict[str, Constant] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = node_attributes(node).get("value")
        if isinstance(value, onnx.TensorProto):
            constants[node.output[0]] = numpy_helper.to_array(value)
            graph.node.remove(node)
    return constants


def _fold_constants(graph: onnx.GraphProto, constants: dict[str, Constant]) -> dict[str, _Integers]:
    """Takes dequantized constants, and what only rearranges them, out of the graph."""
    dequantized: dict[str, _Integers] = {}
    for node in list(graph.node):
        attributes = node_attributes(node)
        source = node.input[0] if node.input else ""
        if node.op_type == "QuantizeLinear" and source in constants:
            constants[node.output[0]] = _quantized(node, constants)
        elif node.op_type == "DequantizeLinear" and source in constants:
            dequantized[node.output[0]] = _dequantized(node, attributes, constants)
        elif node.op_type in ("Reshape", "Transpose", "Identity") and source in dequantized:
            shape = constants[node.input[1]] if node.op_type == "Reshape" else None
            dequantized[node.output[0]] = _rearranged(dequantized[source], node.op_type, attributes, shape)
        else:
            continue
        graph.node.remove(node)
    return dequantized


def _quantized(node: onnx.NodeProto, constants: dict[str, Constant]) -> Constant:
    """A constant in the integers that a file makes of it when it runs."""
    from onnx.reference import ReferenceEvaluator

    results: list[Any] = list(
        ReferenceEvaluator(node).run(None, {name: constants[name] for name in node.input if name})
    )
    quantized: Constant = results[0]
    return quantized


def _dequantized(node: onnx.NodeProto, attributes: Attributes, constants: dict[str, Constant]) -> _Integers:
    raw, scale = constants[node.input[0]], constants[node.input[1]].astype(np.float64).ravel()
    if attributes.get("block_size", 0):
        raise SkipstoneError(f"'{node.input[0]}': scales for blocks of weights; quantize with a scale for each channel")
    try:
        bits, shift = _bits_of(raw.dtype)
    except UnsupportedError as error:
        raise SkipstoneError(f"'{node.input[0]}': {error} can't be read") from None
    zero = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(1)
    along = [1] * raw.ndim
    if scale.size > 1:
        along[int(attributes.get("axis", 1))] = int(scale.size)
    # The points of unsigned integers lie in the middle of their range, as far as weights are symmetric.
    points = zero.astype(np.int64).ravel()
    integers = raw.astype(np.int64) - points.reshape(along if points.size > 1 else [1] * raw.ndim)
    asymmetric = next((int(point) for point in points if point != shift), 0)
    each = np.broadcast_to(scale.reshape(along), raw.shape)
    return _Integers(integers, each, scale, asymmetric, bits)


def _rearranged(integers: _Integers, operator: str, attributes: Attributes, shape: Constant | None) -> _Integers:
    """The same in another order. ``scale`` stays in the file's order; :func:`_grid_of` finds where each belongs."""

    def moved(array: NDArray[Any]) -> NDArray[Any]:
        if operator == "Transpose":
            return array.transpose(attributes.get("perm"))
        return array.reshape([int(size) for size in shape]) if shape is not None else array

    return replace(integers, integers=moved(integers.integers), each=moved(integers.each))


def _check_weights(graph: onnx.GraphProto, dequantized: dict[str, _Integers], file: str) -> None:
    for node in graph.node:
        if node.op_type not in _WEIGHTED or len(node.input) < 2:
            continue
        weights = dequantized.get(node.input[1])
        if weights is not None and weights.zero_point:
            raise SkipstoneError(
                f"{file}: layer '{node.name or node.output[0]}' has asymmetric weights (zero point {weights.zero_point}); "
                "the array multiplies by symmetric ones, so quantize weights symmetrically"
            )


def _check_pairs(graph: onnx.GraphProto, constants: Mapping[str, Constant], file: str) -> None:
    """What is dequantized must be on the grid on which it was quantized: then both together are a rounding."""
    quantizers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in graph.node:
        quantizer = quantizers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantizer is None:
            continue
        for place, what, default in ((1, "scale", None), (2, "zero point", np.zeros(1))):
            first, second = (
                constants.get(other.input[place]) if len(other.input) > place and other.input[place] else default
                for other in (quantizer, node)
            )
            if first is not None and second is not None and not np.array_equal(first.ravel(), second.ravel()):
                raise SkipstoneError(
                    f"{file}: {node_label(node)} has another {what}, {_few(second)}, than the {node_label(quantizer)} "
                    f"that it reads, {_few(first)}; give both the same, or put a Mul or Add of the difference after them"
                )


def _few(values: Constant) -> str:
    """The first values of an array, for messages."""
    shown = ", ".join(f"{value:g}" for value in values.ravel()[:3].astype(float))
    return f"{shown}, ..." if values.size > 3 else shown


def _merge_pairs(graph: onnx.GraphProto, file: str) -> None:
    """All readers of a tensor's integers then read one DequantizeLinear."""
    outputs = {output.name for output in graph.output}
    quantizers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    first: dict[str, onnx.NodeProto] = {}
    renamed: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        source = quantizers.get(node.input[0])
        if source is None:
            raise SkipstoneError(
                f"{file}: '{node.input[0]}' is integers that no QuantizeLinear made; only networks in QDQ form can be read"
            )
        remaining = first.setdefault(node.input[0], node)
        if remaining is node:
            continue
        if node.output[0] in outputs:
            remaining, node = node, remaining
            first[node.input[0]] = remaining
        if node.output[0] not in outputs:
            renamed[node.output[0]] = remaining.output[0]
    # A DequantizeLinear that took another's place must stand where the first reader finds it: right after its integers.
    after = dict(first)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and (node.output[0] in renamed or after.get(node.input[0]) is node):
            continue
        nodes.append(node)
        if node.op_type == "QuantizeLinear" and node.output[0] in after:
            nodes.append(after[node.output[0]])
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for node in copies:
        for position, name in enumerate(node.input):
            while name in renamed:
                name = renamed[name]
            node.input[position] = name
    del graph.node[:]
    graph.node.extend(copies)


def _bias_scales(
    graph: onnx.GraphProto,
    makers: dict[str, onnx.NodeProto],
    constants: dict[str, Constant],
    dequantized: dict[str, _Integers],
) -> dict[str, NDArray[np.float64]]:
    """Exact scales of biases: the input's times the weights', which files hold as one rounded float."""
    result = {}
    for node in graph.node:
        names = list(node.input)
        if (
            node.op_type not in _WEIGHTED
            or len(names) < 3
            or names[1] not in dequantized
            or names[2] not in dequantized
        ):
            continue
        source, weights, bias = makers.get(names[0]), dequantized[names[1]], dequantized[names[2]]
        if source is None or source.op_type != "DequantizeLinear" or source.input[1] not in constants:
            continue
        scale = float(constants[source.input[1]].ravel()[0]) * weights.scale
        if scale.size in (1, bias.each.size) and np.allclose(scale, bias.each, rtol=1e-6, atol=0):
            result[names[2]] = np.broadcast_to(scale, bias.each.shape)
    return result


def _set_initializers(
    graph: onnx.GraphProto, constants: dict[str, Constant], dequantized: Iterable[onnx.TensorProto]
) -> None:
    """Leaves the constants that nodes still read."""
    read = {name for node in graph.node for name in node.input}
    initializers = [tensor for tensor in dequantized if tensor.name in read]
    present = {tensor.name for tensor in initializers}
    old = {tensor.name: tensor for tensor in graph.initializer}
    for name in constants:
        if name in read and name not in present:
            initializers.append(old[name] if name in old else numpy_helper.from_array(constants[name], name))
    initializers = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in initializers]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    names = {tensor.name for tensor in initializers}
    inputs = [value for value in graph.input if value.name not in old or value.name in names]
    del graph.input[:]
    graph.input.extend(inputs)


def _grid_of(weights: NDArray[np.float32], stored: _Integers, described: dict[str, Any]) -> WeightGrid | None:
    """The grid of ``weights`` with the scales of ``stored``, if they lie on it; scales of each group's channels repeat."""
    outputs = len(weights)
    if stored.bits > 16 or not stored.scale.size or outputs % stored.scale.size or not (stored.scale > 0).all():
        return None
    scale = np.tile(stored.scale, outputs // stored.scale.size)
    integers = np.rint(weights / scale.reshape(-1, 1, 1, 1)).astype(np.int64)
    if np.abs(integers).max(initial=0) > 1 << (stored.bits - 1):
        return None
    code: WeightCode = described.get("weight_code", "linear")
    grid = WeightGrid(integers, scale, code, int(described.get("weight_bits", stored.bits)))
    return grid if np.array_equal(grid.weights, weights) else None


def _copy(node: OnnxNode) -> View:
    view = node.view()
    return node.add(Copy(name=node.name, inputs=(view.tensor,)), view.index)


def _clip(node: OnnxNode) -> View:
    view, conversion = node.view(), node.conversion
    if view.tensor in conversion.layers or view.tensor in conversion.grids:
        return clip(node)
    return view  # The bounds are those of the input's own integers.
