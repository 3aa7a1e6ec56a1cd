"""The comparison of two or more runs as one HTML page, offline, its numbers as CSV beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skipstone.mapper.results.network import CAUSES
from skipstone.reports.comparison.comparison import METRICS, Comparison, LabelledResult, LayerCost
from skipstone.reports.comparison.figures import comparison_figures
from skipstone.reports.comparison.rows import change_text, difference_rows, layer_rows, metric_rows, value_text
from skipstone.reports.network.compression import accuracies
from skipstone.reports.network.definitions import CAUSE_FORMULAS, LAYER_COLUMNS
from skipstone.reports.network.summary import CAUSE_DEFINITIONS, NONE, count, nanojoules, percent
from skipstone.reports.web.figures import Grid
from skipstone.reports.web.page import FIGURES, TABLE, Card, Page, Section, write_page

TEMPLATES = "reports/comparison/templates"


@dataclass(frozen=True)
class ComparisonSummary:
    """Large figures, the metrics of each run, and the metrics' formulas."""

    cards: tuple[Card, ...]
    totals: Grid
    formulas: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Differences:
    """Options and parameters: those that differ, and those that are the same in all runs."""

    differing: Grid
    same: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ComparisonAbout:
    """The causes of cycles with their formulas, and the runs."""

    causes: tuple[tuple[str, str], ...]
    runs: tuple[LabelledResult, ...]


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the page to ``path`` and its CSV files to a folder beside it, whole or not at all.

    Raises:
        OSError: a file can't be written.
    """
    write_page(comparison_page(comparison), path)


def comparison_page(comparison: Comparison) -> Page:
    """The page that :func:`write_comparison` writes."""
    labels = [run.label for run in comparison.runs]
    figures = comparison_figures(comparison)
    groups = [
        (name, heading, tuple(figure for figure in figures if figure.name.startswith(names)))
        for name, heading, names in (
            ("cycles", "Cycles", ("cycles", "difference")),
            ("energy", "Energy", ("energy",)),
            ("area", "Area", ("area",)),
            ("accuracy", "Accuracy", ("accuracy",)),
        )
    ]
    others = ", ".join(labels[1:]) if len(labels) <= 4 else f"{len(labels) - 1} runs"
    title = f"{others} against {labels[0]}"
    return Page(
        title=f"{title}: Skipstone comparison",
        heading=title,
        lead=_lead(comparison),
        sections=(
            Section("summary", "Summary", f"{TEMPLATES}/summary.html.j2", _summary(comparison)),
            Section("differences", "What differs", f"{TEMPLATES}/differences.html.j2", _differences(comparison)),
            *(Section(f"section-{name}", heading, FIGURES, drawn) for name, heading, drawn in groups if drawn),
            Section("layers", "Layers", TABLE, _layers(comparison)),
            Section("about", "About these numbers", f"{TEMPLATES}/about.html.j2", _about(comparison)),
        ),
        figures=figures,
    )


def _summary(comparison: Comparison) -> ComparisonSummary:
    labels = [run.label for run in comparison.runs]
    return ComparisonSummary(
        tuple(_cards(comparison)),
        Grid(("", *labels), tuple(map(tuple, metric_rows(comparison)))),
        tuple((metric.name, metric.formula) for metric in METRICS),
    )


def _differences(comparison: Comparison) -> Differences:
    labels = [run.label for run in comparison.runs]
    return Differences(
        Grid(("", *labels), tuple(map(tuple, difference_rows(comparison))), frozenset(range(len(labels) + 1))),
        tuple((name, value_text(value)) for name, value in comparison.same),
    )


def _about(comparison: Comparison) -> ComparisonAbout:
    causes = tuple((cause, f"{CAUSE_DEFINITIONS[cause]}: {CAUSE_FORMULAS[cause]}") for cause in CAUSES)
    return ComparisonAbout(causes, comparison.runs)


def _lead(comparison: Comparison) -> str:
    networks = dict.fromkeys(run.result.network for run in comparison.runs)
    designs = dict.fromkeys(run.result.design for run in comparison.runs)
    text = f"{' and '.join(networks)} on {' and '.join(designs)}. "
    if len(networks) > 1:
        text += "The networks differ: their cycles do different work. "
    return text + f"{comparison.common} of {len(comparison.layers)} layers occur in all runs, matched by name."


def _cards(comparison: Comparison) -> list[Card]:
    """The speed-up of each run over the first; of two runs also the changes of energy, accuracy and area."""
    cards = [_speedup(comparison, run) for run in range(1, len(comparison.runs))]
    if len(comparison.runs) > 2:
        return cards
    first, second = (run.result for run in comparison.runs)
    if not first.total_energy_pj:
        return cards
    energies = (first.total_energy_pj, second.total_energy_pj)
    cards.append(
        Card(
            "energy",
            change_text(*energies),
            f"{nanojoules(energies[0])} to {nanojoules(energies[1])} nJ",
            formula="energy of the second / energy of the first - 1.",
        )
    )
    measured = (accuracies(first), accuracies(second))
    if all(measured):
        before, after = (each[-1][1] for each in measured)
        cards.append(
            Card(
                "accuracy",
                f"{100 * (after - before):+.2f} points",
                f"{percent(before, 2)} to {percent(after, 2)}",
                formula="accuracy of the second - accuracy of the first, in percentage points.",
            )
        )
    areas = (first.area_um2, second.area_um2)
    if all(areas):
        cards.append(
            Card(
                "area",
                change_text(*areas),
                f"{areas[0] / 1e6:.3f} to {areas[1] / 1e6:.3f} mm²",
                formula="area of the second / area of the first - 1.",
            )
        )
    return cards


def _speedup(comparison: Comparison, run: int) -> Card:
    first, other = comparison.runs[0], comparison.runs[run]
    factor = comparison.speedup(run)
    return Card(
        other.label if len(comparison.runs) > 2 else "speed-up",
        NONE if factor is None else f"{factor:.2f}x",
        f"{other.label} over {first.label}",
        formula="another network"
        if factor is None
        else f"cycles of the first / cycles of this = {count(first.result.total_cycles)} / {count(other.result.total_cycles)}.",
    )


def _layers(comparison: Comparison) -> Grid:
    """A row for each layer: cycles, energy and nonzeros of each run."""
    labels = [run.label for run in comparison.runs]
    header = (
        "layer",
        *(f"cycles, {label}" for label in labels),
        *(f"energy, {label}, nJ" for label in labels),
        *(f"nonzeros, {label}" for label in labels),
    )
    rows = tuple(
        (
            *cycles,
            *(nanojoules(cost.energy_pj if cost else None) for cost in layer.costs),
            *(_nonzeros_text(cost) for cost in layer.costs),
        )
        for cycles, layer in zip(layer_rows(comparison), comparison.layers, strict=True)
    )
    definitions = {
        name: LAYER_COLUMNS[key]
        for key, start in (("cycles", "cycles"), ("energy, nJ", "energy"), ("nonzeros", "nonzeros"))
        for name in header
        if name.startswith(start)
    }
    return Grid(header, rows, definitions=definitions)


def _nonzeros_text(cost: LayerCost | None) -> str:
    if cost is None:
        return NONE
    return count(cost.nnz) + ("" if cost.density is None else f" ({percent(cost.density, 0)})")
