"""Pruning that balances rows: zeros move from other channels to those of the slowest row, and their number stays.

It runs after any unstructured mask. The assignment of channels already spreads work over rows. It leaves an imbalance
where channels are few or unequal, which a mask can correct. Cycles never rise: a move that does not lower the compiled
network's cycles is not made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost
from skipstone.mapper.program import LayerProgram
from skipstone.mapper.pruning.losses import Scores
from skipstone.mapper.pruning.places import NOT_LOADED, Places, trained, weight_places, weights_of
from skipstone.mapper.pruning.target import Target
from skipstone.mapper.timing.cycles import layer_cycles
from skipstone.models.graph.graph import Graph
from skipstone.models.quantization.network import QuantizedNetwork

SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)
"""How far the ceiling of rows is lowered from the fullest row towards the mean. They are tried from the largest on."""

Progress = Callable[[str], None]
Ints = NDArray[np.int64]
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class RowsRow:
    """One workload of the program before and after.

    Attributes:
        layer: The workload's name.
        moved: Weights that were pruned; as many were restored.
        score_lost: Scores of what was pruned, less those of what was restored.
        unevenness_before: The fullest row's entries of a tile over the mean row's, before.
        unevenness_after: The same after.
        cycles_before: Cycles before.
        cycles_after: Cycles after.
    """

    layer: str
    moved: int
    score_lost: float
    unevenness_before: float
    unevenness_after: float
    cycles_before: int
    cycles_after: int


@dataclass(frozen=True, eq=False)
class RowsResult:
    """A graph with as many nonzeros in every workload as before, on balanced rows.

    Attributes:
        graph: The graph.
        cycles_before: Exact cycles before.
        cycles_after: Exact cycles after.
        moved: Weights that were pruned; as many were restored.
        score_lost: Scores of what was pruned, less those of what was restored.
        rows: A row for each workload.
        notes: Remarks.
    """

    graph: Graph
    cycles_before: int
    cycles_after: int
    moved: int
    score_lost: float
    rows: tuple[RowsRow, ...]
    notes: tuple[str, ...]


def balance_rows(
    graph: Graph,
    dense: Graph,
    target: Target,
    *,
    scores: Scores | None = None,
    score_per_cycle: float = math.inf,
    rounds: int = 4,
    progress: Progress = lambda _: None,
) -> RowsResult:
    """Moves the zeros of a pruned graph between rows as long as exact cycles fall.

    In every pass, rows (or rows in each window) that hold more entries than a ceiling lose the weights with the lowest
    scores. In rows below the ceiling, the pruned weights with the highest scores come back, in words that are loaded
    anyway. Their values are those in ``dense``, times the layer's mean magnitude now over that of the same weights in
    ``dense``. This factor is 1 unless the graph was trained since, which the notes say.

    Ceilings from the mean upwards are tried. The network is compiled again with each ceiling that the cycle model
    prefers, and the one with the fewest exact cycles is taken if they are fewer than before.

    Args:
        graph: The pruned graph.
        dense: The graph before pruning, with the same layers.
        target: The design, and how the graph is quantized for it.
        scores: What losing each weight costs. Without it, magnitudes: those of ``graph``, and of what would come back.
        score_per_cycle: A move that loses more than this for each cycle that it saves is not made.
        rounds: How often all layers are visited at most.
        progress: Called with a line of text for each round.

    Raises:
        SkipstoneError: The two graphs do not have the same layers.
    """
    originals, changed = _values(graph, dense)
    importance = _scores(originals, scores)
    current, costed = graph, target.cost(graph)
    start, notes = costed, []
    if changed:
        factors = ", ".join(f"{name} ({factor:.3g})" for name, factor in changed.items())
        notes.append(
            f"weights differ from those before pruning: what comes back has the value it had, times the layer's growth: {factors}"
        )
    for program in costed.program.layers:
        if not trained(graph, costed.network, program) and any(name in originals for name in program.layers):
            notes.append(f"layer '{program.name}': its kernel runs in parts, its zeros stay where they are")
    for index in range(rounds):
        progress(f"rows, round {index + 1} of at most {rounds}: {costed.cycles:,} cycles")
        before = costed.cycles
        for name in [layer.name for layer in costed.program.layers]:
            move = _best_move(current, costed, target, name, originals, importance, score_per_cycle)
            if move is not None:
                current, costed = move
        if costed.cycles == before:
            break
    rows = _rows(graph, current, start, costed, importance)
    return RowsResult(
        current,
        start.cycles,
        costed.cycles,
        sum(row.moved for row in rows),
        sum(row.score_lost for row in rows),
        rows,
        tuple(notes),
    )


def _best_move(
    graph: Graph,
    costed: NetworkCost,
    target: Target,
    name: str,
    originals: Weights,
    scores: Mapping[str, NDArray[np.floating]],
    score_per_cycle: float,
) -> tuple[Graph, NetworkCost] | None:
    """The move in one workload that leaves the fewest exact cycles; None where none leaves fewer than now."""
    program = next((layer for layer in costed.program.layers if layer.name == name), None)
    if program is None or not trained(graph, costed.network, program):
        return None
    design = costed.program.design
    places = weight_places(program, costed.network, design)
    alone = layer_cycles(program.schedule, design).cycles
    best: tuple[int, float, Graph, NetworkCost] | None = None
    for removed, restored, counts in _moves(places, program, costed.network, design, graph, originals, scores):
        schedule = replace(program.schedule, counts=counts)
        if layer_cycles(schedule, design).cycles >= alone:
            continue
        changed, lost = _changed(graph, places, removed, restored, originals, scores)
        trial = target.cost(changed)
        saved = costed.cycles - trial.cycles
        dear = score_per_cycle < math.inf and lost > score_per_cycle * saved
        if saved > 0 and not dear and (best is None or (trial.cycles, lost) < best[:2]):
            best = trial.cycles, lost, changed, trial
    return None if best is None else best[2:]


def _moves(
    places: Places,
    program: LayerProgram,
    network: QuantizedNetwork,
    design: Design,
    graph: Graph,
    originals: Weights,
    scores: Mapping[str, NDArray[np.floating]],
) -> Iterator[tuple[Ints, Ints, tuple[Ints, ...]]]:
    """Moves as (weights to prune, weights to restore, the counts that this leaves): weights are numbered as in ``_Entries``."""
    entries = _entries(places, network, graph, originals, scores)
    mean_now = places.counts(design.rows)
    fillers = [scheduled - counted for scheduled, counted in zip(program.schedule.counts, mean_now, strict=True)]
    seen: set[tuple[int, ...]] = set()
    for by_window in (False, True):
        for share in SHARES:
            cells, ceilings = _ceilings(places, mean_now, design.rows, share, by_window)
            removed, restored = _level(entries, cells, ceilings, places, mean_now, design.rows, by_window)
            key = (len(removed), *removed.tolist(), *restored.tolist())
            if not len(removed) or key in seen:
                continue
            seen.add(key)
            change = np.isin(entries.number, restored).astype(np.int64) - np.isin(entries.number, removed)
            counts = []
            for index, (counted, filler) in enumerate(zip(mean_now, fillers, strict=True)):
                mine = (places.channel_pass == index) & (change != 0)
                delta = np.zeros_like(counted)
                np.add.at(delta, (places.window[mine], places.row[mine]), change[mine])
                counts.append(counted + delta + filler)
            yield removed, restored, tuple(counts)


@dataclass(frozen=True, eq=False)
class _Entries:
    """The entries of a workload's weights.

    ``number`` is the number of each entry's weight, counted through the workload's layers. By this number: the weight's
    score, whether it may be pruned (it is nonzero), and whether it may come back (it is zero, was not, and its word is
    loaded).
    """

    number: Ints
    score: NDArray[np.float64]
    removable: NDArray[np.bool_]
    restorable: NDArray[np.bool_]
    order: Ints
    bounds: Ints


def _entries(
    places: Places,
    network: QuantizedNetwork,
    graph: Graph,
    originals: Weights,
    scores: Mapping[str, NDArray[np.floating]],
) -> _Entries:
    sizes = [weights_of(graph, name).size for name in places.layers]
    number = np.concatenate([[0], np.cumsum(sizes)[:-1]])[places.layer] + places.weight
    score = np.concatenate([np.asarray(scores[name], np.float64).ravel() for name in places.layers])
    quantized = {layer.name: layer for layer in network.array_layers}
    removable, returns = [], []
    for name in places.layers:
        weights, layer = weights_of(graph, name), quantized[name]
        removable.append(((weights != 0) & (layer.weights != 0)).ravel())
        # What would round to zero brings nothing back.
        step = layer.weight_scale.reshape(-1, 1, 1, 1)
        returns.append(((weights == 0) & (np.abs(originals[name]) > step / 2)).ravel())
    restorable = np.concatenate(returns)
    restorable[number[places.window == NOT_LOADED]] = False
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(score) + 1))
    return _Entries(number, score, np.concatenate(removable), restorable, order, bounds)


def _ceilings(
    places: Places, mean_now: tuple[Ints, ...], rows: int, share: float, by_window: bool
) -> tuple[Ints, Ints]:
    """For each entry the cell that it counts in (a row of a pass, or of one of its windows), and the ceiling of each
    cell."""
    first = np.concatenate([[0], np.cumsum(places.windows)])
    ceilings = []
    for counted in mean_now:
        loads = counted if by_window else counted.sum(axis=0, keepdims=True)
        top, mean = loads.max(axis=1), loads.mean(axis=1)
        ceiling = np.ceil(top - share * (top - mean) - 1e-9).astype(np.int64)
        ceilings.append(np.repeat(ceiling, rows))
    if by_window:
        return (first[places.channel_pass] + np.maximum(places.window, 0)) * rows + places.row, np.concatenate(ceilings)
    return places.channel_pass * rows + places.row, np.concatenate(ceilings)


def _level(
    entries: _Entries,
    cells: Ints,
    ceilings: Ints,
    places: Places,
    mean_now: tuple[Ints, ...],
    rows: int,
    by_window: bool,
) -> tuple[Ints, Ints]:
    """Chooses weights to prune and as many to restore.

    Weights are pruned from the lowest score up until no cell is above its ceiling. Weights are restored below the
    ceiling, from the highest score down. A weight of a folded layer counts in several cells: it is pruned where one of
    them is too full, and comes back where all of them have room.
    """
    loads = np.concatenate([counted.ravel() if by_window else counted.sum(axis=0) for counted in mean_now])
    room = (ceilings - loads).tolist()
    cell_of: list[int] = cells[entries.order].tolist()
    bounds = entries.bounds.tolist()

    def cells_of(weight: int) -> list[int]:
        return cell_of[bounds[weight] : bounds[weight + 1]]

    over = np.zeros(len(entries.score), np.bool_)
    over[entries.number[np.array(room)[cells] < 0]] = True
    candidates = np.flatnonzero(entries.removable & over)
    removed = []
    for weight in candidates[np.argsort(entries.score[candidates], kind="stable")].tolist():
        mine = cells_of(weight)
        if any(room[cell] < 0 for cell in mine):
            removed.append(weight)
            for cell in mine:
                room[cell] += 1
    restored: list[int] = []
    candidates = np.flatnonzero(entries.restorable)
    for weight in candidates[np.argsort(-entries.score[candidates], kind="stable")].tolist():
        if len(restored) == len(removed):
            break
        mine = cells_of(weight)
        if mine and all(room[cell] >= mine.count(cell) for cell in mine):
            restored.append(weight)
            for cell in mine:
                room[cell] -= 1
    # With too little to restore, the dearest weights stay.
    return np.array(removed[: len(restored)], np.int64), np.array(restored, np.int64)


def _changed(
    graph: Graph,
    places: Places,
    removed: Ints,
    restored: Ints,
    originals: Weights,
    scores: Mapping[str, NDArray[np.floating]],
) -> tuple[Graph, float]:
    """The graph after a move, and the score that it lost."""
    changed: Weights = {}
    lost, first = 0.0, 0
    for name in places.layers:
        weights = weights_of(graph, name).copy()
        size = weights.size
        pruned, back = (
            numbers[(numbers >= first) & (numbers < first + size)] - first for numbers in (removed, restored)
        )
        weights.ravel()[pruned] = 0
        weights.ravel()[back] = originals[name].ravel()[back]
        score = np.asarray(scores[name], np.float64).ravel()
        lost += float(score[pruned].sum() - score[back].sum())
        changed[name] = weights
        first += size
    return graph.with_weights(changed), lost


def _values(graph: Graph, dense: Graph) -> tuple[Weights, dict[str, float]]:
    """The value of every weight while it is not pruned, and the scale of layers whose weights differ from ``dense``.

    A weight that is 0 has its value in ``dense``, times the layer's scale. Graphs with different layers are refused.
    """
    before = {layer.name: layer.weights for layer in dense.convs}
    values: Weights = {}
    factors: dict[str, float] = {}
    for layer in graph.convs:
        name, weights = layer.name, layer.weights
        if name not in before or before[name].shape != weights.shape:
            raise SkipstoneError(
                f"layer '{name}': the network before pruning has no such layer of {weights.shape} weights; "
                "balance rows before layers are made smaller"
            )
        nonzero = weights != 0
        factor = 1.0
        if not np.array_equal(weights[nonzero], before[name][nonzero]):
            mean_before = float(np.abs(before[name][nonzero]).mean(dtype=np.float64))
            mean_now = float(np.abs(weights[nonzero]).mean(dtype=np.float64))
            factors[name] = factor = mean_now / mean_before if mean_before else 1.0
        values[name] = np.where(nonzero, weights, (before[name] * factor).astype(np.float32))
    return values, factors


def _scores(values: Weights, scores: Scores | None) -> dict[str, NDArray[np.floating]]:
    """Scores of every layer: ``scores``, or magnitudes without it."""
    result: dict[str, NDArray[np.floating]] = {}
    for name, weights in values.items():
        score = np.abs(weights) if scores is None or name not in scores else scores[name]
        if np.shape(score) != weights.shape:
            raise SkipstoneError(f"layer '{name}': scores of shape {np.shape(score)} don't fit weights {weights.shape}")
        result[name] = score
    return result


def _rows(
    before: Graph, after: Graph, start: NetworkCost, end: NetworkCost, scores: Mapping[str, NDArray[np.floating]]
) -> tuple[RowsRow, ...]:
    ended = {layer.layers: (layer, cycles) for layer, cycles in zip(end.program.layers, end.layers, strict=True)}
    rows = []
    for layer, cycles in zip(start.program.layers, start.layers, strict=True):
        moved, lost = 0, 0.0
        for name in layer.layers:
            if name not in scores:
                continue
            live_before, live_after = weights_of(before, name) != 0, weights_of(after, name) != 0
            moved += int((live_before & ~live_after).sum())
            lost += float(
                np.asarray(scores[name])[live_before & ~live_after].sum()
                - np.asarray(scores[name])[live_after & ~live_before].sum()
            )
        if not any(name in scores for name in layer.layers):
            continue
        # Layers may run together otherwise when zeros have moved.
        last, last_cycles = ended.get(layer.layers, (layer, cycles))
        rows.append(
            RowsRow(layer.name, moved, lost, _unevenness(layer), _unevenness(last), cycles.cycles, last_cycles.cycles)
        )
    return tuple(rows)


def _unevenness(layer: LayerProgram) -> float:
    fullest = sum(int(counts.sum(axis=0).max()) for counts in layer.schedule.counts)
    mean = sum(float(counts.sum(axis=0).mean()) for counts in layer.schedule.counts)
    return fullest / mean if mean else 1.0
