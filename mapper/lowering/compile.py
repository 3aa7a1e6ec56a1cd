"""Compiles a quantized network to a program for one design.

Layers are folded and merged into workloads and mapped in execution order, because a layer's windows follow from the
order of its input's channels. Then each may run ahead as far as its data allow, and all are linked. What does not fit
the design is refused with the parameter to raise.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.folding import choose_folds, merge_candidates
from skipstone.mapper.lowering.layout import Layout
from skipstone.mapper.lowering.limits import check_geometry, check_memories, check_numbers, check_widths
from skipstone.mapper.lowering.link import link
from skipstone.mapper.lowering.lookups import Lookups, collect_lookups
from skipstone.mapper.lowering.overlap import INDEPENDENT, NOTHING, Footprint, Overlap, overlap
from skipstone.mapper.lowering.tiling import MappedWorkload, map_workload
from skipstone.mapper.lowering.workload import UNFOLDED, Fold, Workload, folded_shape, lower, merge
from skipstone.mapper.program import HostStep, Program, Search
from skipstone.mapper.timing.cycles import history, network_cycles
from skipstone.models.quantization.network import HostProduct, QuantizedNetwork


def compile_network(network: QuantizedNetwork, design: Design) -> Program:
    """Compiles a network for a design. The result is deterministic.

    Two programs are compared by their exact cycles: that of the plain network, and that with folded tensors and merged
    layers. The one with fewer cycles is taken, or the only one that fits the memories.

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
    folds, foldings = choose_folds(network, design)
    merges = merge_candidates(network, design, folds)
    reshaped = None
    # Where both together don't fit, folds alone may.
    for merged in (merges, {}):
        if reshaped is None and (folds or merged):
            with contextlib.suppress(MappingError):
                reshaped = _compile(network, design, lookups, folds, merged)
    try:
        plain = _compile(network, design, lookups, {}, {})
    except MappingError:
        if reshaped is None:
            raise
        plain = None
    programs = [program for program in (plain, reshaped) if program is not None]
    search = Search(foldings, sum(program.search.schedules for program in programs), len(programs))
    return replace(min(programs, key=_total), search=search)


def _total(program: Program) -> int:
    return sum(layer.cycles for layer in network_cycles(program))


def _compile(
    network: QuantizedNetwork, design: Design, lookups: Lookups, folds: dict[str, Fold], merges: dict[str, str]
) -> Program:
    workloads = _workloads(network, folds, merges)
    for workload in workloads.values():
        _, height, width = folded_shape(
            network.tensors[workload.layer.input].shape, folds.get(workload.layer.input, UNFOLDED)
        )
        check_geometry(workload, (height, width), design)
    layout = Layout(network, design, folds, list(workloads.values()))
    layout.assign_host_tensor(network.input)
    mapped: list[MappedWorkload] = []
    products: list[tuple[int, HostProduct]] = []
    for layer in network.layers:
        if isinstance(layer, HostProduct):
            layout.assign_host_tensor(layer.output)
            products.append((len(mapped), layer))
        elif layer.name in workloads:
            mapped.append(map_workload(workloads[layer.name], layout, design, lookups))
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
    return Program(
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


def _workloads(network: QuantizedNetwork, folds: dict[str, Fold], merges: dict[str, str]) -> dict[str, Workload]:
    """The workloads in execution order, by the name of the layer at whose place they run."""
    result: dict[str, Workload] = {}
    for layer in network.array_layers:
        lowered = lower(network, layer, folds.get(layer.input, UNFOLDED), folds.get(layer.output, UNFOLDED))
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
