"""Equalization leaves the function as it is, and makes the ranges of two layers equal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.models.data.float_execution import float_scores
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import AveragePool, ClampLayer, ConvTranspose, Layer, MaxPool, Upsample
from skipstone.models.ptq.equalize import equalize
from skipstone.models.ptq.weight_range import with_weight_range
from tests.models.builders import conv_layer, floats, graph_of, random_images

RELU = (0.0, math.inf)


def spread(seed: int, *layers: Layer, shape: tuple[int, int, int]) -> Graph:
    """Layers whose channels differ in size by powers of ten, some being 0."""
    graph = graph_of(*layers, shape=shape)
    rng = np.random.default_rng(seed)
    for layer in graph.convs:
        layer.weights[:] *= (10.0 ** rng.uniform(-3, 3, (len(layer.weights), 1, 1, 1))).astype(np.float32)
        layer.weights[:] *= rng.random((len(layer.weights), 1, 1, 1)) < 0.8
    return graph


@settings(max_examples=25)
@given(st.sampled_from([(1, 3), (4, 1), (6, 2)]), st.integers(0, 2**32 - 1), st.booleans())
def test_the_function_stays(sizes: tuple[int, int], seed: int, powers_of_two: bool) -> None:
    channels, outputs = sizes
    graph = spread(
        seed,
        conv_layer("a", "x", (channels, 2, 3, 2), clamp=RELU),
        conv_layer("d", "a", (channels, 1, 3, 3), groups=channels, padding=(1, 0, 1, 2), clamp=RELU),
        MaxPool(name="m", inputs=("d",), kernel=(2, 2), padding=(1, 0, 0, 0)),
        conv_layer("g", "m", (outputs * channels, channels // (2 - channels % 2), 1, 1), groups=2 - channels % 2),
        AveragePool(name="p", inputs=("g",), kernel=(2, 1)),
        Upsample(name="u", inputs=("p",), factor=(2, 1)),
        ClampLayer(name="r", inputs=("u",), clamp=RELU),
        ConvTranspose(
            name="t", inputs=("r",), weights=floats(3, outputs * channels, 2, 2), bias=floats(3), stride=(2, 1)
        ),
        shape=(2, 7, 6),
    )
    result = equalize(graph, powers_of_two)
    assert result.pairs == (("a", "d"), ("d", "g"), ("g", "t"))
    images = random_images(graph, 3)
    before, after = float_scores(graph, images), float_scores(result.graph, images)
    if powers_of_two:
        assert np.array_equal(before, after)
    else:
        # Sums of floats that cancel, in other units.
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())
    assert all(
        np.array_equal(old.weights == 0, new.weights == 0)
        for old, new in zip(graph.convs, result.graph.convs, strict=True)
    )


def test_ranges_become_equal() -> None:
    """Two layers meet at the geometric mean of their ranges, three (one of them depthwise) at that of all three."""
    a, b = conv_layer("a", "x", (5, 3, 1, 1)), conv_layer("b", "a", (4, 5, 1, 1))
    before = np.sqrt(np.abs(a.weights).max(axis=(1, 2, 3)) * np.abs(b.weights).max(axis=(0, 2, 3)))
    first, second = equalize(graph_of(a, b, shape=(3, 2, 2))).graph.convs
    assert np.abs(first.weights).max(axis=(1, 2, 3)) == pytest.approx(before, rel=1e-5)
    assert np.abs(second.weights).max(axis=(0, 2, 3)) == pytest.approx(before, rel=1e-5)

    d, c = conv_layer("d", "a", (5, 1, 3, 3), groups=5), conv_layer("c", "d", (4, 5, 1, 1))
    product = np.abs(a.weights).max(axis=(1, 2, 3)) * np.abs(d.weights).max(axis=(1, 2, 3))
    product = np.cbrt(product * np.abs(c.weights).max(axis=(0, 2, 3)))
    layers = equalize(graph_of(a, d, c, shape=(3, 4, 4))).graph.convs
    for layer, axes in zip(layers, ((1, 2, 3), (1, 2, 3), (0, 2, 3)), strict=True):
        assert np.abs(layer.weights).max(axis=axes) == pytest.approx(product, rel=0.01)


def test_layers_that_are_not_equalized_are_noted() -> None:
    graph = graph_of(
        conv_layer("a", "x", (3, 3, 1, 1), clamp=(0.0, 6.0)),
        conv_layer("b", "a", (3, 3, 1, 1)),
        conv_layer("c", "b", (3, 3, 1, 1)),
        conv_layer("d", "b", (3, 3, 1, 1)),
        shape=(3, 2, 2),
        outputs=("c", "d"),
    )
    result = equalize(graph)
    assert result.pairs == ()
    assert result.notes == (
        "layer 'a': not equalized, its output is clamped to 0,6, which scales can't pass",
        "layer 'b': not equalized, 'b' has 2 readers",
        "layer 'c': not equalized, 'c' is an output of the network",
        "layer 'd': not equalized, 'd' is an output of the network",
    )
    assert result.graph.layers == graph.layers


def test_changed_layers_lose_their_grids() -> None:
    graph = graph_of(conv_layer("a", "x", (3, 3, 1, 1)), conv_layer("b", "a", (3, 3, 1, 1)), shape=(3, 2, 2))
    assert not equalize(with_weight_range(graph, 8)).graph.quantized
