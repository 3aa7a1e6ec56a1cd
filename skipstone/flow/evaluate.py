"""Maps a prepared network onto a design and costs it: cycles by cause, energy by part, per layer and in total."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from skipstone.flow.prepare import (
    CompressionOptions,
    PreparedNetwork,
    Progress,
    measure_accuracy,
    prepare_network,
    sample_inputs,
    short_name,
)
from skipstone.hw.design import MAX_ACCUMULATOR_BITS, Design
from skipstone.mapper.counters import Actions
from skipstone.mapper.energy.actions import network_actions
from skipstone.mapper.energy.area import area_terms
from skipstone.mapper.energy.clock import clocked, timing
from skipstone.mapper.energy.energy import energy_by_part, energy_sources, layer_terms
from skipstone.mapper.energy.memory_map import memory_uses, row_entries, tensor_places
from skipstone.mapper.energy.offchip import loading
from skipstone.mapper.energy.operands import IMAGES, Operands
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import with_memories_for
from skipstone.mapper.program import LayerProgram, Program
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.results.network import STALLS, Accuracy, LayerResult, NetworkResult
from skipstone.mapper.technology.technology import Technology, load_technology
from skipstone.mapper.timing.causes import bound_of, cycles_by_cause
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.mapper.timing.skipped import dense_words
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import HostProduct


@dataclass(frozen=True, eq=False)
class CostedNetwork:
    """A program with its exact cycles. ``dense_cycles`` are those of the same layers without zeros; None where other layers run
    together there."""

    program: Program
    cycles: tuple[LayerCycles, ...]
    dense_cycles: tuple[int | None, ...]
    dense_total_cycles: int

    @property
    def total_cycles(self) -> int:
        return sum(layer.cycles for layer in self.cycles)


def cost_network(prepared: PreparedNetwork, design: Design) -> CostedNetwork:
    """Maps and costs the compressed network, and the dense one for comparison."""
    program = compile_network(prepared.compressed, design)
    cycles = network_cycles(program)
    dense_program, dense_cycles = program, cycles
    if prepared.dense is not prepared.compressed:
        # The dense program only serves as the yardstick, and cycles do not depend on these sizes: it may need more of them.
        roomy = design.replace(
            accumulator_bits=MAX_ACCUMULATOR_BITS,
            weight_entries=max(design.weight_entries, 1 << 28),
            load_entries=max(design.load_entries, 1 << 28),
        )
        dense_program = compile_network(prepared.dense, roomy)
        dense_cycles = network_cycles(dense_program)
    dense = {layer.layers: cost.cycles for layer, cost in zip(dense_program.layers, dense_cycles, strict=True)}
    return CostedNetwork(
        program, cycles, tuple(dense.get(layer.layers) for layer in program.layers), sum(dense.values())
    )


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A result and what it was made from: the network's forms, the design with its memories, and the program."""

    prepared: PreparedNetwork
    design: Design
    costed: CostedNetwork
    result: NetworkResult


def evaluate_network(
    network: str,
    design: Design,
    options: CompressionOptions | None = None,
    progress: Progress = lambda _: None,
    *,
    fit_memories: bool = False,
    technology: Technology | None = None,
) -> NetworkResult:
    """The main job without the RTL: everything about ``network`` on ``design`` that needs no simulation. With ``fit_memories``
    the memories that the network overflows are enlarged, and the result's design says so. ``technology``: of the energies, area
    and clock (the carried one of 45 nm); TechnologyError where the design does not reach a clock that was asked for."""
    return evaluate(network, design, options, progress, fit_memories=fit_memories, technology=technology).result


def evaluate(
    network: str,
    design: Design,
    options: CompressionOptions | None = None,
    progress: Progress = lambda _: None,
    *,
    fit_memories: bool = False,
    technology: Technology | None = None,
) -> Evaluated:
    """:func:`evaluate_network` with what its result was made from."""
    prepared = prepare_network(network, options or CompressionOptions(), progress)
    progress("mapping")
    if fit_memories:
        design = with_memories_for(prepared.compressed, design)
    technology = clocked(design, technology or load_technology())
    costed = cost_network(prepared, design)
    result = assemble_result(network, prepared, design, costed, measure_accuracy(prepared, progress), technology)
    return Evaluated(prepared, design, costed, result)


def assemble_result(
    network: str,
    prepared: PreparedNetwork,
    design: Design,
    costed: CostedNetwork,
    accuracy: Accuracy,
    technology: Technology | None = None,
) -> NetworkResult:
    """Puts costs together into the result that tables, JSON and reports show."""
    technology = clocked(design, technology or load_technology())
    sources = {layer.name: layer for layer in prepared.compressed.array_layers}
    layers = [
        layer_result(
            layer, cycles, actions, dense, dense_words(sources[layer.layers[0]], layer, design), design, technology
        )
        for layer, cycles, actions, dense in zip(
            costed.program.layers,
            costed.cycles,
            network_actions(costed.program, costed.cycles, operands_of(prepared)),
            costed.dense_cycles,
            strict=True,
        )
    ]
    on_host = [layer for layer in prepared.compressed.layers if isinstance(layer, HostProduct)]
    work = sum(layer.macs for layer in layers) + sum(layer.elements for layer in on_host)
    layers += [host_result(layer.name, "Mul", layer.elements, work) for layer in on_host]
    layers += [
        host_result(layer.name, layer.operator, layer.elements, work) for layer in prepared.compressed.host_layers
    ]
    energy_pj = sum(layer.energy_pj or 0.0 for layer in layers)
    latency_us = costed.total_cycles / technology.frequency_mhz
    areas = area_terms(design, technology)
    return NetworkResult(
        network=short_name(network),
        design=design.name,
        parameters=design.to_dict(),
        pruning=prepared.pruning,
        weight_bits=prepared.options.scheme.weight_bits,
        activation_bits=prepared.options.scheme.activation_bits,
        density=prepared.density,
        calibration=prepared.compressed.calibration,
        technology=technology.name,
        sources=tuple(energy_sources(technology)),
        layers=tuple(layers),
        total_cycles=costed.total_cycles,
        rtl_total_cycles=None,
        dense_total_cycles=costed.dense_total_cycles,
        total_energy_pj=energy_pj,
        area_um2=sum(term.area_um2 for term in areas),
        accuracy=accuracy,
        images_verified=0,
        search=dataclasses.asdict(costed.program.search),
        weight_code=prepared.options.scheme.weight_code,
        node_nm=technology.node_nm,
        area_terms=areas,
        frequency_mhz=technology.frequency_mhz,
        fmax_mhz=timing(design, technology).fmax_mhz,
        latency_us=latency_us,
        # pJ / us is uW.
        power_mw=energy_pj / latency_us * 1e-3,
        loading_energy_pj=loading(costed.program, design, technology).energy_pj,
        memories=memory_uses(costed.program),
        tensors=tensor_places(costed.program),
    )


def operands_of(prepared: PreparedNetwork) -> Operands:
    """What the compressed network's multipliers see of its images, or of random input where it has none."""
    return Operands(prepared.compressed, reference.quantize_input(prepared.compressed, sample_inputs(prepared, IMAGES)))


def layer_result(
    layer: LayerProgram,
    cycles: LayerCycles,
    actions: Actions,
    dense_cycles: int | None,
    words_if_dense: int,
    design: Design,
    technology: Technology,
) -> LayerResult:
    causes = cycles_by_cause(layer, cycles, design)
    terms = layer_terms(actions, design, technology)
    energy = energy_by_part(terms)
    loaded_bytes = actions.load_list_reads * design.activation_word_bits / 8
    return LayerResult(
        name=layer.name,
        kind=layer.kind,
        on_host=False,
        macs=layer.macs,
        nnz=layer.nnz,
        weights=layer.stored_weights,
        model_cycles=cycles.cycles,
        rtl_cycles=None,
        outputs_equal=None,
        dense_cycles=dense_cycles,
        bound=bound_of(causes),
        utilization=actions.useful_macs / (design.pes * cycles.cycles),
        cycles_by_cause=causes,
        energy_pj=sum(energy.values()),
        energy_by_part=energy,
        energy_terms=terms,
        actions=dataclasses.asdict(actions),
        skipped_macs=layer.macs - actions.useful_macs,
        loaded_words=actions.load_list_reads,
        skipped_words=words_if_dense - actions.load_list_reads,
        stall_cycles=sum(causes[cause] for cause in STALLS),
        tile=layer.schedule.tile,
        passes=layer.schedule.passes,
        windows=sum(len(words) for words in layer.schedule.words),
        operations_per_byte=actions.useful_macs / loaded_bytes,
        layers=layer.layers,
        folds=(layer.input.fold, layer.outputs[0].fold),
        encoded_bits=layer.encoded_bits,
        row_entries=row_entries(layer.schedule.counts),
    )


def host_result(name: str, operator: str, elements: int, work: int) -> LayerResult:
    """A layer that the host computes; ``work``: the network's dense multiply-accumulates and products, for its share."""
    return LayerResult(
        name=name,
        kind=operator,
        on_host=True,
        macs=elements if operator == "Mul" else 0,
        nnz=0,
        weights=0,
        model_cycles=None,
        rtl_cycles=None,
        outputs_equal=None,
        dense_cycles=None,
        bound="host",
        utilization=None,
        cycles_by_cause={},
        energy_pj=None,
        energy_by_part={},
        actions={},
        skipped_macs=None,
        loaded_words=None,
        skipped_words=None,
        stall_cycles=None,
        tile=None,
        passes=None,
        windows=None,
        operations_per_byte=None,
        note=(
            f"{operator} of {elements} values ({100 * elements / work:.2g}% of the network's operations) runs on the host, "
            "not on the array; its time and energy are not counted"
        ),
    )
