"""What the figures of an exploration depend on, by content: our own code, the libraries it computes with, networks and data.

An evaluation is stored under a key of all that determines it, so it is taken up again wherever running it would give the same,
and only there. The same digests say whether a worker elsewhere would compute the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

SOURCES = ("hw", "mapper", "models", "flow", "compress", "explore", "errors.py", "toml_files.py", "input_files.py")
"""Packages and modules of ours, code and data, that costs come from. ``toml_files.py`` and ``input_files.py`` read designs,
technologies, recipes and spaces; the classes of ``errors.py`` decide which points are infeasible."""
LIBRARIES = ("numpy", "scipy", "onnx", "onnxruntime", "onnxslim", "networkx")
"""Libraries that quantization, mapping and accuracy are computed with."""
LENGTH = 20


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Names the files of ``SOURCES`` and the versions of ``LIBRARIES`` as they are here."""
    digest = hashlib.sha256(repr([(name, metadata.version(name)) for name in LIBRARIES]).encode())
    root = Path(__file__).parents[1]
    for source in SOURCES:
        place = (root / source).resolve()
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{source}/{path.relative_to(place).as_posix()}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:LENGTH]


def file_digest(path: Path) -> str:
    """Names a file's content: 20 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:LENGTH]


def network_files(path: Path) -> tuple[Path, ...]:
    """An ONNX file and the files beside it that hold its weights."""
    import onnx

    model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    names = {
        entry.value
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return (path, *(path.parent / name for name in sorted(names)))


def content_digest(values: Mapping[str, Any], files: Iterable[Path | None] = ()) -> str:
    """Names values and the content of files.

    Args:
        values: What JSON can say, else its ``repr`` counts.
        files: In their order; None is a file that is left out.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=repr).encode())
    for path in files:
        digest.update(b"none" if path is None else file_digest(path).encode())
    return digest.hexdigest()[:LENGTH]
