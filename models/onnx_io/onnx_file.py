"""Reads an ONNX file and checks its structure once, so that everything behind works on checked types, names and sizes.

What is checked: texts are UTF-8, enumerations have values, tensors are as long as their shapes say, every name that a node reads
is made before, attributes and numbers of inputs are those of the operator, versions are ones that ONNX Runtime has, and no
tensor is larger than ``MAX_ELEMENTS``. Nodes that are out of order are put in order.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import onnx
import onnx.inliner
import onnx.version_converter
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from skipstone.errors import SkipstoneError

_log = logging.getLogger(__name__)

MAX_ELEMENTS = 1 << 26
"""Elements of the largest tensor that is read: far more than any array's memory, and little enough to be handled at once."""
WINDOWS = ("kernel_shape", "strides", "dilations", "pads", "output_padding")
"""Attributes of a window that slides over an image."""
OLDEST_OPSET = 7
"""The oldest version of ONNX's operators that ONNX Runtime promises to run."""
CONVERTED_OPSET = 13
"""The version that older files are converted to."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """Reads a file, external data with it, and checks its structure.

    Args:
        path: The file.

    Returns:
        The model, its nodes in order, of opset 7 or newer.

    Raises:
        SkipstoneError: The file can't be read, or is damaged; the message says where.
    """
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise SkipstoneError(f"{path} is not an ONNX file, or it is truncated ({first_line(error)})") from None
    except OSError as error:
        raise SkipstoneError(f"can't read {path}: {error.strerror}") from None
    if not model.graph.node:
        raise SkipstoneError(f"{path} is not an ONNX file, or it is truncated (it holds no nodes)")
    model = _inlined(model, path)
    _check_texts(model, path)
    _check_constructs(model, path)
    _load_external_data(model, path)
    _check_tensors(model, path)
    _check_opsets(model, path)
    _sort(model, path)
    return _modern(model, path)


def check_model(model: onnx.ModelProto, path: Path) -> None:
    """Has ONNX check every node against its operator.

    Raises:
        SkipstoneError: Something is not as ONNX defines it.
    """
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # The checker raises errors of several kinds, its own and Python's.
        raise SkipstoneError(f"{path.name} is not a valid ONNX network ({first_line(error)})") from None


def check_sizes(model: onnx.ModelProto, path: Path) -> None:
    """Refuses tensors, whose shapes are inferred, that are empty or too large to be handled.

    Raises:
        SkipstoneError: Names the first such tensor.
    """
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    activations = {value.name for value in graph.input} - initializers
    for node in graph.node:
        if not activations.isdisjoint(node.input):
            activations.update(node.output)
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        if 0 in sizes and value.name in activations:
            raise SkipstoneError(f"{path.name}: the tensor '{value.name}' is empty, {_shown(sizes)}")
        if math.prod(sizes) > MAX_ELEMENTS:
            raise SkipstoneError(
                f"{path.name}: the tensor '{value.name}' has {_shown(sizes)} elements; at most {MAX_ELEMENTS:,} can be "
                "handled, so make the input smaller",
                parameter="input_shape",
            )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _shown(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))


# What the file says --------------------------------------------------------------------------------------------------


def _check_texts(model: onnx.ModelProto, path: Path) -> None:
    """Texts must be UTF-8 and enumerations must have values; nothing outside a function refers to a function's attribute."""
    for place, message, field, value in _fields(model, "model"):
        if field.type == FieldDescriptor.TYPE_STRING and not _is_text(value):
            raise SkipstoneError(f"{path.name} is damaged: {place}.{field.name} is not UTF-8 text")
        if field.type == FieldDescriptor.TYPE_ENUM and value not in field.enum_type.values_by_number:
            raise SkipstoneError(f"{path.name} is damaged: {place}.{field.name} is {value}, which ONNX does not define")
        if isinstance(message, AttributeProto) and field.name == "ref_attr_name":
            raise SkipstoneError(
                f"{path.name}: {place} refers to the attribute '{value}' of a function, but stands in no function"
            )


def _fields(message: Message, place: str) -> Iterator[tuple[str, Message, Any, Any]]:
    """Every text and enumeration of a message and the messages in it: where, its message, its field, its value."""
    for field, value in message.ListFields():
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_ENUM, FieldDescriptor.TYPE_MESSAGE):
            continue
        repeated = not isinstance(value, str | bytes | int | Message)
        for number, item in enumerate(value) if repeated else [(0, value)]:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                name = getattr(item, "name", "")
                label = f"{field.name} '{name}'" if isinstance(name, str) and name else f"{field.name} {number}"
                yield from _fields(item, label if place == "model" else f"{place}.{label}")
            else:
                yield place, message, field, item


def _inlined(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model with the functions that it defines put in the places where they are called."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # The inliner raises errors of several kinds.
        raise SkipstoneError(
            f"{path.name}: the functions that it defines can't be put in place ({first_line(error)})"
        ) from None


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_constructs(model: onnx.ModelProto, path: Path) -> None:
    """Refuses constructs of ONNX that are not read, and nodes without an output."""
    if model.graph.sparse_initializer:
        names = ", ".join(f"'{sparse.values.name}'" for sparse in model.graph.sparse_initializer)
        raise SkipstoneError(
            f"{path.name}: its weights {names} are sparse tensors (sparse_initializer); store them as plain initializers"
        )
    for node in model.graph.node:
        if not node.op_type:
            raise SkipstoneError(f"{path.name} is damaged: node '{node.name}' has no operator")
        if not any(node.output):
            raise SkipstoneError(f"{path.name} is damaged: {node.op_type} (node '{node.name}') has no output")
        if node.op_type == "BatchNormalization" and any(a.name == "spatial" and a.i == 0 for a in node.attribute):
            raise SkipstoneError(
                f"{path.name}: BatchNormalization (node '{node.name or node.output[0]}') has spatial=0, values for each pixel; "
                "export it with values for each channel"
            )

    # Weights -------------------------------------------------------------------------------------------------------------
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in WINDOWS and any(abs(step) > MAX_ELEMENTS for step in attribute.ints):
                raise SkipstoneError(
                    f"{path.name}: {node.op_type} '{node.name or node.output[0]}' has {attribute.name} "
                    f"{', '.join(map(str, attribute.ints[:8]))}; at most {MAX_ELEMENTS:,} can be read"
                )


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            if not (path.parent / location).is_file():
                raise SkipstoneError(
                    f"{path}: the weights '{tensor.name}' are in the file '{location}', which is missing beside it"
                )
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # ONNX raises errors of several kinds for what it finds there.
        raise SkipstoneError(f"{path}: can't read its weights ({first_line(error)}); is a file truncated?") from None


def _check_tensors(model: onnx.ModelProto, path: Path) -> None:
    attributes = (attribute for node in model.graph.node for attribute in node.attribute)
    constants = (tensor for attribute in attributes for tensor in (attribute.t, *attribute.tensors) if _is_set(tensor))
    for tensor in (*model.graph.initializer, *constants):
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > MAX_ELEMENTS * 8:
            raise SkipstoneError(
                f"{path.name} is damaged: the weights '{tensor.name}' have the shape {_shown(tensor.dims)}"
            )
        try:
            numpy_helper.to_array(tensor)
        except Exception as error:  # Whatever is wrong with it: its type, its length, its values.
            raise SkipstoneError(
                f"{path}: can't read its weights '{tensor.name}' ({first_line(error)}); is a file truncated?"
            ) from None


def _is_set(tensor: TensorProto) -> bool:
    return bool(tensor.ListFields())


# Versions ------------------------------------------------------------------------------------------------------------


def _check_opsets(model: onnx.ModelProto, path: Path) -> None:
    versions = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    newest = onnx.defs.onnx_opset_version()
    if len(versions) > 1 or not model.opset_import:
        shown = " and ".join(map(str, sorted(versions))) or "no version"
        raise SkipstoneError(f"{path.name} is damaged: it asks for {shown} of ONNX's operators (opset_import)")
    for version in versions:
        if not 1 <= version <= newest:
            raise SkipstoneError(
                f"{path.name}: it is of opset {version}; opsets up to {newest} can be read, so export it with a lower one"
            )


def _modern(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model, converted where its operators are older than those that ONNX Runtime runs."""
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OLDEST_OPSET)
    if version >= OLDEST_OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, CONVERTED_OPSET)
    except Exception as error:  # The converter raises errors of several kinds.
        raise SkipstoneError(
            f"{path.name}: it is of opset {version}, and converting it to opset {CONVERTED_OPSET} fails "
            f"({first_line(error)}); export it with opset {CONVERTED_OPSET}"
        ) from None
    _log.warning("%s: opset %d is converted to opset %d", path.name, version, CONVERTED_OPSET)
    return converted


# Order ---------------------------------------------------------------------------------------------------------------


def _sort(model: onnx.ModelProto, path: Path) -> None:
    """Puts nodes after what they read, in place, where they are not."""
    graph = model.graph
    made = {"", *(tensor.name for tensor in graph.initializer), *(value.name for value in graph.input)}
    makers: dict[str, int] = {}
    for number, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in makers or name in made:
                raise SkipstoneError(f"{path.name} is damaged: the tensor '{name}' is made twice")
            makers[name] = number
    for number, node in enumerate(graph.node):
        for name in _names_read(node):
            if name not in made and name not in makers:
                raise SkipstoneError(
                    f"{path.name} is damaged: {node.op_type} (node '{node.name or number}') reads '{name}', which nothing makes"
                )
    for value in graph.output:
        if value.name not in made and value.name not in makers:
            raise SkipstoneError(f"{path.name} is damaged: nothing makes its output '{value.name}'")
    edges = [
        (makers[name], number) for number, node in enumerate(graph.node) for name in _names_read(node) if name in makers
    ]
    if all(before < after for before, after in edges):
        return
    order: nx.DiGraph[int] = nx.DiGraph(edges)
    order.add_nodes_from(range(len(graph.node)))
    try:
        sequence = list(nx.lexicographical_topological_sort(order))
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(f"'{graph.node[before].output[0]}'" for before, _ in nx.find_cycle(order))
        raise SkipstoneError(f"{path.name} is damaged: its nodes read each other in a circle, {cycle}") from None
    nodes = [graph.node[number] for number in sequence]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _names_read(node: NodeProto) -> Iterator[str]:
    """The tensors that a node reads, those of its inner graphs that come from outside with them."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            local = {tensor.name for tensor in inner.initializer} | {value.name for value in inner.input}
            local |= {name for child in inner.node for name in child.output}
            yield from (name for child in inner.node for name in _names_read(child) if name not in local)
