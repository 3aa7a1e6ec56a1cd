"""Gradients of all weights against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from skipstone.models.graph.graph import Graph
from skipstone.models.onnx_io.reader import load
from skipstone.models.pruning.masks import Pruning, prune
from tests.models.builders import conv_layer, graph_of, random_images

torch = pytest.importorskip("torch")

from skipstone.models.training.gradients import squared_gradients, weight_gradients
from skipstone.models.training.network import GraphModule


def tiny() -> Graph:
    """No kinks, which finite differences cannot see, and a second head that the first output does not depend on."""
    graph = graph_of(
        conv_layer("a", "x", (3, 2, 2, 2)),
        conv_layer("b", "a", (3, 1, 2, 2), groups=3),
        conv_layer("g", "b", (4, 3, 2, 2), gemm=True),
        conv_layer("other", "a", (1, 3, 1, 1)),
        shape=(2, 4, 4),
        outputs=("g", "other"),
    )
    return prune(graph, Pruning("weight", 0.4, skip=("other",))).graph


def loss(graph: Graph, images: np.ndarray, labels: np.ndarray | None) -> float:
    """Mean cross entropy, or mean entropy, in double precision."""
    module = GraphModule(graph).double()
    with torch.no_grad():
        scores = module(torch.from_numpy(images).double()).numpy()
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    if labels is None:
        return float(-(np.exp(logs) * logs).sum(1).mean())
    return float(-logs[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("labelled", [True, False])
def test_finite_differences(labelled: bool) -> None:
    graph = tiny()
    images = random_images(graph, 130) / 4  # more than one batch
    labels = np.random.default_rng(0).integers(0, 4, len(images)) if labelled else None
    gradients = weight_gradients(graph, images, labels)
    few = np.random.default_rng(1)
    for layer in graph.convs:
        gradient = gradients[layer.name]
        assert gradient.shape == layer.weights.shape
        if layer.name == "other":
            assert not gradient.any()
            continue
        zeros, others = (np.argwhere((layer.weights == 0) == zero) for zero in (True, False))
        for index in (tuple(place) for part in (zeros, others) for place in few.permutation(part)[:4]):
            step = np.zeros_like(layer.weights)
            step[index] = 2**-8
            up, down = (
                loss(graph.with_weights({layer.name: layer.weights + sign * step}), images, labels) for sign in (1, -1)
            )
            # Third derivatives times a step squared, and float32 gradients.
            assert gradient[index] == pytest.approx((up - down) / 2**-7, rel=1e-3, abs=1e-5)
        assert np.abs(gradient[layer.weights == 0]).min() > 0


def test_squared_gradients() -> None:
    graph = tiny()
    images, labels = random_images(graph, 21), np.arange(21) % 4
    expected = [weight_gradients(graph, images[at : at + 8], labels[at : at + 8])["a"] ** 2 for at in (0, 8)]
    np.testing.assert_array_equal(squared_gradients(graph, images, labels, 8)["a"], sum(expected) / 2)
    squares = weight_gradients(graph, images, labels)["a"] ** 2
    np.testing.assert_array_equal(squared_gradients(graph, images, labels, 64)["a"], squares)


def test_the_graph_stays_as_it_is() -> None:
    graph = load("resnet8_fashion")
    before = [layer.weights.tobytes() for layer in graph.convs]
    gradients = weight_gradients(graph, random_images(graph, 2), np.array([1, 2]))
    assert gradients.keys() == {layer.name for layer in graph.convs}
    assert before == [layer.weights.tobytes() for layer in graph.convs]
