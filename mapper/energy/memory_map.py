"""What a program takes of each memory, and where each tensor lies in activation memory for how long.

For reports: everything is read from the finished program and decides nothing. A tensor is held from the layer that
writes it to the last one that reads it. Two tensors that are held at once never share a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.program import Placement, Program
from skipstone.mapper.results.network import MemoryUse, TensorPlace

SHOWN_WINDOWS = 96
"""The most columns of ``row_entries``. Where there are more windows, neighbours are added up."""


def memory_uses(program: Program) -> tuple[MemoryUse, ...]:
    """Lists the memories that hold the program and its tensors, with the words that are used.

    Windows and accumulators are not listed: every tile fills them anew. Of the rows' weight memories and codebooks the
    fullest counts.
    """
    design = program.design
    used = {
        "activations": program.activation_words,
        "weights": max(sum(len(layer.weights[row]) for layer in program.layers) for row in range(design.rows)),
        "load_lists": sum(len(layer.loads) for layer in program.layers),
        "parameters": sum(len(layer.parameters) for layer in program.layers),
        "descriptors": len(program.layers),
        "codebooks": len(program.codebooks) * design.codebook_entries,
        "tables": len(program.tables) << design.activation_bits,
    }
    return tuple(
        MemoryUse(memory.name, memory.count, memory.words, memory.bits, used[memory.name])
        for memory in chip_memories(design)
        if memory.name in used
    )


def row_entries(counts: tuple[NDArray[np.int64], ...], shown: int = SHOWN_WINDOWS) -> tuple[tuple[int, ...], ...]:
    """Counts the entries of a tile by row and window.

    Args:
        counts: Entries of each pass, windows x rows.
        shown: The most columns of the result. Where there are more windows, equal groups of neighbours are added up.

    Returns:
        Rows x windows, the windows of all passes in order.
    """
    table = np.concatenate(counts).T
    group = -(-table.shape[1] // shown)
    sums = np.add.reduceat(table, np.arange(0, table.shape[1], group), axis=1)
    return tuple(tuple(int(value) for value in row) for row in sums)


def tensor_places(program: Program) -> tuple[TensorPlace, ...]:
    """Lists all tensors in activation memory, in the order in which they are written, then by address.

    Tensors that lie side by side in the same words are one place, named ``a+b``. What the host reads after the last
    layer is held until then: its ``last_read`` is the number of layers.
    """
    end = len(program.layers)
    places = _Places()
    places.write(program.input, -1)
    host = {step.after: [s for s in program.host_steps if s.after == step.after] for step in program.host_steps}
    for index in range(end + 1):
        for step in host.get(index, []):
            for placement in step.inputs:
                places.read(placement, index - 1)
            places.write(step.output, index)
        if index == end:
            break
        layer = program.layers[index]
        places.read(layer.input, index)
        if layer.other is not None:
            places.read(layer.other, index)
        for placement in layer.outputs:
            places.write(placement, index)
        for first, second in zip(layer.outputs, layer.outputs[1:], strict=False):
            places.join(first, second)
    for placement in program.outputs:
        places.read(placement, end)
    return places.result()


@dataclass
class _Places:
    """Writes and reads in the order of the layers, and which tensors share a place."""

    written: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    placed: dict[str, Placement] = field(default_factory=dict)
    place_of: dict[str, str] = field(default_factory=dict)

    def write(self, placement: Placement, step: int) -> None:
        name = placement.name
        self.written.setdefault(name, step)
        self.last[name] = max(step, self.last.get(name, step))
        self.placed[name] = placement
        self.place_of.setdefault(name, name)

    def read(self, placement: Placement, step: int) -> None:
        """Extends the life of what ``placement`` reads: the tensors that were written there last.

        The search goes on until every channel of ``placement`` is covered; a concatenation has several writers.
        """
        missing = set(placement.positions.tolist())
        first = None
        for name in sorted(self.written, key=lambda name: -self.written[name]):
            earlier = self.placed[name]
            shared = missing.intersection(earlier.positions.tolist()) if _alike(earlier, placement) else set()
            if shared:
                missing -= shared
                self.last[name] = max(step, self.last[name])
                if first is not None:
                    self.join(first, earlier)
                first = earlier
            if not missing:
                return

    def join(self, placement: Placement, other: Placement) -> None:
        """The two lie in the same words."""
        if _alike(placement, other):
            old, new = self.place_of[other.name], self.place_of[placement.name]
            self.place_of = {name: new if place == old else place for name, place in self.place_of.items()}

    def result(self) -> tuple[TensorPlace, ...]:
        groups: dict[str, list[str]] = {}
        for name in sorted(self.written, key=lambda name: (self.written[name], self.placed[name].base, name)):
            groups.setdefault(self.place_of[name], []).append(name)
        places = (
            TensorPlace(
                "+".join(names),
                self.placed[names[0]].base,
                self.placed[names[0]].words,
                min(self.written[name] for name in names),
                max(self.last[name] for name in names),
            )
            for names in groups.values()
        )
        return tuple(sorted(places, key=lambda place: (place.written, place.base, place.name)))


def _alike(placement: Placement, other: Placement) -> bool:
    return (placement.base, placement.groups, placement.grid) == (other.base, other.groups, other.grid)
