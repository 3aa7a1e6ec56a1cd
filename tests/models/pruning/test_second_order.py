"""Counts and zeros of second-order pruning, its outputs against magnitude's, and the carried network's accuracy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_accuracy, run_onnx
from skipstone.models.data.images import load_images
from skipstone.models.data.zoo import carried_networks
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.reader import load
from skipstone.models.pruning.masks import Pruning, prune, weight_density
from skipstone.models.pruning.second_order import second_order
from tests.models.builders import conv_layer, graph_of, random_images


def network() -> Graph:
    return graph_of(
        conv_layer("a", "x", (6, 5, 3, 3), padding=(1, 1, 1, 1), clamp=(0.0, np.inf)),
        conv_layer("b", "a", (6, 1, 3, 3), groups=6),
        conv_layer("c", "b", (4, 3, 2, 2), groups=2),
        shape=(5, 8, 8),
    )


IMAGES = random_images(network(), 24)


def zeros(graph: Graph) -> list[int]:
    return [int((layer.weights == 0).sum()) for layer in graph.convs]


@pytest.mark.parametrize("exact_inputs", [600, 0])
@pytest.mark.parametrize(
    "pruning",
    [
        Pruning("weight", 0.6),
        Pruning("weight", 0.6, scope="output"),
        Pruning("weight", 0.3, amounts={"a": 0.7}, skip=("b",)),
        Pruning("nm", n=2, m=4),
    ],
)
def test_counts_are_those_of_magnitude(pruning: Pruning, exact_inputs: int) -> None:
    graph = network()
    done = second_order(graph, pruning, IMAGES, exact_inputs=exact_inputs)
    assert zeros(done.graph) == zeros(prune(graph, pruning).graph)
    solved = [note for note in done.notes if "ADMM" in note]
    assert len(solved) == (0 if exact_inputs else 3 - len(pruning.skip))
    assert len(done.notes) - len(solved) == len(prune(graph, pruning).notes)
    if pruning.granularity == "nm":
        assert (np.count_nonzero(done.graph.convs[0].weights[:, :4], axis=1) == 2).all()
        assert (np.count_nonzero(done.graph.convs[0].weights[:, 4:], axis=1) == 1).all()


@pytest.mark.parametrize("exact_inputs", [600, 0])
def test_outputs_change_less_than_by_magnitude(exact_inputs: int) -> None:
    graph = network()
    fresh = random_images(graph, 24, seed=7)

    def error(other: Graph) -> float:
        first, second = (run_onnx(to_onnx(g), {"x": fresh})["c"] for g in (graph, other))
        return float(np.square(first - second).mean())

    pruning = Pruning("weight", 0.5)
    done = second_order(graph, pruning, IMAGES, exact_inputs=exact_inputs).graph
    assert error(done) < 0.7 * error(prune(graph, pruning).graph)


def test_a_single_layer_is_least_squares() -> None:
    """With the support that it chose, no other weights and bias give a smaller error on the images."""
    graph = graph_of(conv_layer("a", "x", (3, 4, 2, 1)), shape=(4, 5, 5))
    images = random_images(graph, 12)
    done = second_order(graph, Pruning("weight", 0.5), images, damping=1e-9).graph.convs[0]
    target = run_onnx(to_onnx(graph), {"x": images})["a"].astype(np.float64)
    seen = np.stack([images[:, :, i : i + 4] for i in range(2)], axis=2).transpose(0, 3, 4, 1, 2).reshape(-1, 8)
    for k in range(3):
        nonzero = np.flatnonzero(done.weights[k].reshape(8))
        matrix = np.column_stack([seen[:, nonzero].astype(np.float64), np.ones(len(seen))])
        solution = np.linalg.lstsq(matrix, target[:, k].ravel(), rcond=None)[0]
        np.testing.assert_allclose(done.weights[k].reshape(8)[nonzero], solution[:-1], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(done.bias[k], solution[-1], rtol=1e-3, atol=1e-4)


def test_zeros_stay_zero_also_with_dead_inputs() -> None:
    graph = network()
    before = prune(graph, Pruning("filter", 0.5, skip=("c",))).graph
    dead = replace(
        before.convs[0], bias=np.where(before.convs[0].weights.any(axis=(1, 2, 3)), before.convs[0].bias, -1)
    )
    before = replace(before, layers=(dead, *before.layers[1:]))
    done = second_order(before, Pruning("weight", 0.2), IMAGES).graph
    for old, new in zip(before.convs, done.convs, strict=True):
        assert np.isfinite(new.weights).all()
        assert not new.weights[old.weights == 0].any()
    assert zeros(done) == zeros(prune(before, Pruning("weight", 0.2)).graph)


def test_without_bias_correction_the_bias_stays() -> None:
    graph = network()
    done = second_order(graph, Pruning("weight", 0.5), IMAGES, bias_correction=False).graph
    for old, new in zip(graph.convs, done.convs, strict=True):
        np.testing.assert_array_equal(old.bias, new.bias)


def test_a_layer_keeps_a_weight() -> None:
    graph = graph_of(conv_layer("a", "x", (1, 3, 1, 1)), shape=(3, 4, 4))
    done = second_order(graph, Pruning("weight", 0.9), random_images(graph, 4))
    assert zeros(done.graph) == [2]
    assert done.notes == ("layer 'a': keeps one weight, lest it be empty",)


def test_carried_network_keeps_its_accuracy() -> None:
    """Magnitude pruning lowers 94.1% to 16%. For speed: a quarter of the calibration images, and ADMM for large filters."""
    carried = carried_networks()["resnet8_fashion"]
    graph = load("resnet8_fashion")
    images, labels = load_images(carried.evaluation)
    assert labels is not None
    pruning = Pruning("weight", 0.7)
    done = second_order(graph, pruning, load_images(carried.calibration)[0][:32], exact_inputs=150).graph
    assert weight_density(done) == pytest.approx(0.3, abs=1e-4)
    magnitude = float_accuracy(prune(graph, pruning).graph, images, labels)
    assert float_accuracy(done, images, labels) > magnitude + 0.5


@pytest.mark.parametrize(
    ("pruning", "options", "message"),
    [
        (Pruning("filter", 0.5), {}, "not filter, layer, l1"),
        (Pruning("weight", 0.5, scope="network"), {}, "not weight, network, l1"),
        (Pruning("weight", 0.5), {"damping": 0.0}, "damping must be above 0, not 0"),
        (Pruning("weight", 0.5), {"correction": 1.5}, "correction must be from 0 to 1, not 1.5"),
        (Pruning("weight", 0.5, skip=("q",)), {}, "network 'test' has no prunable layer 'q'; it has a, b, c"),
    ],
)
def test_errors(pruning: Pruning, options: dict[str, float], message: str) -> None:
    with pytest.raises(SkipstoneError, match=message):
        second_order(network(), pruning, IMAGES, **options)  # type: ignore[arg-type]


def test_n_of_m_notes_what_happens_to_remaining_channels() -> None:
    graph = graph_of(conv_layer("c", "x", (4, 3, 3, 3)), shape=(3, 5, 5))
    images = random_images(graph, 8)
    pruned = second_order(graph, Pruning("nm", n=2, m=4), images)
    assert pruned.notes == ("layer 'c': 2:4 keeps 2 of 3 input channels",)
    assert pruned.notes == prune(graph, Pruning("nm", n=2, m=4)).notes
    assert ((pruned.graph.convs[0].weights != 0).sum(axis=1) == 2).all()
