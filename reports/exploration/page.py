"""The report of an exploration: one HTML page in which the Pareto front is looked at, filtered and compared. Offline.

The page holds every point once, as JSON; its scripts fill the front, the parallel coordinates and the table from it, all three
under one filter, which the reader sets by dragging in a plot or by fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skipstone.mapper.results.exploration import ExplorationPoint, ExplorationResult, varying_parameters
from skipstone.reports.exploration.figures import exploration_figures, front_figure, parallel_figure
from skipstone.reports.exploration.formulas import card_formula, column_formulas, definitions
from skipstone.reports.exploration.pareto import broken_text, nearest
from skipstone.reports.exploration.points import page_points
from skipstone.reports.exploration.summary import (
    BEST,
    KNEE,
    Metric,
    best,
    constraint_costs,
    constraint_text,
    direction,
    headline,
    metrics,
    named_metrics,
    picks,
    size_of,
)
from skipstone.reports.network.summary import NONE, count
from skipstone.reports.web.figures import Figure, Grid
from skipstone.reports.web.page import FIGURES, Card, Page, Section, write_page

FOLDER = "reports/exploration"
TEMPLATES = f"{FOLDER}/templates"
SCRIPTS = ("state", "front", "parallel", "filter", "table", "wiring")
"""In the order in which they run."""

NEAREST = 5

DEFINITIONS = (
    ("point", "one choice of all parameters, built, mapped and costed; its cycles are exact"),
    ("feasible", "meets every constraint"),
    ("on the front", "feasible, and no other feasible point is at least as good in every objective and better in one"),
    ("knee", KNEE),
    (
        "hypervolume",
        "the volume between the front and a reference point that every point of interest beats; larger is better",
    ),
    ("matters", "the share of an objective's variance over the points tried that a parameter explains"),
)


@dataclass(frozen=True)
class ExplorationSummary:
    """Large figures and what follows from the points. ``nearest``: where no point meets all constraints, those that miss them
    least; ``picks``: points to choose, each with its purpose; ``constraint_costs``: a sentence for each objective."""

    cards: tuple[Card, ...]
    diagnosis: tuple[str, ...]
    nearest: Grid | None
    ended: str
    picks: Grid | None
    constraint_costs: tuple[str, ...]


@dataclass(frozen=True)
class Front:
    """The front's plot, the metrics and parameters that can be chosen and filtered, and the metrics that the axes start with."""

    figure: Figure
    metrics: tuple[Metric, ...]
    parameters: tuple[str, ...]
    across: str
    up: str


@dataclass(frozen=True)
class Parallel:
    """The plot of parallel coordinates, the metrics that can colour its lines, and the one that they start with."""

    figure: Figure
    metrics: tuple[Metric, ...]
    coloured_by: str


@dataclass(frozen=True)
class Problems:
    """How many choices have no cost, in words, and the reasons with their numbers of choices."""

    count: str
    reasons: Grid


@dataclass(frozen=True)
class ExplorationAbout:
    """How the points were searched, what their numbers rest on and what their names mean. ``accuracy_images`` is empty where no
    accuracy was measured."""

    search: tuple[tuple[str, str], ...]
    space: Grid
    accuracy_images: str
    calibration: str
    technology: str
    sources: tuple[tuple[str, str], ...]
    definitions: tuple[tuple[str, str], ...]


def write_exploration(result: ExplorationResult, path: Path) -> None:
    """Writes the page to ``path`` and its CSV files to a folder beside it, whole or not at all.

    Raises:
        OSError: a file can't be written.
    """
    write_page(exploration_page(result), path)


def exploration_page(result: ExplorationResult) -> Page:
    """The page that :func:`write_exploration` writes."""
    figures = exploration_figures(result)
    sections = [Section("summary", "Summary", f"{TEMPLATES}/summary.html.j2", _summary(result))]
    linked: list[Figure] = []
    if result.points:
        front, parallel = front_figure(result), parallel_figure(result)
        linked = [front, parallel]
        sections += [
            Section("front", "Pareto front", f"{TEMPLATES}/front.html.j2", _front(result, front)),
            Section("parallel", "Parallel coordinates", f"{TEMPLATES}/parallel.html.j2", _parallel(result, parallel)),
            Section("points", "Points", f"{TEMPLATES}/points.html.j2", page_points(result)),
        ]
    sections += [Section(figure.name, figure.title, FIGURES, (figure,)) for figure in figures]
    if result.problems:
        sections.append(
            Section(
                "problems", "Choices that cannot be built", f"{TEMPLATES}/problems.html.j2", _problems(result.problems)
            )
        )
    sections.append(Section("about", "About these numbers", f"{TEMPLATES}/about.html.j2", _about(result)))
    return Page(
        title=f"{result.network}: exploration, Skipstone",
        heading=f"Exploration of {result.network}",
        lead=headline(result),
        sections=tuple(sections),
        figures=(*linked, *figures),
        styles=(f"{FOLDER}/exploration.css",),
        scripts=tuple((f"exploration-{name}", f"{FOLDER}/{name}.js") for name in SCRIPTS) if linked else (),
    )


def _summary(result: ExplorationResult) -> ExplorationSummary:
    feasible = any(point.feasible for point in result.points)
    closest = nearest(result)[:NEAREST] if result.points and not feasible else []
    chosen = picks(result)
    return ExplorationSummary(
        cards=_cards(result),
        diagnosis=result.diagnosis,
        nearest=_points_grid(result, "breaks", [(broken_text(result, point), point) for point in closest])
        if closest
        else None,
        ended=result.ended,
        picks=_points_grid(result, "for", [(pick.purpose, pick.point) for pick in chosen]) if chosen else None,
        constraint_costs=constraint_costs(result),
    )


def _cards(result: ExplorationResult) -> tuple[Card, ...]:
    """Counts of points, and the best value of each objective."""
    shown = {metric.name: metric for metric in metrics(result)}
    feasible = [point for point in result.points if point.feasible]
    front = sum(point.on_front for point in result.points)
    cards = [
        Card(
            "points",
            count(len(result.points)),
            f"of {count(size_of(result))} choices",
            "",
            f"Trials - choices that cannot be built = {count(result.trials)} - {count(sum(result.problems.values()))}; the space "
            "has the product of its parameters' choices.",
        ),
        *(
            [
                Card(
                    "feasible",
                    count(len(feasible)),
                    "meet all constraints",
                    "" if feasible else "bad",
                    "Points that break no constraint. The plot of constraints shows how many meet each of them.",
                )
            ]
            if result.constraints and result.points
            else []
        ),
        Card(
            "on the front",
            count(front),
            "no other is better in all objectives",
            "",
            "Feasible points for which no other feasible point is at least as good in every objective and better in one.",
        ),
    ]
    for objective in result.objectives:
        metric = shown[objective.name]
        point = best(feasible, metric.name, metric.best)
        value = NONE if point is None else metric.with_unit(point.metrics[metric.name])
        more = "" if point is None else f"point {point.number}"
        formula = card_formula(result, metric.name, point)
        cards.append(Card(BEST.get(metric.name, metric.name), value, more, "", formula))
    return tuple(cards)


def _points_grid(result: ExplorationResult, heading: str, points: Sequence[tuple[str, ExplorationPoint]]) -> Grid:
    """Points with their metrics and the parameters that vary; a text under ``heading`` stands before each."""
    shown = named_metrics(result)
    varying = varying_parameters(result.points)
    return Grid(
        (heading, "point", *(metric.title for metric in shown), *varying),
        tuple(
            (
                text,
                str(point.number),
                *(metric.of(point) for metric in shown),
                *(str(point.parameters.get(name, NONE)) for name in varying),
            )
            for text, point in points
        ),
        definitions=column_formulas(shown),
    )


def _front(result: ExplorationResult, figure: Figure) -> Front:
    shown = metrics(result)
    # A search with one objective has what limits it on the other axis.
    first = [*(each.name for each in result.objectives), *(limit.name for limit in result.constraints)]
    names = list(dict.fromkeys([*first, *(metric.name for metric in shown)]))
    return Front(figure, shown, tuple(varying_parameters(result.points)), names[0], names[min(1, len(names) - 1)])


def _parallel(result: ExplorationResult, figure: Figure) -> Parallel:
    shown = metrics(result)
    return Parallel(figure, shown, result.objectives[-1].name if result.objectives else shown[0].name)


def _problems(problems: Mapping[str, int]) -> Problems:
    rows = sorted(problems.items(), key=lambda item: (-item[1], item[0]))
    total = sum(problems.values())
    return Problems(
        f"{count(total)} {'choice' if total == 1 else 'choices'}",
        Grid(("why", "choices"), tuple((why, count(number)) for why, number in rows)),
    )


def _about(result: ExplorationResult) -> ExplorationAbout:
    shown = {metric.name: metric for metric in metrics(result)}
    search = (
        ("sampler", f"{result.sampler}, seed {result.seed}"),
        ("trials", count(result.trials) + (", which is every choice" if result.exhausted else "")),
        *([("ended", result.ended)] if result.ended else []),
        (
            "objectives",
            ", ".join(f"{shown[each.name].word} {direction(result, each.name)}." for each in result.objectives) or NONE,
        ),
        (
            "constraints",
            ", ".join(constraint_text(each, shown[each.name]) for each in result.constraints) or "none",
        ),
    )
    space = Grid(
        ("parameter", "choices", "of which tried"),
        tuple(
            (
                name,
                ", ".join(map(str, choices)),
                count(len({str(point.parameters.get(name)) for point in result.points})),
            )
            for name, choices in result.space.items()
        ),
        frozenset({0, 1}),
    )
    return ExplorationAbout(
        search=search,
        space=space,
        accuracy_images=count(result.accuracy_images) if "accuracy" in shown else "",
        calibration=result.calibration or "not stated",
        technology=result.technology or "not stated",
        sources=result.sources,
        definitions=(*DEFINITIONS, *definitions(result)),
    )
