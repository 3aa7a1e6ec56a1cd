"""Losses: the reference network has none, and scores of pruned weights add up."""

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.mapper.pruning.losses import divergence, output_error, score_loss
from skipstone.mapper.pruning.sensitivity import magnitude
from tests.models.builders import conv_layer, graph_of, random_images

GRAPH = graph_of(
    conv_layer("a", "x", (4, 2, 3, 3)), conv_layer("b", "a", (3, 4, 3, 3)), shape=(2, 5, 5), outputs=("b",)
)
IMAGES = random_images(GRAPH, 6)


@pytest.mark.parametrize("make", [output_error, divergence])
def test_the_reference_has_no_loss_and_an_empty_layer_has_one(make):
    loss = make(GRAPH, IMAGES)
    assert loss(GRAPH) == pytest.approx(0, abs=1e-12)
    assert loss(magnitude(GRAPH, "a", 1.0)) > 0.01


def test_divergence_is_that_of_its_definition():
    import onnxruntime

    from skipstone.models.graph.to_onnx import to_onnx

    def softmax(graph):
        session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])
        scores = session.run(None, {session.get_inputs()[0].name: IMAGES})[0].reshape(len(IMAGES), -1).astype(float)
        return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

    changed = magnitude(GRAPH, "b", 0.5)
    p, q = softmax(GRAPH), softmax(changed)
    assert divergence(GRAPH, IMAGES)(changed) == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=1e-4)


def test_scores_add_up_over_what_was_pruned_since():
    def without_first(count):
        weights = GRAPH.layer("a").weights.copy()
        weights.ravel()[:count] = 0
        return GRAPH.with_weights({"a": weights})

    start = without_first(4)
    loss = score_loss(start, {"a": np.arange(72.0).reshape(4, 2, 3, 3)})
    assert loss(start) == 0
    assert loss(without_first(7)) == 4 + 5 + 6
    assert loss(magnitude(start, "b", 0.5)) == 0


def test_scores_of_another_shape_are_refused():
    with pytest.raises(SkipstoneError, match="layer 'a': scores of shape"):
        score_loss(GRAPH, {"a": np.zeros(3)})
    with pytest.raises(SkipstoneError, match="NaN"):
        score_loss(GRAPH, {"a": np.full((4, 2, 3, 3), np.nan)})
