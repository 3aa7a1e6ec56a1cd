"""Prepares a network, costs it on a design, and fills in the result: cycles by cause, energy by part, per layer and in total."""

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
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.mapper.counters import Actions
from skipstone.mapper.energy.area import area_terms
from skipstone.mapper.energy.clock import timing
from skipstone.mapper.energy.energy import energy_by_part, energy_sources, layer_terms
from skipstone.mapper.energy.memory_map import memory_uses, row_entries, tensor_places
from skipstone.mapper.energy.offchip import loading
from skipstone.mapper.energy.operands import IMAGES, operands_of
from skipstone.mapper.program import LayerProgram
from skipstone.mapper.results.layer_cycles import LayerCycles
from skipstone.mapper.results.network import STALLS, Accuracy, LayerResult, NetworkResult
from skipstone.mapper.technology.technology import Technology, load_technology
from skipstone.mapper.timing.causes import bound_of
from skipstone.mapper.timing.skipped import dense_words
from skipstone.models.quantization.network import HostProduct


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A result and what it was made from: the network's forms, and its cost on the design."""

    prepared: PreparedNetwork
    cost: NetworkCost
    result: NetworkResult

    @property
    def design(self) -> Design:
        """The design, with its memories."""
        return self.cost.design


def evaluate_network(
    network: str,
    design: Design,
    options: CompressionOptions | None = None,
    progress: Progress = lambda _: None,
    *,
    fit_memories: bool = False,
    technology: Technology | None = None,
) -> NetworkResult:
    """Compresses a network, maps it onto a design and costs it exactly. No simulation runs.

    Args:
        network: An ONNX file, or the name of a carried network.
        design: The array.
        options: Pruning, quantization and data. None: 8 bits, no pruning.
        progress: Called with a few words before each stage.
        fit_memories: Enlarge the design's memories to what the network needs; the result's design says so.
        technology: Of the energies, the area and the clock. None: the carried one of 45 nm.

    Returns:
        Cycles, energy and area of the network and of each layer, and accuracy where there are labelled images.

    Raises:
        SkipstoneError: The network, the data or the options are wrong.
        MappingError: The network does not fit the design.
        TechnologyError: The design does not reach the clock that was asked for.

    Example:
        >>> options = CompressionOptions(prune="unstructured:0.8")
        >>> evaluate_network("resnet8_fashion", load_design("wide"), options).total_cycles
        9742
    """
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
    """:func:`evaluate_network`, with what its result was made from.

    Args:
        network: An ONNX file, or the name of a carried network.
        design: The array.
        options: Pruning, quantization and data. None: 8 bits, no pruning.
        progress: Called with a few words before each stage.
        fit_memories: Enlarge the design's memories to what the network needs.
        technology: Of the energies, the area and the clock. None: the carried one of 45 nm.

    Raises:
        SkipstoneError: The network, the data or the options are wrong.
        MappingError: The network does not fit the design.
        TechnologyError: The design does not reach the clock that was asked for.
    """
    prepared = prepare_network(network, options or CompressionOptions(), progress)
    progress("mapping")
    compressed = cost(
        prepared.compressed,
        design,
        technology or load_technology(),
        memories="enlarged" if fit_memories else "of_design",
        operands=operands_of(prepared.compressed, sample_inputs(prepared, IMAGES)),
    )
    dense = compressed
    if prepared.dense is not prepared.compressed:
        # Only the yardstick: it need not fit the design.
        dense = cost(prepared.dense, compressed.design, memories="unbounded")
    result = assemble_result(network, prepared, compressed, dense, measure_accuracy(prepared, progress))
    return Evaluated(prepared, compressed, result)


def assemble_result(
    network: str, prepared: PreparedNetwork, compressed: NetworkCost, dense: NetworkCost, accuracy: Accuracy
) -> NetworkResult:
    """The result that tables, JSON and reports show.

    Args:
        network: The network's name or path.
        prepared: Its forms.
        compressed: The cost of the network that runs.
        dense: The cost of the network without pruning.
        accuracy: Of the float network and of both.
    """
    program, design, technology, price = compressed.program, compressed.design, compressed.technology, compressed.price
    sources = {layer.name: layer for layer in prepared.compressed.array_layers}
    dense_cycles = {
        layer.layers: cycles.cycles for layer, cycles in zip(dense.program.layers, dense.layers, strict=True)
    }
    layers = [
        layer_result(
            layer,
            cycles,
            causes,
            actions,
            # Nothing to compare with where other layers run together in the dense program.
            dense_cycles.get(layer.layers),
            dense_words(sources[layer.layers[0]], layer, design),
            design,
            technology,
        )
        for layer, cycles, causes, actions in zip(
            program.layers, compressed.layers, compressed.causes, compressed.actions, strict=True
        )
    ]
    on_host = [layer for layer in prepared.compressed.layers if isinstance(layer, HostProduct)]
    work = sum(layer.macs for layer in layers) + sum(layer.elements for layer in on_host)
    layers += [host_result(layer.name, "Mul", layer.elements, work) for layer in on_host]
    layers += [
        host_result(layer.name, layer.operator, layer.elements, work) for layer in prepared.compressed.host_layers
    ]
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
        total_cycles=compressed.cycles,
        rtl_total_cycles=None,
        dense_total_cycles=dense.cycles,
        total_energy_pj=price.energy_pj,
        area_um2=price.area_um2,
        accuracy=accuracy,
        images_verified=0,
        search=dataclasses.asdict(program.search),
        weight_code=prepared.options.scheme.weight_code,
        node_nm=technology.node_nm,
        area_terms=area_terms(design, technology),
        frequency_mhz=price.frequency_mhz,
        fmax_mhz=timing(design, technology).fmax_mhz,
        latency_us=price.latency_us,
        power_mw=price.power_mw,
        loading_energy_pj=loading(program, design, technology).energy_pj,
        memories=memory_uses(program),
        tensors=tensor_places(program),
    )


def layer_result(
    layer: LayerProgram,
    cycles: LayerCycles,
    causes: dict[str, float],
    actions: Actions,
    dense_cycles: int | None,
    words_if_dense: int,
    design: Design,
    technology: Technology,
) -> LayerResult:
    """The result of a workload on the array.

    Args:
        layer: Its program.
        cycles: Its exact cycles.
        causes: Where they go, in cycles.
        actions: What the hardware does.
        dense_cycles: Cycles of the same layers without pruning; None where others run together there.
        words_if_dense: Words that would be loaded without zeros among the weights.
        design: The array.
        technology: Of the energies, at its clock.
    """
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
    """The result of a layer that the host computes.

    Args:
        name: The layer's name.
        operator: ONNX's operator.
        elements: Elements of its output.
        work: The network's dense multiply-accumulates and products, of which the layer has a share.
    """
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
