"""A sweep as one HTML page, offline: what each value saves and costs, its plots, the table, and what the numbers rest on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skipstone.mapper.results.exploration import MAXIMIZED
from skipstone.mapper.results.sweep import SweepPoint, SweepResult
from skipstone.reports.exploration.formulas import FORMULAS, column_formulas
from skipstone.reports.exploration.summary import BEST
from skipstone.reports.network.summary import NONE, count
from skipstone.reports.sweep.figures import sweep_figures
from skipstone.reports.sweep.words import columns, metrics_of, named, prices, remark, value_texts
from skipstone.reports.web.figures import Grid
from skipstone.reports.web.page import FIGURES, TABLE, Card, Page, Section, write_page

TEMPLATES = "reports/sweep/templates"
CARDS = ("cycles", "latency_us", "energy_pj", "area_um2", "accuracy")


@dataclass(frozen=True)
class SweepSummary:
    """The best point of each metric, a sentence for each point, and the points without figures with their reasons."""

    cards: tuple[Card, ...]
    reference: str
    prices: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SweepAbout:
    """What stays the same at all points, and what the numbers rest on."""

    design: tuple[tuple[str, str], ...]
    compression: tuple[tuple[str, str], ...]
    accuracy_images: str
    calibration: str
    technology: str
    sources: tuple[tuple[str, str], ...]


def write_sweep(result: SweepResult, path: Path) -> None:
    """Writes the page to ``path`` and its CSV files to a folder beside it, whole or not at all.

    Raises:
        OSError: a file can't be written.
    """
    write_page(sweep_page(result), path)


def sweep_page(result: SweepResult) -> Page:
    """The page that :func:`write_sweep` writes."""
    figures = sweep_figures(result)
    varied = " and ".join(result.parameters)
    return Page(
        title=f"{result.network}, {varied}: sweep, Skipstone",
        heading=f"{varied} of {result.network} on {result.design}",
        lead=f"{varied} varied over {count(len(result.points))} points, all else the same. Changes are over "
        f"{named(result.points[result.reference])}.",
        sections=(
            Section("summary", "Summary", f"{TEMPLATES}/summary.html.j2", _summary(result)),
            *(Section(figure.name, figure.title, FIGURES, (figure,)) for figure in figures),
            Section("points", "Points", TABLE, _points(result)),
            Section("about", "About these numbers", f"{TEMPLATES}/about.html.j2", _about(result)),
        ),
        figures=figures,
    )


def _summary(result: SweepResult) -> SweepSummary:
    return SweepSummary(
        cards=_cards(result),
        reference=named(result.points[result.reference]),
        prices=prices(result),
        problems=tuple((named(point), point.problem) for point in result.points if point.problem),
    )


def _cards(result: SweepResult) -> tuple[Card, ...]:
    """The best value of each metric of ``CARDS`` that differs."""
    shown = {metric.name: metric for metric in metrics_of(result)}
    costed = [point for point in result.points if not point.problem]
    if "latency_us" in shown and shown["frequency_mhz"].low == shown["frequency_mhz"].high:
        del shown["latency_us"]
    return tuple(
        Card(
            BEST[name],
            shown[name].with_unit(point.metrics[name]),
            named(point),
            formula=f"{FORMULAS[name]}.",
        )
        for name in CARDS
        if name in shown
        for point in [_best(costed, name)]
    )


def _best(points: list[SweepPoint], name: str) -> SweepPoint:
    sign = -1 if name in MAXIMIZED else 1
    return min(points, key=lambda point: sign * point.metrics[name])


def _points(result: SweepResult) -> Grid:
    shown = columns(result)
    return Grid(
        (*result.parameters, *(column.metric.title for column in shown), "remarks"),
        tuple(
            (
                *value_texts(point),
                *(_with_change(*column.texts(result, number)) for column in shown),
                remark(result, point) or NONE,
            )
            for number, point in enumerate(result.points)
        ),
        frozenset({*range(len(result.parameters)), len(result.parameters) + len(shown)}),
        definitions=column_formulas(column.metric for column in shown),
    )


def _with_change(value: str, change: str) -> str:
    return f"{value} ({change})" if change else value


def _about(result: SweepResult) -> SweepAbout:
    return SweepAbout(
        design=tuple(
            (name, str(value)) for name, value in result.design_parameters.items() if name not in result.parameters
        ),
        compression=tuple(
            (name, str(value)) for name, value in result.compression.items() if name not in result.parameters
        ),
        accuracy_images=count(result.accuracy_images) if result.accuracy_images else "",
        calibration=result.calibration or "not stated",
        technology=result.technology,
        sources=result.sources,
    )
