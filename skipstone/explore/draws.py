"""Which choices a search tries: drawn by a sampler of Optuna in fixed batches, each a choice that was not drawn before.

The sequence depends on the seed and on what the evaluations before a batch gave, on nothing else: not on the number of workers,
nor on when they finished, nor on interruptions, after which the same draws are made again and meet stored evaluations.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skipstone.errors import SkipstoneError
from skipstone.explore.constraints import described, relative_violation
from skipstone.mapper.results.exploration import Constraint, Objective

SAMPLERS = ("nsga2", "nsga3", "random")
REPEATS = 20
"""Draws in a row that were made before, after which a new choice is drawn at random."""
LISTED = 200_000
"""Spaces up to this size are listed to find what is left of them."""
GUESSES = 2_000
"""Choices at random that were all drawn before, after which the space is listed, or the search ends if it is too large."""

Choice = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """A new choice; ``trial`` is Optuna's."""

    trial: Any
    choice: Choice


class Draws:
    """Draws batches of choices from ``parameters``; :meth:`tell` says what the last batch gave before the next one is drawn.

    ``canonical`` maps choices that mean the same to the same one, which is the one that is drawn. ``exhausted``: none is
    left. ``stuck``: the space is too large to be listed, and neither the sampler nor chance found another choice.
    """

    def __init__(
        self,
        parameters: Mapping[str, Sequence[Any]],
        canonical: Callable[[Choice], Choice],
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        *,
        sampler: str,
        seed: int,
        population: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.exhausted = self.stuck = False
        self._parameters = {name: list(choices) for name, choices in parameters.items()}
        self._canonical, self._constraints, self._objectives = canonical, constraints, objectives
        self._population = population
        self._seen: set[tuple[Any, ...]] = set()
        self._left: list[Choice] | None = None
        self._random = np.random.default_rng([seed, 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study = optuna.create_study(
                directions=[objective.direction for objective in objectives],
                sampler=_sampler(sampler, seed, population),
            )

    def batch(self) -> list[Draw]:
        """The next choices, as many as a population has, or as are left."""
        drawn: list[Draw] = []
        repeats = 0
        while len(drawn) < self._population and not (self.exhausted or self.stuck):
            if repeats == REPEATS:
                self._enqueue_new()
                if self.exhausted or self.stuck:
                    break
            trial = self._study.ask()
            suggested = {key: trial.suggest_categorical(key, choices) for key, choices in self._parameters.items()}
            choice = self._canonical(suggested)
            if self._is_new(choice):
                repeats = 0
                drawn.append(Draw(trial, choice))
            else:
                repeats += 1
                self._fail(trial)
        return drawn

    def tell(self, draw: Draw, metrics: Mapping[str, float] | None) -> None:
        """Tells the sampler what a choice gave; in the order of the draws.

        Args:
            draw: The choice.
            metrics: Its figures; None where it can't be built or mapped.
        """
        if metrics is None:
            self._fail(draw.trial)
            return
        for constraint in self._constraints:
            by = relative_violation(constraint, metrics[constraint.name])
            draw.trial.set_constraint(described(constraint), by)
        self._study.tell(draw.trial, [metrics[objective.name] for objective in self._objectives])

    def _fail(self, trial: Any) -> None:
        import optuna

        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _is_new(self, choice: Choice) -> bool:
        key = tuple(choice.values())
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _enqueue_new(self) -> None:
        """Has a choice at random drawn next that was not drawn yet."""
        for _ in range(GUESSES):
            guess = {key: choices[self._random.integers(len(choices))] for key, choices in self._parameters.items()}
            if tuple(self._canonical(guess).values()) not in self._seen:
                self._study.enqueue_trial(guess)
                return
        if math.prod(len(choices) for choices in self._parameters.values()) > LISTED:
            self.stuck = True
            return
        remaining = [choice for choice in self._all() if tuple(self._canonical(choice).values()) not in self._seen]
        if not remaining:
            self.exhausted = True
            return
        self._study.enqueue_trial(remaining[self._random.integers(len(remaining))])

    def _all(self) -> Iterator[Choice]:
        """Every choice of the space."""
        for values in itertools.product(*self._parameters.values()):
            yield dict(zip(self._parameters, values, strict=True))


def _sampler(name: str, seed: int, population: int) -> Any:
    import optuna

    match name:
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
        case "nsga3":
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case _:
            raise SkipstoneError(f"sampler must be {', '.join(SAMPLERS)}, not '{name}'", parameter="sampler")
