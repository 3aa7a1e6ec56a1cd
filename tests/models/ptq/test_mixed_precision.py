"""The choice of bits against brute force, and sensitivities that can be worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_scores
from skipstone.models.graph.layers import Softmax
from skipstone.models.ptq import mixed_precision
from skipstone.models.ptq.mixed_precision import choose_bits, sensitivities
from skipstone.models.ptq.weight_range import with_weight_range
from tests.models.builders import conv_layer, graph_of, random_images

NETWORK = graph_of(
    conv_layer("a", "x", (4, 3, 3, 3), clamp=(0.0, np.inf)),
    conv_layer("b", "a", (6, 4, 1, 1)),
    conv_layer("c", "b", (5, 6, 4, 3), gemm=True),
    shape=(3, 6, 5),
)


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_choice_is_the_best_of_all(layers: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    widths = (2, 3, 4, 8)
    costs = {f"l{i}": {b: float(rng.integers(0, 20)) for b in widths} for i in range(layers)}
    sizes = {name: int(rng.integers(1, 30)) for name in costs}
    total = sum(sizes.values())
    budget = int(2 * total + share * 6 * total)
    choice = choose_bits(costs, sizes, budget=budget)
    best = min(
        (sum(costs[n][b] for n, b in zip(costs, bits, strict=True)), used)
        for bits in itertools.product(widths, repeat=layers)
        if (used := sum(sizes[n] * b for n, b in zip(costs, bits, strict=True))) <= budget
    )
    assert choice.exact
    assert (choice.cost, choice.used) == best
    assert choice.used == sum(sizes[name] * bits for name, bits in choice.bits.items())


def test_too_many_choices_are_made_greedily(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {f"l{i}": {2: 9.0 + i, 4: 2.0, 8: 0.5} for i in range(6)}
    sizes = dict.fromkeys(costs, 10)
    best = choose_bits(costs, sizes, mean_bits=4)
    monkeypatch.setattr(mixed_precision, "MOST_STATES", 2)
    greedy = choose_bits(costs, sizes, mean_bits=4)
    assert best.exact
    assert not greedy.exact
    assert greedy.used <= 240
    assert greedy.cost == best.cost == 12.0


@pytest.mark.parametrize("measure", ["mse", "kl"])
def test_sensitivities_fall_with_bits(measure: str) -> None:
    images = random_images(NETWORK, 6)
    costs = sensitivities(NETWORK, images, (8, 2, 4), measure=measure)  # type: ignore[arg-type]
    assert list(costs) == ["a", "b", "c"]
    for by_bits in costs.values():
        assert list(by_bits) == [2, 4, 8]
        assert by_bits[2] > by_bits[4] > by_bits[8] > 0
    if measure == "mse":
        rounded = with_weight_range(NETWORK, 4, "mse", ["b"])
        change = float_scores(rounded, images).astype(np.float64) - float_scores(NETWORK, images)
        assert costs["b"][4] == pytest.approx(np.square(change).mean())


def test_softmax_and_labels() -> None:
    """Divergence and cross entropy of scores and of their softmax are the same."""
    images, labels = random_images(NETWORK, 6), np.array([0, 1, 2, 3, 4, 0])
    ended = graph_of(*NETWORK.layers, Softmax(name="o", inputs=("c",)), shape=(3, 6, 5))
    for measure, given_labels in (("kl", None), ("loss", labels)):
        plain, soft = (
            sensitivities(graph, images, (3,), measure=measure, labels=given_labels)  # type: ignore[arg-type]
            for graph in (NETWORK, ended)
        )
        for name in plain:
            assert plain[name][3] == pytest.approx(soft[name][3], rel=1e-2, abs=1e-4)


def test_errors() -> None:
    costs = {"a": {4: 1.0, 8: 0.0}}
    with pytest.raises(
        SkipstoneError, match=r"^a budget of 39 bits is less than the 40 that 10 weights need at least$"
    ):
        choose_bits(costs, {"a": 10}, budget=39)
    with pytest.raises(SkipstoneError, match=r"^choosing bits needs either mean_bits or a budget$"):
        choose_bits(costs, {"a": 10})
    with pytest.raises(SkipstoneError, match=r"^layer 'a': no size for it$"):
        choose_bits(costs, {}, budget=39)
    with pytest.raises(SkipstoneError, match=r"^the measure 'loss' needs labels, and the others take none$"):
        sensitivities(NETWORK, random_images(NETWORK, 1), measure="loss")
