"""The figures of a comparison of networks' results, as ``skipstone compare --json`` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skipstone.mapper.results.document import Document, Number


@dataclass(frozen=True)
class ComparedRun:
    """The figures of one run. They are None where the result does not have them.

    Attributes:
        label: The run's name.
        network: The network's name.
        design: The design's name.
        cycles: Cycles of one inference.
        time: Latency in us.
        energy: Energy of one inference in nJ.
        power: Power in mW.
        area: Area in mm2.
        utilization: Utilization in percent.
        accuracy: Accuracy in percent.
        MACs: Multiply-accumulates.
        nonzero_weights: Nonzero weights.
        dense_cycles: Cycles of the same network with every weight nonzero.
        inputs_a_second: Inferences one after the other in a second.
        tops: 10^12 operations a second, counting those that are done; a multiply-accumulate is two.
        tops_per_watt: 10^12 operations that are done for each joule.
        tops_per_mm2: 10^12 operations a second that are done for each mm2.
        dense_tops: As ``tops``, zeros counted as done.
        dense_tops_per_watt: As ``tops_per_watt``, zeros counted as done.
        dense_tops_per_mm2: As ``tops_per_mm2``, zeros counted as done.
        speedup_over_first: Cycles of the first run over those of this one; None for another network.
        cycles_by_cause: Cycles by cause.
        energy_by_part_pj: Energy by part in pJ.
    """

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
    inputs_a_second: Number | None
    tops: Number | None
    tops_per_watt: Number | None
    tops_per_mm2: Number | None
    dense_tops: Number | None
    dense_tops_per_watt: Number | None
    dense_tops_per_mm2: Number | None
    speedup_over_first: Number | None
    cycles_by_cause: Mapping[str, Number]
    energy_by_part_pj: Mapping[str, Number]


@dataclass(frozen=True)
class ComparedLayerFigures:
    """The figures of one layer in each run; None where the run has no such layer on the array.

    Attributes:
        name: The layer's name.
        cycles: Its cycles in each run.
        cycles_by_cause: Its cycles by cause in each run.
        energy_pj: Its energy in each run.
    """

    name: str
    cycles: tuple[int | None, ...]
    cycles_by_cause: tuple[Mapping[str, Number] | None, ...]
    energy_pj: tuple[Number | None, ...]


@dataclass(frozen=True)
class ComparisonResult(Document):
    """Runs side by side.

    Attributes:
        runs: The runs.
        differences: Options and parameters that differ, with the value of each run.
        same: Options and parameters that all runs share.
        layers: The figures of each layer.
    """

    KIND: ClassVar[str] = "comparison"
    SCHEMA: ClassVar[int] = 3

    runs: tuple[ComparedRun, ...]
    differences: Mapping[str, tuple[Any, ...]]
    same: Mapping[str, Any]
    layers: tuple[ComparedLayerFigures, ...]
