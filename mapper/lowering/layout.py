"""How tensors lie in activation memory: the order of their channels, and which tensors share one pixel's words.

Channel order is free, so rows can be balanced. Tensors that meet in an Add share one order. A *store* is a place in
memory whose pixels hold one tensor, or several side by side: the parts of a concatenation, or what one pass computes
together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.balance import Assignment, Ints, assign_channels
from skipstone.mapper.lowering.placement import place
from skipstone.mapper.lowering.windows import split_kernel, windows_of
from skipstone.mapper.lowering.workload import UNFOLDED, Fold, Workload, folded_shape
from skipstone.mapper.program import Placement
from skipstone.models.quantization.network import HostProduct, QuantizedLayer, QuantizedNetwork


def tied_tensors(network: QuantizedNetwork) -> dict[str, frozenset[str]]:
    """Tensors that meet in an Add share one channel order: for each tensor, all those tied to it."""
    pairs = [(layer.output, layer.other) for layer in network.array_layers if layer.other is not None]
    return connected(network.tensors, pairs)


def connected(names: Iterable[str], pairs: Iterable[tuple[str, ...]]) -> dict[str, frozenset[str]]:
    """For every name, all names that chains of ``pairs`` connect it to, itself included."""
    groups: dict[str, set[str]] = {name: {name} for name in names}
    for pair in pairs:
        merged = set().union(*(groups[name] for name in pair))
        for name in merged:
            groups[name] = merged
    return {name: frozenset(group) for name, group in groups.items()}


@dataclass
class Layout:
    """Channel orders, chosen tensor by tensor in execution order, and the stores that hold them."""

    network: QuantizedNetwork
    design: Design
    folds: dict[str, Fold]
    workloads: list[Workload]
    dense: list[Workload] | None = None
    """``workloads`` without zeros, where mappings for those are tried as well."""
    assignments: dict[str, Assignment] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._partners = tied_tensors(self.network)
        whole_of = {part: concat for concat, parts in self.network.concats.items() for part in parts}
        for concat in self.network.concats:
            if len(self._partners[concat]) > 1:
                others = ", ".join(sorted(self._partners[concat] - {concat}))
                raise MappingError(
                    f"tensor '{concat}' is a concatenation and is added to '{others}': its channel order can't be both; "
                    "copy it by a layer of its own, as skipstone.models.quantization.quantize does"
                )
        self._stores: dict[str, tuple[str, ...]] = {}
        self._offsets: dict[str, int] = {}
        # Wholes are stores of all their leaves; so are tensors that one workload writes together. In a store they
        # stand in the
        # order in which they are written: what is written knows where it stands.
        written = {self.network.input: -1}
        for step, layer in enumerate(self.network.layers):
            written.setdefault(layer.output, step)
        for name in self.network.tensors:
            if name not in whole_of:
                self._stores[name] = tuple(
                    sorted(self.network.leaves(name), key=lambda leaf: written.get(leaf, len(written)))
                )
        for workload in self.workloads:
            if len(workload.parts) > 1:
                names = tuple(part.layer.output for part in workload.parts)
                for name in names:
                    del self._stores[name]
                self._stores[names[0]] = names
        self._store_of = {leaf: store for store, leaves in self._stores.items() for leaf in leaves}
        for concat in self.network.concats:
            self._store_of[concat] = self._store_of[self.network.leaves(concat)[0]]

    def fold(self, name: str) -> Fold:
        return self.folds.get(name, UNFOLDED)

    # Channel orders -------------------------------------------------------------------------------------------------

    def assign_host_tensor(self, name: str) -> None:
        """Orders the channels of a tensor that the host writes: in its own order, or in that of a tensor that it is
        added to."""
        if len(self._partners[name]) == 1:
            channels = folded_shape(self.network.tensors[name].shape, self.fold(name))[0]
            index = np.arange(channels, dtype=np.int64)
            words = -(-channels // self.design.load_width)
            self.assignments[name] = Assignment(index * 0, index, index * 0, index, 1, 1, 1, words)
        else:
            self.assign(name, None)

    def assign(self, name: str, workload: Workload | None) -> None:
        """Chooses the channel order of ``name`` and of all tensors tied to it, unless they have one.

        Args:
            name: The tensor.
            workload: The workload that writes it; None for the host.
        """
        if name not in self.assignments:
            self.take(name, self._assignment(name, workload, self.workloads))

    def orders(self, workload: Workload) -> list[Assignment]:
        """Channel orders of a workload's output that are worth mapping: the best one for the nonzeros first, and for
        grouped layers that for the same layer without zeros. None where the order is fixed or not worth a choice.

        In grouped layers the order decides which rows work in which window, so that few zeros may make it worse.
        """
        if self.dense is None or workload.layer.groups == 1 or len(workload.parts) > 1:
            return []
        if workload.layer.output in self.assignments:
            return []
        return [self._assignment(workload.layer.output, workload, self.workloads), self.dense_order(workload)]

    def dense_order(self, workload: Workload) -> Assignment:
        """The best channel order for the workload's first output if no layer had zeros."""
        assert self.dense is not None
        return self._assignment(workload.layer.output, self.dense[self.workloads.index(workload)], self.dense)

    def take(self, name: str, assignment: Assignment) -> None:
        """Gives ``name`` and all tensors tied to it a channel order."""
        for tensor in self._partners[name]:
            self.assignments[tensor] = assignment

    def _assignment(self, name: str, workload: Workload | None, workloads: list[Workload]) -> Assignment:
        works = [
            self._work(writer, index)
            for writer in workloads
            for index, part in enumerate(writer.parts)
            if part.layer.output in self._partners[name]
        ]
        order_key = None
        if workload is not None and workload.layer.groups > 1 and len(workload.parts) == 1:
            order_key = self._first_input(workload)
        return assign_channels(self.design, np.concatenate(works, axis=1), order_key)

    def _first_input(self, workload: Workload) -> Ints:
        """For each output channel, the first of the input's positions that it reads."""
        key = np.full(int(workload.patterns.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(key, workload.nonzeros.channel, self.positions(workload.layer.input)[workload.nonzeros.position])
        return key[workload.patterns]

    def _work(self, workload: Workload, index: int) -> np.ndarray:
        """Work of each output channel of one part, window by window where the input's order is known, else in total."""
        part = workload.parts[index]
        patterns = workload.patterns[part.first : part.first + part.channels]
        first, count = int(patterns.min()), int(patterns.max() - patterns.min()) + 1
        nonzeros = workload.nonzeros
        if len(workload.parts) > 1:
            nonzeros = nonzeros.select((nonzeros.channel >= first) & (nonzeros.channel < first + count))
        channel = nonzeros.channel - first
        pixels = float(workload.size[0] * workload.size[1])
        if not self._known(workload.layer.input):
            work = np.bincount(channel, minlength=count)[:, None] * pixels
        else:
            split = split_kernel(self.design, workload.geometry.kernel, workload.geometry.dilation)
            positions = self.positions(workload.layer.input)[nonzeros.position]
            window, windows = windows_of(self.design, nonzeros, positions, split, workload.geometry.kernel)
            load = np.bincount(channel * windows + window, minlength=count * windows)
            work = load.reshape(count, windows) * pixels
        return np.asarray(work[patterns - first])

    def _known(self, name: str) -> bool:
        """Whether the places of a tensor's channels are known: its own order, and all that precedes it in its store."""
        leaves = self._stores[self._store_of[name]]
        last = max(leaves.index(leaf) for leaf in self.network.leaves(name))
        return all(leaf in self.assignments for leaf in leaves[: last + 1])

    # Places in memory -----------------------------------------------------------------------------------------------

    def offset(self, name: str) -> int:
        """The first activation of the tensor's own words in its store's pixel."""
        if name not in self._offsets:
            at = 0
            for leaf in self._stores[self._store_of[name]]:
                self._offsets[leaf] = at
                if leaf == name:
                    break
                at += self.assignments[leaf].groups * self.design.load_width
        return self._offsets[name]

    def positions(self, name: str) -> Ints:
        """For each (folded) channel of the tensor, its activation in the words of its store's pixel."""
        if name in self.network.concats:
            return np.concatenate([self.positions(part) for part in self.network.concats[name]])
        return self.assignments[name].position + self.offset(name)

    def placements(self) -> tuple[dict[str, Placement], int]:
        """Places every store, and with it every tensor.

        Returns:
            The placements by tensor, and the number of words used.
        """
        spans = self._spans()
        groups = {
            store: sum(self.assignments[leaf].groups for leaf in leaves if leaf in self.assignments)
            for store, leaves in self._stores.items()
            if store in spans
        }
        sizes = {}
        for store in groups:
            _, height, width = self.network.tensors[store].shape
            fold = self.fold(store)
            sizes[store] = height // fold[0] * (width // fold[1]) * groups[store]
        bases, used = place(sizes, spans, self.design.activation_words, self.design.name)
        result = {}
        for name, store in self._store_of.items():
            if store in bases and self._known(name):
                channels, height, width = self.network.tensors[name].shape
                result[name] = Placement(
                    name, channels, height, width, bases[store], groups[store], self.positions(name), self.fold(name)
                )
        return result, used

    def _spans(self) -> dict[str, tuple[int, int]]:
        """For each store, the first and the last step during which it must be stored."""
        spans: dict[str, tuple[int, int]] = {}

        def use(name: str, step: int) -> None:
            store = self._store_of[name]
            first, last = spans.get(store, (step, step))
            spans[store] = min(first, step), max(last, step)

        use(self.network.input, 0)
        for step, layer in enumerate(self.network.layers):
            use(layer.output, step)
            for name in read_by(layer):
                use(name, step)
        # What one workload computes together exists from its first layer on.
        order = {layer.name: step for step, layer in enumerate(self.network.layers)}
        for workload in self.workloads:
            for part in workload.parts:
                use(part.layer.output, order[workload.layer.name])
        for name in self.network.outputs:
            use(name, len(self.network.layers))
        return spans


def read_by(layer: QuantizedLayer | HostProduct) -> tuple[str, ...]:
    """The tensors that a layer reads."""
    if isinstance(layer, HostProduct):
        return layer.inputs
    return (layer.input,) if layer.other is None else (layer.input, layer.other)
