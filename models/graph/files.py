"""A float graph as bytes and back, bit for bit: what an interrupted compression goes on from.

ONNX can't hold it: it knows neither fixed grids nor all of our layers. The bytes are an ``.npz`` archive of the
arrays and a JSON description of the layers, which names nothing but the data classes of ``skipstone.models.graph.graph`` and
``skipstone.models.graph.function``: reading it runs no code of the file's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph import ends, function, graph, grids, layers
from skipstone.models.graph.graph import Graph

VERSION = 2
DESCRIPTION = "graph"
"""The archive's array with the JSON text; the others are called by their numbers."""

_CLASSES: dict[str, type] = {
    name: kind
    for module in (graph, layers, ends, grids, function)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
}
_DAMAGE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, RecursionError, MemoryError, OSError,
    EOFError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What NumPy, JSON and the data classes say of bytes that are no graph."""


def pack_graph(source: Graph) -> bytes:
    """``source`` as bytes; equal graphs give equal bytes, in every run. (Arrays come back in C order, whatever they were in.)

    Raises SkipstoneError for what a graph should not hold (objects of other classes, arrays of objects).
    """
    arrays: list[NDArray[np.generic]] = []
    text = json.dumps({"version": VERSION, "graph": _described(source, arrays)}, allow_nan=False)
    packed = io.BytesIO()
    description = np.frombuffer(text.encode(), np.uint8)
    numbered = {str(index): array for index, array in enumerate(arrays)}
    np.savez(packed, allow_pickle=False, **{DESCRIPTION: description, **numbered})
    return packed.getvalue()


def unpack_graph(content: bytes) -> Graph:
    """The graph that :func:`pack_graph` packed. Raises SkipstoneError for any other bytes, whatever they hold."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            description = json.loads(archive[DESCRIPTION].tobytes())
            if description["version"] != VERSION:
                raise SkipstoneError(
                    f"its format is version {description['version']}, this Skipstone reads version {VERSION}"
                )
            restored = _restored(description["graph"], archive)
    except SkipstoneError as error:
        raise SkipstoneError(f"can't read the stored network: {error}") from None
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise SkipstoneError(f"can't read the stored network, it is damaged ({reason})") from None
    if not isinstance(restored, Graph):
        raise SkipstoneError(f"can't read the stored network: it holds a {type(restored).__name__}")
    return restored


def graph_fingerprint(source: Graph) -> str:
    """SHA-256 of the packed graph: graphs of one fingerprint are equal in everything, to the bit."""
    return hashlib.sha256(pack_graph(source)).hexdigest()


def _described(value: object, arrays: list[NDArray[np.generic]]) -> Any:
    """``value`` as JSON: numbers, strings, None and (as lists) tuples for themselves, all else as an object that says what
    it is. Arrays are put into ``arrays``."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return _described(value.item(), arrays)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, tuple | list):
        return [_described(item, arrays) for item in value]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        arrays.append(np.asarray(value, order="C"))
        return {"array": str(len(arrays) - 1)}
    if isinstance(value, Mapping):
        return {"mapping": [[_described(key, arrays), _described(item, arrays)] for key, item in value.items()]}
    if dataclasses.is_dataclass(value) and _CLASSES.get(type(value).__name__) is type(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return {"class": type(value).__name__, **{name: _described(item, arrays) for name, item in fields.items()}}
    raise SkipstoneError(f"can't store a network that holds {value!r} ({type(value).__name__})")


def _restored(value: Any, arrays: Mapping[str, NDArray[np.generic]]) -> Any:
    """The inverse of ``_described``."""
    if isinstance(value, list):
        return tuple(_restored(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if "class" in value:
        kind = _CLASSES[value["class"]]
        return kind(**{name: _restored(item, arrays) for name, item in value.items() if name != "class"})
    ((tag, content),) = value.items()
    if tag == "array":
        return arrays[content]
    if tag == "float":
        return float(content)
    if tag == "bytes":
        return bytes.fromhex(content)
    if tag == "mapping":
        return {_restored(key, arrays): _restored(item, arrays) for key, item in content}
    raise SkipstoneError(f"it holds a '{tag}', which this Skipstone does not know")
