"""How sparse each layer should be: the fewest exact cycles within a budget of loss, or the least loss within a number
of cycles.

Layers keep their weights where zeros save little: where the loader or the drain bounds them, or where few output pixels
use each weight. Layers that bound the array and lose little become sparser. Every choice that is returned was compiled
and measured as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.mapper.cost import NetworkCost
from skipstone.mapper.pruning.losses import Loss
from skipstone.mapper.pruning.sensitivity import PruneLayer, magnitude
from skipstone.mapper.pruning.target import Target
from skipstone.models.graph.graph import Graph

AMOUNTS = tuple(round(0.05 * step, 2) for step in range(20))
"""Shares of zeros that a layer may have: 0 to 0.95."""
BISECTIONS = 24
"""Steps of the search for the multiplier. They narrow twelve decades to a factor of about 1e-6 of one."""
REACH = 3
"""By how many amounts a layer may move when its curve is measured again around a choice."""
PAIRS = 24
"""Exchanges between two layers that one round compiles and measures at most."""

Progress = Callable[[str], None]
Choice = tuple[int, ...]


class UnreachableError(SkipstoneError):
    """No amounts reach the target."""


@dataclass(frozen=True)
class SparsityRow:
    """One layer before and after.

    Attributes:
        layer: The layer's name.
        weights: All its weights.
        before: The share of zeros before.
        after: The share of zeros after.
        nnz: Nonzeros after.
        bound_before: What bounded the layer's workload before.
        bound_after: What bounds the layer's workload after.
        cycles_before: That workload's cycles before.
        cycles_after: That workload's cycles after.
    """

    layer: str
    weights: int
    before: float
    after: float
    nnz: int
    bound_before: str
    bound_after: str
    cycles_before: int
    cycles_after: int


@dataclass(frozen=True, eq=False)
class SparsityResult:
    """A graph with the amounts of zeros that a search chose.

    Attributes:
        graph: The pruned graph.
        amounts: The share of zeros by layer.
        cycles_before: Exact cycles before.
        cycles_after: Exact cycles after.
        cost_before: The minimized or bounded cost before; exact cycles unless the caller gave another cost.
        cost_after: The same after.
        loss_before: Loss before.
        loss_after: Loss of ``graph``, measured or added up.
        rows: A row for each layer.
        evaluations: Networks that were compiled and measured.
        notes: Remarks.
    """

    graph: Graph
    amounts: dict[str, float]
    cycles_before: int
    cycles_after: int
    cost_before: float
    cost_after: float
    loss_before: float
    loss_after: float
    rows: tuple[SparsityRow, ...]
    evaluations: int
    notes: tuple[str, ...]


def fewest_cycles(
    graph: Graph,
    target: Target,
    loss: Loss,
    budget: float,
    *,
    prune_layer: PruneLayer = magnitude,
    amounts: Sequence[float] = AMOUNTS,
    cost: Callable[[Graph], float] | None = None,
    layers: Iterable[str] | None = None,
    rounds: int = 3,
    progress: Progress = lambda _: None,
) -> SparsityResult:
    """Finds the amounts of zeros with the fewest exact cycles within a budget of loss.

    Each layer's curve of loss and of exact cycles over ``amounts`` is measured with the other layers fixed. The amounts
    that minimize cycles + multiplier * loss are then a choice for each layer alone (Everett, "Generalized Lagrange
    multiplier method", Operations Research, 1963). The multiplier is bisected on the *measured* loss of the whole
    network. The curves are measured again around each choice, ``rounds`` times in all, and two layers at a time
    exchange sparsity where that gains. The best of all measured networks is returned; those with one amount for all
    layers are among them.

    Args:
        graph: The graph to prune.
        target: The design, and how the graph is quantized for it.
        loss: What pruning costs, for example one of ``skipstone.mapper.pruning.losses``.
        budget: The highest loss.
        prune_layer: Prunes one layer and changes no other; a higher amount must prune more weights.
        amounts: Shares of zeros that a layer may have, 0 to 1.
        cost: What is minimized in place of exact cycles, for example ``target.energy_pj``.
        layers: Names of the layers that may change; None for all.
        rounds: How often curves are measured.
        progress: Called with a line of text for each stage.

    Raises:
        SkipstoneError: The loss of ``graph`` itself is over the budget.
    """
    search = _Search(graph, target, loss, cost or target.cycles, prune_layer, amounts, layers, progress)
    start = search.measure(search.least)
    if not start.loss <= budget:
        raise SkipstoneError(
            f"network '{graph.name}': the loss before pruning is {start.loss:.6g}, over the budget of {budget:.6g}; raise it"
        )
    best = search.run(
        lambda m: m.loss <= budget, lambda m: (m.cost, m.loss), dearer_is_feasible=True, rounds=rounds, most_loss=budget
    )
    return search.result(best)


def least_loss(
    graph: Graph,
    target: Target,
    loss: Loss,
    target_cycles: float,
    *,
    prune_layer: PruneLayer = magnitude,
    amounts: Sequence[float] = AMOUNTS,
    cost: Callable[[Graph], float] | None = None,
    layers: Iterable[str] | None = None,
    rounds: int = 3,
    progress: Progress = lambda _: None,
) -> SparsityResult:
    """Finds the amounts of zeros with the least loss within a number of exact cycles.

    Args:
        graph: As for :func:`fewest_cycles`; so are all others but the following one.
        target: See ``graph``.
        loss: See ``graph``.
        target_cycles: The most exact cycles, or the highest ``cost``.
        prune_layer: See ``graph``.
        amounts: See ``graph``.
        cost: What is bounded in place of exact cycles.
        layers: See ``graph``.
        rounds: See ``graph``.
        progress: See ``graph``.

    Raises:
        UnreachableError: Even the highest amounts take more cycles.
    """
    search = _Search(graph, target, loss, cost or target.cycles, prune_layer, amounts, layers, progress)
    fewest = search.measure(search.most)
    if not fewest.cost <= target_cycles:
        raise UnreachableError(
            f"network '{graph.name}': with every layer at its highest amount it takes {fewest.cost:.6g}, over the target of "
            f"{target_cycles:.6g}; raise the target or the amounts"
        )
    best = search.run(
        lambda m: m.cost <= target_cycles, lambda m: (m.loss, m.cost), dearer_is_feasible=False, rounds=rounds
    )
    return search.result(best)


def sparsity_rows(
    graph: Graph, pruned: Graph, before: NetworkCost, after: NetworkCost, names: Iterable[str] | None = None
) -> tuple[SparsityRow, ...]:
    """Compares the layers of two graphs.

    Args:
        graph: The graph before.
        pruned: The graph after, with the same layers.
        before: What ``graph`` costs.
        after: What ``pruned`` costs.
        names: Names of the layers that get a row; None for all.
    """
    bounds = before.layer_bounds(), after.layer_bounds()
    cycles = before.layer_cycles(), after.layer_cycles()
    chosen = {layer.name for layer in graph.convs} if names is None else set(names)
    return tuple(
        SparsityRow(
            old.name,
            old.weights.size,
            float(np.count_nonzero(old.weights == 0)) / old.weights.size,
            float(np.count_nonzero(new.weights == 0)) / new.weights.size,
            int(np.count_nonzero(new.weights)),
            bounds[0].get(old.name, ""),
            bounds[1].get(old.name, ""),
            cycles[0].get(old.name, 0),
            cycles[1].get(old.name, 0),
        )
        for old, new in zip(graph.convs, pruned.convs, strict=True)
        if old.name in chosen
    )


@dataclass(frozen=True)
class _Measured:
    choice: Choice
    cost: float
    loss: float


@dataclass(eq=False)
class _Search:
    """Choices (an index of the amounts for each layer) and what was measured of them."""

    graph: Graph
    target: Target
    loss: Loss
    cost: Callable[[Graph], float]
    prune_layer: PruneLayer
    amounts: Sequence[float]
    layers: Iterable[str] | None
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.amounts or not all(0 <= amount <= 1 for amount in self.amounts):
            raise SkipstoneError("amounts must be shares of zeros from 0 to 1, at least one")
        convs = {layer.name: layer for layer in self.graph.convs}
        self.names = tuple(convs) if self.layers is None else tuple(dict.fromkeys(self.layers))
        if not self.names:
            raise SkipstoneError(f"network '{self.graph.name}' has no layer to prune")
        self.options: list[tuple[tuple[float, NDArray[np.float32]], ...]] = []
        for name in self.names:
            if name not in convs:
                raise SkipstoneError(f"network '{self.graph.name}' has no layer '{name}' with weights to prune")
            self.options.append(self._options(name, convs[name].weights))
        self.least: Choice = (0,) * len(self.names)
        self.most: Choice = tuple(len(options) - 1 for options in self.options)
        self.seen: dict[Choice, _Measured] = {}

    def _options(self, name: str, weights: NDArray[np.float32]) -> tuple[tuple[float, NDArray[np.float32]], ...]:
        """The layer as it is, and pruned to each amount that takes more of it, the least first."""
        zeros = int(np.count_nonzero(weights == 0))
        options = [(zeros / weights.size, weights)]
        for amount in sorted(self.amounts):
            if round(amount * weights.size) <= zeros:
                continue
            pruned = self.prune_layer(self.graph, name, amount)
            made = next(layer for layer in pruned.convs if layer.name == name).weights
            share = float(np.count_nonzero(made == 0)) / made.size
            if share > options[-1][0]:
                options.append((share, made))
        if len(options) == 1:
            self.notes.append(f"layer '{name}': no amount prunes more than it is already ({options[0][0]:.0%} zeros)")
        return tuple(options)

    def pruned(self, choice: Choice) -> Graph:
        return self.graph.with_weights(
            {
                name: self.options[at][index][1]
                for at, (name, index) in enumerate(zip(self.names, choice, strict=True))
                if index
            }
        )

    def measure(self, choice: Choice) -> _Measured:
        if choice not in self.seen:
            graph = self.pruned(choice)
            loss = float(self.loss(graph))
            # What can't be compared is never chosen.
            self.seen[choice] = _Measured(choice, float(self.cost(graph)), loss if not math.isnan(loss) else math.inf)
        return self.seen[choice]

    def run(
        self,
        feasible: Callable[[_Measured], bool],
        key: Callable[[_Measured], tuple[float, float]],
        dearer_is_feasible: bool,
        rounds: int,
        most_loss: float = math.inf,
    ) -> _Measured:
        """The best feasible choice that was measured. ``dearer_is_feasible``: a high price of loss leads to feasible choices;
        ``most_loss``: what one layer alone must not lose."""

        def best() -> _Measured:
            return min((choice for choice in self.seen.values() if feasible(choice)), key=key)

        centre = self.measure(self.least)
        self.measure(self.most)
        for amount in sorted(self.amounts):
            if self.measure(self._uniform(amount)).loss > most_loss:
                break
        for index in range(rounds):
            self.progress(f"round {index + 1} of {rounds}: curves of {len(self.names)} layers")
            curves = self._curves(centre, REACH if index else len(self.amounts) + 1, most_loss)
            self._bisect(curves, feasible, dearer_is_feasible)
            better = best()
            if index and better is centre:
                break
            centre = better
        while True:
            self.progress(f"exchanges between layers at {centre.cost:.6g}")
            self._exchange(centre, feasible, key)
            better = best()
            if better is centre:
                return better
            centre = better

    def _uniform(self, amount: float) -> Choice:
        """Every layer at its highest share of zeros up to ``amount``, give or take a weight."""
        return tuple(
            max([0, *(index for index, (share, made) in enumerate(options) if share <= amount + 1 / made.size)])
            for options in self.options
        )

    def _moved(self, choice: Choice, changes: dict[int, int]) -> Choice | None:
        moved = list(choice)
        for at, step in changes.items():
            moved[at] += step
            if not 0 <= moved[at] < len(self.options[at]):
                return None
        return tuple(moved)

    def _curves(self, centre: _Measured, reach: int, most_loss: float) -> list[list[tuple[int, float, float]]]:
        """For each layer its (index, change of cost, change of loss) with the others as in ``centre``, up to the first amount at
        which the loss passes ``most_loss``."""
        curves = []
        for at, options in enumerate(self.options):
            here = centre.choice[at]
            curve = []
            for index in range(max(0, here - reach), min(len(options), here + reach + 1)):
                measured = self.measure((*centre.choice[:at], index, *centre.choice[at + 1 :]))
                curve.append((index, measured.cost - centre.cost, measured.loss - centre.loss))
                if index > here and measured.loss > most_loss:
                    break
            curves.append(curve)
        return curves

    def _bisect(
        self,
        curves: list[list[tuple[int, float, float]]],
        feasible: Callable[[_Measured], bool],
        dearer_is_feasible: bool,
    ) -> None:
        """Measures the choices on the way to the price of loss at which they turn infeasible."""
        costs = [abs(cost) for curve in curves for _, cost, _ in curve if cost]
        losses = [abs(loss) for curve in curves for _, _, loss in curve if loss and math.isfinite(loss)]
        if not costs or not losses:
            return
        low, high = math.log(min(costs) / max(losses)) - 1, math.log(max(costs) / min(losses)) + 1
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            price = math.exp(middle)
            choice = tuple(min(curve, key=lambda p: (p[1] + price * p[2], p[2], p[0]))[0] for curve in curves)
            if feasible(self.measure(choice)) == dearer_is_feasible:
                high = middle
            else:
                low = middle

    def _exchange(
        self, centre: _Measured, feasible: Callable[[_Measured], bool], key: Callable[[_Measured], tuple[float, float]]
    ) -> None:
        """Measures one layer a step sparser or denser, and the most promising pairs of such steps, from ``centre``."""
        singles: dict[tuple[int, int], _Measured] = {}
        for at in range(len(self.names)):
            for step in (-1, 1):
                choice = self._moved(centre.choice, {at: step})
                if choice is not None:
                    singles[at, step] = self.measure(choice)
        pairs = []
        for (up, step_up), sparser in singles.items():
            for (down, step_down), denser in singles.items():
                choice = self._moved(centre.choice, {up: step_up, down: step_down}) if up != down else None
                if step_up == 1 and step_down == -1 and choice is not None and choice not in self.seen:
                    guess = _Measured(
                        choice,
                        sparser.cost + denser.cost - centre.cost,
                        sparser.loss + denser.loss - centre.loss,
                    )
                    if feasible(guess) and key(guess) < key(centre):
                        pairs.append(guess)
        for guess in sorted(pairs, key=lambda measured: (*key(measured), measured.choice))[:PAIRS]:
            self.measure(guess.choice)

    def result(self, best: _Measured) -> SparsityResult:
        graph = self.pruned(best.choice)
        before, after = self.target.cost(self.graph), self.target.cost(graph)
        rows = sparsity_rows(self.graph, graph, before, after, self.names)
        misfit = self.target.misfit(graph)
        if misfit is not None:
            self.notes.append(f"the pruned network does not fit the design's memories: {misfit}")
        start = self.seen[self.least]
        return SparsityResult(
            graph,
            {row.layer: row.after for row in rows},
            before.cycles,
            after.cycles,
            start.cost,
            best.cost,
            start.loss,
            best.loss,
            rows,
            len(self.seen),
            tuple(self.notes),
        )
