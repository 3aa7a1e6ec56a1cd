"""ThiNet against brute force over channels, and its zeros and errors."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.pruning.masks import Pruning, prune
from skipstone.models.pruning.reconstruction import least_reconstruction_error, reconstruct
from tests.models.builders import conv_layer, graph_of, random_images


def single(channels: int = 4) -> Graph:
    return graph_of(conv_layer("a", "x", (3, channels, 3, 2), padding=(1, 0, 1, 0)), shape=(channels, 5, 6))


def error(graph: Graph, other: Graph, images: np.ndarray) -> float:
    first, second = (run_onnx(to_onnx(g), {"x": images})[g.outputs[0]].astype(np.float64) for g in (graph, other))
    return float(np.square(first - second).mean())


def without(graph: Graph, channels: tuple[int, ...]) -> Graph:
    weights = graph.convs[0].weights.copy()
    weights[:, list(channels)] = 0
    return graph.with_weights({"a": weights})


@pytest.mark.parametrize("seed", range(4))
def test_greedy_choice_is_the_brute_force_one(seed: int) -> None:
    graph = single()
    images = random_images(graph, 6, seed) + np.random.default_rng(seed).normal(size=(4, 1, 1)).astype(np.float32)
    gone: tuple[int, ...] = ()
    for count in (1, 2, 3):
        free = [c for c in range(4) if c not in gone]
        gone = (*gone, min(free, key=lambda c: error(graph, without(graph, (*gone, c)), images)))
        options = {"refit_by": "none", "bias_correction": False, "damping": 1e-9}
        done = reconstruct(graph, Pruning("input_channel", count / 4), images, **options).graph  # type: ignore[arg-type]
        np.testing.assert_array_equal(done.convs[0].weights, without(graph, gone).convs[0].weights)


def test_a_gram_matrix_by_hand() -> None:
    """Channels 0 and 1 cancel: alone each costs 4, together nothing, and the third costs 1."""
    gram = np.array([[4.0, -4.0, 0.0], [-4.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    assert least_reconstruction_error(gram, 1).tolist() == [False, False, True]
    assert least_reconstruction_error(gram[:2, :2], 2).tolist() == [True, True]
    assert least_reconstruction_error(gram, 1, np.array([False, True, False])).tolist() == [False, True, False]


def test_refits_are_least_squares() -> None:
    graph = single(5)
    images = random_images(graph, 8) + 0.5
    pruning = Pruning("input_channel", 0.4)
    results = {
        name: reconstruct(graph, pruning, images, name, damping=1e-9).graph  # type: ignore[arg-type]
        for name in ("none", "scale", "weights")
    }
    errors = [error(graph, done, images) for done in results.values()]
    assert errors[0] > errors[1] > errors[2]
    best = min(error(graph, without(graph, pair), images) for pair in combinations(range(5), 2))
    assert errors[1] < best
    scaled, plain = results["scale"].convs[0].weights, graph.convs[0].weights
    remaining = scaled.any(axis=(0, 2, 3))
    factors = scaled[:, remaining] / plain[:, remaining]
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:1, :, :1, :1], factors.shape), rtol=1e-5)
    for channel in np.flatnonzero(remaining):
        for step in (0.98, 1.02):  # any other factor is worse
            weights = scaled.copy()
            weights[:, channel] *= step
            assert error(graph, results["scale"].with_weights({"a": weights}), images) > errors[1]


@pytest.mark.parametrize("refit_by", ["none", "scale", "weights"])
def test_counts_groups_and_zeros(refit_by: str) -> None:
    graph = graph_of(
        conv_layer("a", "x", (6, 1, 3, 3), clamp=(0.0, np.inf)),
        conv_layer("b", "a", (4, 3, 2, 2), groups=2),
        conv_layer("c", "b", (5, 4, 1, 1)),
        shape=(1, 7, 7),
    )
    before = prune(graph, Pruning("weight", 0.3, skip=("a",))).graph
    done = reconstruct(before, Pruning("input_channel", 0.5), random_images(graph, 8), refit_by)  # type: ignore[arg-type]
    assert not any(new.weights[old.weights == 0].any() for old, new in zip(before.convs, done.graph.convs, strict=True))
    b = done.graph.layer("b").weights.reshape(2, 2, 3, 4)  # type: ignore[attr-defined]
    assert int((~b.any(axis=(1, 3))).sum()) == 3
    assert int((~done.graph.convs[2].weights.any(axis=(0, 2, 3))).sum()) == 2
    assert done.notes == ()


def test_a_layer_keeps_a_channel() -> None:
    graph = graph_of(conv_layer("a", "x", (3, 1, 3, 3)), shape=(1, 5, 5))
    done = reconstruct(graph, Pruning("input_channel", 0.9), random_images(graph, 4))
    assert done.graph.convs[0].weights.all()
    assert done.notes == ("layer 'a': keeps one input channel, lest it be empty",)


def test_errors() -> None:
    with pytest.raises(SkipstoneError, match="not filter, layer, l1"):
        reconstruct(single(), Pruning("filter", 0.5), random_images(single(), 2))
    with pytest.raises(SkipstoneError, match="no refit 'all'; it is one of none, scale, weights"):
        reconstruct(single(), Pruning("input_channel", 0.5), random_images(single(), 2), "all")  # type: ignore[arg-type]
