"""Pruning of whole load words: where the loader bounds a layer, zeros save cycles only if no weight needs a word.

A word holds ``load_width`` channels of one pixel, in the order in which the mapper laid them out. The loader skips it
where every weight of a pass that reads it is zero, so the groups of weights to prune follow from a compiled program.
The program is compiled again after every step, because the order of channels may follow from the zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost
from skipstone.mapper.program import LayerProgram
from skipstone.mapper.pruning.losses import Scores
from skipstone.mapper.pruning.places import Places, trained, weight_places, weights_of
from skipstone.mapper.pruning.target import Target
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.timing.cycles import layer_cycles
from skipstone.models.graph.graph import Graph

BATCHES = (1.0, 0.5, 0.25, 0.1, 0.0)
"""Of the words whose load the rows do not hide, the shares that one step tries to skip. The last is one group of
weights."""
WAITING = 0.02
"""The share of a layer's row cycles spent waiting for the loader from which on a step is worth trying."""
ROUNDING = 1e-9

Progress = Callable[[str], None]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class WordsRow:
    """One workload before and after.

    Attributes:
        layer: The workload's name.
        bound: What bounded it before.
        pruned: Weights that were pruned.
        score_lost: Their scores.
        words_before: Words that it loaded for one inference before.
        words_after: Words that it loads for one inference after.
        cycles_before: Cycles before.
        cycles_after: Cycles after.
    """

    layer: str
    bound: str
    pruned: int
    score_lost: float
    words_before: int
    words_after: int
    cycles_before: int
    cycles_after: int


@dataclass(frozen=True, eq=False)
class WordsResult:
    """A graph whose loader takes fewer words.

    Attributes:
        graph: The pruned graph.
        cycles_before: Exact cycles before.
        cycles_after: Exact cycles after.
        words_before: Words that the loader took for one inference of the network before.
        words_after: Words that the loader takes for one inference of the network after.
        pruned: Weights that were pruned.
        score_lost: Their scores.
        steps: Steps that were taken. Each lowered cycles.
        rows: A row for each workload.
        notes: Remarks.
    """

    graph: Graph
    cycles_before: int
    cycles_after: int
    words_before: int
    words_after: int
    pruned: int
    score_lost: float
    steps: int
    rows: tuple[WordsRow, ...]
    notes: tuple[str, ...]


def prune_words(
    graph: Graph,
    target: Target,
    score_budget: float,
    *,
    scores: Scores | None = None,
    max_steps: int = 100,
    progress: Progress = lambda _: None,
) -> WordsResult:
    """Prunes groups of weights so that the loader skips words, as long as exact cycles fall.

    Only layers that wait for the loader are pruned. A group is all weights of a pass at one channel group
    (``load_width`` channels that share words) and at one tap, one row or one column of taps, or all taps: neighbouring
    pixels of a tile read the same words, so a single tap may save little. Groups are pruned in the order of the score
    lost for each word saved.

    After each step the network is compiled again, and the step is taken back where exact cycles did not fall. The
    search ends at a fixed point, where no layer that waits for the loader has a step left.

    Args:
        graph: The graph to prune.
        target: The design, and how the graph is quantized for it.
        score_budget: The share (0 to 1) of all scores of a workload's nonzeros that the workload may lose.
        scores: What losing each weight costs; magnitudes without it.
        max_steps: The most steps.
        progress: Called with a line of text for each step.

    Raises:
        SkipstoneError: ``score_budget`` is not from 0 to 1.
    """
    if not 0 <= score_budget <= 1:
        raise SkipstoneError(f"score_budget must be a share of the scores, from 0 to 1, not {score_budget:g}")
    importance = _scores(graph, scores)
    current, costed = graph, target.cost(graph)
    start, steps, notes = costed, 0, []
    waiting = [
        program for program, cycles in zip(start.program.layers, start.layers, strict=True) if waits_for_loads(cycles)
    ]
    for program in waiting:
        if not trained(graph, start.network, program):
            notes.append(
                f"layer '{program.name}' ({program.kind}) waits for its loads, but has no trained weights of its own"
            )
    while steps < max_steps:
        progress(f"load words, step {steps + 1}: {costed.cycles:,} cycles")
        step = _step(current, graph, costed, target, importance, score_budget)
        if step is None:
            break
        current, costed = step
        steps += 1
    if steps == max_steps:
        notes.append(f"stopped after {max_steps} steps, before a fixed point")
    if not waiting:
        notes.append("no layer waits for its loads: nothing to prune")
    rows = _rows(graph, current, start, costed, importance)
    return WordsResult(
        current,
        start.cycles,
        costed.cycles,
        start.loaded_words,
        costed.loaded_words,
        sum(row.pruned for row in rows),
        sum(row.score_lost for row in rows),
        steps,
        rows,
        tuple(notes),
    )


def _step(
    graph: Graph,
    first: Graph,
    costed: NetworkCost,
    target: Target,
    scores: Mapping[str, NDArray[np.float64]],
    budget: float,
) -> tuple[Graph, NetworkCost] | None:
    """One step in the first layer, of those that wait longest for the loader, where one lowers exact cycles."""
    design = costed.program.design
    order = sorted(
        zip(costed.program.layers, costed.layers, strict=True), key=lambda pair: -pair[1].load_wait_row_cycles
    )
    for program, cycles in order:
        if not waits_for_loads(cycles) or not trained(graph, costed.network, program):
            continue
        budget_left = sum(_left(first, graph, name, scores[name], budget) for name in program.layers)
        groups = list(_groups(program, weight_places(program, costed.network, design), scores, design))
        hidden = program.schedule.tiles * sum(int(counts.sum(axis=0).max()) for counts in program.schedule.counts)
        open_words = max(0, loaded_of(program) - hidden)
        alone = layer_cycles(program.schedule, design).cycles
        tried: set[int] = set()
        for share in BATCHES:
            chosen = _chosen(groups, budget_left, share * open_words)
            if not chosen or len(chosen) in tried:
                continue
            tried.add(len(chosen))
            schedule = replace(program.schedule, words=_words_without(program, chosen))
            if layer_cycles(schedule, design).cycles >= alone:
                continue
            changed = _without(graph, program.layers, chosen)
            trial = target.cost(changed)
            if trial.cycles < costed.cycles:
                return changed, trial
    return None


def waits_for_loads(cycles: LayerCycles) -> bool:
    """Whether the loader is what rows wait for most, and for a good part of the layer: fewer words then mean fewer cycles, even
    where most cycles are still useful work."""
    waited = cycles.load_wait_row_cycles
    others = cycles.issue_row_cycles + cycles.balance_wait_row_cycles + cycles.drain_wait_row_cycles
    return waited > max(cycles.balance_wait_row_cycles, cycles.drain_wait_row_cycles, WAITING * (waited + others))


def loaded_of(program: LayerProgram) -> int:
    """Words that the loader takes for one layer, over all tiles and passes."""
    return sum(int(words.sum()) for words in program.schedule.words) * program.schedule.tiles


@dataclass(frozen=True, eq=False)
class _Group:
    """Weights (layer index, flat index) whose removal saves ``words`` a tile in one window of one pass, and their score."""

    channel_pass: int
    channel_group: int
    window: int
    words: int
    score: float
    layer: Ints
    weight: Ints


def _groups(
    program: LayerProgram, places: Places, scores: Mapping[str, NDArray[np.float64]], design: Design
) -> Iterator[_Group]:
    """Groups of weights that save at least one word, of each pass, channel group and part of the kernel."""
    split = program.split
    parts_x = -(-program.geometry.kernel[1] // split.width)
    flat = [scores[name].ravel() for name in places.layers]
    part = places.ky // split.height * parts_x + places.kx // split.width
    nonzero = np.flatnonzero(places.nonzero)
    keys = np.stack([places.channel_pass[nonzero], places.group[nonzero], part[nonzero]], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    for number, (channel_pass, channel_group, _) in enumerate(unique.tolist()):
        members = nonzero[inverse == number]
        ky, kx = places.ky[members], places.kx[members]
        all_positions = _positions(program, ky, kx)
        for gone in _candidates(ky, kx):
            saved = all_positions - _positions(program, ky[~gone], kx[~gone])
            if saved:
                chosen = members[gone]
                pair = np.unique(np.stack([places.layer[chosen], places.weight[chosen]], axis=1), axis=0)
                lost = sum(float(flat[layer][weight]) for layer, weight in pair.tolist())
                window = int(places.window[chosen[0]])
                yield _Group(channel_pass, channel_group, window, saved, lost, pair[:, 0], pair[:, 1])


def _candidates(ky: Ints, kx: Ints) -> Iterator[NDArray[np.bool_]]:
    """All taps; each row, each column and each tap of the kernel."""
    yield np.ones(len(ky), np.bool_)
    rows, columns = np.unique(ky), np.unique(kx)
    if len(rows) > 1:
        for at in rows.tolist():
            yield ky == at
    if len(columns) > 1:
        for at in columns.tolist():
            yield kx == at
    if len(rows) > 1 and len(columns) > 1:
        for y, x in np.unique(np.stack([ky, kx], axis=1), axis=0).tolist():
            yield (ky == y) & (kx == x)


def _positions(program: LayerProgram, ky: Ints, kx: Ints) -> int:
    """Positions of the input, for one channel group, that some of the taps reaches from some pixel of a tile."""
    if not len(ky):
        return 0
    schedule, geometry = program.schedule, program.geometry
    taps = np.unique(np.stack([ky, kx], axis=1), axis=0)
    height, width = min(schedule.tile[0], schedule.out_height), min(schedule.tile[1], schedule.out_width)
    y = geometry.stride[0] * np.arange(height)[None] + geometry.dilation[0] * taps[:, :1]
    x = geometry.stride[1] * np.arange(width)[None] + geometry.dilation[1] * taps[:, 1:]
    extent = int(x.max()) + 1
    return len(np.unique(y[:, :, None] * extent + x[:, None, :]))


def _chosen(groups: list[_Group], budget_left: float, words: float) -> list[_Group]:
    """Groups by score lost for each word saved, until ``words`` are saved (at least one group) or the budget is spent; one of
    each pass, channel group and window, since what two of them save together is not known."""
    chosen: list[_Group] = []
    taken: set[tuple[int, int, int]] = set()
    spent, saved = 0.0, 0
    for group in sorted(groups, key=lambda group: (group.score / group.words, -group.words)):
        key = (group.channel_pass, group.channel_group, group.window)
        if key in taken or spent + group.score > budget_left * (1 + ROUNDING):
            continue
        chosen.append(group)
        taken.add(key)
        spent += group.score
        saved += group.words
        if saved >= words:
            break
    return chosen


def _words_without(program: LayerProgram, chosen: list[_Group]) -> tuple[Ints, ...]:
    words = tuple(counted.copy() for counted in program.schedule.words)
    for group in chosen:
        words[group.channel_pass][group.window] = max(0, words[group.channel_pass][group.window] - group.words)
    return words


def _without(graph: Graph, names: tuple[str, ...], chosen: list[_Group]) -> Graph:
    changed = {}
    for index, name in enumerate(names):
        weights = weights_of(graph, name).copy()
        for group in chosen:
            weights.ravel()[group.weight[group.layer == index]] = 0
        changed[name] = weights
    return graph.with_weights(changed)


def _left(first: Graph, graph: Graph, name: str, scores: NDArray[np.float64], budget: float) -> float:
    """How much score a layer may still lose."""
    before, now = weights_of(first, name) != 0, weights_of(graph, name) != 0
    return budget * float(scores[before].sum()) - float(scores[before & ~now].sum())


def _scores(graph: Graph, scores: Scores | None) -> dict[str, NDArray[np.float64]]:
    result = {}
    for layer in graph.convs:
        score = np.abs(layer.weights) if scores is None or layer.name not in scores else scores[layer.name]
        if np.shape(score) != layer.weights.shape:
            raise SkipstoneError(
                f"layer '{layer.name}': scores of shape {np.shape(score)} don't fit weights {layer.weights.shape}"
            )
        result[layer.name] = np.asarray(score, np.float64)
    return result


def _rows(
    before: Graph, after: Graph, start: NetworkCost, end: NetworkCost, scores: Mapping[str, NDArray[np.float64]]
) -> tuple[WordsRow, ...]:
    ended = {layer.layers: (layer, cycles) for layer, cycles in zip(end.program.layers, end.layers, strict=True)}
    bounds = start.layer_bounds()
    rows = []
    for layer, cycles in zip(start.program.layers, start.layers, strict=True):
        named = [name for name in layer.layers if name in scores]
        if not named:
            continue
        gone = {name: (weights_of(before, name) != 0) & (weights_of(after, name) == 0) for name in named}
        last, last_cycles = ended.get(layer.layers, (layer, cycles))
        rows.append(
            WordsRow(
                layer.name,
                bounds[layer.layers[0]],
                sum(int(mask.sum()) for mask in gone.values()),
                sum(float(scores[name][mask].sum()) for name, mask in gone.items()),
                loaded_of(layer),
                loaded_of(last),
                cycles.cycles,
                last_cycles.cycles,
            )
        )
    return tuple(rows)
