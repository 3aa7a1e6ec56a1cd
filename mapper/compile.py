"""Compiles a quantized network to a program for one design: tile shapes, windows, channel order, lists and descriptors.

Layers are mapped in execution order, since a layer's windows follow from the order of its input's channels. What does not
fit the design is refused with the parameter to raise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hw.design import MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS, Design
from mapper.actions import count_captures
from mapper.balance import Assignment, Ints, assign_channels
from mapper.encode import EncodedPass, encode_loads, encode_pass
from mapper.errors import MappingError
from mapper.lookups import Lookups, collect_lookups
from mapper.placement import place
from mapper.program import LayerProgram, LayerSchedule, Placement, Program
from mapper.windows import KernelSplit, Nonzeros, WindowPlan, Words, count_words, list_words, plan_windows, split_kernel
from models.quantized import MAX_SHIFT, QuantizedLayer, QuantizedNetwork


@dataclass(frozen=True, eq=False)
class _MappedLayer:
    """A layer before its tensors have addresses."""

    layer: QuantizedLayer
    assignment: Assignment
    split: KernelSplit
    schedule: LayerSchedule
    passes: tuple[EncodedPass, ...]
    words: tuple[Words, ...]


def compile_network(network: QuantizedNetwork, design: Design) -> Program:
    """Maps every layer of ``network``; deterministic. Raises MappingError with what to change where something does not fit."""
    if network.activation_bits != design.activation_bits:
        raise MappingError(
            f"the network has {network.activation_bits}-bit activations, design '{design.name}' {design.activation_bits}-bit "
            f"ones; quantize with --activation-bits {design.activation_bits} or set activation_bits = {network.activation_bits}"
        )
    if len(network.layers) > design.layers:
        raise MappingError(
            f"the network has {len(network.layers)} layers, the design {design.layers}; raise layers to {len(network.layers)}"
        )
    network = replace(network, layers=tuple(_with_needed_stride(layer, network) for layer in network.array_layers))
    for layer in network.array_layers:
        _check_shapes(layer, network, design)
    lookups = collect_lookups(network, design)

    partners = _tied_tensors(network)
    assignments: dict[str, Assignment] = {}
    mapped: list[_MappedLayer] = []
    if len(partners[network.input]) == 1:
        assignments[network.input] = _identity(design, network.tensors[network.input].shape[0])
    else:
        # An Add takes the network's input itself: the host writes it in the order of what it is added to.
        _assign(network.input, None, network, design, assignments, partners)
    for layer in network.array_layers:
        one = _map_layer(layer, network, design, assignments, partners, lookups)
        mapped.append(one)

    placements, used = _place_tensors(network, design, assignments)
    _check_memories(mapped, design)
    layers = tuple(
        _link(one, placements, design, lookups, last=index == len(mapped) - 1) for index, one in enumerate(mapped)
    )
    return Program(
        network.name,
        design,
        layers,
        placements[network.input],
        tuple(placements[n] for n in network.outputs),
        used,
        lookups.tables,
        lookups.codebooks,
    )


def nonzeros_of(layer: QuantizedLayer, input_position: Ints) -> Nonzeros:
    """The layer's nonzero weights; grouped convolutions become their block-diagonal matrix."""
    channel, inner, ky, kx = np.nonzero(layer.weights)
    channels, per_group = layer.weights.shape[:2]
    group = channel // (channels // layer.groups)
    return Nonzeros(channel, input_position[group * per_group + inner], ky, kx, layer.weights[channel, inner, ky, kx])


# Steps ----------------------------------------------------------------------------------------------------------------


def _with_needed_stride(layer: QuantizedLayer, network: QuantizedNetwork) -> QuantizedLayer:
    """Along an axis with one output pixel the stride means nothing; a global pool's would only be too large."""
    _, height, width = network.tensors[layer.output].shape
    return replace(layer, stride=(layer.stride[0] if height > 1 else 1, layer.stride[1] if width > 1 else 1))


def _identity(design: Design, channels: int) -> Assignment:
    """The host writes the network's input in its own channel order."""
    index = np.arange(channels, dtype=np.int64)
    return Assignment(index * 0, index, index * 0, index, 1, 1, -(-channels // design.load_width))


def _tied_tensors(network: QuantizedNetwork) -> dict[str, frozenset[str]]:
    """Tensors that meet in an Add share one channel order: for each tensor, all those tied to it."""
    groups: dict[str, set[str]] = {name: {name} for name in network.tensors}
    for layer in network.array_layers:
        if layer.other is not None:
            merged = groups[layer.output] | groups[layer.other]
            for name in merged:
                groups[name] = merged
    return {name: frozenset(group) for name, group in groups.items()}


def _work(layer: QuantizedLayer, design: Design, assignments: dict[str, Assignment], pixels: int) -> np.ndarray:
    """Work of each output channel, window by window where the input's channel order is known, else in total."""
    channels = layer.weights.shape[0]
    if layer.input not in assignments:
        total = np.count_nonzero(layer.weights.reshape(channels, -1), axis=1)
        return np.asarray(total[:, None] * float(pixels))
    nonzeros = nonzeros_of(layer, assignments[layer.input].position)
    kernel = (layer.weights.shape[2], layer.weights.shape[3])
    plan = plan_windows(design, nonzeros, split_kernel(design, kernel, layer.dilation), kernel)
    load = np.bincount(nonzeros.channel * plan.windows + plan.window, minlength=channels * plan.windows)
    return np.asarray(load.reshape(channels, plan.windows) * float(pixels))


def _assign(
    tensor: str,
    layer: QuantizedLayer | None,
    network: QuantizedNetwork,
    design: Design,
    assignments: dict[str, Assignment],
    partners: dict[str, frozenset[str]],
) -> Assignment:
    """The channel order of ``tensor``, which ``layer`` writes (None: the host): one for all tensors that are tied to it."""
    if tensor in assignments:
        return assignments[tensor]
    works = []
    for writer in network.array_layers:
        if writer.output in partners[tensor]:
            _, height, width = network.tensors[writer.output].shape
            works.append(_work(writer, design, assignments, height * width))
    order_key = None
    if layer is not None and layer.groups > 1:
        per_group = layer.weights.shape[1]
        per_output = layer.weights.shape[0] // layer.groups
        first_input = np.arange(layer.weights.shape[0]) // per_output * per_group
        order_key = assignments[layer.input].position[first_input]
    assignment = assign_channels(design, np.concatenate(works, axis=1), order_key)
    for name in partners[tensor]:
        assignments[name] = assignment
    return assignment


def _map_layer(
    layer: QuantizedLayer,
    network: QuantizedNetwork,
    design: Design,
    assignments: dict[str, Assignment],
    partners: dict[str, frozenset[str]],
    lookups: Lookups,
) -> _MappedLayer:
    kernel = (layer.weights.shape[2], layer.weights.shape[3])
    assignment = _assign(layer.output, layer, network, design, assignments, partners)
    nonzeros = nonzeros_of(layer, assignments[layer.input].position)
    split = split_kernel(design, kernel, layer.dilation)
    _, out_height, out_width = network.tensors[layer.output].shape

    passes: list[EncodedPass] = []
    plans: list[WindowPlan] = []
    nonzero_pass = assignment.channel_pass[nonzeros.channel]
    for index in range(assignment.passes):
        part = nonzeros.select(nonzero_pass == index) if assignment.passes > 1 else nonzeros
        plan = plan_windows(design, part, split, kernel)
        plans.append(plan)
        passes.append(
            encode_pass(
                design,
                plan.windows,
                assignment.row[part.channel],
                plan.window,
                plan.slot,
                part.position % design.load_width,
                assignment.accumulator[part.channel],
                lookups.codes(layer, part.value),
            )
        )
    tile = _choose_tile(layer, design, passes, plans, assignment.steps, out_height, out_width)
    needed = (min(tile[0], out_height), min(tile[1], out_width))
    words = tuple(list_words(plan, needed, layer.stride, layer.dilation) for plan in plans)
    schedule = LayerSchedule(
        counts=tuple(one.counts for one in passes),
        words=tuple(
            np.bincount(listed.window, minlength=plan.windows).astype(np.int64)
            for listed, plan in zip(words, plans, strict=True)
        ),
        tile=tile,
        tiles_y=-(-out_height // tile[0]),
        tiles_x=-(-out_width // tile[1]),
        out_height=out_height,
        out_width=out_width,
        steps=assignment.steps,
    )
    return _MappedLayer(layer, assignment, split, schedule, tuple(passes), words)


def _choose_tile(
    layer: QuantizedLayer,
    design: Design,
    passes: list[EncodedPass],
    plans: list[WindowPlan],
    steps: int,
    out_height: int,
    out_width: int,
) -> tuple[int, int]:
    """The tile shape with the least of the larger of compute and load time; on a tie, the least load."""
    compute = [int(one.counts.sum(axis=0).max()) for one in passes]
    best: tuple[tuple[int, int], tuple[int, int]] | None = None
    for tile in design.tile_shapes:
        tiles = -(-out_height // tile[0]) * -(-out_width // tile[1])
        needed = (min(tile[0], out_height), min(tile[1], out_width))
        load = [count_words(plan, needed, layer.stride, layer.dilation) for plan in plans]
        drain = -(-out_height * out_width * steps // tiles)
        cost = tiles * sum(max(c, w, drain) for c, w in zip(compute, load, strict=True))
        key = (cost, tiles * sum(load))
        if best is None or key < best[0]:
            best = key, tile
    assert best is not None
    return best[1]


def _place_tensors(
    network: QuantizedNetwork, design: Design, assignments: dict[str, Assignment]
) -> tuple[dict[str, Placement], int]:
    spans: dict[str, tuple[int, int]] = {network.input: (0, 0)}
    for index, layer in enumerate(network.array_layers):
        spans[layer.output] = (index, index)
        for name in (layer.input, layer.other):
            if name is not None:
                spans[name] = (spans[name][0], index)
    for name in network.outputs:
        spans[name] = (spans[name][0], len(network.layers))
    sizes = {}
    for name in spans:
        _, height, width = network.tensors[name].shape
        sizes[name] = height * width * assignments[name].groups
    bases, used = place(sizes, spans, design.activation_words, design.name)
    placements = {}
    for name in spans:
        channels, height, width = network.tensors[name].shape
        assigned = assignments[name]
        placements[name] = Placement(name, channels, height, width, bases[name], assigned.groups, assigned.position)
    return placements, used


def _link(
    one: _MappedLayer, placements: dict[str, Placement], design: Design, lookups: Lookups, last: bool
) -> LayerProgram:
    """Addresses, requantization words and the descriptor."""
    layer, schedule, assignment = one.layer, one.schedule, one.assignment
    source, target = placements[layer.input], placements[layer.output]
    other = placements[layer.other] if layer.other is not None else None
    tile_h, tile_w = schedule.tile
    row_words = source.width * source.groups
    out_row = target.width * target.groups
    space = 1 << design.address_bits
    taps: dict[str, int] = {}
    for axis, dilation, extent, weight in (
        ("y", layer.dilation[0], one.split.height, one.split.width),
        ("x", layer.dilation[1], one.split.width, 1),
    ):
        for index in range(design.reach):
            tap, rest = divmod(index, dilation)
            valid = rest == 0 and tap < extent
            taps[f"tap_{axis}{index}"] = tap * weight if valid else 0
            taps[f"tap_{axis}{index}_valid"] = int(valid)
    descriptor = {
        "last_layer": int(last),
        "maximum": int(layer.operation == "max"),
        "tile_shape": design.tile_shapes.index(schedule.tile),
        "tile_h": tile_h - 1,
        "tile_w": tile_w - 1,
        "tiles_y": schedule.tiles_y - 1,
        "tiles_x": schedule.tiles_x - 1,
        "tiles": schedule.tiles - 1,
        "passes": schedule.passes - 1,
        "stride_y": layer.stride[0],
        "stride_x": layer.stride[1],
        "height": source.height,
        "width": source.width,
        "origin_y": -layer.padding[0],
        "origin_x": -layer.padding[1],
        "origin": (source.base - layer.padding[0] * row_words - layer.padding[1] * source.groups) % space,
        "tile_step_y": tile_h * layer.stride[0],
        "tile_step_x": tile_w * layer.stride[1],
        "tile_address_step_y": tile_h * layer.stride[0] * row_words % space,
        "tile_address_step_x": tile_w * layer.stride[1] * source.groups % space,
        "pad_value": layer.pad_value,
        **taps,
        "steps": schedule.steps - 1,
        "out_height": target.height,
        "out_width": target.width,
        "out_base": target.base,
        "out_pixel_step": target.groups % space,
        "out_row_step": out_row % space,
        "out_tile_step_y": tile_h * out_row % space,
        "out_tile_step_x": tile_w * target.groups % space,
        "other_distance": (other.base - target.base) % space if other is not None else 0,
        "add_other": int(other is not None),
        "other_zero_point": layer.other_zero_point if other is not None else 0,
        **lookups.descriptor(layer),
    }
    try:
        packed = design.descriptor.pack(descriptor)
    except ValueError as error:
        raise MappingError(f"layer '{layer.name}' cannot be described to the array: {error}") from None
    return LayerProgram(
        name=layer.name,
        kind=layer.kind,
        macs=int(layer.weights.size) * target.height * target.width,
        nnz=layer.nnz,
        stored_weights=int(layer.weights.size),
        captures=_captures(one, layer, taps, design),
        weights=tuple(np.concatenate([part.weights[r] for part in one.passes]) for r in range(design.rows)),
        loads=np.concatenate([encode_loads(design, words, source.width, source.groups) for words in one.words]),
        parameters=_parameters(layer, assignment, design, lookups),
        descriptor=packed,
        schedule=schedule,
        input=source,
        output=target,
        other=other,
        entry_bits=design.weight_entry.width,
        uses_table=layer.table is not None,
    )


def _captures(one: _MappedLayer, layer: QuantizedLayer, taps: dict[str, int], design: Design) -> int:
    tap_y, tap_x = (
        np.array([bool(taps[f"tap_{axis}{index}_valid"]) for index in range(design.reach)]) for axis in "yx"
    )
    return sum(count_captures(words.dy, words.dx, one.schedule.tile, layer.stride, tap_y, tap_x) for words in one.words)


def _parameters(layer: QuantizedLayer, assignment: Assignment, design: Design, lookups: Lookups) -> tuple[int, ...]:
    """Requantization words, step after step of every pass; lanes without a channel are zero."""
    width = design.parameter.width
    words = [0] * (assignment.passes * assignment.steps)
    for channel, position in enumerate(assignment.position.tolist()):
        step, lane = divmod(position, design.requantizer_lanes)
        packed = design.parameter.pack(
            {
                "bias": int(layer.bias[channel]),
                "multiplier": int(layer.multiplier[channel]),
                "shift": int(layer.shift[channel]),
                "other_multiplier": int(layer.other_multiplier[channel]) if layer.other is not None else 0,
                "zero_point": layer.zero_point,
                "low": layer.low,
                "high": layer.high,
                **lookups.parameter(layer),
            }
        )
        words[step] |= packed << (lane * width)
    return tuple(words)


# Checks ---------------------------------------------------------------------------------------------------------------


def _check_shapes(layer: QuantizedLayer, network: QuantizedNetwork, design: Design) -> None:
    source, target = network.tensors[layer.input].shape, network.tensors[layer.output].shape
    if max(layer.stride) > design.max_stride:
        raise MappingError.too_small(
            layer.name, f"stride {max(layer.stride)}", max(layer.stride), "max_stride", design.max_stride
        )
    largest = max(*source[1:], *target[1:])
    if largest > design.max_dimension:
        raise MappingError.too_small(layer.name, f"size {largest}", largest, "max_dimension", design.max_dimension)
    extent = max(
        before + size + after
        for size, before, after in (
            (source[1], layer.padding[0], layer.padding[2]),
            (source[2], layer.padding[1], layer.padding[3]),
        )
    )
    reached = extent + design.region_extent
    if reached.bit_length() > design.dimension_bits or max(layer.padding) >= 1 << (design.dimension_bits - 1):
        raise MappingError.too_small(layer.name, f"padded size {extent}", extent, "max_dimension", design.max_dimension)
    if int(layer.shift.min()) < 1 or int(layer.shift.max()) > MAX_SHIFT:
        raise MappingError(f"layer '{layer.name}': requantization shifts must be 1 to {MAX_SHIFT}")
    if not 0 <= int(layer.multiplier.min()) <= int(layer.multiplier.max()) < 1 << MULTIPLIER_BITS:
        raise MappingError(f"layer '{layer.name}': requantization multipliers must fit {MULTIPLIER_BITS} bits")
    if not 0 <= int(layer.other_multiplier.min()) <= int(layer.other_multiplier.max()) < 1 << OTHER_MULTIPLIER_BITS:
        raise MappingError(
            f"layer '{layer.name}': multipliers of the added tensor must fit {OTHER_MULTIPLIER_BITS} bits"
        )
    low, high = accumulator_range(layer, network)
    bits = max(
        max(-low - 1, high, 0).bit_length() + 1, *(_signed_bits(int(b)) for b in (layer.bias.min(), layer.bias.max()))
    )
    if bits > design.accumulator_bits:
        raise MappingError.too_small(
            layer.name,
            f"an accumulator range of {low} to {high} with biases of {int(layer.bias.min())} to {int(layer.bias.max())} "
            f"(activation ranges: {network.calibration})",
            bits,
            "accumulator_bits",
            design.accumulator_bits,
        )


def accumulator_range(layer: QuantizedLayer, network: QuantizedNetwork) -> tuple[int, int]:
    """Least and greatest value any accumulator can take at any time, from the actual weights and the input's bits."""
    bits = network.tensors[layer.input].bits
    lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    flat = layer.weights.reshape(layer.weights.shape[0], -1).astype(np.int64)
    if layer.operation == "max":
        return lowest, highest
    positive = np.where(flat > 0, flat, 0).sum(axis=1)
    negative = np.where(flat < 0, flat, 0).sum(axis=1)
    return int((positive * lowest + negative * highest).min()), int((positive * highest + negative * lowest).max())


def _signed_bits(value: int) -> int:
    return (value if value >= 0 else -value - 1).bit_length() + 1


def _check_memories(mapped: list[_MappedLayer], design: Design) -> None:
    entries = [sum(len(one_pass.weights[r]) for one in mapped for one_pass in one.passes) for r in range(design.rows)]
    loads = sum(len(words.window) for one in mapped for words in one.words)
    parameters = sum(one.assignment.passes * one.assignment.steps for one in mapped)
    for what, need, parameter, have in (
        ("nonzero weights (with fillers) of the fullest row", max(entries), "weight_entries", design.weight_entries),
        ("load list", loads, "load_entries", design.load_entries),
        ("requantization table", parameters, "parameter_words", design.parameter_words),
    ):
        if need > have:
            share = [
                (
                    max(sum(len(one_pass.weights[r]) for one_pass in one.passes) for r in range(design.rows))
                    if parameter == "weight_entries"
                    else sum(len(words.window) for words in one.words)
                    if parameter == "load_entries"
                    else one.assignment.passes * one.assignment.steps
                )
                for one in mapped
            ]
            largest = int(np.argmax(share))
            raise MappingError(
                f"the network's {what} needs {parameter} {need}, design '{design.name}' has {have}; raise {parameter} to "
                f"{need} (layer '{mapped[largest].layer.name}' takes the most, {share[largest]})"
            )
