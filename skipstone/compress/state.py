"""What goes from step to step: the network as it is now, and how it will be quantized; and what steps may use: data, design."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from skipstone.hw.design import Design
from skipstone.models.data.datasets import Dataset
from skipstone.models.data.metrics import Metric, metric_of
from skipstone.models.graph.graph import Graph
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import Ranges, calibrate
from skipstone.models.quantization.scheme import INT8, QuantizationScheme

Progress = Callable[[str], None]
OwnLoop = Callable[[Any, Any, Any], object]
"""A training loop of the user's, called with the module, its batches and the options
(``skipstone.models.training.loop.TrainingLoop``, without PyTorch's types)."""


@dataclass(frozen=True, eq=False)
class State:
    """``graph`` is the network after the steps so far. ``notes`` and ``measured`` are the last step's: what a method could
    not do, and figures for reports."""

    graph: Graph
    scheme: QuantizationScheme = INT8
    notes: tuple[str, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Context:
    """What steps may use. ``parent`` is the float network as it came; ``metric`` measures it and what becomes of it on the test
    images; ``train`` is a training loop in place of the built-in one; ``training`` is a file that a training may keep its state
    in; ``memory`` is for what steps of one run would compute twice."""

    parent: Graph
    dataset: Dataset
    design: Design | None
    seed: int
    progress: Progress
    metric: Metric = field(default_factory=lambda: metric_of(None, None))
    train: OwnLoop | None = None
    training: Path | None = None
    memory: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def run_id(self) -> str:
        """Tells this run from all others: what a loop or a metric of the user's does is not known from its name."""
        return str(self.memory.setdefault("run", uuid.uuid4().hex))

    @cached_property
    def classes(self) -> int:
        """Scores that the network gives."""
        return self.parent.classes


def activation_ranges(graph: Graph, scheme: QuantizationScheme, dataset: Dataset) -> Ranges:
    """Ranges of a network's tensors on the calibration images.

    Args:
        graph: The float network.
        scheme: The bits, and how ranges are found.
        dataset: Has the calibration images.
    """
    return calibrate(graph, dataset.calibration(), scheme)


def quantized(graph: Graph, scheme: QuantizationScheme, dataset: Dataset) -> QuantizedNetwork:
    """A network in integers.

    Args:
        graph: The float network. Grids that it has stay.
        scheme: What holds where it has none.
        dataset: Has the calibration images.
    """
    return quantize(graph, activation_ranges(graph, scheme, dataset), scheme)
