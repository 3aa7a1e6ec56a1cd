"""How much accuracy and how many cycles each layer alone costs and saves when it is compressed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from skipstone.mapper.results import notebook
from skipstone.mapper.results.document import Document, Number

What = Literal["sparsity", "bits"]


@dataclass(frozen=True)
class SensitivityPoint:
    """One layer compressed, the others as they were: to a ``value`` of sparsity (0 to 1) or of bits. ``density``: nonzeros over
    weights of the layer. ``cycles`` and ``cycles_saved``: of the whole network; None where no design was asked."""

    layer: str
    what: What
    value: Number
    density: Number
    accuracy: Number
    accuracy_lost: Number
    cycles: int | None = None
    cycles_saved: int | None = None


@dataclass(frozen=True)
class SensitivityLayer:
    """A layer as it is: its kind, weights, multiply-accumulates, and on the design what bounds it."""

    name: str
    kind: str
    weights: int
    macs: int
    bound: str = ""


@dataclass(frozen=True)
class SensitivityResult(Document):
    """``accuracy`` (0 to 1, of ``images``) and ``cycles`` are the network's before anything is compressed; ``method`` names the
    pruning."""

    KIND: ClassVar[str] = "sensitivity"
    SCHEMA: ClassVar[int] = 1

    network: str
    design: str
    method: str
    images: int
    accuracy: Number
    cycles: int | None
    layers: tuple[SensitivityLayer, ...]
    points: tuple[SensitivityPoint, ...]
    notes: tuple[str, ...]

    def of(self, layer: str, what: What) -> tuple[SensitivityPoint, ...]:
        """A layer's points, in the order in which they were asked for."""
        return tuple(point for point in self.points if point.layer == layer and point.what == what)

    def values(self, what: What) -> tuple[float, ...]:
        """The sparsities, or the bits."""
        return tuple(dict.fromkeys(point.value for point in self.points if point.what == what))

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each point."""
        return notebook.frame([dataclasses.asdict(point) for point in self.points])

    def _repr_html_(self) -> str:
        figures = [
            ("accuracy", notebook.share(self.accuracy, 2)),
            ("cycles", notebook.whole(self.cycles)),
            ("images", notebook.whole(self.images)),
        ]
        rows = [
            (
                point.layer,
                point.what,
                notebook.digits(point.value),
                notebook.share(point.accuracy, 2),
                f"{100 * point.accuracy_lost:.2f}",
                notebook.whole(point.cycles_saved),
            )
            for point in self.points
        ]
        header = ("layer", "what", "value", "accuracy", "points lost", "cycles saved")
        title = f"Sensitivity of {self.network} on {self.design}, each layer alone"
        return notebook.result_html(title, figures, header, rows, "; ".join(self.notes))
