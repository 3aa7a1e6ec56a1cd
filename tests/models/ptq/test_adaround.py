"""Learned rounding against brute force on a small layer, its guarantees, and its gain on the carried network."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_scores
from skipstone.models.data.images import load_images
from skipstone.models.data.zoo import carried_networks
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv, ConvTranspose
from skipstone.models.onnx_io.reader import load
from skipstone.models.ptq.activations import float_tensors
from skipstone.models.ptq.adaround import AdaRoundOptions, adaround
from skipstone.models.ptq.taps import sampled_taps
from skipstone.models.ptq.weight_range import with_weight_range
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, floats, graph_of, random_images
from tests.models.ptq.test_bias_correction import network

RELU = (0.0, math.inf)
FEW = AdaRoundOptions(steps=300, pixels=256, learning_rate=0.05)


def correlated(graph: Graph, count: int) -> np.ndarray:
    """Images whose channels follow each other, so that rounding errors may cancel."""
    images = random_images(graph, count)
    return (images * 0.2 + images.mean(axis=1, keepdims=True) * 2 + 1).astype(np.float32)


def test_near_the_best_of_all_roundings() -> None:
    """Eight weights have 256 roundings: over six channels, the learned one is within a tenth of the best."""
    layer = conv_layer("a", "x", (6, 8, 1, 1))
    graph = graph_of(layer, shape=(8, 6, 6))
    images = correlated(graph, 8)
    result = adaround(
        graph, images, QuantizationScheme(3), options=AdaRoundOptions(steps=1000, pixels=288, learning_rate=0.02)
    )
    x = images.transpose(0, 2, 3, 1).reshape(-1, 8)
    target = float_tensors(graph, images, ["a"])["a"].transpose(0, 2, 3, 1).reshape(-1, 6)
    grid = result.graph.convs[0].grid
    assert grid is not None
    best = 0.0
    for k in range(6):
        down = np.floor(layer.weights[k].ravel() / grid.scale[k])
        roundings = [np.clip(down + up, -3, 3) * grid.scale[k] for up in itertools.product((0, 1), repeat=8)]
        best += min(float(np.square(x @ rounding + layer.bias[k] - target[:, k]).mean()) for rounding in roundings) / 6
    (error,) = result.errors
    assert best - 1e-6 <= error.learned <= best * 1.1
    assert error.learned < error.nearest / 3


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_guarantees(bits: int) -> None:
    """Zeros stay, each weight goes to a neighbour or the end of the grid, no layer's loss grows, and equal seeds give equal
    results."""
    graph = network()
    for layer in graph.convs:
        layer.weights[np.random.default_rng(1).random(layer.weights.shape) < 0.3] = 0
    graph.convs[0].weights[1] = 0
    images = correlated(graph, 8)
    messages: list[str] = []
    few = AdaRoundOptions(steps=60, pixels=64)
    result = adaround(graph, images, QuantizationScheme(bits), options=few, progress=messages.append)
    again = adaround(graph, images, QuantizationScheme(bits), options=few)
    assert messages[0] == "learning to round layer 1 of 6, a"
    limit = 2 ** (bits - 1) - 1
    for old, new, same in zip(graph.convs, result.graph.convs, again.graph.convs, strict=True):
        assert new.grid is not None
        assert np.array_equal(new.weights, same.weights)
        assert not new.weights[old.weights == 0].any()
        assert np.abs(new.grid.integers).max() <= limit
        steps = np.clip(old.weights / new.grid.scale.reshape(-1, 1, 1, 1), -limit, limit)
        assert np.abs(new.grid.integers - steps).max() < 1 + 1e-6
        assert new.bias is old.bias
    for error in result.errors:
        assert error.learned < error.nearest or any(f"'{error.name}'" in note for note in result.notes)


@pytest.mark.parametrize(
    "layer",
    [
        conv_layer("a", "x", (6, 2, 3, 2), groups=2, stride=(2, 1), padding=(1, 0, 2, 1), dilation=(1, 2)),
        conv_layer("a", "x", (4, 1, 3, 3), groups=4),
        ConvTranspose(
            name="a",
            inputs=("x",),
            weights=floats(4, 2, 3, 2),
            bias=floats(4),
            groups=2,
            stride=(2, 3),
            padding=(0, 1, 3, 2),
            output_padding=(1, 2),
            dilation=(2, 1),
        ),
    ],
)
def test_taps_times_weights_are_the_layer(layer: Conv) -> None:
    graph = graph_of(layer, shape=(4, 7, 8))
    images = random_images(graph, 3)
    expected = float_tensors(graph, images, ["a"])["a"]
    count = expected.size // len(layer.weights)
    seen = sampled_taps(layer, images, np.arange(count))
    matrix = layer.weights.reshape(layer.groups, -1, seen.shape[2])
    made = (seen @ matrix.swapaxes(1, 2)).swapaxes(0, 1).reshape(count, -1) + layer.bias
    np.testing.assert_allclose(made, expected.transpose(0, 2, 3, 1).reshape(count, -1), rtol=1e-4, atol=1e-4)


def test_integer_activations() -> None:
    graph = network()
    images = correlated(graph, 6)
    result = adaround(graph, images, QuantizationScheme(4, 6), ranges=calibrate(graph, images), options=FEW)
    assert all(layer.grid is not None for layer in result.graph.convs)


def test_beats_nearest_on_the_carried_network() -> None:
    """Without labels, in few steps, 3 bits lose less than a fifth of what nearest rounding loses."""
    carried = carried_networks()["resnet8_fashion"]
    graph, images = load("resnet8_fashion"), load_images(carried.calibration)[0]
    evaluation = load_images(carried.evaluation)[0][:200]
    expected = float_scores(graph, evaluation)
    nearest = with_weight_range(graph, 3, "mse")
    learned = adaround(
        graph, images, QuantizationScheme(3), options=AdaRoundOptions(steps=150, pixels=256, learning_rate=0.1)
    ).graph
    errors = [np.square(float_scores(candidate, evaluation) - expected).mean() for candidate in (nearest, learned)]
    assert errors[1] < errors[0] / 5


def test_refuses_more_bits() -> None:
    graph = graph_of(conv_layer("a", "x", (2, 3, 1, 1)), shape=(3, 2, 2))
    with pytest.raises(SkipstoneError, match=r"^layer 'a': learned rounding takes up to 8 bits, not 9$"):
        adaround(graph, random_images(graph, 1), QuantizationScheme(9))


def test_rounding_is_learned_on_symmetric_activations() -> None:
    graph = network()
    images = correlated(graph, 6)
    ranges = calibrate(graph, images, QuantizationScheme(activation_bits=3, symmetric=True))
    asymmetric, symmetric = (
        adaround(graph, images, QuantizationScheme(3, 3, symmetric=each), ranges=ranges, options=FEW).errors
        for each in (False, True)
    )
    assert [error.nearest for error in asymmetric] != [error.nearest for error in symmetric]
