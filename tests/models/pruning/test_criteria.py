"""Each criterion against its formula in plain loops or NumPy, and its message where it cannot be computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import Add, Conv
from skipstone.models.pruning.criteria import CRITERIA, Evidence, by_weight, reduce, saliency, scores
from skipstone.models.pruning.statistics import measure
from skipstone.models.pruning.structures import group_ids
from tests.models.builders import conv_layer, floats, graph_of, random_images
from tests.models.pruning.shapes import layers

RELU = (0.0, np.inf)
LAYER = conv_layer("a", "x", (4, 3, 2, 3), groups=2, clamp=RELU)
GRAPH = graph_of(LAYER, conv_layer("b", "a", (5, 4, 1, 1)), shape=(6, 7, 5))


def filters(criterion: str, evidence: Evidence | None = None, mean: bool = False) -> list[float]:
    weight_scores = saliency(LAYER, criterion, evidence)
    assert weight_scores is not None
    return reduce(weight_scores, group_ids(LAYER.weights.shape, "filter"), criterion, mean).tolist()


def test_norms() -> None:
    w = LAYER.weights.reshape(4, -1).astype(np.float64)
    assert filters("l1") == pytest.approx(np.abs(w).sum(axis=1))
    assert filters("l2") == pytest.approx(np.linalg.norm(w, axis=1))
    assert filters("l1", mean=True) == pytest.approx(np.abs(w).mean(axis=1))
    assert filters("l2", mean=True) == pytest.approx(np.linalg.norm(w, axis=1) / np.sqrt(18))


def test_gradients() -> None:
    w = LAYER.weights.astype(np.float64)
    batches = floats(3, *w.shape, seed=8)
    single, many = (Evidence(gradients={"a": array}) for array in (batches[0], batches))
    assert filters("taylor", single) == pytest.approx(np.square(w * batches[0]).sum(axis=(1, 2, 3)))
    assert filters("taylor", many) == pytest.approx(np.square(w * batches).mean(axis=0).sum(axis=(1, 2, 3)))
    assert filters("snip", many) == pytest.approx(np.abs(w * batches.mean(axis=0)).sum(axis=(1, 2, 3)))


@settings(max_examples=30)
@given(layers())
def test_geometric_median_is_the_sum_of_distances(layer: Conv) -> None:
    rows = layer.weights.reshape(len(layer.weights), -1).astype(np.float64)
    expected = [sum(float(np.linalg.norm(a - b)) for b in rows) for a in rows]
    weight_scores = saliency(layer, "geometric_median")
    assert weight_scores is not None
    ids = group_ids(layer.weights.shape, "filter")
    assert reduce(weight_scores, ids, "geometric_median") == pytest.approx(expected)


def test_geometric_median_of_input_channels() -> None:
    layer = conv_layer("a", "x", (4, 3, 2, 3))
    columns = layer.weights.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    expected = [sum(float(np.linalg.norm(a - b)) for b in columns) for a in columns]
    ids = group_ids(layer.weights.shape, "input_channel")
    assert reduce(layer.weights.astype(np.float64), ids, "geometric_median") == pytest.approx(expected)


def test_activation_criteria_against_a_direct_convolution() -> None:
    images = random_images(GRAPH, 5)
    evidence = Evidence(statistics=measure(GRAPH, images))
    x = images.astype(np.float64)
    y = np.zeros((5, 4, 6, 3))
    square = np.zeros((4, 3, 2, 3))
    for k, c, i, j in np.ndindex(4, 3, 2, 3):
        part = x[:, k // 2 * 3 + c, i : i + 6, j : j + 3]
        y[:, k] += LAYER.weights[k, c, i, j] * part
        square[k, c, i, j] = np.sqrt(np.square(part).mean())
    y += LAYER.bias.reshape(-1, 1, 1)
    # ONNX Runtime computes in float32.
    assert filters("batch_norm_scale", evidence) == pytest.approx(y.std(axis=(0, 2, 3)), rel=1e-5)
    assert filters("apoz", evidence) == pytest.approx((y > 0).mean(axis=(0, 2, 3)))
    wanda = saliency(LAYER, "wanda", evidence)
    np.testing.assert_allclose(wanda, np.abs(LAYER.weights) * square, rtol=1e-6)


def test_a_folded_batch_normalization_shows_its_scale() -> None:
    """Normalized over the same images, the outputs' deviation is |gamma|."""
    images = random_images(GRAPH, 5)
    plain = measure(GRAPH, images)["a"]
    gamma = np.array([0.5, -2.0, 0.0, 1.0])
    factor = (gamma / plain.output_std).astype(np.float32)
    folded = replace(LAYER, weights=LAYER.weights * factor.reshape(-1, 1, 1, 1), bias=LAYER.bias * factor)
    statistics = measure(replace(GRAPH, layers=(folded, GRAPH.layers[1])), images)["a"]
    np.testing.assert_allclose(statistics.output_std, np.abs(gamma), rtol=1e-5, atol=1e-6)


def test_apoz_looks_at_the_relu_after_an_addition() -> None:
    graph = graph_of(
        conv_layer("a", "x", (3, 3, 1, 1)),
        Add(name="s", inputs=("a", "x"), clamp=RELU),
        conv_layer("b", "s", (2, 3, 1, 1)),
        shape=(3, 4, 4),
    )
    images = random_images(graph, 4)
    y = np.einsum("kc,nchw->nkhw", graph.convs[0].weights[:, :, 0, 0], images) + graph.convs[0].bias.reshape(-1, 1, 1)
    by_layer = scores(graph, "apoz", Evidence(statistics=measure(graph, images)))
    assert list(by_layer) == ["a"]
    np.testing.assert_allclose(by_layer["a"][:, 0, 0, 0], (y + images > 0).mean(axis=(0, 2, 3)))


def test_random_follows_the_seed_and_the_layer() -> None:
    first, again, other = (scores(GRAPH, "random", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first["a"], again["a"])
    assert not np.array_equal(first["a"], other["a"])
    assert not set(first["a"].ravel()) & set(first["b"].ravel())


def test_inputs_at_weights() -> None:
    values = np.arange(6 * 2 * 3, dtype=np.float64).reshape(6, 2, 3)
    for k, c, i, j in np.ndindex(LAYER.weights.shape):
        assert by_weight(LAYER, values)[k, c, i, j] == values[k // 2 * 3 + c, i, j]


@pytest.mark.parametrize(
    ("criterion", "evidence", "message"),
    [
        ("size", None, f"no pruning criterion 'size'; the criteria are {', '.join(CRITERIA)}"),
        ("taylor", None, "criterion 'taylor' needs gradients of the loss; make them with labelled images"),
        ("snip", Evidence(gradients={}), "layer 'a': no gradients for criterion 'snip'"),
        (
            "snip",
            Evidence(gradients={"a": floats(4, 3)}),
            "layer 'a': gradients of shape (4, 3) don't fit weights (4, 3, 2, 3)",
        ),
        ("wanda", Evidence(), "criterion 'wanda' needs activation statistics; give calibration images"),
        ("apoz", Evidence(statistics={}), "layer 'a': no activation statistics; measure them on this graph"),
    ],
)
def test_errors(criterion: str, evidence: Evidence | None, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        saliency(LAYER, criterion, evidence)
    assert str(error.value) == message
