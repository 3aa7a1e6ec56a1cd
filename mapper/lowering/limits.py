"""What a design cannot hold or compute, refused with the parameter to change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skipstone.errors import MappingError
from skipstone.hw.design import LIMITS, Design
from skipstone.hw.numbers import MAX_SHIFT, MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS
from skipstone.mapper.lowering.lookups import signed_bits
from skipstone.mapper.lowering.tiling import MappedWorkload
from skipstone.mapper.lowering.workload import Workload
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork


def too_small(layer: str, what: str, need: int, parameter: str, have: int) -> MappingError:
    """The error of a layer that needs more of a parameter than the design has.

    Args:
        layer: The layer's name.
        what: What of the layer needs it, in words.
        need: The smallest value that would do.
        parameter: The design's parameter.
        have: The design's value.
    """
    remedy = f", the design has {have}; raise {parameter} to {need}"
    if need > LIMITS.get(parameter, need):
        remedy = f"; no design can have more than {LIMITS[parameter]}"
    text = f"layer '{layer}': {what} needs {parameter} {need}{remedy}"
    return MappingError(text, layer=layer, parameter=parameter, need=need, have=have)


def check_widths(network: QuantizedNetwork, design: Design) -> None:
    """Refuses a network whose activations have other bits than the design's."""
    if network.activation_bits != design.activation_bits:
        raise MappingError(
            f"the network has {network.activation_bits}-bit activations, design '{design.name}' {design.activation_bits}-bit "
            f"ones; quantize to activation_bits {design.activation_bits} or set the design's to {network.activation_bits}",
            parameter="activation_bits",
            need=network.activation_bits,
            have=design.activation_bits,
        )


def check_geometry(workload: Workload, source: tuple[int, int], design: Design) -> None:
    """Refuses sizes and strides that the design cannot count. ``source`` is the (folded) input's height and width."""
    layer, geometry = workload.layer, workload.geometry
    if max(geometry.stride) > design.max_stride:
        raise too_small(
            layer.name, f"stride {max(geometry.stride)}", max(geometry.stride), "max_stride", design.max_stride
        )
    largest = max(*source, *workload.size)
    if largest > design.max_dimension:
        raise too_small(layer.name, f"size {largest}", largest, "max_dimension", design.max_dimension)
    spans = [
        max(geometry.padding[axis], 0)
        + max(source[axis], (workload.size[axis] - 1) * geometry.stride[axis] + geometry.high[axis] + 1)
        for axis in (0, 1)
    ]
    reached = max(spans) + design.region_extent
    if reached.bit_length() > design.dimension_bits or max(map(abs, geometry.padding)) >= 1 << (
        design.dimension_bits - 1
    ):
        raise too_small(layer.name, f"padded size {max(spans)}", max(spans), "max_dimension", design.max_dimension)


def check_numbers(layer: QuantizedLayer, network: QuantizedNetwork, design: Design) -> None:
    """Refuses requantization constants and ranges of accumulators that the design cannot hold."""
    if int(layer.shift.min()) < 1 or int(layer.shift.max()) > MAX_SHIFT:
        raise MappingError(f"layer '{layer.name}': requantization shifts must be 1 to {MAX_SHIFT}", layer=layer.name)
    if not 0 <= int(layer.multiplier.min()) <= int(layer.multiplier.max()) < 1 << MULTIPLIER_BITS:
        raise MappingError(
            f"layer '{layer.name}': requantization multipliers must fit {MULTIPLIER_BITS} bits", layer=layer.name
        )
    if not 0 <= int(layer.other_multiplier.min()) <= int(layer.other_multiplier.max()) < 1 << OTHER_MULTIPLIER_BITS:
        raise MappingError(
            f"layer '{layer.name}': multipliers of the added tensor must fit {OTHER_MULTIPLIER_BITS} bits",
            layer=layer.name,
        )
    bits = accumulator_bits(layer, network)
    if bits > design.accumulator_bits:
        low, high = accumulator_range(layer, network)
        raise too_small(
            layer.name,
            f"an accumulator range of {low} to {high} with biases of {int(layer.bias.min())} to {int(layer.bias.max())} "
            f"(activation ranges: {network.calibration})",
            bits,
            "accumulator_bits",
            design.accumulator_bits,
        )


def accumulator_bits(layer: QuantizedLayer, network: QuantizedNetwork) -> int:
    """The least bits of accumulators that hold the layer's sums and biases."""
    low, high = accumulator_range(layer, network)
    biases = (signed_bits(int(bias)) for bias in (layer.bias.min(), layer.bias.max()))
    return max(max(-low - 1, high, 0).bit_length() + 1, *biases)


def accumulator_range(layer: QuantizedLayer, network: QuantizedNetwork) -> tuple[int, int]:
    """The least and the greatest value of any accumulator at any time, from the actual weights and the input's bits."""
    bits = network.tensors[layer.input].bits
    lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    flat = layer.weights.reshape(layer.weights.shape[0], -1).astype(np.int64)
    if layer.operation == "max":
        return lowest, highest
    positive = np.where(flat > 0, flat, 0).sum(axis=1)
    negative = np.where(flat < 0, flat, 0).sum(axis=1)
    return int((positive * lowest + negative * highest).min()), int((positive * highest + negative * lowest).max())


def check_memories(mapped: list[MappedWorkload], design: Design) -> None:
    """Refuses workloads that are too many, or whose lists and tables together do not fit the design's memories."""
    if len(mapped) > design.layers:
        raise MappingError(
            f"the network has {len(mapped)} layers for the array, the design {design.layers}; raise layers to {len(mapped)}",
            parameter="layers",
            need=len(mapped),
            have=design.layers,
        )

    def fullest_row(workloads: list[MappedWorkload]) -> int:
        return int(np.sum([workload.schedule.row_entries for workload in workloads], axis=0).max())

    def load_words(workloads: list[MappedWorkload]) -> int:
        return sum(workload.schedule.load_words for workload in workloads)

    def parameter_words(workloads: list[MappedWorkload]) -> int:
        return sum(workload.schedule.passes * workload.schedule.steps for workload in workloads)

    memories: tuple[tuple[str, Callable[[list[MappedWorkload]], int], str, int], ...] = (
        (
            "nonzero weights (with fillers) of the fullest row",
            fullest_row,
            "weight_entries",
            design.weight_entries,
        ),
        ("load list", load_words, "load_entries", design.load_entries),
        ("requantization table", parameter_words, "parameter_words", design.parameter_words),
    )
    for contents, size, parameter, have in memories:
        need = size(mapped)
        if need > have:
            share = [size([workload]) for workload in mapped]
            largest = int(np.argmax(share))
            layer = mapped[largest].workload.name
            raise MappingError(
                f"the network's {contents} needs {parameter} {need}, design '{design.name}' has {have}; raise {parameter} to "
                f"{need} (layer '{layer}' takes the most, {share[largest]})",
                layer=layer,
                parameter=parameter,
                need=need,
                have=have,
            )
