"""What compressing each layer alone costs in accuracy and saves in cycles."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from skipstone.mapper.results import notebook
from skipstone.mapper.results.document import Document, Number

What = Literal["sparsity", "bits"]


@dataclass(frozen=True)
class SensitivityPoint:
    """One layer compressed, all others unchanged.

    Attributes:
        layer: The layer's name.
        what: What was changed of it.
        value: Its sparsity (0 to 1) or its bits.
        density: Nonzeros over weights of the layer.
        accuracy: Accuracy of the network, 0 to 1.
        accuracy_lost: Accuracy before less ``accuracy``.
        cycles: Cycles of the network; None without a design.
        cycles_saved: Cycles before less ``cycles``; None without a design.
    """

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
    """A layer before it is compressed.

    Attributes:
        name: The layer's name.
        kind: The layer's kind.
        weights: All weights.
        macs: Multiply-accumulates.
        bound: What bounds it on the design; empty without one.
    """

    name: str
    kind: str
    weights: int
    macs: int
    bound: str = ""


@dataclass(frozen=True)
class SensitivityResult(Document):
    """The sensitivity of each layer of a network.

    Attributes:
        network: The network's name.
        design: The design's name.
        method: The pruning's name.
        images: Images that accuracies are measured on.
        accuracy: Accuracy before anything is compressed, 0 to 1.
        cycles: Cycles before anything is compressed; None without a design.
        layers: The layers before anything is compressed.
        points: What was measured.
        notes: Remarks.
    """

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
        """The points of one layer, in the order in which they were measured."""
        return tuple(point for point in self.points if point.layer == layer and point.what == what)

    def values(self, what: What) -> tuple[float, ...]:
        """The sparsities or the bits that were measured, in their order."""
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
