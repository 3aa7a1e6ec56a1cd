"""The report of an exploration: one HTML page in which the Pareto front is looked at, filtered and compared. Offline.

The page holds every point once, as JSON; ``exploration.js`` fills the front, the parallel coordinates and the table from it,
and one filter, set by dragging in a plot or by fields, governs all three.
"""

from __future__ import annotations

import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

from skipstone.mapper.results.exploration import ExplorationResult, varying_parameters
from skipstone.reports.exploration.figures import exploration_figures, front_figure, parallel_figure
from skipstone.reports.exploration.formulas import FORMULAS, card_formula, column_formulas, definitions
from skipstone.reports.exploration.pareto import broken_text, nearest
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
from skipstone.reports.web.page import (
    UNSAFE_IN_SCRIPT,
    Card,
    cards_html,
    figure_html,
    rows_html,
    table_html,
    write_page,
)

LOG_FROM = 8.0
"""An axis is logarithmic at first where the largest value is so many times the least."""
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


def write_exploration(result: ExplorationResult, path: Path) -> None:
    """Writes the page to ``path``, whole or not at all; OSError where that can't be done."""
    figures = exploration_figures(result)
    sections = [("summary", "Summary", _summary(result))]
    linked = [front_figure(result), parallel_figure(result)] if result.points else []
    if linked:
        sections += [
            ("front", "Pareto front", _front(result, linked[0])),
            ("parallel", "Parallel coordinates", _parallel(result, linked[1])),
            ("points", "Points", _points(result)),
        ]
    sections += [
        *((figure.name, figure.title, figure_html(figure)) for figure in figures),
        *([("problems", "Choices that cannot be built", _problems(result))] if result.problems else []),
        ("about", "About these numbers", _about(result)),
    ]
    name = html.escape(result.network)
    header = f'<h1>Exploration of {name}</h1><p class="lead">{html.escape(headline(result))}</p>'
    title = f"{result.network}: exploration, Skipstone"
    write_page(path, title, sections, header, [*linked, *figures], ("exploration.js",) if linked else ())


def page_points(result: ExplorationResult) -> dict[str, Any]:
    """What the page's script draws from: metrics and parameters with their values at each point, None where unknown."""
    return {
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "word": metric.word,
                "formula": FORMULAS.get(metric.name, ""),
                "unit": metric.unit,
                "decimals": metric.decimals,
                "best": metric.best,
                "objective": any(each.name == metric.name for each in result.objectives),
                "log": metric.name != "accuracy" and metric.low > 0 and metric.high / metric.low >= LOG_FROM,
                "values": [
                    None if (value := point.metrics.get(metric.name)) is None else value * metric.scale
                    for point in result.points
                ],
                "limits": [
                    {"op": each.op, "limit": each.limit * metric.scale}
                    for each in result.constraints
                    if each.name == metric.name
                ],
            }
            for metric in metrics(result)
        ],
        "parameters": [
            _parameter(result, name) for name in dict.fromkeys(name for p in result.points for name in p.parameters)
        ],
        "points": [
            {
                "number": point.number,
                "design": point.design,
                "front": point.on_front,
                "feasible": point.feasible,
                "breaks": broken_text(result, point),
            }
            for point in result.points
        ],
    }


def _parameter(result: ExplorationResult, name: str) -> dict[str, Any]:
    """A parameter's choices as text, those of the space first, and at each point the number of its choice."""
    texts = [str(point.parameters[name]) if name in point.parameters else NONE for point in result.points]
    used = set(texts)
    known = [str(choice) for choice in result.space.get(name, ())]
    choices = [choice for choice in known if choice in used]
    choices += [text for text in dict.fromkeys(texts) if text not in choices]
    numbers = {text: index for index, text in enumerate(choices)}
    return {
        "name": name,
        "varies": len(choices) > 1,
        "choices": choices,
        "values": [numbers[text] for text in texts],
    }


def _summary(result: ExplorationResult) -> str:
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
                    "Points that break no constraint; how many meet each is under constraints.",
                )
            ]
            if result.constraints and result.points
            else []
        ),
        Card(
            "on the front",
            count(front),
            "none is better in every objective",
            "",
            "Feasible points to which no other feasible one is at least as good in every objective and better in one.",
        ),
    ]
    for objective in result.objectives:
        metric = shown[objective.name]
        point = best(feasible, metric.name, metric.best)
        value = NONE if point is None else metric.with_unit(point.metrics[metric.name])
        more = "" if point is None else f"point {point.number}"
        formula = card_formula(result, metric.name, point)
        cards.append(Card(BEST.get(metric.name, metric.name), value, more, "", formula))
    text = [cards_html(cards)]
    if result.points and not feasible:
        text.append(_diagnosis(result))
    if result.ended:
        text.append(f"<p>{html.escape(result.ended)}</p>")
    if result.diagnosis and (feasible or not result.points):
        text.append("".join(f"<p>{html.escape(line)}</p>" for line in result.diagnosis))
    if chosen := picks(result):
        text.append("<h3>Which design for what</h3>")
        text.append(_picked(result, [(pick.purpose, pick.point) for pick in chosen], "Which design for what"))
    if costs := constraint_costs(result):
        text.append(
            "<h3>What the constraints cost</h3><p>Of the points tried, the best with and without the constraints:</p>"
        )
        text.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in costs) + "</ul>")
    return "".join(text)


def _diagnosis(result: ExplorationResult) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in result.diagnosis)
    closest = nearest(result)[:NEAREST]
    return (
        '<div class="alert" role="alert"><h3>No point meets all constraints</h3>'
        f"{lines}</div><h3>The nearest points</h3><p>By the sum of what they exceed, each as a share of its limit.</p>"
        + _picked(result, [(broken_text(result, point), point) for point in closest], "The nearest points", "breaks")
    )


def _picked(result: ExplorationResult, rows: list[tuple[str, Any]], label: str, first: str = "for") -> str:
    """Points with their metrics and what varies, each named by ``rows``' text."""
    shown = named_metrics(result)
    varying = varying_parameters(result.points)
    grid = Grid(
        (first, "point", *(metric.title for metric in shown), *varying),
        tuple(
            (
                text,
                str(point.number),
                *(metric.of(point) for metric in shown),
                *(str(point.parameters.get(name, NONE)) for name in varying),
            )
            for text, point in rows
        ),
        definitions=column_formulas(shown),
    )
    return table_html(grid, label)


def _front(result: ExplorationResult, figure: Figure) -> str:
    shown = metrics(result)
    # Of a search for one thing alone, what limits it is the other axis.
    wanted = [*(one.name for one in result.objectives), *(limit.name for limit in result.constraints)]
    names = list(dict.fromkeys([*wanted, *(metric.name for metric in shown)]))
    across, up = names[0], names[min(1, len(names) - 1)]
    return f"""
<div class="controls">
<span>{_select("axis-x", "Across", shown, across)}<label><input type="checkbox" id="log-x"> log</label></span>
<span>{_select("axis-y", "Up", shown, up)}<label><input type="checkbox" id="log-y"> log</label></span>
<span><label for="drag">Dragging</label> <select id="drag"><option value="select">selects a box</option>
<option value="lasso">selects with a lasso</option><option value="zoom">zooms</option>
<option value="none">does nothing</option></select></span>
<label><input type="checkbox" id="fit"> fit the axes to what the filter leaves</label>
</div>
<div class="explorer"><div>{figure_html(figure)}<p class="faint" id="front-note"></p></div>{_filter(result, shown)}</div>"""


def _select(name: str, label: str, shown: tuple[Metric, ...], chosen: str) -> str:
    options = "".join(
        f'<option value="{html.escape(metric.name)}"{" selected" if metric.name == chosen else ""}>'
        f"{html.escape(metric.title)}</option>"
        for metric in shown
    )
    return f'<label for="{name}">{label}</label> <select id="{name}">{options}</select> '


def _filter(result: ExplorationResult, shown: tuple[Metric, ...]) -> str:
    """Limits by keyboard: numbers for each metric, choices for each parameter that varies."""
    ranges = "".join(
        f'<span>{html.escape(metric.title)}</span><input type="number" step="any" data-metric="{html.escape(metric.name)}" '
        f'data-end="min" aria-label="{html.escape(metric.title)}: at least" placeholder="{metric.low:.{metric.decimals}f}">'
        f'<input type="number" step="any" data-metric="{html.escape(metric.name)}" data-end="max" '
        f'aria-label="{html.escape(metric.title)}: at most" placeholder="{metric.high:.{metric.decimals}f}">'
        for metric in shown
    )
    choices = "".join(
        f'<span id="choice-{index}">{html.escape(name)}</span><select data-parameter="{html.escape(name)}" '
        f'aria-labelledby="choice-{index}"></select>'
        for index, name in enumerate(varying_parameters(result.points))
    )
    return f"""<form class="filter" id="filter" aria-label="Filter">
<h3>Filter</h3><p class="left-count" id="filter-count" role="status"></p>
<div class="buttons"><button type="reset">Show all</button></div>
<label><input type="checkbox" id="only-feasible"> feasible only</label>
<label><input type="checkbox" id="only-front"> front only</label>
<div class="ranges"><span></span><span class="faint">at least</span><span class="faint">at most</span>{ranges}</div>
{f'<details><summary>Parameters</summary><div class="choices">{choices}</div></details>' if choices else ""}
</form>"""


def _points(result: ExplorationResult) -> str:
    """The table's place, and the points themselves."""
    content = json.dumps(page_points(result), allow_nan=False).translate(UNSAFE_IN_SCRIPT)
    style = (resources.files("skipstone.reports.web") / "exploration.css").read_text(encoding="utf-8")
    return f"""<p class="faint">Those that the filter leaves: <span class="left-count"></span>. A column's heading sorts
by it; a point's number opens all its numbers.</p>
<div class="buttons"><button type="button" id="points-csv">These points as CSV</button></div>
<div class="scroll tall" role="region" tabindex="0" aria-label="Points">
<table id="points-table"><thead></thead><tbody></tbody></table></div>
<div class="buttons"><button type="button" id="points-more" hidden></button></div>
<script type="application/json" id="exploration-points">{content}</script>
<style>{style}</style>"""


def _parallel(result: ExplorationResult, figure: Figure) -> str:
    shown = metrics(result)
    chosen = result.objectives[-1].name if result.objectives else shown[0].name
    return f"""<div class="controls"><span>{_select("colour-by", "Colour by", shown, chosen)}</span>
<span class="scale"><span id="scale-low"></span><span class="gradient"></span><span id="scale-high"></span></span></div>
<p class="faint left-count"></p>
<div class="wide">{figure_html(figure)}</div>"""


def _problems(result: ExplorationResult) -> str:
    rows = sorted(result.problems.items(), key=lambda item: (-item[1], item[0]))
    total = sum(result.problems.values())
    grid = Grid(("why", "choices"), tuple((why, count(number)) for why, number in rows))
    return (
        f"<p>{count(total)} {'choice' if total == 1 else 'choices'} tried cannot be built or cannot run the network, "
        f"for {'this reason' if len(rows) == 1 else 'these reasons'}:</p>{table_html(grid, 'Problems')}"
    )


def _about(result: ExplorationResult) -> str:
    shown = {metric.name: metric for metric in metrics(result)}
    search = [
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
    ]
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
    accuracy = (
        f"<h3>Accuracy</h3><p>Top-1, of the compressed network's integers on {count(result.accuracy_images)} images.</p>"
        if "accuracy" in shown
        else ""
    )
    return (
        f"<h3>Search</h3>{rows_html(search)}<h3>Space</h3>{table_html(space, 'Space')}{accuracy}"
        f"<h3>Calibration</h3><p>{html.escape(result.calibration or 'not stated')}</p>"
        f"<h3>Technology</h3><p>{html.escape(result.technology or 'not stated')}</p>{rows_html(list(result.sources))}"
        f"<h3>Definitions</h3>{rows_html((*DEFINITIONS, *definitions(result)))}"
    )
