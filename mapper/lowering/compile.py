"""Compiles a quantized network to a program for one design.

Layers are folded and merged into workloads and mapped in execution order, because a layer's windows follow from the
order of its input's channels. Then each may run ahead as far as its data allow, and all are linked. What does not fit
the design is refused with the parameter to raise.

The same network without zeros is mapped too, for three reasons: it is what speed-ups are over (``compile_dense``); its
mapping is tried for each workload (``map_workload``); and no program is taken that is slower than it, as a whole or in
a trained workload that runs alone, while one that is not fits the memories. Output channels of a layer without zeros are alike,
so that this takes little time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.folding import choose_folds, merge_candidates
from skipstone.mapper.lowering.layout import Layout, connected
from skipstone.mapper.lowering.limits import check_geometry, check_memories, check_numbers, check_widths
from skipstone.mapper.lowering.link import link
from skipstone.mapper.lowering.lookups import Lookups, collect_lookups
from skipstone.mapper.lowering.memory_sizes import unbounded
from skipstone.mapper.lowering.overlap import INDEPENDENT, NOTHING, Footprint, Overlap, overlap
from skipstone.mapper.lowering.tiling import MappedWorkload, map_workload
from skipstone.mapper.lowering.workload import UNFOLDED, Fold, Workload, folded_shape, lower, merge
from skipstone.mapper.program import HostStep, Program, Search
from skipstone.mapper.timing.cycles import history, network_cycles
from skipstone.models.quantization.network import HostProduct, QuantizedNetwork, without_zeros


@dataclass(frozen=True, eq=False)
class _Compiled:
    """A program, its folds and merges, its cycles, and those of each workload with trained weights alone."""

    program: Program
    folds: dict[str, Fold]
    merges: dict[str, str]
    cycles: int
    alone: dict[tuple[str, ...], int]


def compile_network(network: QuantizedNetwork, design: Design) -> Program:
    """Compiles a network for a design. The result is deterministic.

    Programs are compared by their exact cycles: that of the plain network, that with folded tensors and merged layers,
    and, where these are slower than the network without zeros, those that are mapped like it. The one with fewest
    cycles is taken, or the only one that fits the memories.

    Args:
        network: The quantized network.
        design: The array.

    Raises:
        MappingError: The network does not fit the design; the message names what to change.
    """
    check_widths(network, design)
    lookups = collect_lookups(network, design)
    for layer in network.array_layers:
        check_numbers(layer, network, design)
    dense_network = replace(without_zeros(network), graph=None)
    programs, foldings = _programs(network, design, lookups, dense_network)
    dense = _dense(_Structure(dense_network), design)
    if all(_slower(compiled, dense) for compiled in programs):
        for like_dense in (False, True):
            with contextlib.suppress(MappingError):
                programs.append(
                    _compile(network, design, lookups, dense.folds, dense.merges, dense_network, like_dense)
                )
    never_slower = [compiled for compiled in programs if not _slower(compiled, dense)]
    best = min(never_slower or programs, key=_total)
    search = Search(foldings, sum(compiled.program.search.schedules for compiled in programs), len(programs))
    return replace(best.program, search=search)


def compile_dense(network: QuantizedNetwork, design: Design) -> Program:
    """Compiles ``network`` without zeros (``without_zeros``), for its cycles and actions: its lists have no words.

    It need not fit: memories and accumulators are unbounded.

    Args:
        network: The quantized network.
        design: The array.
    """
    return _dense(_Structure(replace(without_zeros(network), graph=None)), design).program


@dataclass(frozen=True)
class _Structure:
    """A network without zeros, equal to any other that has the same program but for its tables and constants."""

    network: QuantizedNetwork = field(compare=False)
    key: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        network = self.network
        layers = tuple(
            layer
            if isinstance(layer, HostProduct)
            else (
                *(
                    layer.name,
                    layer.kind,
                    layer.operation,
                    layer.input,
                    layer.output,
                    layer.weights.shape,
                    layer.groups,
                ),
                *(layer.stride, layer.padding, layer.dilation, layer.pad_value, layer.other, layer.lattice),
                *(layer.table is None, layer.trained or layer.weights.tobytes()),
            )
            for layer in network.layers
        )
        tensors = tuple((name, tensor.shape) for name, tensor in network.tensors.items())
        concats = tuple(network.concats.items())
        object.__setattr__(self, "key", (network.name, network.input, network.outputs, tensors, concats, layers))


@lru_cache(maxsize=8)
def _dense(structure: _Structure, design: Design) -> _Compiled:
    """The best program of the network without zeros."""
    roomy_design = unbounded(design)
    lookups = collect_lookups(structure.network, roomy_design)
    programs, _ = _programs(structure.network, roomy_design, lookups, None)
    return min(programs, key=_total)


def _total(compiled: _Compiled) -> int:
    return compiled.cycles


def _slower(compiled: _Compiled, dense: _Compiled) -> bool:
    """Whether a program takes more cycles than that without zeros, as a whole or in a workload that runs alone.

    Workloads without trained weights are left out: they have no zeros to gain by, and the order of the channels that
    they read may cost them a cycle that it saves elsewhere.
    """
    if compiled.cycles > dense.cycles:
        return True
    return any(
        sum(compiled.alone[layers] for layers in ours) > sum(dense.alone[layers] for layers in theirs)
        for ours, theirs in _together(list(compiled.alone), list(dense.alone))
    )


def _together(
    ours: list[tuple[str, ...]], theirs: list[tuple[str, ...]]
) -> Iterator[tuple[list[tuple[str, ...]], list[tuple[str, ...]]]]:
    """The smallest sets of workloads of two programs of one network that have the same layers."""
    groups = connected((name for layers in ours for name in layers), [*ours, *theirs])
    for group in dict.fromkeys(groups.values()):
        yield [layers for layers in ours if layers[0] in group], [layers for layers in theirs if layers[0] in group]


def _programs(
    network: QuantizedNetwork, design: Design, lookups: Lookups, dense: QuantizedNetwork | None
) -> tuple[list[_Compiled], int]:
    """The plain program and that with folds and merges, where they fit, and how many foldings were compared."""
    folds, foldings = choose_folds(network, design)
    merges = merge_candidates(network, design, folds)
    reshaped = None
    # Where both together don't fit, folds alone may.
    for merged in (merges, {}):
        if reshaped is None and (folds or merged):
            with contextlib.suppress(MappingError):
                reshaped = _compile(network, design, lookups, folds, merged, dense)
    try:
        plain = _compile(network, design, lookups, {}, {}, dense)
    except MappingError:
        if reshaped is None:
            raise
        plain = None
    return [compiled for compiled in (plain, reshaped) if compiled is not None], foldings


def _compile(
    network: QuantizedNetwork,
    design: Design,
    lookups: Lookups,
    folds: dict[str, Fold],
    merges: dict[str, str],
    dense: QuantizedNetwork | None,
    like_dense: bool = False,
) -> _Compiled:
    """One program; ``dense`` is the network without zeros, None where ``network`` has none."""
    workloads = _workloads(network, folds, merges, alike=dense is None)
    full = {} if dense is None else _workloads(dense, folds, merges, alike=True)
    for workload in workloads.values():
        _, height, width = folded_shape(
            network.tensors[workload.layer.input].shape, folds.get(workload.layer.input, UNFOLDED)
        )
        check_geometry(workload, (height, width), design)
    if like_dense:
        layout = Layout(network, design, folds, list(full.values()))
    else:
        layout = Layout(network, design, folds, list(workloads.values()), list(full.values()) or None)
    layout.assign_host_tensor(network.input)
    mapped: list[MappedWorkload] = []
    products: list[tuple[int, HostProduct]] = []
    for layer in network.layers:
        if isinstance(layer, HostProduct):
            layout.assign_host_tensor(layer.output)
            products.append((len(mapped), layer))
        elif layer.name in workloads:
            mapped.append(
                map_workload(
                    workloads[layer.name], layout, design, lookups, full.get(layer.name), like_dense=like_dense
                )
            )
    pauses = {after for after, _ in products}
    placements, used = layout.placements()
    check_memories(mapped, design)
    mapped = _overlapped(mapped, network, design, pauses)
    complete = _completed(network, mapped)
    layers = tuple(
        link(
            workload,
            layout,
            lookups,
            placements,
            design,
            mapped[index - 1] if index else None,
            complete[index],
            last=index == len(mapped) - 1,
        )
        for index, workload in enumerate(mapped)
    )
    program = Program(
        network.name,
        design,
        layers,
        placements[network.input],
        tuple(placements[name] for name in network.outputs),
        used,
        lookups.tables,
        lookups.codebooks,
        tuple(
            HostStep(
                after,
                product,
                tuple(placements[name] for name in product.inputs),
                tuple(network.leaves(name) for name in product.inputs),
                placements[product.output],
            )
            for after, product in products
        ),
        Search(0, sum(workload.tried for workload in mapped), 1),
    )
    cycles = sum(layer.cycles for layer in network_cycles(program))
    alone = {layer.layers: workload.alone for layer, workload in zip(layers, mapped, strict=True) if layer.trained}
    return _Compiled(program, folds, merges, cycles, alone)


def _workloads(
    network: QuantizedNetwork, folds: dict[str, Fold], merges: dict[str, str], *, alike: bool = False
) -> dict[str, Workload]:
    """The workloads in execution order, by the name of the layer at whose place they run; ``alike`` where trained layers
    have no zeros."""
    result: dict[str, Workload] = {}
    for layer in network.array_layers:
        fold, target_fold = folds.get(layer.input, UNFOLDED), folds.get(layer.output, UNFOLDED)
        lowered = lower(network, layer, fold, target_fold, alike=alike and layer.trained)
        if layer.name in merges:
            result[merges[layer.name]] = merge(result[merges[layer.name]], lowered)
        else:
            result[layer.name] = lowered
    return result


def _overlapped(
    mapped: list[MappedWorkload], network: QuantizedNetwork, design: Design, pauses: set[int]
) -> list[MappedWorkload]:
    """The workloads, each with how far it may run ahead of the end of the one before."""
    result = []
    for index, workload in enumerate(mapped):
        run_ahead = NOTHING
        if index and index not in pauses:
            run_ahead = _overlap(mapped[index - 1], workload, network, design)
        schedule = replace(
            workload.schedule,
            unneeded_tiles=run_ahead.unneeded_tiles,
            free_tiles=run_ahead.free_tiles,
            pause=index + 1 in pauses and index + 1 < len(mapped),
        )
        result.append(replace(workload, schedule=schedule))
    return result


def _overlap(before: MappedWorkload, after: MappedWorkload, network: QuantizedNetwork, design: Design) -> Overlap:
    read = after.workload.layer.input
    leaves = set(network.leaves(read))
    written = [part.layer.output for part in before.workload.parts]
    if not leaves.intersection(written):
        return INDEPENDENT
    if before.workload.layer.lattice is not None or read not in written:
        return NOTHING
    geometry = after.workload.geometry
    footprint = Footprint(geometry.stride, geometry.low, geometry.high)
    return overlap(before.schedule, after.schedule, footprint, history(design) - 1)


def _completed(network: QuantizedNetwork, mapped: list[MappedWorkload]) -> list[tuple[str, ...]]:
    """For each workload, the tensors whose last pixels it writes."""
    last = {part.layer.output: index for index, workload in enumerate(mapped) for part in workload.workload.parts}
    return [
        tuple(part.layer.output for part in workload.workload.parts if last[part.layer.output] == index)
        for index, workload in enumerate(mapped)
    ]
