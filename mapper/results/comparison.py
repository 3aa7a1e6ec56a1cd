"""What a comparison of networks' results says, as plain figures: what ``skipstone compare --json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skipstone.mapper.results.document import Document, Number


@dataclass(frozen=True)
class ComparedRun:
    """The figures of a run: ``time`` in us, ``energy`` in nJ, ``power`` in mW, ``area`` in mm2, ``utilization`` and ``accuracy``
    in percent. None where the result lacks one. ``speedup_over_first``: cycles of the first run over those of this one; None
    for another network."""

    label: str
    network: str
    design: str
    cycles: Number | None
    time: Number | None
    energy: Number | None
    power: Number | None
    area: Number | None
    utilization: Number | None
    accuracy: Number | None
    MACs: Number | None
    nonzero_weights: Number | None
    dense_cycles: Number | None
    speedup_over_first: Number | None
    cycles_by_cause: Mapping[str, Number]
    energy_by_part_pj: Mapping[str, Number]


@dataclass(frozen=True)
class ComparedLayerFigures:
    """A layer's figures in each run; None where the run has no such layer on the array."""

    name: str
    cycles: tuple[int | None, ...]
    cycles_by_cause: tuple[Mapping[str, Number] | None, ...]
    energy_pj: tuple[Number | None, ...]


@dataclass(frozen=True)
class ComparisonResult(Document):
    """Runs side by side. ``differences``: options and parameters that differ, with the value of each run; ``same``: those that
    all share."""

    KIND: ClassVar[str] = "comparison"
    SCHEMA: ClassVar[int] = 2

    runs: tuple[ComparedRun, ...]
    differences: Mapping[str, tuple[Any, ...]]
    same: Mapping[str, Any]
    layers: tuple[ComparedLayerFigures, ...]
