"""The float network written back to ONNX: any batch, all tensors, against NumPy on values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import onnx

from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, Affine, AveragePool, ClampLayer, MaxPool, Softmax
from skipstone.models.graph.onnx_writer import IR_VERSION, OPSET
from skipstone.models.graph.to_onnx import to_onnx
from tests.models.builders import conv_layer, graph_of


def everything() -> Graph:
    return graph_of(
        conv_layer("c", "x", (2, 1, 1, 1), clamp=(0.0, math.inf)),
        Affine(name="a", inputs=("c",), scale=np.float32([2, 3]), bias=np.float32([-1, 1]), clamp=(-0.5, 4.0)),
        Add(name="s", inputs=("a", "c")),
        MaxPool(name="m", inputs=("s",), kernel=(2, 2), padding=(1, 0, 0, 0)),
        AveragePool(name="p", inputs=("m",), kernel=(2, 1), padding=(1, 0, 0, 0)),
        ClampLayer(name="l", inputs=("p",), clamp=(-math.inf, 2.0)),
        Softmax(name="o", inputs=("l",)),
        shape=(1, 2, 3),
    )


def test_versions_that_onnxruntime_accepts() -> None:
    model = to_onnx(everything())
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET) == (10, 21)
    onnx.checker.check_model(model, full_check=True)


def test_every_layer_against_numpy() -> None:
    graph = everything()
    x = np.random.default_rng(0).normal(size=(5, 1, 2, 3)).astype(np.float32)
    got = run_onnx(to_onnx(graph, all_tensors=True), {"x": x})
    assert list(got) == ["c", "a", "s", "m", "p", "l", "o"]
    conv = graph.convs[0]
    c = np.maximum(x * conv.weights.reshape(1, 2, 1, 1) + conv.bias.reshape(2, 1, 1), 0)
    a = np.clip(c * np.array([2, 3]).reshape(2, 1, 1) + np.array([-1, 1]).reshape(2, 1, 1), -0.5, 4)
    s = a + c
    # The window's upper row is padding in the first output row, which never wins.
    m = np.stack([np.maximum(s[:, :, 0, :2], s[:, :, 0, 1:]), s[:, :, :, :2].max(2)], axis=2)
    m[:, :, 1] = np.maximum(m[:, :, 1], s[:, :, :, 1:].max(2))
    # Padding counts as a zero: the first mean is half of the one real row.
    p = np.stack([m[:, :, 0] / 2, (m[:, :, 0] + m[:, :, 1]) / 2], axis=2)
    clamped = np.minimum(p, 2)
    o = np.exp(clamped) / np.exp(clamped).sum(axis=1, keepdims=True)
    for name, expected in {"c": c, "a": a, "s": s, "m": m, "p": p, "l": clamped, "o": o}.items():
        np.testing.assert_allclose(got[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)  # float32 rounding
