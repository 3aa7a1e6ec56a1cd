"""Reads a trained network from an ONNX file into a :class:`skipstone.models.graph.graph.Graph`.

``onnxslim`` first folds constants and shapes, :mod:`skipstone.models.onnx_io.pointwise` folds pointwise functions; then
:mod:`skipstone.models.onnx_io.nodes` converts node by node, with the converters of :mod:`skipstone.models.onnx_io.registry`.
A single error names everything that the array can't do; nothing is dropped silently. The integers and grids of a quantized
network stay (:mod:`skipstone.models.onnx_io.qdq_import`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images
from skipstone.models.data.zoo import find
from skipstone.models.graph.ends import Arrangement, End, Ends
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Affine, Conv, Shape
from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.ends import ends_of_outputs, file_view, input_view
from skipstone.models.onnx_io.entry import Entry, fix_input
from skipstone.models.onnx_io.nodes import Conversion, OperatorKey, node_label, operator_key, operator_name, readable
from skipstone.models.onnx_io.onnx_file import check_sizes, first_line, read_onnx
from skipstone.models.onnx_io.pointwise import fold_pointwise
from skipstone.models.onnx_io.qdq_import import Stored, holds_qdq, unwrap
from skipstone.models.onnx_io.registry import GUIDE, Operator, converters_of, load_operators
from skipstone.models.onnx_io.source import (
    FLOAT_TOLERANCE,
    HALF_TOLERANCE,
    QUANTIZED_TOLERANCE,
    Array,
    Source,
    prove,
)

_log = logging.getLogger(__name__)

_ORT_QUANTIZED = ("com.microsoft.Q", "com.microsoft.DequantizeLinear", "QLinear", "ConvInteger", "MatMulInteger")
"""How the labels of quantized operators begin that are not of the QDQ form."""

OUR_FUSIONS = [
    f"Fusion{operator}{absorbed}" for operator in ("Conv", "ConvTranspose") for absorbed in ("Add", "BN", "Mul")
]
"""Fusions of onnxslim that are left out, since converters absorb these operators: onnxslim does not check along which axis a
constant lies."""


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network that was read.

    Attributes:
        graph: The network, with the grids of a file that is quantized.
        source: The file in ONNX Runtime.
        views: What the file's tensors are in the graph.
    """

    graph: Graph
    source: Source
    views: Mapping[str, View]

    def prove(self, images: Images, results: Mapping[str, Array] | None = None) -> None:
        """Runs the file and the graph on images.

        Args:
            images: N x channels x height x width.
            results: What the file makes of them, by its outputs' names; left out, it runs.

        Raises:
            SkipstoneError: They differ by more than rounding, see :func:`skipstone.models.onnx_io.source.prove`.
        """
        if self.source.is_runnable:
            prove(self.source, self.graph, self.views, images, results or self.source.run(images))


def load(path_or_name: str | Path, input_shape: tuple[int, ...] | None = None) -> Graph:
    """Reads a network; see :func:`read_network`."""
    return read_network(path_or_name, input_shape).graph


def read_network(path_or_name: str | Path, input_shape: tuple[int, ...] | None = None) -> ImportedNetwork:
    """Reads a network, and proves on random input that the graph computes what the file does.

    Where a layer says what are channels, height and width, the input is that, however the file rearranges it before. Else a 4-D
    input is 1 x channels x height x width. A 3-D input 1 x N x K becomes (K, 1, N), its rows being pixels; so does a 2-D
    input if ``input_shape`` says N x K, else it is a batch of vectors. A fixed batch becomes one. :attr:`Graph.ends` has the
    file's own input and outputs.

    Args:
        path_or_name: An ONNX file, or the name of a carried network.
        input_shape: ONNX's shape of the input, with or without the batch of 1; fixes dynamic dimensions.

    Returns:
        The network with its file.

    Raises:
        SkipstoneError: The file can't be read or run, or the network can't be imported (all reasons in one message), or the
            import is wrong.
    """
    path = find(path_or_name)
    operators = load_operators()
    original = read_onnx(path)
    undefined = [node_label(node) for node in original.graph.node if _is_undefined(node, operators)]
    model = onnx.ModelProto.FromString(original.SerializeToString())
    try:
        entry = fix_input(model, path, input_shape)
        model = _checked(model, path, operators)
        source = _source(original, path, operators, entry)
        images = _random_images(source.input_view.shape)
        results, failure = _run(source, images)
        stored, conversion = _converted(model, path, operators, entry, failure)
    except SkipstoneError:
        # Behind an operator that nobody defines nothing is certain: what was met there may be no fault at all.
        _refuse(path, undefined)
        raise
    _refuse(path, [*(label for label in undefined if label not in conversion.unsupported), *conversion.unsupported])
    if failure is not None:
        raise failure
    output_names = [output.name for output in original.graph.output]
    outputs, output_ends = ends_of_outputs(output_names, conversion.views, path.name)
    view = conversion.views[entry.name]
    if set(outputs) == {view.tensor}:
        raise SkipstoneError(f"{path.name}: its outputs are its input; there is no layer that the array computes")
    name = original.graph.name if stored.ours else path.stem
    seen = Arrangement.of_index(view.index)
    ends = Ends(End(entry.name, seen), output_ends)
    graph = Graph(name, view.tensor, view.shape, tuple(conversion.layers.values()), outputs, file_ends=ends)
    _check_finite(graph)
    graph = stored.attach(graph, conversion)
    _log.info("%s: %d nodes became %d layers", path.name, len(original.graph.node), len(graph.layers))
    source = replace(source, input_view=view, tolerance=QUANTIZED_TOLERANCE if stored.quantized else source.tolerance)
    images = seen.from_file(images).reshape(len(images), *view.shape)
    network = ImportedNetwork(graph, source, conversion.views)
    network.prove(images, results)
    return network


def _source(original: onnx.ModelProto, path: Path, operators: Mapping[OperatorKey, Operator], entry: Entry) -> Source:
    """The file for ONNX Runtime; ``original`` becomes its own, and loses the names of its nodes."""
    foreign = sorted({operator_name(*key) for key in map(operator_key, original.graph.node) if key[0]})
    if foreign:
        _log.warning("%s: ONNX Runtime does not know %s, so the import is not proven", path.name, ", ".join(foreign))
    others = [operators[key] for key in dict.fromkeys(map(operator_key, original.graph.node)) if key in operators]
    plugins = [f"{operator.op_type} in {operator.source}" for operator in others if not operator.is_own]
    if plugins:
        hint = f"check the converter of {' and of '.join(plugins)}"
    elif entry.batch > 1:
        hint = f"input '{entry.name}' was taken as a batch of {entry.batch}: ask for its own shape if its rows belong together"
    else:
        hint = "this is a fault of the import, please report it with the file"
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in original.graph.initializer) or any(
        node.op_type == "Cast" and attribute.i in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        for node in original.graph.node
        for attribute in node.attribute
    )
    tolerance = HALF_TOLERANCE if halves else FLOAT_TOLERANCE
    for node in original.graph.node:
        node.ClearField("name")
    return Source(
        path.name, original, entry.name, file_view(entry.name, entry.sizes), entry.batch, tolerance, not foreign, hint
    )


def _random_images(shape: Shape) -> Images:
    """Two images: values as those of pictures, and values of both signs."""
    low = np.array([0.0, -1.0]).reshape(2, 1, 1, 1)
    return np.random.default_rng(0).uniform(low, 1.0, (2, *shape)).astype(np.float32)


def _run(source: Source, images: Images) -> tuple[Mapping[str, Array], SkipstoneError | None]:
    """What the file makes of images, or why ONNX Runtime can't run it."""
    try:
        return source.run(images) if source.is_runnable else {}, None
    except SkipstoneError as error:
        return {}, error


def _converted(
    model: onnx.ModelProto,
    path: Path,
    operators: Mapping[OperatorKey, Operator],
    entry: Entry,
    failure: SkipstoneError | None,
) -> tuple[Stored, Conversion]:
    """What the file stores beside its float network, and all of its nodes converted.

    Where ONNX Runtime can't run the file, which is ``failure``, the nodes may be anything; that is then the error.
    """
    try:
        return _converted_nodes(model, path, operators, entry)
    except Exception:
        if failure is None:
            raise
        raise failure from None


def _converted_nodes(
    model: onnx.ModelProto, path: Path, operators: Mapping[OperatorKey, Operator], entry: Entry
) -> tuple[Stored, Conversion]:
    stored = unwrap(model, path.name)
    if stored.quantized:
        model = _checked(model, path, operators)
    # Our own quantized files have nothing to simplify, and their names must stay.
    model = model if stored.ours else _slim(model, path)
    tensor = stored.metadata.get("input") or (entry.name if stored.ours or readable(entry.name) else "input")
    view = input_view(model, entry.name, entry.sizes, tensor, converters_of(operators), stored.ours)
    converters = {**converters_of(operators), **fold_pointwise(model), **stored.converters}
    conversion = Conversion(model, entry.name, view, converters, stored.ours)
    for node in model.graph.node:
        conversion.convert(node)
    return stored, conversion


def is_quantized(path_or_name: str | Path) -> bool:
    """Whether a network's file is quantized, in QDQ form."""
    return holds_qdq(read_onnx(find(path_or_name)))


def _is_undefined(node: onnx.NodeProto, operators: Mapping[OperatorKey, Operator]) -> bool:
    """Whether neither ONNX nor anybody else defines the node's operator."""
    domain, op_type = operator_key(node)
    return (domain, op_type) not in operators and (bool(domain) or not onnx.defs.has(op_type))


def _refuse(path: Path, unsupported: list[str]) -> None:
    if any(label.startswith(_ORT_QUANTIZED) for label in unsupported):
        raise SkipstoneError(
            f"{path.name}: it is quantized with operators of ONNX Runtime's own ({', '.join(unsupported)}); quantize the float "
            "network in QDQ form with ONNX's operators: quantize_static(..., quant_format=QuantFormat.QDQ), without "
            "UseQDQContribOps, from opset 21 on for other integers than of 8 bits"
        )
    if unsupported:
        raise SkipstoneError(
            f"{path.name}: the array can't do {', '.join(unsupported)}; cut the network before them, replace them by "
            f"supported operators, or say what they become ({GUIDE})"
        )


def _checked(model: onnx.ModelProto, path: Path, operators: Mapping[OperatorKey, Operator]) -> onnx.ModelProto:
    """The model with the shapes of its tensors."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    # ONNX knows nothing of other domains' operators, so one that keeps its input's shape is an Identity as long as shapes
    # are inferred. One that nobody defines is taken for such, and is no matter for the checker.
    for node in model.graph.node:
        operator = operators.get(operator_key(node))
        keeps_shape = operator is not None and operator.domain and operator.keeps_shape
        if keeps_shape or _is_undefined(node, operators):
            node.CopyFrom(onnx.helper.make_node("Identity", node.input[:1], node.output[:1]))
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for node, original in zip(model.graph.node, nodes, strict=True):
            if not _is_undefined(original, operators):
                node.CopyFrom(original)
        onnx.checker.check_model(model)
        for node, original in zip(model.graph.node, nodes, strict=True):
            node.CopyFrom(original)
    except Exception as error:  # Inference and checker raise errors of several kinds, their own and Python's.
        raise SkipstoneError(f"{path.name} is not a valid ONNX network ({first_line(error)})") from None
    check_sizes(model, path)
    return model


def _spread_pads(model: onnx.ModelProto) -> None:
    """States the sizes of every Pad for all axes, in place, as before opset 18: onnxslim takes them for that."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.value_info)}
    for node in graph.node:
        if node.op_type != "Pad" or len(node.input) < 4 or node.input[0] not in ranks:
            continue
        if node.input[1] in constants and node.input[3] in constants:
            axes = numpy_helper.to_array(constants[node.input[3]]).astype(np.int64)
            pads = np.zeros((2, ranks[node.input[0]]), np.int64)
            pads[:, axes] = numpy_helper.to_array(constants[node.input[1]]).reshape(2, -1)
            name = f"{node.output[0]}, pads of all axes"
            graph.initializer.append(numpy_helper.from_array(pads.ravel(), name))
            node.input[:] = [node.input[0], name, *node.input[2:3]]


def _slim(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    import onnxslim

    _spread_pads(model)
    try:
        simplified: onnx.ModelProto = onnxslim.slim(model, skip_fusion_patterns=OUR_FUSIONS)
    except Exception as error:  # Any failure of a foreign pass means the same to the user.
        raise SkipstoneError(f"{path.name}: onnxslim can't simplify it ({first_line(error)})") from error
    return simplified


def _check_finite(graph: Graph) -> None:
    for layer in graph.layers:
        if isinstance(layer, Conv):
            arrays = {"weights": layer.weights, "bias": layer.bias}
        elif isinstance(layer, Affine):
            arrays = {"scale": layer.scale, "bias": layer.bias}
        else:
            continue
        for what, array in arrays.items():
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                raise SkipstoneError(
                    f"layer '{layer.name}': {bad} of its {array.size} {what} values are NaN or infinite; "
                    "the file is damaged or training diverged"
                )
