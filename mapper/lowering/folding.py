"""Chooses how every tensor is folded and which layers run as one, by the bounds of compute, load and drain.

A bound takes a few integer operations, so many foldings can be compared. The compiler then maps the chosen one and
compares its exact cycles with those of the plain network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from skipstone.hw.design import Design
from skipstone.mapper.lowering.layout import connected
from skipstone.mapper.lowering.workload import UNFOLDED, Fold, can_fold, effective_stride
from skipstone.models.quantization.network import HostProduct, QuantizedLayer, QuantizedNetwork

END_SHARE = 0.25
"""How much of one tile's load and drain is taken to be added to a layer's cycles."""
MOST_TRIALS = 20_000
"""Foldings that a search looks at: the bound of its cost."""
WORDS_FILLED = 2
"""A tensor is folded to at most this many memory words a pixel."""


@dataclass
class FoldSearch:
    """Local search over the folds of tensors. One move sets a fold for a run of neighbouring tensors; the search ends
    where no move pays."""

    network: QuantizedNetwork
    design: Design
    trials: int = 0
    _costs: dict[tuple[str, Fold, Fold], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        network = self.network
        self._merged = merge_candidates(network, self.design, {})
        pairs: list[tuple[str, ...]] = [(tensor, *parts) for tensor, parts in network.concats.items()]
        pairs += [(layer.output, layer.other) for layer in network.array_layers if layer.other is not None]
        self.groups = list(dict.fromkeys(connected(network.tensors, pairs).values()))
        order = {name: index for index, name in enumerate(self._tensor_order())}
        self.groups = sorted(
            (group for group in self.groups if any(name in order for name in group)),
            key=lambda group: min(order.get(name, len(order)) for name in group),
        )
        self.group_of = {name: index for index, group in enumerate(self.groups) for name in group}
        self.options = [self._options(group) for group in self.groups]
        self.layers_of: list[list[QuantizedLayer]] = [[] for _ in self.groups]
        for layer in network.array_layers:
            for index in {self.group_of[layer.input], self.group_of[layer.output]}:
                self.layers_of[index].append(layer)

    def _tensor_order(self) -> list[str]:
        return [self.network.input, *(layer.output for layer in self.network.layers)]

    def _options(self, group: frozenset[str]) -> list[Fold]:
        """Folds of a group of tensors that must be folded alike."""
        network, limit = self.network, WORDS_FILLED * self.design.load_width
        partial = any(layer.lattice is not None and layer.output in group for layer in network.array_layers)
        if partial:
            return [UNFOLDED]
        shapes = [network.tensors[name].shape for name in group]
        most = max(1, limit // max(channels for channels, _, _ in shapes))
        height, width = (math.gcd(*(shape[axis] for shape in shapes)) for axis in (1, 2))
        # A word that a pixel fills already gains nothing by folding.
        if min(channels for channels, _, _ in shapes) >= self.design.load_width:
            return [UNFOLDED]
        divisors = [[fold for fold in range(1, most + 1) if size % fold == 0] for size in (height, width)]
        return [(y, x) for y in divisors[0] for x in divisors[1] if y * x <= most]

    def search(self) -> dict[str, Fold]:
        """The fold of every tensor that has one. At most ``MOST_TRIALS`` foldings are compared."""
        folds = [UNFOLDED] * len(self.groups)
        improved = any(len(options) > 1 for options in self.options)
        while improved and self.trials < MOST_TRIALS:
            best: tuple[float, list[Fold]] | None = None
            for first, options in enumerate(self.options):
                for option in options:
                    candidate = self._best_run(folds, first, option)
                    if candidate is not None and (best is None or candidate[0] > best[0] + 1e-9):
                        best = candidate
            improved = best is not None
            if best is not None:
                folds = best[1]
        return {
            name: fold for group, fold in zip(self.groups, folds, strict=True) for name in group if fold != UNFOLDED
        }

    def _best_run(self, folds: list[Fold], first: int, option: Fold) -> tuple[float, list[Fold]] | None:
        """Folds the tensors from ``first`` to the one where that gains most.

        Returns:
            The gain and the new folds; None where nothing is gained.
        """
        trial = list(folds)
        gains: dict[str, float] = {}
        best: tuple[float, int] | None = None
        for index in range(first, len(folds)):
            if option not in self.options[index]:
                break
            trial[index] = option
            self.trials += 1
            for layer in self.layers_of[index]:
                gains[layer.name] = self._cost(layer, folds) - self._cost(layer, trial)
            total = sum(gains.values())
            if total > 0 and (best is None or total > best[0]):
                best = total, index
        if best is None:
            return None
        return best[0], [*folds[:first], *[option] * (best[1] + 1 - first), *folds[best[1] + 1 :]]

    def _cost(self, layer: QuantizedLayer, folds: list[Fold]) -> float:
        source, target = folds[self.group_of[layer.input]], folds[self.group_of[layer.output]]
        key = (layer.name, source, target)
        if key not in self._costs:
            cost = bound(self.network, layer, self.design, source, target)
            if layer.name in self._merged and cost < math.inf:
                # Its words are loaded by the layer that it runs with.
                cost = layer.nnz * math.prod(self.network.size_of(layer)) / self.design.pes
            self._costs[key] = cost
        return self._costs[key]


def bound(network: QuantizedNetwork, layer: QuantizedLayer, design: Design, source: Fold, target: Fold) -> float:
    """A lower bound of a layer's cycles: the largest of compute, load and drain cycles, for the best tile shape.

    It is infinite where the folds are impossible. Of the zeros, the load's bound sees only those of whole input
    channels.
    """
    size, stride = network.size_of(layer), effective_stride(network, layer)
    if not all(can_fold(size[axis], stride[axis], source[axis], target[axis]) for axis in (0, 1)):
        return math.inf
    kernel = layer.weights.shape[2:]
    extents, steps = [], []
    for axis in (0, 1):
        first = -layer.padding[axis]
        last = (kernel[axis] - 1) * layer.dilation[axis] - layer.padding[axis] + stride[axis] * (target[axis] - 1)
        folded = last // source[axis] - first // source[axis] + 1
        plain = source[axis] == target[axis] == 1
        extents.append(folded if not plain else (kernel[axis] - 1) * layer.dilation[axis] + 1)
        steps.append(stride[axis] * target[axis] // source[axis] if size[axis] > target[axis] else 1)
    if max(steps) > design.max_stride:
        return math.inf
    outputs = layer.weights.shape[0] * target[0] * target[1]
    passes = -(-outputs // (design.rows * design.accumulators))
    inputs = network.tensors[layer.input].shape[0] * source[0] * source[1]
    groups = -(-inputs // design.load_width)
    products = layer.nnz * target[0] * target[1]
    drain_steps = design.steps(-(-outputs // (passes * design.rows))) * passes
    height, width = size[0] // target[0], size[1] // target[1]
    best = math.inf
    for tile in design.tile_shapes:
        tiles = -(-height // tile[0]) * -(-width // tile[1])
        regions = [(min(tile[axis], (height, width)[axis]) - 1) * steps[axis] + extents[axis] for axis in (0, 1)]
        words = regions[0] * regions[1] * groups * passes
        cycles = max(
            tiles * products / design.rows,
            float(tiles * words),
            float(height * width * drain_steps),
        )
        # What does not bind still costs a little, where the layer's ends do not overlap with its neighbours.
        best = min(best, cycles + END_SHARE * (words + drain_steps * design.cols))
    return best


def choose_folds(network: QuantizedNetwork, design: Design) -> tuple[dict[str, Fold], int]:
    """Chooses folds for a network's tensors. The result is deterministic.

    Returns:
        The fold of every tensor that is better folded, and how many foldings were compared. A network without small
        tensors stays as it is.
    """
    search = FoldSearch(network, design)
    return search.search(), search.trials


def merge_candidates(network: QuantizedNetwork, design: Design, folds: dict[str, Fold]) -> dict[str, str]:
    """Finds layers that can run in one pass with an earlier one.

    Both read the same tensor in the same way, and what the later one adds is written before the earlier one runs.

    Returns:
        The earlier layer's name by the later one's.
    """
    parts = {leaf for leaves in network.concats.values() for leaf in leaves}
    written: dict[str, int] = {network.input: -1}
    result: dict[str, str] = {}
    seen: list[tuple[int, QuantizedLayer]] = []
    for step, layer in enumerate(network.layers):
        written[layer.output] = step
        if isinstance(layer, HostProduct):
            continue
        for at, earlier in seen:
            if earlier.name in result.values() or earlier.name in result or layer.name in result:
                continue
            if layer.other is not None and written.get(layer.other, step) >= at:
                continue
            if not {layer.output, earlier.output} & parts and _alike(network, design, folds, earlier, layer):
                result[layer.name] = earlier.name
        seen.append((step, layer))
    return result


def _alike(
    network: QuantizedNetwork, design: Design, folds: dict[str, Fold], first: QuantizedLayer, second: QuantizedLayer
) -> bool:
    size = network.size_of(first)
    if (
        first.input != second.input
        or first.operation != "multiply_add"
        or second.operation != "multiply_add"
        or size != network.size_of(second)
        or first.lattice is not None
        or second.lattice is not None
        or first.pad_value != second.pad_value
        or effective_stride(network, first) != effective_stride(network, second)
        or folds.get(first.output, UNFOLDED) != folds.get(second.output, UNFOLDED)
        or design.products.looked_up
        # The drain reads one other tensor.
        or (first.other is not None and second.other is not None)
        or first.groups > 1
        or second.groups > 1
    ):
        return False
    fold = folds.get(first.output, UNFOLDED)
    depths = [-(-layer.weights.shape[0] * fold[0] * fold[1] // design.rows) for layer in (first, second)]
    per_step = design.accumulators_per_step
    steps = [design.steps(depth) for depth in depths]
    return (
        sum(-(-depth // per_step) * per_step for depth in depths) <= design.accumulators
        and steps[0] * design.requantizer_lanes % design.load_width == 0
    )
