"""Reads a trained network from an ONNX file into a :class:`skipstone.models.graph.graph.Graph`.

``onnxslim`` first folds constants and shapes, :mod:`skipstone.models.onnx_io.pointwise` folds pointwise functions; then
:mod:`skipstone.models.onnx_io.nodes` converts node by node, with the converters of :mod:`skipstone.models.onnx_io.registry`.
A single error names everything that the array can't do; nothing is dropped silently. The integers and grids of a quantized
network stay (:mod:`skipstone.models.onnx_io.qdq_import`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from skipstone.errors import SkipstoneError
from skipstone.models.data.zoo import find
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Affine, Conv, Shape
from skipstone.models.onnx_io.arrangement import View, image_index, rows_index
from skipstone.models.onnx_io.nodes import Conversion, OperatorKey, node_label, operator_key, readable
from skipstone.models.onnx_io.pointwise import fold_pointwise
from skipstone.models.onnx_io.qdq_import import Stored, holds_qdq, unwrap
from skipstone.models.onnx_io.registry import GUIDE, Operator, converters_of, load_operators

_log = logging.getLogger(__name__)


def load(path_or_name: str | Path, input_shape: tuple[int, ...] | None = None) -> Graph:
    """Reads a network.

    A 4-D input is 1 x channels x height x width. A 2-D input 1 x K becomes (K, 1, 1), and N x K with fixed N becomes
    (K, 1, N), its rows being pixels; 3-D 1 x N x K likewise.

    Args:
        path_or_name: An ONNX file, or the name of a carried network.
        input_shape: ONNX's shape of the input, with or without the batch of 1; fixes dynamic dimensions.

    Returns:
        The network, with the grids of a file that is quantized.

    Raises:
        SkipstoneError: The file can't be read, or the network can't be imported: all reasons in one message.
    """
    path = find(path_or_name)
    operators = load_operators()
    model = _read(path)
    undefined = [node_label(node) for node in model.graph.node if _is_undefined(node, operators)]
    try:
        model, view, stored, conversion = _converted(model, path, operators, input_shape)
    except SkipstoneError:
        # Behind an operator that nobody defines nothing is certain: what was met there may be no fault at all.
        _refuse(path, undefined)
        raise
    _refuse(path, [*(label for label in undefined if label not in conversion.unsupported), *conversion.unsupported])
    outputs = []
    for output in model.graph.output:
        if output.name not in conversion.views:
            raise SkipstoneError(f"{path.name}: output '{output.name}' does not depend on the input")
        outputs.append(conversion.views[output.name].tensor)
    name = model.graph.name if stored.ours else path.stem
    graph = Graph(name, view.tensor, view.shape, tuple(conversion.layers.values()), tuple(dict.fromkeys(outputs)))
    _check_finite(graph)
    graph = stored.attach(graph, conversion)
    _log.info("%s: %d nodes became %d layers", path.name, len(model.graph.node), len(graph.layers))
    return graph


def _converted(
    model: onnx.ModelProto,
    path: Path,
    operators: Mapping[OperatorKey, Operator],
    input_shape: tuple[int, ...] | None,
) -> tuple[onnx.ModelProto, View, Stored, Conversion]:
    """The simplified model, its input, what its file stores beside the float network, and all its nodes converted."""
    input_name, sizes = _fix_input(model, path, input_shape)
    stored = unwrap(model, path.name)
    model = _checked(model, path, operators)
    # Our own quantized files have nothing to simplify, and their names must stay.
    model = model if stored.ours else _slim(model, path)
    view = _input_view(input_name, sizes, stored.ours)
    converters = {**converters_of(operators), **fold_pointwise(model), **stored.converters}
    conversion = Conversion(model, input_name, view, converters, stored.ours)
    for node in model.graph.node:
        conversion.convert(node)
    return model, view, stored, conversion


def is_quantized(path_or_name: str | Path) -> bool:
    """Whether a network's file is quantized, in QDQ form."""
    return holds_qdq(_read(find(path_or_name)))


def _read(path: Path) -> onnx.ModelProto:
    """The parsed file, external data loaded."""
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise SkipstoneError(f"{path} is not an ONNX file, or it is truncated ({_first_line(error)})") from None
    except OSError as error:
        raise SkipstoneError(f"can't read {path}: {error.strerror}") from None
    if not model.graph.node:
        raise SkipstoneError(f"{path} is not an ONNX file, or it is truncated (it holds no nodes)")
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            if not (path.parent / location).is_file():
                raise SkipstoneError(
                    f"{path}: the weights '{tensor.name}' are in the file '{location}', which is missing beside it"
                )
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        for tensor in model.graph.initializer:
            onnx.numpy_helper.to_array(tensor)
    except (ValueError, OSError, onnx.checker.ValidationError) as error:
        raise SkipstoneError(f"{path}: can't read its weights ({_first_line(error)}); is a file truncated?") from None
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _is_undefined(node: onnx.NodeProto, operators: Mapping[OperatorKey, Operator]) -> bool:
    """Whether neither ONNX nor anybody else defines the node's operator."""
    domain, op_type = operator_key(node)
    return (domain, op_type) not in operators and (bool(domain) or not onnx.defs.has(op_type))


def _refuse(path: Path, unsupported: list[str]) -> None:
    if unsupported:
        raise SkipstoneError(
            f"{path.name}: the array can't do {', '.join(unsupported)}; cut the network before them, replace them by "
            f"supported operators, or say what they become ({GUIDE})"
        )


def _fix_input(model: onnx.ModelProto, path: Path, input_shape: tuple[int, ...] | None) -> tuple[str, tuple[int, ...]]:
    """Gives the only input fixed sizes, in place; returns its name and sizes."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs) or "none"
        raise SkipstoneError(f"{path.name}: a network must have one input, this one has {len(inputs)} ({names})")
    tensor_type = inputs[0].type.tensor_type
    name, rank = inputs[0].name, len(tensor_type.shape.dim)
    if tensor_type.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        kind = TensorProto.DataType.Name(tensor_type.elem_type)
        raise SkipstoneError(f"{path.name}: input '{name}' is {kind}; export the network with a float input")
    if rank not in (2, 3, 4):
        raise SkipstoneError(f"{path.name}: input '{name}' has {rank} axes; 2 to 4 are supported")
    # Some exporters write -1 for a dimension that they leave open.
    sizes = [max(0, dim.dim_value) for dim in tensor_type.shape.dim]
    shown = "x".join(str(dim.dim_value) if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor_type.shape.dim)
    if input_shape is not None:
        fixed = (1, *input_shape) if len(input_shape) == rank - 1 else tuple(input_shape)
        fits = len(fixed) == rank and all(f > 0 and s in (0, f) for f, s in zip(fixed, sizes, strict=False))
        if not fits:
            text = "x".join(map(str, input_shape))
            raise SkipstoneError(f"{path.name}: input shape {text} does not fit input '{name}', which is {shown}")
        sizes = list(fixed)
    if sizes[0] == 0:
        sizes[0] = 1
    if 0 in sizes:
        raise SkipstoneError(
            f"{path.name}: input '{name}' has dynamic dimensions, {shown}; say its shape", parameter="input_shape"
        )
    if rank > 2 and sizes[0] != 1:
        raise SkipstoneError(
            f"{path.name}: input '{name}' has a fixed batch of {sizes[0]}; export the network with batch 1"
        )
    for dim, size in zip(tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = size
    # Shapes recorded in the file may contradict the ones just fixed; they are inferred anew.
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()
    return name, tuple(sizes)


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
    except onnx.shape_inference.InferenceError as error:
        raise SkipstoneError(f"{path.name}: its shapes don't fit together ({_first_line(error)})") from None
    except onnx.checker.ValidationError as error:
        raise SkipstoneError(f"{path.name} is not a valid ONNX network ({_first_line(error)})") from None
    return model


def _slim(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    import onnxslim

    try:
        simplified: onnx.ModelProto = onnxslim.slim(model)
    except Exception as error:  # Any failure of a foreign pass means the same to the user.
        raise SkipstoneError(f"{path.name}: onnxslim can't simplify it ({_first_line(error)})") from error
    return simplified


def _input_view(onnx_name: str, sizes: tuple[int, ...], named: bool) -> View:
    name = onnx_name if named or readable(onnx_name) else "input"
    if len(sizes) == 4:
        shape: Shape = (sizes[1], sizes[2], sizes[3])
        return View(name, shape, image_index(shape), exclusive=False)
    rows, channels = sizes[-2], sizes[-1]
    return View(name, (channels, 1, rows), rows_index(sizes[:-1], channels), exclusive=False)


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
