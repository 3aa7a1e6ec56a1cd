"""Metrics against their definitions, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.metrics import Metric, metric_of

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]])
CLASSES = np.array([1, 1, 0, 1])


def test_top_k() -> None:
    """Of equal scores the first wins: the last image's class 1 is second, the third image's class 0 too."""
    assert metric_of("top-1", None)(SCORES, CLASSES) == 1 / 4
    assert metric_of("top-2", None)(SCORES, CLASSES) == 1
    assert metric_of("top-2", None)(SCORES, np.array([0, 2, 1, 2])) == 0


def test_errors_are_negative_so_that_higher_is_better() -> None:
    values = np.array([[1, 2], [0, 0]], np.float32)
    scores = np.array([[2.0, 2.0], [0.0, -3.0]])
    assert metric_of("mean-squared-error", None)(scores, values) == -(1 + 9) / 4
    assert metric_of("mean-absolute-error", None)(scores, values) == -1
    assert metric_of("mean-absolute-error", None)(scores[:, :1], values[:, 0]) == -0.5


def test_the_default_is_what_the_labels_are() -> None:
    assert metric_of(None, CLASSES).name == metric_of(None, None).name == "top-1"
    assert metric_of(None, np.zeros((4, 3), np.float32)).name == "mean-squared-error"


def test_a_function_of_the_users() -> None:
    def smallest(scores, labels):
        return scores.min() + labels.sum()

    metric = metric_of(smallest, None)
    assert (metric.name, metric.share, metric.built_in) == ("smallest", False, False)
    assert metric(SCORES, CLASSES) == pytest.approx(3.1)
    assert metric.lost(3.0, 2.5) == 0.5
    assert metric_of("top-5", None).lost(0.9, 0.8) == pytest.approx(10)
    assert metric_of(metric, None) is metric


@pytest.mark.parametrize(
    ("metric", "scores", "labels", "message"),
    [
        ("top-0", SCORES, CLASSES, "no metric 'top-0'; there are top-1, top-K (as top-5), mean-squared-error, "),
        ("top-3", SCORES, CLASSES, "top-3 needs more than 3 classes, the network has 3 outputs"),
        ("top-1", SCORES[:, :1], CLASSES, "top-1 needs more than 1 classes, the network has 1 output"),
        (
            "top-1",
            SCORES,
            CLASSES.astype(np.float32),
            "top-1 needs a class (an integer) for each image; the labels are ",
        ),
        ("top-1", SCORES, CLASSES + 5, "label 6 is out of range; the network has 3 classes, 0 to 2"),
        (
            "mean-squared-error",
            SCORES,
            np.zeros(4, np.float32),
            "labels of shape 4 are no values for outputs of shape 4x3",
        ),
        (
            lambda scores, labels: float("nan"),
            SCORES,
            CLASSES,
            "metric <lambda> gave nan; it must give a finite number",
        ),
    ],
)
def test_refusals(metric, scores, labels, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        metric_of(metric, None)(scores, labels)
    assert str(error.value).startswith(message)


def test_a_share_of_the_users_own() -> None:
    assert metric_of(Metric("recall", lambda scores, labels: 0.5, share=True), None).lost(0.5, 0.25) == 25
