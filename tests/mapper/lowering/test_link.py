"""Where the drain writes, and what it adds: the descriptor's addresses, walked as ``skipstone.hw.drain.Walker`` says,
are those that the placements of the tensors give, pixel by pixel, with the parameters of the right channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.mapper.lowering import compile
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.workload import UNFOLDED
from skipstone.mapper.program import LayerProgram, Placement, Program
from skipstone.models.quantization.network import Lattice, QuantizedLayer, QuantizedNetwork
from tests.mapper.laid_out import DESIGNS
from tests.sim.graphs import graphs

programs = st.sampled_from(DESIGNS).flatmap(
    lambda design: st.tuples(st.just(design), graphs(design) | graphs(design, "beside"))
)
random_networks = settings(max_examples=40, suppress_health_check=list(HealthCheck))


def reshaped(compiled: compile._Compiled) -> int:
    """Minus the number of layers that are folded or merged."""
    return -sum(
        len(layer.layers) > 1 or any(placed.fold != UNFOLDED for placed in layer.outputs)
        for layer in compiled.program.layers
    )


def compiled(design: Design, network: QuantizedNetwork) -> Program:
    """The program with folds and merges, whether they pay or not."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compile, "_total", reshaped)
            patch.setattr(compile, "_slower", lambda compiled, dense: False)
            return compile_network(network, design)
    except MappingError:
        assume(False)
        raise


def walked(layer: LayerProgram, design: Design, prefix: str) -> Iterator[tuple[int, int, int]]:
    """(row, column, address of the first word) of the output's pixels in the order of the drain, for one pass."""
    fields = design.descriptor.unpack(layer.descriptor)
    base, pixel, row, tile_y, tile_x = (
        fields[f"{prefix}_{name}"] for name in ("base", "pixel_step", "row_step", "tile_step_y", "tile_step_x")
    )
    height, width = fields["tile_h"] + 1, fields["tile_w"] + 1
    for ty in range(fields["tiles_y"] + 1):
        for tx in range(fields["tiles_x"] + 1):
            for y in range(height):
                for x in range(width):
                    at = ty * height + y, tx * width + x
                    if at[0] < fields["out_height"] and at[1] < fields["out_width"]:
                        address = base + ty * tile_y + tx * tile_x + y * row + x * pixel
                        yield *at, address % (1 << design.address_bits)


def pixel_address(place: Placement, y: int, x: int, lattice: Lattice | None) -> int:
    """The first word of the store's (folded) pixel that holds the layer's output pixel (y, x)."""
    if lattice is not None:
        y, x = lattice.offset[0] + y * lattice.step[0], lattice.offset[1] + x * lattice.step[1]
    return place.base + (y * place.grid[1] + x) * place.groups


@random_networks
@given(programs)
def test_every_channel_of_every_pixel_is_written_once_at_its_place(drawn):
    design, network = drawn
    by_name = {layer.name: layer for layer in network.array_layers}
    for program in compiled(design, network).layers:
        lattice = by_name[program.layers[0]].lattice
        parts = [(by_name[name], place) for name, place in zip(program.layers, program.outputs, strict=True)]
        written = list(walked(program, design, "out"))
        schedule = program.schedule
        pixels = {(y, x) for y in range(schedule.out_height) for x in range(schedule.out_width)}
        assert len(written) == len(pixels) == schedule.out_height * schedule.out_width
        assert {(y, x) for y, x, _ in written} == pixels
        for layer, place in parts:
            first = channel_words(program, place, design, written[0], lattice)
            for y, x, address in written:
                assert address - written[0][2] == pixel_address(place, y, x, lattice) - pixel_address(
                    place, *written[0][:2], lattice
                )
            check_parameters(program, layer, place, first, design)


def channel_words(
    program: LayerProgram, place: Placement, design: Design, first: tuple[int, int, int], lattice: Lattice | None
) -> np.ndarray:
    """For every (folded) channel of an output, its activation counted from the first word that the drain writes for a pixel."""
    ahead = first[2] - pixel_address(place, *first[:2], lattice)
    places = place.positions - ahead * design.load_width
    count = program.schedule.passes * program.schedule.steps * design.requantizer_lanes
    assert places.min() >= 0
    assert places.max() < count, "the drain does not come to all channels"
    return places


def check_parameters(
    program: LayerProgram, layer: QuantizedLayer, place: Placement, places: np.ndarray, design: Design
) -> None:
    """The constants at the step and lane that write a channel are the channel's."""
    of_layer = np.arange(len(places)) // (place.fold[0] * place.fold[1])
    for channel, position in zip(of_layer.tolist(), places.tolist(), strict=True):
        step, lane = divmod(position, design.requantizer_lanes)
        word = program.parameters[step] >> (lane * design.parameter.width)
        values = design.parameter.unpack(word & ((1 << design.parameter.width) - 1))
        assert values["bias"] == layer.bias[channel]
        assert values["multiplier"] == layer.multiplier[channel]
        assert values["shift"] == layer.shift[channel]
        assert values["other_multiplier"] == (layer.other_multiplier[channel] if layer.other is not None else 0)
        assert (values["low"], values["high"]) == (layer.low, layer.high)


@random_networks
@given(programs)
def test_the_other_operand_of_a_channel_is_read_at_its_place(drawn):
    """The drain counts words of both tensors alike: the word and lane of a channel must be those of the added tensor's
    channel."""
    design, network = drawn
    by_name = {layer.name: layer for layer in network.array_layers}
    for program in compiled(design, network).layers:
        fields = design.descriptor.unpack(program.descriptor)
        adding = [
            (by_name[name], place)
            for name, place in zip(program.layers, program.outputs, strict=True)
            if by_name[name].other is not None
        ]
        assert fields["add_other"] == len(adding)
        for layer, place in adding:
            assert program.other is not None
            assert fields["other_zero_point"] == layer.other_zero_point
            outs, others = (list(walked(program, design, prefix)) for prefix in ("out", "other"))
            places = channel_words(program, place, design, outs[0], None)
            for y, x, address in others:
                read = address * design.load_width + places
                lies = pixel_address(program.other, y, x, None) * design.load_width + program.other.positions
                assert (read == lies).all()


@random_networks
@given(programs)
def test_wait_tiles_are_those_of_the_schedule(drawn):
    """``wait_tiles`` counts over all passes of the preceding layer; pauses stand before the tensors that the host computes."""
    design, network = drawn
    program = compiled(design, network)
    stops = {step.after for step in program.host_steps}
    for index, layer in enumerate(program.layers):
        fields, schedule = design.descriptor.unpack(layer.descriptor), layer.schedule
        assert fields["last_layer"] == int(index == len(program.layers) - 1)
        assert fields["pause"] == int(index + 1 in stops and index + 1 < len(program.layers))
        assert fields["free_tiles"] == schedule.free_tiles
        if index == 0 or index in stops or schedule.free_tiles in (0, ALL_TILES_FREE):
            continue
        before = program.layers[index - 1].schedule
        assert fields["wait_tiles"] == before.tiles * before.passes - schedule.unneeded_tiles
        assert fields["wait_tiles"] > before.tiles * (before.passes - 1)
