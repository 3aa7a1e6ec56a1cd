"""The result of a sweep: one design and network with one or two parameters varied, and what each value costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skipstone.mapper.results import notebook
from skipstone.mapper.results.document import Document, Number


@dataclass(frozen=True)
class SweepPoint:
    """One value of each parameter that is varied.

    Attributes:
        values: The values by parameter.
        design: The design's name; empty where none can be made.
        following: Other parameters that differ from those of the design that is varied, with their values.
        metrics: Its exact figures (``skipstone.mapper.results.exploration.METRICS``); none with a ``problem``.
        changes: Each figure over that of the reference, less 1: 0.05 is 5% more. Empty with a ``problem``.
        problem: Why it can't be built, or does not fit; empty otherwise.
    """

    values: Mapping[str, Any]
    design: str
    following: Mapping[str, Any]
    metrics: Mapping[str, Number]
    changes: Mapping[str, Number]
    problem: str = ""


@dataclass(frozen=True)
class SweepResult(Document):
    """What one or two parameters cost.

    Attributes:
        network: The network's name.
        design: The name of the design that is varied.
        design_parameters: Its parameters, fitted to the bits and the code of the network.
        compression: How the network is compressed where no parameter says it.
        parameters: The parameters that are varied, with their values.
        points: All combinations of the values, in their order.
        reference: The number of the point that changes are over: the first that has figures.
        calibration: Where activation ranges come from.
        technology: The source of energies.
        accuracy_images: Images that accuracies are measured on; 0 where none is measured.
        sources: (key, source) of the figures.
    """

    KIND: ClassVar[str] = "sweep"
    SCHEMA: ClassVar[int] = 1

    network: str
    design: str
    design_parameters: Mapping[str, Any]
    compression: Mapping[str, Any]
    parameters: Mapping[str, tuple[Any, ...]]
    points: tuple[SweepPoint, ...]
    reference: int
    calibration: str
    technology: str
    accuracy_images: int
    sources: tuple[tuple[str, str], ...] = ()

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each point: its values and metrics under their names, in their units."""
        return notebook.frame([{**point.values, **point.metrics, "problem": point.problem} for point in self.points])

    def _repr_html_(self) -> str:
        metrics = tuple(dict.fromkeys(name for point in self.points for name in point.metrics))
        rows = [
            (
                *(str(value) for value in point.values.values()),
                *(notebook.digits(point.metrics.get(name)) for name in metrics),
                point.problem,
            )
            for point in self.points
        ]
        title = f"Sweep of {', '.join(self.parameters)}: {self.network} on {self.design}"
        return notebook.result_html(title, (), (*self.parameters, *metrics, "problem"), rows)
