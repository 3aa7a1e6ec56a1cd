"""Which ONNX operators can be imported, and how other packages add to them.

Our own operators and those of other packages are in one table, which :func:`register_operator` fills: a decorator of the
function that makes layers of a node. A package that is installed names the module that holds its converters as an entry
point of the group ``skipstone.operators``; the module is imported when the first network is read. The guide is
``docs/tutorials/add-an-operator.md``. Layers can't be added: what an operator becomes are layers that the array has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module, metadata
from typing import TypeVar

import numpy as np
import onnx

from skipstone.errors import SkipstoneError
from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import (
    Constant,
    Converter,
    OnnxNode,
    OperatorKey,
    UnsupportedError,
    node_label,
    operator_name,
)

__all__ = ["ENTRY_POINTS", "OnnxNode", "UnsupportedError", "View", "load_operators", "register_operator"]

ENTRY_POINTS = "skipstone.operators"
"""The group of entry points in which packages name their modules of converters."""
GUIDE = "see 'Add an operator' in the manual"
"""Where messages send those who miss an operator."""
_Function = TypeVar("_Function", bound=Converter)
_ROOM = __name__.rpartition(".")[0]
_OWN_MODULES = ("joins", "operators", "parts", "pointwise", "pools", "rearrange")


@dataclass(frozen=True)
class Operator:
    """An operator that can be imported.

    ``source`` is the module that registered it. ``keeps_shape``: the output has the shape of the first input.
    """

    domain: str
    op_type: str
    convert: Converter
    keeps_shape: bool

    @property
    def source(self) -> str:
        return self.convert.__module__

    @property
    def is_own(self) -> bool:
        """Whether Skipstone itself registers it."""
        return self.source.startswith(f"{_ROOM}.")


_registered: dict[OperatorKey, list[Operator]] = {}
_plugins_loaded: set[tuple[str, str]] = set()


def register_operator(*op_types: str, domain: str = "", keeps_shape: bool = True) -> Callable[[_Function], _Function]:
    """Registers the decorated function as the converter of an ONNX operator.

    Args:
        op_types: The operator's type, or several that the function converts.
        domain: The operator's domain; "" is ONNX's own.
        keeps_shape: Whether the output has the shape of the first input. Only matters for operators of other domains,
            through which ONNX cannot infer shapes.

    Returns:
        The decorator. It leaves the function as it is.

    Raises:
        SkipstoneError: ONNX's own domain has no such operator.

    Example::

        @register_operator("ScaledRelu", domain="MyDomain")
        def scaled_relu(node: OnnxNode) -> View: ...
    """
    domain = "" if domain == "ai.onnx" else domain
    if not op_types:
        raise SkipstoneError("register_operator needs the operator's type")
    for op_type in op_types:
        if not domain and not onnx.defs.has(op_type):
            raise SkipstoneError(f"ONNX has no operator '{op_type}'; register it in a domain of your own")

    def register(convert: _Function) -> _Function:
        for op_type in op_types:
            operator = Operator(domain, op_type, convert, keeps_shape)
            operators = _registered.setdefault((domain, op_type), [])
            # The same function again: a notebook's cell that runs twice, or a package's module at its second try.
            operators[:] = [other for other in operators if not _same_function(other.convert, convert)]
            operators.append(operator)
        return convert

    return register


def load_operators() -> Mapping[OperatorKey, Operator]:
    """All operators that can be imported, those of installed packages too.

    Raises:
        SkipstoneError: A package's module cannot be imported, or an operator is registered twice.
    """
    for module in _OWN_MODULES:
        import_module(f"{_ROOM}.{module}")
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        if (entry_point.name, entry_point.value) not in _plugins_loaded:
            _load_plugin(entry_point)
    for (domain, op_type), operators in _registered.items():
        if len(operators) > 1:
            sources = " and ".join(operator.source for operator in operators)
            raise SkipstoneError(
                f"the operator {operator_name(domain, op_type)} is registered twice, by {sources}; remove one of them"
            )
    return {key: operators[0] for key, operators in _registered.items()}


def converters_of(operators: Mapping[OperatorKey, Operator]) -> dict[OperatorKey, Converter]:
    """The converters. An error in another package's converter names its module."""
    return {key: operator.convert if operator.is_own else _explained(operator) for key, operator in operators.items()}


def _load_plugin(entry_point: metadata.EntryPoint) -> None:
    try:
        entry_point.load()
    except Exception as error:  # Whatever a foreign module raises means the same to the user.
        package = entry_point.dist.name if entry_point.dist is not None else "unknown"
        raise SkipstoneError(
            f"the package '{package}' adds operators to Skipstone ({ENTRY_POINTS}: {entry_point.name} = "
            f"{entry_point.value}), but they can't be loaded: {_described(error)}; mend or uninstall it"
        ) from error
    _plugins_loaded.add((entry_point.name, entry_point.value))


def _explained(operator: Operator) -> Converter:
    name = operator_name(operator.domain, operator.op_type)

    @wraps(operator.convert)
    def convert(node: OnnxNode) -> View | Constant:
        try:
            value: object = operator.convert(node)
        except SkipstoneError:
            raise
        except Exception as error:  # A foreign converter's mistake, whatever it is.
            raise SkipstoneError(
                f"{node_label(node.proto)}: the converter of {name} in {operator.source} failed: {_described(error)}"
            ) from error
        if not isinstance(value, View | np.ndarray):
            raise SkipstoneError(
                f"{node_label(node.proto)}: the converter of {name} in {operator.source} must return a View or an array, "
                f"not {type(value).__name__}"
            )
        return value

    return convert


def _described(error: Exception) -> str:
    return ": ".join(filter(None, (type(error).__name__, (str(error).strip().splitlines() or [""])[0])))


def _same_function(first: Converter, second: Converter) -> bool:
    return (first.__module__, getattr(first, "__qualname__", "")) == (
        second.__module__,
        getattr(second, "__qualname__", ""),
    )
