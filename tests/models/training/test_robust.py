"""Attacked images stay within their bounds, follow their seed, and are misclassified more often; new weights have He's
variance."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from skipstone import models
from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_accuracy, float_scores
from skipstone.models.data.images import load_images
from skipstone.models.graph.layers import Affine
from skipstone.models.onnx_io.reader import load
from tests.models.builders import conv_layer, floats, graph_of

torch = pytest.importorskip("torch")

from skipstone.models.training.robust import attacked
from skipstone.models.training.start import reinitialized


def data(count: int) -> tuple[np.ndarray, np.ndarray]:
    carried = Path(models.__file__).parent / "data" / "carried"
    images, labels = load_images(carried / "resnet8_fashion_evaluation.npz")
    assert labels is not None
    return images[:count], labels[:count]


def test_attacks() -> None:
    graph = load("resnet8_fashion")
    images, labels = data(60)
    changed = attacked(graph, images, labels, epsilon=0.05, steps=3)
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert np.abs(changed - images).max() <= 0.05 + 1e-7
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert float_accuracy(graph, changed, labels) < float_accuracy(graph, images, labels) - 0.3
    np.testing.assert_array_equal(changed, attacked(graph, images, labels, epsilon=0.05, steps=3))
    assert (changed != attacked(graph, images, labels, epsilon=0.05, steps=3, seed=1)).any()


def test_an_attack_of_strength_0_changes_nothing() -> None:
    graph = load("resnet8_fashion")
    images, labels = data(3)
    np.testing.assert_array_equal(attacked(graph, images, labels, epsilon=0, steps=1), images)


def test_a_linear_network_is_attacked_along_its_weights() -> None:
    """Two classes: the loss grows along the sign of the difference of their weights, all the way to the bound."""
    graph = graph_of(conv_layer("g", "x", (2, 1, 5, 6), gemm=True), shape=(1, 5, 6))
    weights = graph.convs[0].weights
    images = np.full((4, 1, 5, 6), 0.5, np.float32)
    labels = np.array([0, 1, 0, 1])
    changed = attacked(graph, images, labels, epsilon=0.125, steps=4, step_size=0.125)
    for image, label in zip(changed, labels, strict=True):
        np.testing.assert_allclose(image, 0.5 + 0.125 * np.sign(weights[1 - label] - weights[label]), atol=1e-7)


def test_what_can_not_be_attacked() -> None:
    graph = load("resnet8_fashion")
    images, labels = data(2)
    with pytest.raises(SkipstoneError, match=r"^an attack needs images whose pixels lie from 0 to 1$"):
        attacked(graph, images * 2, labels)
    with pytest.raises(SkipstoneError, match=r"at least one step, not 0.1 and 0$"):
        attacked(graph, images, labels, epsilon=0.1, steps=0)


def test_fresh_weights() -> None:
    graph = graph_of(
        conv_layer("a", "x", (64, 3, 5, 5), padding=(2, 2, 2, 2)),
        conv_layer("d", "a", (64, 1, 7, 7), padding=(3, 3, 3, 3), groups=64),
        Affine(name="n", inputs=("d",), scale=floats(64), bias=floats(64)),
        conv_layer("g", "n", (40, 64, 6, 6), gemm=True),
        shape=(3, 6, 6),
    )
    graph = graph.with_weights({"a": np.zeros_like(graph.convs[0].weights)})
    fresh = reinitialized(graph, 5)
    for layer in fresh.convs:
        assert layer.weights.dtype == np.float32
        assert layer.weights.all()
        deviation = math.sqrt(2 / layer.weights[0].size)
        # Thousands of draws: a few percent.
        assert layer.weights.std() == pytest.approx(deviation, rel=0.05)
        assert abs(layer.weights.mean()) < 0.06 * deviation
        assert not layer.bias.any()
    images = np.ones((1, 3, 6, 6), np.float32)
    np.testing.assert_array_equal(float_scores(fresh, images), float_scores(reinitialized(graph, 5), images))
    assert (float_scores(fresh, images) != float_scores(reinitialized(graph, 6), images)).any()
