"""Opens a model as users do: ONNX's checker, and ONNX Runtime at every graph optimization level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[np.generic]

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


def open_at_all_levels(model: onnx.ModelProto | Path) -> dict[str, onnxruntime.InferenceSession]:
    """A session at every level, after ONNX's full check and one for unique names."""
    proto = onnx.load(model) if isinstance(model, Path) else model
    onnx.checker.check_model(proto, full_check=True)
    graph = proto.graph
    nodes = [node.name for node in graph.node if node.name]
    assert len(nodes) == len(set(nodes)), "two nodes of one name"
    values = [*(i.name for i in graph.initializer), *(name for node in graph.node for name in node.output if name)]
    assert len(values) == len(set(values)), "two tensors of one name"
    sessions = {}
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        content = str(model) if isinstance(model, Path) else proto.SerializeToString()
        sessions[level] = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return sessions


def run_at_all_levels(model: onnx.ModelProto | Path, x: Array) -> dict[str, list[Array]]:
    """The outputs for ``x`` at every level."""
    return {
        level: session.run(None, {session.get_inputs()[0].name: x})
        for level, session in open_at_all_levels(model).items()
    }


def open_files(folder: Path) -> list[str]:
    """Opens every ONNX file in ``folder`` and below at all levels; their paths in it."""
    paths = sorted(folder.rglob("*.onnx"))
    for path in paths:
        open_at_all_levels(path)
    return [path.relative_to(folder).as_posix() for path in paths]


def ends_of(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    return inputs, [value.name for value in model.graph.output]
