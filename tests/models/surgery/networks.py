"""Random small networks, drawn by Hypothesis, with every layer that can couple channels, and the values they compute."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.function import function
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Clamp,
    Concat,
    Conv,
    ConvTranspose,
    Layer,
    MaxPool,
    Pointwise,
    Product,
    Upsample,
)
from skipstone.models.graph.to_onnx import to_onnx
from tests.models.builders import conv_layer, floats, random_images

RELU: Clamp = (0.0, math.inf)
KINDS = (
    "conv", "conv", "conv", "depthwise", "grouped", "add", "add", "concat", "product", "squeeze", "affine", "average",
    "max", "pointwise", "transposed", "upsample",
)  # fmt: skip


@st.composite
def networks(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS, layers: int = 7) -> Graph:
    """A network of up to ``layers`` layers that ends in a Gemm (and may have a second output)."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    graph = Graph("test", "x", shape, (_conv(draw, "l0", "x", shape[0]),), ("l0",))
    for number in range(1, draw(st.integers(2, layers))):
        graph = _with(graph, *_next(draw, graph, f"l{number}", draw(st.sampled_from(kinds))))
    last = graph.order[-1].name
    channels, height, width = graph.shapes[last]
    gemm = conv_layer("gemm", last, (3, channels, height, width), gemm=True)
    more = [name for name in graph.shapes if name not in ("x", last)]
    outputs = ("gemm", draw(st.sampled_from(more))) if more and draw(st.integers(0, 4)) == 0 else ("gemm",)
    return Graph("test", "x", shape, (*graph.layers, gemm), outputs)


def outputs_of(graph: Graph, images: NDArray[np.float32] | None = None) -> dict[str, NDArray[np.generic]]:
    return run_onnx(to_onnx(graph), {graph.input: random_images(graph, 2) if images is None else images})


def assert_same(got: Graph, expected: Graph) -> None:
    """Checks that both networks compute the same floats, except for rounding of sums in another order."""
    assert got.outputs == expected.outputs
    images = random_images(expected, 2)
    ours, theirs = outputs_of(got, images), outputs_of(expected, images)
    for name, values in theirs.items():
        scale = 1 + float(np.abs(values).max())
        np.testing.assert_allclose(ours[name] / scale, values / scale, atol=2e-4)


def _with(graph: Graph, *layers: Layer) -> Graph:
    return Graph("test", "x", graph.input_shape, (*graph.layers, *layers), (layers[-1].name,))


def _clamp(draw: st.DrawFn) -> Clamp | None:
    return draw(st.sampled_from([None, RELU, (-0.5, 1.0), (0.25, 6.0)]))


def _conv(draw: st.DrawFn, name: str, source: str, channels: int, **options: Any) -> Conv:
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 3), (2, 1)]))
    padding = tuple(draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4))
    outputs = draw(st.integers(1, 5))
    clamp = _clamp(draw)
    return conv_layer(name, source, (outputs, channels, *kernel), padding=padding, clamp=clamp, **options)


def _next(draw: st.DrawFn, graph: Graph, name: str, kind: str) -> tuple[Layer, ...]:
    tensors = [tensor for tensor in graph.shapes if tensor != "x"]
    source = draw(st.sampled_from(tensors[-3:]))
    channels, height, width = shape = graph.shapes[source]
    alike = [tensor for tensor in tensors if graph.shapes[tensor] == shape]
    clamp = _clamp(draw)
    fits = height >= 3 and width >= 3
    match kind:
        case "conv" if fits:
            return (_conv(draw, name, source, channels),)
        case "depthwise" if fits and channels > 1:
            each, pad = draw(st.integers(1, 2)), draw(st.integers(0, 1))
            options: dict[str, Any] = {"groups": channels, "padding": (pad, 1, 0, pad), "clamp": clamp}
            return (conv_layer(name, source, (channels * each, 1, 3, 3), **options),)
        case "grouped" if channels == 4:
            return (conv_layer(name, source, (2 * draw(st.integers(1, 3)), 2, 1, 1), groups=2, clamp=clamp),)
        case "add" if len(alike) > 1:
            return (Add(name=name, inputs=(source, draw(st.sampled_from(alike))), clamp=clamp),)
        case "add":
            branch = conv_layer(f"{name}b", source, (channels, channels, 1, 1))
            return (branch, Add(name=name, inputs=(source, f"{name}b"), clamp=clamp))
        case "concat":
            others = [tensor for tensor in tensors if graph.shapes[tensor][1:] == shape[1:]]
            return (Concat(name=name, inputs=(source, draw(st.sampled_from(others)))),)
        case "product":
            return (Product(name=name, inputs=(source, draw(st.sampled_from(alike))), clamp=clamp),)
        case "squeeze":
            pool = AveragePool(name=f"{name}p", inputs=(source,), kernel=(height, width))
            gate = conv_layer(f"{name}g", f"{name}p", (channels, channels, 1, 1))
            curve = Pointwise(name=f"{name}s", inputs=(f"{name}g",), function=function("Sigmoid"))
            return (pool, gate, curve, Product(name=name, inputs=(source, f"{name}s")))
        case "average" if fits:
            pads = draw(st.sampled_from([(0, 0, 0, 0), (1, 0, 0, 1)]))
            uncounted = draw(st.sampled_from([(0, 0, 0, 0), pads]))
            options = {"kernel": (2, 3), "padding": pads, "uncounted": uncounted, "clamp": clamp}
            return (AveragePool(name=name, inputs=(source,), **options),)
        case "max" if fits:
            return (MaxPool(name=name, inputs=(source,), kernel=(2, 2), padding=(0, 1, 1, 0)),)
        case "pointwise":
            return (Pointwise(name=name, inputs=(source,), function=function(draw(st.sampled_from(["Exp", "Tanh"])))),)
        case "transposed" if height * width < 40:
            weights = floats(2, channels, 3, 2, seed=len(name))
            bias, pads = floats(2, seed=7), draw(st.sampled_from([(0, 0, 0, 0), (1, 0, 1, 0)]))
            return (
                ConvTranspose(
                    name=name, inputs=(source,), weights=weights, bias=bias, stride=(2, 1), padding=pads, clamp=clamp
                ),
            )
        case "upsample" if height * width < 40:
            return (Upsample(name=name, inputs=(source,), factor=(2, 1)),)
        case _:
            scale, bias = floats(channels, seed=11), floats(channels, seed=12)
            return (Affine(name=name, inputs=(source,), scale=scale, bias=bias, clamp=clamp),)
