"""The plots of a comparison: cycles by cause and by layer, differences, energy, area and accuracy."""

from __future__ import annotations

from skipstone.mapper.results.network import CAUSES, NetworkResult
from skipstone.reports.comparison.comparison import Comparison
from skipstone.reports.comparison.rows import layer_rows
from skipstone.reports.network.compression import accuracies, accuracy_bars, interval
from skipstone.reports.network.definitions import CAUSE_FORMULAS, MEMORY_NAMES
from skipstone.reports.network.summary import (
    CAUSE_DEFINITIONS,
    cause_cycles,
    count,
    decimals,
    energy_by_part,
    nanojoules,
    percent,
)
from skipstone.reports.web.figures import (
    COLOURS,
    Figure,
    Grid,
    Key,
    Numbers,
    bar_height,
    bar_layout,
    stack_end,
    stacked_bars,
)

GROUPED_BAR, GROUP_GAP = 13, 12


def comparison_figures(comparison: Comparison) -> tuple[Figure, ...]:
    """All plots, in reading order."""
    others = range(1, len(comparison.runs))
    return (
        _causes(comparison),
        _layer_cycles(comparison),
        *(_difference(comparison, other) for other in others if comparison.common),
        _energy(comparison),
        *([_area(comparison)] if all(run.result.area_terms for run in comparison.runs) else []),
        *([_accuracy(comparison)] if any(accuracies(run.result) for run in comparison.runs) else []),
    )


def _causes(comparison: Comparison) -> Figure:
    labels = [run.label for run in comparison.runs]
    cycles = [cause_cycles(run.result) for run in comparison.runs]
    series = [(cause, [by_cause[cause] for by_cause in cycles]) for cause in CAUSES]
    notes = [
        (stack_end(by_cause.values()), count(run.result.total_cycles))
        for run, by_cause in zip(comparison.runs, cycles, strict=True)
    ]
    return Figure(
        name="cycles",
        title="Cycles by cause",
        caption="Where the cycles of the whole network go in each run. Only the first cause is useful work.",
        height=bar_height(labels),
        traces=stacked_bars(labels, series, "cycles"),
        layout=bar_layout(labels, "cycles", notes),
        keys=tuple(Key(cause, index, (index,), CAUSE_DEFINITIONS[cause]) for index, cause in enumerate(CAUSES)),
        table=Grid(
            ("run", *CAUSES, "cycles"),
            tuple(
                (run.label, *(decimals(by_cause[cause], 1) for cause in CAUSES), count(run.result.total_cycles))
                for run, by_cause in zip(comparison.runs, cycles, strict=True)
            ),
            definitions=CAUSE_FORMULAS,
        ),
        numbers=Numbers(
            ("run", *(f"{cause}_cycles" for cause in CAUSES), "total_cycles"),
            tuple(
                (run.label, *(by_cause[cause] for cause in CAUSES), run.result.total_cycles)
                for run, by_cause in zip(comparison.runs, cycles, strict=True)
            ),
        ),
    )


def _layer_cycles(comparison: Comparison) -> Figure:
    names = [layer.name for layer in comparison.layers]
    series = [
        (run.label, [float(cost.cycles) if (cost := layer.costs[index]) else 0.0 for layer in comparison.layers])
        for index, run in enumerate(comparison.runs)
    ]
    largest = max((value for _, values in series for value in values), default=1.0)
    layout = bar_layout(names, "cycles", [(largest, "")] * len(names))
    layout |= {"barmode": "group", "annotations": []}
    return Figure(
        name="cycles_of_layers",
        title="Cycles of each layer",
        caption="A bar for each run; a layer that a run does not have on the array has none there.",
        height=70 + len(names) * (GROUP_GAP + GROUPED_BAR * len(series)),
        traces=stacked_bars(names, series, "cycles"),
        layout=layout,
        keys=tuple(Key(label, index % COLOURS, (index,)) for index, (label, _) in enumerate(series)),
        table=Grid(
            ("layer", *(label for label, _ in series)),
            tuple(map(tuple, layer_rows(comparison))),
        ),
        numbers=Numbers(
            ("layer", "run", "cycles", *(f"{cause}_cycles" for cause in CAUSES), "energy_pj", "nonzeros"),
            tuple(
                (
                    *(layer.name, run.label, cost.cycles),
                    *(cost.cycles_by_cause[cause] for cause in CAUSES),
                    *(cost.energy_pj, cost.nnz),
                )
                for layer in comparison.layers
                for run, cost in zip(comparison.runs, layer.costs, strict=True)
                if cost is not None
            ),
        ),
    )


def _difference(comparison: Comparison, other: int) -> Figure:
    """Cycles of another run less those of the first, by layer and cause; bars to the left are saved cycles."""
    first, run = comparison.runs[0], comparison.runs[other]
    pairs = [
        (layer.name, before, after)
        for layer in comparison.layers
        if (before := layer.costs[0]) is not None and (after := layer.costs[other]) is not None
    ]
    names = [name for name, *_ in pairs]
    series = [
        (cause, [after.cycles_by_cause[cause] - before.cycles_by_cause[cause] for _, before, after in pairs])
        for cause in CAUSES
    ]
    ends = [
        (sum(v[i] for _, v in series if v[i] < 0), sum(v[i] for _, v in series if v[i] > 0)) for i in range(len(names))
    ]
    low, high = min((end for end, _ in ends), default=0.0), max((end for _, end in ends), default=0.0)
    room = 0.2 * (high - low) or 1.0
    notes = [
        (end, f"{after.cycles - before.cycles:+,}") for (_, end), (_, before, after) in zip(ends, pairs, strict=True)
    ]
    layout = bar_layout(names, f"cycles of {run.label} less those of {first.label}", notes)
    layout["barmode"] = "relative"
    layout["xaxis"] |= {"range": [low - room / 4, high + room], "zeroline": True}
    layout["meta"]["narrow"]["xaxis"] |= {
        "range": [low - room / 4, high + 2 * room],
        "title": {"text": "cycles, difference"},
    }
    return Figure(
        name=f"difference_{other}",
        title=f"{run.label} against {first.label}, by cause",
        caption="Cycles lost (to the right) or saved (to the left) in each layer that both have, by cause; the number is the "
        "difference of the layer's cycles.",
        height=bar_height(names),
        traces=stacked_bars(names, series, "cycles"),
        layout=layout,
        keys=tuple(Key(cause, index, (index,)) for index, cause in enumerate(CAUSES)),
        table=Grid(
            ("layer", *CAUSES, "cycles"),
            tuple(
                (name, *(f"{values[index]:+,.1f}" for _, values in series), f"{after.cycles - before.cycles:+,}")
                for index, (name, before, after) in enumerate(pairs)
            ),
            definitions=dict.fromkeys(CAUSES, f"cycles of {run.label} - cycles of {first.label}"),
        ),
        numbers=Numbers(
            ("layer", *(f"{cause}_cycles" for cause in CAUSES), "cycles"),
            tuple(
                (name, *(values[index] for _, values in series), after.cycles - before.cycles)
                for index, (name, before, after) in enumerate(pairs)
            ),
        ),
    )


def _energy(comparison: Comparison) -> Figure:
    labels = [run.label for run in comparison.runs]
    energies = [energy_by_part(run.result) for run in comparison.runs]
    parts = list(dict.fromkeys(part for by_part in energies for part in by_part))
    series = [(part, [by_part.get(part, 0.0) / 1000 for by_part in energies]) for part in parts]
    notes = [(sum(by_part.values()) / 1000, nanojoules(sum(by_part.values()))) for by_part in energies]
    return Figure(
        name="energy",
        title="Energy by part",
        caption="Energy for one input in nJ: counts of the cycle model times energy per action. Each run's own report has every "
        "product with its source.",
        height=bar_height(labels),
        traces=stacked_bars(labels, series, "nJ"),
        layout=bar_layout(labels, "energy, nJ", notes),
        keys=tuple(Key(part, index % COLOURS, (index,)) for index, part in enumerate(parts)),
        table=Grid(
            ("run (nJ)", *parts, "total"),
            tuple(
                (label, *(nanojoules(by_part.get(part)) for part in parts), nanojoules(sum(by_part.values())))
                for label, by_part in zip(labels, energies, strict=True)
            ),
        ),
        numbers=Numbers(
            ("run", *(f"{part}_pj" for part in parts)),
            tuple(
                (label, *(by_part.get(part) for part in parts)) for label, by_part in zip(labels, energies, strict=True)
            ),
        ),
    )


def _area(comparison: Comparison) -> Figure:
    labels = [run.label for run in comparison.runs]
    areas = [_component_areas(run.result) for run in comparison.runs]
    components = dict.fromkeys(name for by_name in areas for name in by_name)
    names = sorted(components, key=lambda name: -max(by_name.get(name, 0.0) for by_name in areas))
    notes = [(sum(by_name.values()), f"{sum(by_name.values()):.3f}") for by_name in areas]
    return Figure(
        name="area",
        title="Area by component",
        caption="Number of components times the area of one, in mm².",
        height=bar_height(labels),
        traces=stacked_bars(labels, [(name, [by_name.get(name, 0.0) for by_name in areas]) for name in names], "mm²"),
        layout=bar_layout(labels, "area, mm²", notes),
        keys=tuple(Key(MEMORY_NAMES.get(name, name).split(":")[0], i % COLOURS, (i,)) for i, name in enumerate(names)),
        table=Grid(
            ("run (mm²)", *names),
            tuple(
                (label, *(f"{by_name.get(name, 0.0):.4f}" for name in names))
                for label, by_name in zip(labels, areas, strict=True)
            ),
        ),
        numbers=Numbers(
            ("run", *(f"{name}_mm2" for name in names)),
            tuple(
                (label, *(by_name.get(name) for name in names)) for label, by_name in zip(labels, areas, strict=True)
            ),
        ),
    )


def _component_areas(result: NetworkResult) -> dict[str, float]:
    """Area in mm² by component."""
    areas: dict[str, float] = {}
    for term in result.area_terms:
        areas[term.component] = areas.get(term.component, 0.0) + term.area_um2 / 1e6
    return areas


def _accuracy(comparison: Comparison) -> Figure:
    measured = [
        (run.label, *accuracies(run.result)[-1], run.result.accuracy.images)
        for run in comparison.runs
        if accuracies(run.result)
    ]
    names = [f"{label} ({network})" for label, network, *_ in measured]
    intervals = [interval(accuracy, images) for *_, accuracy, images in measured]
    traces, layout = accuracy_bars(names, [accuracy for *_, accuracy, _ in measured], intervals)
    return Figure(
        name="accuracy",
        title="Accuracy of the network that runs",
        caption="Top-1, with 95% confidence intervals (Wilson's score) for the number of images.",
        height=bar_height(names),
        traces=traces,
        layout=layout,
        keys=(),
        table=Grid(
            ("run", "network", "accuracy", "images", "95% from", "95% to"),
            tuple(
                (label, network, percent(accuracy, 2), count(images), percent(low, 2), percent(high, 2))
                for (label, network, accuracy, images), (low, high) in zip(measured, intervals, strict=True)
            ),
            frozenset({0, 1}),
            {"accuracy": "right / images"},
        ),
        numbers=Numbers(
            ("run", "network", "accuracy", "images", "low_95", "high_95"),
            tuple((*row, *ends) for row, ends in zip(measured, intervals, strict=True)),
        ),
    )
