"""Small float graphs with everything that pruning meets on the array: strides, groups, a residual Add, a pool, a Gemm."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.mapper.pruning.target import Target, target_for
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, AveragePool
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, graph_of, random_images
from tests.sim.designs import POOL

DESIGNS = [POOL[name] for name in ("square4", "odd3x6", "lanes2x5", "broad2x12")]
RELU = (0.0, math.inf)


@st.composite
def small_graphs(draw) -> Graph:
    """A stem, a residual block, a grouped convolution, a strided 1x1, a pool and a Gemm; sizes odd, channels few."""
    inputs, channels = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    height, width = draw(st.integers(3, 9)), draw(st.integers(3, 9))
    groups = draw(st.sampled_from([1, channels]))
    stride = draw(st.sampled_from([(1, 1), (2, 1)]))
    pad = (1, 1, 1, 1)
    layers = [
        conv_layer("stem", "x", (channels, inputs, 3, 3), padding=pad, clamp=RELU),
        conv_layer("first", "stem", (channels, channels, 3, 3), padding=pad, clamp=RELU),
        conv_layer("second", "first", (channels, channels, 3, 3), padding=pad),
        Add(name="sum", inputs=("second", "stem"), clamp=RELU),
        conv_layer("grouped", "sum", (channels, channels // groups, 3, 1), padding=(1, 0, 1, 0), groups=groups),
        conv_layer("point", "grouped", (2 * channels, channels, 1, 1), stride=stride, clamp=RELU),
    ]
    size = (-(-height // stride[0]), width)
    layers += [
        AveragePool(name="pool", inputs=("point",), kernel=size),
        conv_layer("dense", "pool", (5, 2 * channels, 1, 1), gemm=True),
    ]
    return graph_of(*layers, shape=(inputs, height, width))


def masked(graph: Graph, density: float, seed: int) -> Graph:
    """Random masks; a filter in four, and a few whole layers, are left out altogether."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in graph.convs:
        keep = rng.random(layer.weights.shape) < density
        keep[rng.random(len(keep)) < 0.25] = False
        if rng.random() < 0.1:
            keep[:] = False
        weights[layer.name] = layer.weights * keep
    return graph.with_weights(weights)


def target_of(graph: Graph, design: Design) -> Target:
    return target_for(
        graph,
        design,
        random_images(graph, 4),
        QuantizationScheme(design.weight_bits, design.activation_bits),
    )


def mask_of(graph: Graph) -> dict[str, np.ndarray]:
    return {layer.name: layer.weights != 0 for layer in graph.convs}
