"""What an exploration found, from its points alone: the front, hypervolume, importance, and why nothing is feasible.

Pure functions of the points in their order, so that equal searches give equal results. Hypervolume and dominance are
``moocore``'s, importance is Optuna's functional ANOVA.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.explore.constraints import (
    described,
    distance_text,
    easiest,
    relative_violation,
    value_text,
    written_name,
)
from skipstone.mapper.results.exploration import Constraint, ExplorationPoint, Objective

LEAST_POINTS = 8
"""Points from which on importance is computed."""


def mark_front(points: Sequence[ExplorationPoint], objectives: Sequence[Objective]) -> tuple[ExplorationPoint, ...]:
    """The points with ``on_front`` set where no feasible point dominates them.

    Args:
        points: Feasible points and others; the others are never on the front.
        objectives: The metrics that count.
    """
    feasible = [point for point in points if point.feasible]
    front = {point.number for point, good in zip(feasible, nondominated(feasible, objectives), strict=True) if good}
    return tuple(replace(point, on_front=point.number in front) for point in points)


def nondominated(points: Sequence[ExplorationPoint], objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """Which points no other is at least as good as in every objective and better in one.

    Args:
        points: Points with a value of each objective.
        objectives: The metrics that count.

    Returns:
        A truth value for each point.
    """
    if not points:
        return np.zeros(0, bool)
    import moocore

    return np.asarray(moocore.is_nondominated(_costs(points, objectives), keep_weakly=True), bool)


def hypervolumes(
    points: Sequence[ExplorationPoint],
    objectives: Sequence[Objective],
    after: Sequence[int],
    ideal: Mapping[str, float],
    reference: Mapping[str, float],
) -> tuple[tuple[int, float], ...]:
    """How much of a box the feasible points dominate as the search goes on.

    Args:
        points: Points of the search.
        objectives: The metrics that count.
        after: Numbers of trials.
        ideal: The box's best corner, by objective.
        reference: Its worst corner.

    Returns:
        Each number of ``after`` with the share (0 to 1) that is dominated by the points whose number is below it.
    """
    import moocore

    low, high = (_corner(corner, objectives) for corner in (ideal, reference))
    span = high - low
    feasible = [point for point in points if point.feasible]
    costs = (_costs(feasible, objectives) - low) / np.where(span > 0, span, 1.0)
    numbers = np.array([point.number for point in feasible], int)
    volumes = []
    for trials in after:
        inside = costs[numbers < trials]
        # An objective with one value only has no extent; its factor is 1, not 0.
        inside = np.where(span > 0, inside, 0.0)
        volumes.append(
            (trials, float(moocore.hypervolume(inside, ref=np.ones(len(objectives)))) if len(inside) else 0.0)
        )
    return tuple(volumes)


def corners(
    points: Sequence[ExplorationPoint], objectives: Sequence[Objective]
) -> tuple[dict[str, float], dict[str, float]]:
    """The best and the worst value of each objective among the feasible points; empty without one.

    Args:
        points: Points of the search.
        objectives: The metrics that count.
    """
    feasible = [point for point in points if point.feasible]
    if not feasible:
        return {}, {}
    best, worst = {}, {}
    for objective in objectives:
        values = sorted(point.metrics[objective.name] for point in feasible)
        if objective.direction == "maximize":
            values.reverse()
        best[objective.name], worst[objective.name] = values[0], values[-1]
    return best, worst


def importance(
    points: Sequence[ExplorationPoint],
    objectives: Sequence[Objective],
    space: Mapping[str, Sequence[Any]],
    seed: int,
) -> dict[str, dict[str, float]]:
    """For each objective, the share of its variance over the space that each parameter explains by itself.

    By functional ANOVA on random forests (Hutter, Hoos and Leyton-Brown, 2014; ``optuna.importance``).

    Args:
        points: Points of the search.
        objectives: The metrics that count.
        space: The choices of each parameter; those without a choice are left out.
        seed: Of the forests.

    Returns:
        Shares (0 to 1) by objective and parameter, largest first. Empty for fewer than ``LEAST_POINTS`` points; an objective
        that is the same at all of them is missing.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    free = {name: list(choices) for name, choices in space.items() if len(choices) > 1}
    varying = [name for name in free if len({point.parameters[name] for point in points}) > 1]
    if len(points) < LEAST_POINTS or not varying:
        return {}
    kinds: dict[str, Any] = {name: optuna.distributions.CategoricalDistribution(free[name]) for name in varying}
    study = optuna.create_study(directions=[objective.direction for objective in objectives])
    for point in points:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: point.parameters[name] for name in varying},
                distributions=kinds,
                values=[point.metrics[objective.name] for objective in objectives],
            )
        )
    by_objective: dict[str, dict[str, float]] = {}
    for index, objective in enumerate(objectives):
        if len({point.metrics[objective.name] for point in points}) == 1:
            by_objective[objective.name] = {}
            continue
        shares = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=seed),
            target=partial(_value_of, index=index),
        )
        # The last digits depend on the order of sums; nine are more than a forest means.
        by_objective[objective.name] = {name: round(float(share), 9) for name, share in shares.items()}
    return by_objective


def diagnose(
    points: Sequence[ExplorationPoint],
    constraints: Sequence[Constraint],
    problems: Mapping[str, int],
    *,
    exhausted: bool,
    stuck: bool = False,
) -> tuple[str, ...]:
    """Why no point is feasible, in sentences; empty where a point is feasible.

    They say which constraint none meets and how far the best is from it, which constraints exclude each other, the nearest
    point and the limits that it meets.

    Args:
        points: Points of the search.
        constraints: The limits.
        problems: Why choices can't be built or mapped, and how many there are of each.
        exhausted: Every choice was tried.
        stuck: The sampler found no other choice.
    """
    if any(point.feasible for point in points):
        return ()
    if not points:
        lines = ["no choice was tried"] if not problems else []
        for text, count in sorted(problems.items(), key=lambda item: (-item[1], item[0]))[:3]:
            lines.append(f"{count:,} of {sum(problems.values()):,} choices can't be built or mapped: {text}")
        return tuple(lines)
    tried = f"{len(points):,} points"
    longer = "another seed" if stuck else "a longer search"
    scope = "no choice of this space meets it" if exhausted else f"{longer} or another space may meet it"
    lines = []
    meet = [frozenset(p.number for p in points if not c.violation(p.metrics[c.name])) for c in constraints]
    for constraint, good in zip(constraints, meet, strict=True):
        best = _best(points, constraint)
        least = "least" if constraint.op == "<=" else "largest"
        sentence = f"{described(constraint)} is met by {len(good) or 'none'} of {tried}"
        lines.append(f"{sentence}; the {least} found is {_value(best, constraint)}" + ("" if good else f": {scope}"))
    lines += _exclusions(points, constraints, meet)
    nearest = min(points, key=lambda p: (sum(relative_violation(c, p.metrics[c.name]) for c in constraints), p.number))
    broken = [c for c in constraints if c.violation(nearest.metrics[c.name])]
    limits = ", ".join(easiest(c, nearest.metrics[c.name]) for c in broken)
    misses = ", ".join(
        f"{written_name(c)} by {distance_text(c, nearest.metrics[c.name])}"
        f" ({_percent(relative_violation(c, nearest.metrics[c.name]))})"
        for c in broken
    )
    lines.append(
        f"the nearest is point {nearest.number} ({nearest.design}), which misses {misses}; it would be feasible with {limits}"
    )
    return tuple(lines)


def _exclusions(
    points: Sequence[ExplorationPoint], constraints: Sequence[Constraint], meet: Sequence[frozenset[int]]
) -> list[str]:
    """The smallest sets of constraints that are met one by one, and by no point together."""
    disjoint_groups: list[tuple[int, ...]] = []
    lines = []
    candidates = [index for index, good in enumerate(meet) if good]
    for size in range(2, len(candidates) + 1):
        for group in itertools.combinations(candidates, size):
            if any(set(smaller) <= set(group) for smaller in disjoint_groups):
                continue
            if frozenset.intersection(*(meet[index] for index in group)):
                continue
            disjoint_groups.append(group)
            *others, last = group
            with_others = frozenset.intersection(*(meet[index] for index in others))
            best = _best([point for point in points if point.number in with_others], constraints[last])
            together = " and ".join(described(constraints[index]) for index in group)
            others_named = " and ".join(described(constraints[index]) for index in others)
            lines.append(
                f"no point meets {together} together: with {others_named}, {written_name(constraints[last])} is "
                f"{'at least' if constraints[last].op == '<=' else 'at most'} {_value(best, constraints[last])}"
            )
    return lines


def _best(points: Sequence[ExplorationPoint], constraint: Constraint) -> ExplorationPoint:
    sign = 1 if constraint.op == "<=" else -1
    return min(points, key=lambda point: (sign * point.metrics[constraint.name], point.number))


def _value(point: ExplorationPoint, constraint: Constraint) -> str:
    return f"{value_text(constraint, point.metrics[constraint.name])} (point {point.number})"


def _value_of(trial: Any, index: int) -> float:
    return float(trial.values[index])


def _costs(points: Sequence[ExplorationPoint], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Points by objectives, each to be made small."""
    rows = [_corner(point.metrics, objectives) for point in points]
    return np.array(rows, float).reshape(len(points), len(objectives))


def _corner(values: Mapping[str, float], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    signs = [1.0 if objective.direction == "minimize" else -1.0 for objective in objectives]
    return np.array([values[objective.name] for objective in objectives]) * signs


def _percent(share: float) -> str:
    """A share with three digits, or as a whole number where it has more."""
    return f"{100 * share:,.0f}%" if share >= 9.995 else f"{100 * share:.3g}%"
