"""Float scores and accuracy, against NumPy on a linear classifier."""

from __future__ import annotations

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_accuracy, float_scores
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.spec import prune_as
from tests.models.builders import conv_layer, floats, graph_of, random_images

GRAPH = graph_of(conv_layer("g", "x", (4, 3, 2, 2), gemm=True), shape=(3, 2, 2))


def test_scores_and_accuracy_over_several_batches() -> None:
    images = random_images(GRAPH, 150)
    for graph in (GRAPH, prune_as(GRAPH, "unstructured:0.5").graph):
        layer = graph.convs[0]
        expected = images.reshape(150, 12) @ layer.weights.reshape(4, 12).T + layer.bias
        np.testing.assert_allclose(float_scores(graph, images), expected, atol=1e-5)  # float32 sums
        labels = expected.argmax(axis=1)
        assert float_accuracy(graph, images, labels) == 1
        labels[:30] = (labels[:30] + 1) % 4
        assert float_accuracy(graph, images, labels) == 0.8


def test_errors() -> None:
    images = random_images(GRAPH, 3)
    with pytest.raises(SkipstoneError, match=r"^label 4 is out of range; the network has 4 classes, 0 to 3$"):
        float_accuracy(GRAPH, images, np.array([0, 1, 4]))
    single = graph_of(Conv(name="g", inputs=("x",), weights=floats(1, 3, 2, 2), bias=floats(1)), shape=(3, 2, 2))
    with pytest.raises(SkipstoneError, match=r"^network 'test' has one output value, so it has no top-1 accuracy$"):
        float_accuracy(single, images, np.zeros(3, np.int64))
