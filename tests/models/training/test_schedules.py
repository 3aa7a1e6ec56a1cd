"""Pruning that alternates with training: intermediate amounts, rewinding of lottery tickets, and resuming after
interruptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.pruning.criteria import Evidence
from skipstone.models.pruning.masks import Pruning

torch = pytest.importorskip("torch")

from skipstone.models.training import schedules
from skipstone.models.training.gradients import weight_gradients
from skipstone.models.training.loop import Hook, TrainingOptions, fine_tune
from skipstone.models.training.schedules import amounts, iterative, lottery
from skipstone.models.training.start import reinitialized
from tests.models.training.test_loop import InterruptedTrainingError, assert_equal_weights, problem, tiny

OPTIONS = TrainingOptions(epochs=1, learning_rate=0.05, batch=16, seed=3)


def shares(graph: Any) -> list[float]:
    return [float((layer.weights == 0).mean()) for layer in graph.convs]


def test_every_round_takes_the_same_share_of_what_is_left() -> None:
    assert amounts(0.75, 2) == pytest.approx((0.5, 0.75))
    assert amounts(0.488, 3) == pytest.approx((0.2, 0.36, 0.488))  # a fifth each, as in the lottery tickets' paper
    assert amounts(0.0, 2) == (0.0, 0.0)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, int, Any]]:
    """Graph, seed and teacher of every training."""
    seen: list[tuple[Any, int, Any]] = []

    def watch(graph: Any, images: Any, labels: Any, options: Any, **more: Any) -> Any:
        seen.append((graph, options.seed, more.get("teacher")))
        return fine_tune(graph, images, labels, options, **more)

    monkeypatch.setattr(schedules, "fine_tune", watch)
    return seen


def test_iterative_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = problem(32)
    seen, messages = watched(monkeypatch), []
    pruning = Pruning("weight", 0.75, amounts={"g": 0.36})
    pruned = iterative(tiny(), pruning, images, labels, OPTIONS, rounds=2, progress=messages.append)
    assert shares(seen[0][0]) == pytest.approx([0.5, 0.5, 5 / 24])  # a fifth of g's 24, rounded
    assert shares(pruned.graph) == pytest.approx([0.75, 0.75, 9 / 24])  # 0.36 * 24 = 8.64
    assert [seed for _, seed, _ in seen] == [4, 5]
    assert [text.split(":")[0] for text in messages] == ["round 1/2, epoch 1/1", "round 2/2, epoch 1/1"]
    for first, second in zip(seen[0][0].convs, seen[1][0].convs, strict=True):
        assert not second.weights[first.weights == 0].any()


def test_iterative_n_of_m_and_evidence() -> None:
    images, labels = problem(32)
    pruned = iterative(tiny(), Pruning("nm", n=1, m=4), images, labels, OPTIONS, rounds=2)
    assert (np.count_nonzero(pruned.graph.convs[1].weights[:, :4], axis=1) == 1).all()
    assert pruned.notes[0] == "layer 'a': 1:4 keeps 1 of 2 input channels"
    asked = []

    def evidence(graph: Any) -> Evidence:
        asked.append(shares(graph))
        return Evidence(gradients=weight_gradients(graph, images, labels))

    pruning = Pruning("weight", 0.75, criterion="taylor")
    taylor = iterative(tiny(), pruning, images, labels, OPTIONS, rounds=2, evidence=evidence)
    assert asked == [pytest.approx([0, 0, 0]), pytest.approx([0.5, 0.5, 0.5])]
    assert shares(taylor.graph) == pytest.approx([0.75, 0.75, 0.75])


def test_lottery_tickets_start_from_the_early_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = problem(32)
    seen = watched(monkeypatch)
    result = lottery(tiny(), Pruning("weight", 0.75), images, labels, replace(OPTIONS, epochs=2), rounds=2)
    fresh, first, second = (graph for graph, _, _ in seen)
    assert_equal_weights(fresh, reinitialized(tiny(), OPTIONS.seed))
    assert [seed for _, seed, _ in seen] == [3, 4, 5]
    early = after_one_of_two_epochs(fresh, images, labels)
    for ticket, share in ((first, 0.5), (second, 0.75)):
        assert shares(ticket) == pytest.approx([share] * 3)
        for rewound, original in zip(ticket.convs, early.convs, strict=True):
            alive = rewound.weights != 0
            assert rewound.weights[alive].tobytes() == original.weights[alive].tobytes()
            assert rewound.bias.tobytes() == original.bias.tobytes()
            assert not np.signbit(rewound.weights[~alive]).any()
    for layer, ticket in zip(result.graph.convs, second.convs, strict=True):
        np.testing.assert_array_equal(layer.weights == 0, ticket.weights == 0)


def after_one_of_two_epochs(graph: Any, images: Any, labels: Any) -> Any:
    """``graph`` after the first epoch of a training of two, whose learning rate falls over both."""

    class Stop(Hook):
        def before_step(self, module: Any, step: int) -> None:
            if step == 2:
                graphs.append(module.to_graph())

    graphs: list[Any] = []
    fine_tune(graph, images, labels, replace(OPTIONS, epochs=2), hooks=[Stop()])
    return graphs[0]


def test_lottery_rewinds_to_the_start_or_to_the_end_but_not_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = problem(32)
    seen = watched(monkeypatch)
    for rewind_epochs, early in (
        (0, reinitialized(tiny(), OPTIONS.seed)),
        (1, fine_tune(reinitialized(tiny(), OPTIONS.seed), images, labels, OPTIONS)),
    ):
        lottery(tiny(), Pruning("weight", 0.5), images, labels, OPTIONS, rounds=1, rewind_epochs=rewind_epochs)
        for first, second in zip(seen[-1][0].convs, early.convs, strict=True):
            assert first.weights[first.weights != 0].tobytes() == second.weights[first.weights != 0].tobytes()
    with pytest.raises(SkipstoneError, match=r"^rewind_epochs must be from 0 to the 1 epochs of training, not 2$"):
        lottery(tiny(), Pruning("weight", 0.5), images, labels, OPTIONS, rounds=1, rewind_epochs=2)


def interrupted(after: int) -> Any:
    messages: list[str] = []

    def progress(text: str) -> None:
        messages.append(text)
        if len(messages) == after:
            raise InterruptedTrainingError

    return progress


@pytest.mark.parametrize("schedule", [iterative, lottery])
@pytest.mark.parametrize("after", [2, 4])
def test_an_interruption_changes_nothing(schedule: Any, after: int, tmp_path: Path) -> None:
    images, labels = problem(32)
    options = replace(OPTIONS, epochs=2)

    def run(**more: Any) -> Any:
        return schedule(tiny(), Pruning("weight", 0.75), images, labels, options, rounds=2, **more).graph

    path = tmp_path / "state.pt"
    with pytest.raises(InterruptedTrainingError):
        run(checkpoint=path, progress=interrupted(after))
    messages: list[str] = []
    assert_equal_weights(run(), run(checkpoint=path, progress=messages.append))
    # What progress tells of is not yet saved when it fails.
    assert len(messages) == (4 if schedule is iterative else 6) - (after - 1)


def test_rounds() -> None:
    images, labels = problem(16)
    with pytest.raises(SkipstoneError, match=r"^pruning and training in turns needs at least 1 rounds, not 0$"):
        iterative(tiny(), Pruning("weight", 0.5), images, labels, OPTIONS, rounds=0)
    with pytest.raises(SkipstoneError, match=r"^pruning and training in turns needs at least 0 rounds, not -1$"):
        lottery(tiny(), Pruning("weight", 0.5), images, labels, OPTIONS, rounds=-1)
