"""How good a network's answers are, as one number that is higher for better networks: built in, or the user's own function.

A metric sees what the network's first output gives for all images, and their labels. It never sees the network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Labels, Targets, check_labels

Scores = NDArray[np.float64]
MetricFunction = Callable[[Scores, Targets], float]
"""``(scores, labels)``: N x outputs, and the data set's labels as they are; higher is better."""

BUILT_IN = ("top-1", "top-K (as top-5)", "mean-squared-error", "mean-absolute-error")


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: What reports call it.
        function: ``(scores, labels) -> float``; higher is better.
        share: It is a share from 0 to 1, shown in percent, and losses are percentage points.
        built_in: The name alone says what it is.
    """

    name: str
    function: MetricFunction
    share: bool = False
    built_in: bool = False

    def __call__(self, scores: NDArray[np.generic], labels: Targets) -> float:
        """The metric's value.

        Args:
            scores: The first output for each image, N x outputs.
            labels: N classes, or values.

        Raises:
            SkipstoneError: The value is not finite.
        """
        value = float(self.function(scores.astype(np.float64), labels))
        if not math.isfinite(value):
            raise SkipstoneError(f"metric {self.name} gave {value}; it must give a finite number, higher for better")
        return value

    def lost(self, before: float, after: float) -> float:
        """What went from ``before`` to ``after``: percentage points of a share, else in the metric's own unit."""
        return (100 if self.share else 1) * (before - after)


def metric_of(metric: str | MetricFunction | Metric | None, labels: Targets | None) -> Metric:
    """The metric that is meant.

    Args:
        metric: One of ``BUILT_IN`` by name, a function, a :class:`Metric`; None for top-1 where labels are classes, and the mean
            squared error where they are values.
        labels: Some of the data's labels; None where there are none.

    Raises:
        SkipstoneError: There is no metric of that name.
    """
    if isinstance(metric, Metric):
        return metric
    if metric is None:
        metric = "mean-squared-error" if labels is not None and np.issubdtype(labels.dtype, np.floating) else "top-1"
    if not isinstance(metric, str):
        return Metric(getattr(metric, "__name__", type(metric).__name__), metric)
    if metric == "mean-squared-error":
        return Metric(metric, lambda scores, labels: -float(np.square(_errors(scores, labels)).mean()), built_in=True)
    if metric == "mean-absolute-error":
        return Metric(metric, lambda scores, labels: -float(np.abs(_errors(scores, labels)).mean()), built_in=True)
    if (match := re.fullmatch(r"top-([1-9]\d{0,5})", metric)) is None:
        raise SkipstoneError(f"no metric '{metric}'; there are {', '.join(BUILT_IN)}")
    count = int(match[1])
    return Metric(metric, lambda scores, labels: top_share(scores, labels, count), share=True, built_in=True)


def top_share(scores: Scores, labels: Targets, count: int) -> float:
    """The share of images whose class is among the ``count`` highest scores. Of equal scores the first wins."""
    classes = scores.shape[1]
    if not count < classes:
        raise SkipstoneError(
            f"top-{count} needs more than {count} classes, the network has {classes} output{'s' if classes > 1 else ''}"
        )
    labels = classes_of(labels, f"top-{count}")
    check_labels(labels, len(scores), classes)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return float((best == labels[:, None]).any(axis=1).mean())


def classes_of(labels: Targets, needed_by: str) -> Labels:
    """``labels``, refused where they are values and no classes."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise SkipstoneError(
            f"{needed_by} needs a class (an integer) for each image; the labels are values ({labels.dtype}, shape "
            f"{labels.shape}), which mean-squared-error, mean-absolute-error or your own metric takes"
        )
    return labels.astype(np.int64, copy=False)


def _errors(scores: Scores, labels: Targets) -> Scores:
    values = np.asarray(labels, np.float64)
    if len(values) != len(scores) or values.size != scores.size:
        raise SkipstoneError(
            f"labels of shape {'x'.join(map(str, labels.shape))} are no values for outputs of shape "
            f"{'x'.join(map(str, scores.shape))}"
        )
    return scores - values.reshape(scores.shape)
