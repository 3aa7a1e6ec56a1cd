"""What a quantized ONNX file in QDQ form says beyond its float network: the integers of weights and the grids of tensors.

:func:`unwrap` goes over the model before :mod:`skipstone.models.onnx_io.reader` simplifies it: dequantized constants
become float ones,
and each tensor's pair of QuantizeLinear and DequantizeLinear stays, once, as a mark that the converters here read.
:meth:`Stored.attach` then gives the graph its grids. Files of :mod:`skipstone.models.onnx_io.qdq_export` come back
as they were, bit for bit; in
those of others a tensor that our array does not round (what an Add's own layer makes) keeps more digits than in the file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid, WeightCode, WeightGrid
from skipstone.models.graph.layers import Affine, AveragePool, Conv, Copy, Layer, Padding, Softmax
from skipstone.models.onnx_io.arrangement import image_index
from skipstone.models.onnx_io.nodes import (
    Attributes,
    Constant,
    Converters,
    NodeConverter,
    UnsupportedError,
    node_attributes,
)
from skipstone.models.onnx_io.operators import COMPUTING
from skipstone.models.onnx_io.pools import POOLING, pads_of, pair
from skipstone.models.onnx_io.qdq_export import METADATA
from skipstone.models.quantization.quantize import materialized

_log = logging.getLogger(__name__)

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


@dataclass(frozen=True, eq=False)
class _Integers:
    """A dequantized constant: ``integers`` (less their zero point) times ``each`` (a scale for every element). ``scale`` has
    the scales in the file's order, ``zero_point`` is one that is not 0, or 0; ``bits`` of the file's type."""

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
    """What :func:`unwrap` found. ``ours`` says that :mod:`skipstone.models.onnx_io.qdq_export` wrote the file."""

    ours: bool
    metadata: dict[str, str]
    weights: dict[str, _Integers] = field(default_factory=dict)
    """Of float initializers, the integers and scales."""
    pads: dict[str, Padding] = field(default_factory=dict)
    """Of tensors that our files pad, the pixels."""
    quantized: bool = False

    @property
    def converters(self) -> Converters:
        """Converters of the marks, and of what only our own files have."""
        marks: Converters = {"QuantizeLinear": self._quantize, "DequantizeLinear": self._dequantize}
        own: Converters = {"Identity": _copy, "Pad": self._pad, "AveragePool": self._average, "Clip": _clip}
        return {**marks, **own} if self.ours else marks

    def attach(self, graph: Graph, converter: NodeConverter) -> Graph:
        """``graph``, which ``converter`` made, with the grids of its weights and tensors."""
        if not self.quantized:
            return graph
        described = json.loads(self.metadata.get("layers", "{}"))
        layers = [
            self._with_grid(layer, converter.nodes[layer.name], described.get(layer.name, {}))
            if isinstance(layer, Conv)
            else layer
            for layer in graph.layers
        ]
        words = "as stored in the file"
        if text := self.metadata.get("calibration"):
            words = text if text.startswith(words) else f"{words} ({text})"
        made = replace(graph, layers=tuple(layers), grids_from=words)
        if self.ours:
            return replace(made, grids=converter.grids)
        rounded = materialized(made)
        dropped = sorted(converter.grids.keys() - rounded)
        if dropped:
            _log.info("%s: the array does not round %s, which the file does", graph.name, ", ".join(dropped))
        return replace(made, grids={name: grid for name, grid in converter.grids.items() if name in rounded})

    def _with_grid(self, layer: Conv, node: onnx.NodeProto, described: dict[str, Any]) -> Layer:
        first = [self.weights[name] for name in node.input[1:2] if name in self.weights]
        grids = (_grid_of(layer.weights, found, described) for found in [*first, *self.weights.values()])
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

    def _quantize(self, c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
        view, grid = c.any_view(node), self._grid(c, node)
        after = replace(view, exclusive=view.exclusive and c.exclusive(node.output[0]))
        if isinstance(c.layers.get(view.tensor), Softmax) or c.grids.setdefault(view.tensor, grid) == grid:
            c.views[node.output[0]] = after
        else:
            c.emit(node, Copy(name=node.output[0], inputs=(view.tensor,)), view.shape, view.index)
            c.grids[c.views[node.output[0]].tensor] = grid

    def _dequantize(self, c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
        view = c.any_view(node)
        # What we wrote is rounded where it says so; of other files, a layer may take what follows the rounding.
        c.views[node.output[0]] = replace(
            view, exclusive=view.exclusive and not self.ours and c.exclusive(node.output[0])
        )

    def _pad(self, c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
        """Zeros around an image, which the average pool after it counts."""
        pads = c.constant(node, 1)
        assert pads is not None
        top, left, bottom, right = (int(pads[place]) for place in (2, 3, 6, 7))
        self.pads[node.output[0]] = (top, left, bottom, right)
        c.views[node.output[0]] = c.image(node)

    def _average(self, c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
        if node.input[0] not in self.pads:
            POOLING["AveragePool"](c, node, attributes)
            return
        view, kernel = c.image(node), pair(attributes["kernel_shape"], 1)
        stride, dilation = pair(attributes.get("strides"), 1), pair(attributes.get("dilations"), 1)
        uncounted = pads_of(attributes, view.shape, kernel, stride, dilation)
        top, left, bottom, right = (one + two for one, two in zip(self.pads[node.input[0]], uncounted, strict=True))
        layer = AveragePool(
            name=node.output[0],
            inputs=(view.tensor,),
            kernel=kernel,
            stride=stride,
            padding=(top, left, bottom, right),
            dilation=dilation,
            uncounted=uncounted,
        )
        shape = layer.output_shape((view.shape,))
        c.emit(node, layer, shape, image_index(shape))

    def _grid(self, c: NodeConverter, node: onnx.NodeProto) -> ActivationGrid:
        scale, zero_point = c.constant(node, 1), c.constant(node, 2)
        assert scale is not None
        if scale.size > 1:
            raise UnsupportedError("an activation with several scales")
        kind = np.dtype(np.uint8) if zero_point is None else zero_point.dtype
        zero = 0 if zero_point is None else int(zero_point.ravel()[0])
        bits, shift = _bits_of(kind)
        if self.ours:
            bits = int(self.metadata["activation_bits"])
        try:
            return ActivationGrid(float(scale.ravel()[0]), zero - shift, bits)
        except SkipstoneError as error:
            raise UnsupportedError(str(error)) from None


def unwrap(model: onnx.ModelProto, file: str) -> Stored:
    """Makes the float network of a QDQ model, in place; other models stay as they are.

    Raises SkipstoneError for weights with a zero point, and for integers that are no QDQ's.
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
    # Ours has one for each reader, which keeps the product of a tensor with itself from being a function of it.
    if not stored.ours:
        _merge_pairs(graph, file)
    makers = {name: node for node in graph.node for name in node.output}
    exact = _bias_scales(graph, makers, constants, dequantized)
    made = []
    for name, found in dequantized.items():
        found = replace(found, each=exact.get(name, found.each))
        made.append(numpy_helper.from_array(found.real, name))
        if not found.zero_point:
            stored.weights[name] = found
    _set_initializers(graph, constants, made)
    return stored


def _is_ours(metadata: dict[str, str], file: str) -> bool:
    """Whether the metadata is ours; refuses one that is damaged."""
    if not metadata:
        return False
    try:
        whole = int(metadata["activation_bits"]) > 0 and isinstance(json.loads(metadata["layers"]), dict)
    except (KeyError, ValueError):
        whole = False
    if not whole:
        raise SkipstoneError(f"{file}: its metadata, '{METADATA}...', is damaged; export the network again")
    return True


def holds_qdq(model: onnx.ModelProto) -> bool:
    """Whether a model quantizes anything."""
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)


def _bits_of(kind: np.dtype[Any]) -> tuple[int, int]:
    """Bits of an integer type, and what to subtract from its values to make them signed."""
    bits = {"uint4": 4, "int4": 4, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "int32": 32}.get(kind.name)
    if bits is None:
        raise UnsupportedError(f"integers of type {kind.name}")
    return bits, 1 << (bits - 1) if kind.name.startswith("u") else 0


def _constants(graph: onnx.GraphProto) -> dict[str, Constant]:
    """All constants, those of Constant nodes too, which leave the graph."""
    constants: dict[str, Constant] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = node_attributes(node).get("value")
        if isinstance(value, onnx.TensorProto):
            constants[node.output[0]] = numpy_helper.to_array(value)
            graph.node.remove(node)
    return constants


def _fold_constants(graph: onnx.GraphProto, constants: dict[str, Constant]) -> dict[str, _Integers]:
    """Takes dequantized constants, and what only rearranges them, out of the graph."""
    found: dict[str, _Integers] = {}
    for node in list(graph.node):
        attributes = node_attributes(node)
        source = node.input[0] if node.input else ""
        if node.op_type == "QuantizeLinear" and source in constants:
            constants[node.output[0]] = _quantized(node, constants)
        elif node.op_type == "DequantizeLinear" and source in constants:
            found[node.output[0]] = _dequantized(node, attributes, constants)
        elif node.op_type in ("Reshape", "Transpose", "Identity") and source in found:
            shape = constants[node.input[1]] if node.op_type == "Reshape" else None
            found[node.output[0]] = _rearranged(found[source], node.op_type, attributes, shape)
        else:
            continue
        graph.node.remove(node)
    return found


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


def _rearranged(found: _Integers, operator: str, attributes: Attributes, shape: Constant | None) -> _Integers:
    """The same in another order; its scales keep to theirs, and :func:`_grid_of` finds where they belong."""

    def moved(array: NDArray[Any]) -> NDArray[Any]:
        if operator == "Transpose":
            return array.transpose(attributes.get("perm"))
        return array.reshape([int(size) for size in shape]) if shape is not None else array

    return replace(found, integers=moved(found.integers), each=moved(found.each))


def _check_weights(graph: onnx.GraphProto, dequantized: dict[str, _Integers], file: str) -> None:
    for node in graph.node:
        if node.op_type not in _WEIGHTED or len(node.input) < 2:
            continue
        found = dequantized.get(node.input[1])
        if found is not None and found.zero_point:
            raise SkipstoneError(
                f"{file}: layer '{node.name or node.output[0]}' has asymmetric weights (zero point {found.zero_point}); "
                "the array multiplies by symmetric ones, so quantize weights symmetrically"
            )


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
        kept = first.setdefault(node.input[0], node)
        if kept is node:
            continue
        if node.output[0] in outputs:
            kept, node = node, kept
            first[node.input[0]] = kept
        if node.output[0] not in outputs:
            renamed[node.output[0]] = kept.output[0]
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


def _set_initializers(graph: onnx.GraphProto, constants: dict[str, Constant], made: Iterable[onnx.TensorProto]) -> None:
    """The constants that nodes still read."""
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in made if tensor.name in read]
    known = {tensor.name for tensor in kept}
    old = {tensor.name: tensor for tensor in graph.initializer}
    for name in constants:
        if name in read and name not in known:
            kept.append(old[name] if name in old else numpy_helper.from_array(constants[name], name))
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    names = {tensor.name for tensor in kept}
    inputs = [value for value in graph.input if value.name not in old or value.name in names]
    del graph.input[:]
    graph.input.extend(inputs)


def _grid_of(weights: NDArray[np.float32], found: _Integers, described: dict[str, Any]) -> WeightGrid | None:
    """The grid of ``weights`` with the scales of ``found``, if they lie on it; scales of each group's channels repeat."""
    outputs = len(weights)
    if found.bits > 16 or not found.scale.size or outputs % found.scale.size or not (found.scale > 0).all():
        return None
    scale = np.tile(found.scale, outputs // found.scale.size)
    integers = np.rint(weights / scale.reshape(-1, 1, 1, 1)).astype(np.int64)
    if np.abs(integers).max(initial=0) > 1 << (found.bits - 1):
        return None
    code: WeightCode = described.get("weight_code", "linear")
    grid = WeightGrid(integers, scale, code, int(described.get("weight_bits", found.bits)))
    return grid if np.array_equal(grid.weights, weights) else None


def _copy(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    view = c.view(node)
    c.emit(node, Copy(name=node.output[0], inputs=(view.tensor,)), view.shape, view.index)


def _clip(c: NodeConverter, node: onnx.NodeProto, attributes: Attributes) -> None:
    view = c.view(node)
    if view.tensor in c.layers or view.tensor in c.grids:
        COMPUTING["Clip"](c, node, attributes)
    else:  # The bounds of the input's own integers.
        c.views[node.output[0]] = view
