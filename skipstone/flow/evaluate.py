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
from skipstone.mapper.timing.savings import bound_of, network_savings
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
    result = assemble_result(network, prepared, compressed, measure_accuracy(prepared, progress))
    return Evaluated(prepared, compressed, result)


def assemble_result(
    network: str, prepared: PreparedNetwork, compressed: NetworkCost, accuracy: Accuracy
) -> NetworkResult:
    """The result that tables, JSON and reports show.

    Args:
        network: The network's name or path.
        prepared: Its forms.
        compressed: The cost of the network that runs.
        accuracy: Of the float network and of both.
    """
    program, design, technology, price = compressed.program, compressed.design, compressed.technology, compressed.price
    sources = {layer.name: layer for layer in prepared.compressed.array_layers}
    trained = [layer for layer in sources.values() if layer.trained]
    layers = [
        layer_result(
            layer,
            cycles,
            causes,
            actions,
            compressed.alone[index],
            _dense_cycles(layer, compressed.dense),
            compressed.savings[index],
            dense_words(sources[layer.layers[0]], layer, design),
            design,
            technology,
        )
        for index, (layer, cycles, causes, actions) in enumerate(
            zip(program.layers, compressed.layers, compressed.causes, compressed.actions, strict=True)
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
        density=sum(layer.nnz for layer in trained) / max(1, sum(layer.weights.size for layer in trained)),
        calibration=prepared.compressed.calibration,
        technology=technology.name,
        sources=tuple(energy_sources(technology)),
        layers=tuple(layers),
        total_cycles=compressed.cycles,
        rtl_total_cycles=None,
        dense_total_cycles=compressed.dense.cycles,
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
        dense_total_energy_pj=compressed.dense.price.energy_pj,
        savings=network_savings(program, compressed.cycles),
        entry_bits=design.weight_entry.width,
        value_bits=design.products.code_bits,
    )


def _dense_cycles(layer: LayerProgram, dense: NetworkCost) -> int | None:
    """Cycles of a workload's layers alone without zeros; None where other layers run together with them there."""
    alone = {
        each.layers: cycles
        for each, cycles in zip(dense.program.layers, dense.alone, strict=True)
        if set(each.layers) & set(layer.layers)
    }
    return sum(alone.values()) if {name for layers in alone for name in layers} == set(layer.layers) else None


def layer_result(
    layer: LayerProgram,
    cycles: LayerCycles,
    causes: dict[str, float],
    actions: Actions,
    alone_cycles: int,
    dense_cycles: int | None,
    savings: dict[str, int],
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
        alone_cycles: Its cycles if it ran alone.
        dense_cycles: Cycles of the same layers alone with every weight nonzero; None where others run together there.
        savings: Cycles that each change would save it (``CHANGES``).
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
        bound=bound_of(savings, alone_cycles, layer.trained),
        utilization=actions.useful_macs / (design.pes * alone_cycles),
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
        alone_cycles=alone_cycles,
        savings=savings,
        trained=layer.trained,
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
