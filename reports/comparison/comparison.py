"""Two or more results side by side: options and parameters that differ, and costs in total and layer by layer.

The others are compared with the first run. Layers are matched by name; where a run merges layers (``a+b``) that another keeps
apart, their sums are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.mapper.results.comparison import ComparedLayerFigures, ComparedRun, ComparisonResult
from skipstone.mapper.results.network import CAUSES, LayerResult, NetworkResult
from skipstone.reports.network.compression import accuracies
from skipstone.reports.network.summary import cause_cycles, energy_by_part, macs, nonzeros, utilization


@dataclass(frozen=True)
class LabelledResult:
    """A result with the name under which it is shown."""

    label: str
    result: NetworkResult


@dataclass(frozen=True)
class DifferentSetting:
    """A parameter or option that is not the same in all runs: its value in each; None where a run has none."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class LayerCost:
    """Costs of a layer in a run, or of several layers that some run merges."""

    cycles: int
    cycles_by_cause: Mapping[str, float]
    energy_pj: float
    energy_by_part: Mapping[str, float]
    nnz: int
    density: float | None


@dataclass(frozen=True)
class ComparedLayer:
    """A layer's ``costs`` in each run; None where the run has no such layer on the array."""

    name: str
    costs: tuple[LayerCost | None, ...]


@dataclass(frozen=True)
class Metric:
    """A figure of the network: ``value`` of a result in ``unit``, or None where the result lacks it."""

    name: str
    unit: str
    value: Callable[[NetworkResult], float | None]
    formula: str

    @property
    def key(self) -> str:
        """The name of its field in ``ComparedRun``."""
        plain = self.name.replace("TOPS", "tops").replace("/W", " per watt").replace("/", " per ")
        return plain.replace(" ", "_")


METRICS = (
    Metric("cycles", "", lambda r: r.total_cycles or None, "the sum of the layers' cycles"),
    Metric("time", "us", lambda r: r.latency_us, "cycles / frequency"),
    Metric("energy", "nJ", lambda r: r.total_energy_pj / 1000, "sum of count x pJ over all actions, for one input"),
    Metric("power", "mW", lambda r: r.power_mw, "energy / time"),
    Metric("area", "mm²", lambda r: r.area_um2 / 1e6 or None, "sum of count x um2 over all components"),
    Metric("utilization", "%", lambda r: _percent(utilization(r)), "useful MACs / (PEs x cycles)"),
    Metric("accuracy", "%", lambda r: _percent(_last_accuracy(r)), "right / images, of the network that runs"),
    Metric("MACs", "", lambda r: macs(r.layers), "multiply-accumulates with every weight, zeros included"),
    Metric(
        "nonzero weights",
        "",
        lambda r: nonzeros(r.layers),
        "weights that are stored",
    ),
    Metric(
        "dense cycles",
        "",
        lambda r: r.dense_total_cycles or None,
        "the same network with every weight nonzero on the same array",
    ),
    Metric("inputs a second", "", lambda r: r.inputs_per_second, "1 / time"),
    Metric("TOPS", "", lambda r: r.effective.tops if r.effective else None, "2 x useful MACs / time"),
    Metric("TOPS/W", "", lambda r: r.effective.tops_per_watt if r.effective else None, "2 x useful MACs / energy"),
    Metric("TOPS/mm2", "", lambda r: r.effective.tops_per_mm2 if r.effective else None, "TOPS / area"),
    Metric(
        "dense TOPS",
        "",
        lambda r: r.dense_equivalent.tops if r.dense_equivalent else None,
        "2 x MACs / time: zeros count as operations",
    ),
    Metric(
        "dense TOPS/W",
        "",
        lambda r: r.dense_equivalent.tops_per_watt if r.dense_equivalent else None,
        "2 x MACs / energy: zeros count as operations",
    ),
    Metric(
        "dense TOPS/mm2",
        "",
        lambda r: r.dense_equivalent.tops_per_mm2 if r.dense_equivalent else None,
        "dense TOPS / area: zeros count as operations",
    ),
)


@dataclass(frozen=True)
class Comparison:
    """``differences``: options and design parameters that differ; ``same``: those that all runs share; ``layers`` in the first
    run's order."""

    runs: tuple[LabelledResult, ...]
    differences: tuple[DifferentSetting, ...]
    same: tuple[tuple[str, Any], ...]
    layers: tuple[ComparedLayer, ...]

    @property
    def common(self) -> int:
        """How many of ``layers`` all runs have."""
        return sum(None not in layer.costs for layer in self.layers)

    def speedup(self, run: int) -> float | None:
        """Cycles of the first run over those of this one; None for other networks: their cycles do other work."""
        first, other = self.runs[0].result, self.runs[run].result
        if first.network != other.network or not other.total_cycles:
            return None
        return first.total_cycles / other.total_cycles

    def to_result(self) -> ComparisonResult:
        """The figures alone, as they are written."""
        return ComparisonResult(
            runs=tuple(
                ComparedRun(
                    label=run.label,
                    network=run.result.network,
                    design=run.result.design,
                    **{metric.key: metric.value(run.result) for metric in METRICS},
                    speedup_over_first=self.speedup(index),
                    cycles_by_cause=cause_cycles(run.result),
                    energy_by_part_pj=energy_by_part(run.result),
                )
                for index, run in enumerate(self.runs)
            ),
            differences={difference.name: difference.values for difference in self.differences},
            same=dict(self.same),
            layers=tuple(
                ComparedLayerFigures(
                    name=layer.name,
                    cycles=tuple(None if cost is None else cost.cycles for cost in layer.costs),
                    cycles_by_cause=tuple(None if cost is None else cost.cycles_by_cause for cost in layer.costs),
                    energy_pj=tuple(None if cost is None else cost.energy_pj for cost in layer.costs),
                )
                for layer in self.layers
            ),
        )


def compare(results: Sequence[tuple[str, NetworkResult]]) -> Comparison:
    """Compares results, each with its label; all others with the first.

    Raises:
        SkipstoneError: there are fewer than two.
    """
    if len(results) < 2:
        raise SkipstoneError(f"there must be at least two results to compare, not {len(results)}")
    runs = tuple(LabelledResult(label, result) for label, result in results)
    settings = [_settings(run.result) for run in runs]
    names = dict.fromkeys(name for by_name in settings for name in by_name)
    values = {name: tuple(by_name.get(name) for by_name in settings) for name in names}
    return Comparison(
        runs,
        tuple(DifferentSetting(name, each) for name, each in values.items() if any(value != each[0] for value in each)),
        tuple((name, each[0]) for name, each in values.items() if all(value == each[0] for value in each)),
        tuple(_layers([run.result for run in runs])),
    )


def _settings(result: NetworkResult) -> dict[str, Any]:
    """Options and design parameters."""
    options = {
        "network": result.network,
        "pruning": result.pruning,
        "weight bits": result.weight_bits,
        "weight code": result.weight_code,
        "activation bits": result.activation_bits,
        "calibration": result.calibration,
        "accuracy images": result.accuracy.images,
        "technology": result.technology,
        "node, nm": result.node_nm,
        "frequency, MHz": result.frequency_mhz,
    }
    hidden = ("name", "description")
    return options | {"design": result.design} | {k: v for k, v in result.parameters.items() if k not in hidden}


def _layers(results: list[NetworkResult]) -> list[ComparedLayer]:
    """Layers that share a layer of the network in some run, directly or over others, are compared as one layer."""
    group: dict[str, str] = {}
    for result in results:
        for layer in result.layers:
            parts = layer.layers or (layer.name,)
            target = group.get(parts[0], parts[0])
            joined = {group.get(part, part) for part in parts}
            group.update(dict.fromkeys(parts, target))
            group = {name: target if root in joined else root for name, root in group.items()}
    members: dict[str, list[list[LayerResult]]] = {}
    for index, result in enumerate(results):
        for layer in result.layers:
            root = group[(layer.layers or (layer.name,))[0]]
            members.setdefault(root, [[] for _ in results])[index].append(layer)
    compared = []
    for lists in members.values():
        names = dict.fromkeys(part for layers in lists for layer in layers for part in (layer.layers or (layer.name,)))
        costs = tuple(_cost([layer for layer in layers if not layer.on_host]) for layers in lists)
        if any(costs):
            compared.append(ComparedLayer("+".join(names), costs))
    return compared


def _cost(layers: list[LayerResult]) -> LayerCost | None:
    if not layers:
        return None
    parts = dict.fromkeys(part for layer in layers for part in layer.energy_by_part)
    weights, nnz = sum(layer.weights for layer in layers if layer.trained), nonzeros(layers)
    return LayerCost(
        sum(layer.model_cycles or 0 for layer in layers),
        {cause: sum(layer.cycles_by_cause.get(cause, 0.0) for layer in layers) for cause in CAUSES},
        sum(layer.energy_pj or 0.0 for layer in layers),
        {part: sum(layer.energy_by_part.get(part, 0.0) for layer in layers) for part in parts},
        nnz,
        nnz / weights if weights else None,
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _last_accuracy(result: NetworkResult) -> float | None:
    measured = accuracies(result)
    return measured[-1][1] if measured else None
