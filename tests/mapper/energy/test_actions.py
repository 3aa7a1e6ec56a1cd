"""Action counts of layers small enough to count by hand."""

import dataclasses

import numpy as np

from skipstone.hw.design import Design
from skipstone.mapper.counters import Actions
from skipstone.mapper.energy.actions import count_actions, network_actions
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.quantization.network import QuantizedNetwork
from tests.sim.networks import layer, tensor


def test_counts_of_a_3x3_layer():
    """A dense 3x3 layer of 2 to 4 channels on an 8 x 8 image, 4 rows of 2x2 pixels, one channel a row: 16 tiles.

    Every tile loads 4 x 4 words, of which each of 4 columns captures 9; every row issues 18 entries a tile. Its one accumulator
    stays before the drain for the whole tile: the 16 PEs show theirs once.
    """
    design = Design("count", 4, 4, 18, 2, 1, 2, 2, activation_words=512, weight_entries=512, load_entries=256, layers=1)
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 8, 8), 8), "a": tensor("a", (4, 8, 8), 8)}
    conv = layer("one", "x", "a", np.full((4, 2, 3, 3), 5), rng, 8, padding=(1, 1, 1, 1))
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (conv,), (), 8, 8, "none"), design)
    assert program.layers[0].schedule.tile == (2, 2)
    macs = 64 * 4 * 18
    assert count_actions(program.layers[0], design, 1000) == Actions(
        macs=macs,
        useful_macs=macs,
        window_reads=macs,
        window_writes=16 * 4 * 9 * 4,
        accumulator_reads=macs,
        accumulator_writes=macs,
        drain_reads=16 * 16,
        weight_reads=16 * 4 * 18,
        load_list_reads=16 * 16,
        activation_reads=16 * 16,
        activation_writes=64 * 2,
        parameter_reads=64 * 2,
        requantizations=64 * 4,
        table_reads=0,
        cycles=1000,
        awake_macs=macs,
        # A row has one accumulator, which is the one that the drain sees.
        exposed_entries=16 * 4 * 18,
    )


def test_a_table_is_read_by_every_lane_in_every_cycle():
    """The port is enabled by the parameter word at hand, which stays while nothing is drained."""
    design = Design(
        "count", 4, 4, 2, 2, 1, 2, 2, activation_words=64, weight_entries=64, load_entries=64, layers=1, tables=1
    )
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 1, 4), 8), "a": tensor("a", (3, 1, 4), 8)}
    conv = layer("one", "x", "a", np.full((3, 2, 1, 1), 5), rng, 8, table=np.arange(256) - 128)
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (conv,), (), 8, 8, "none"), design)
    assert count_actions(program.layers[0], design, 100).table_reads == 100 * 2


def test_columns_outside_the_image_do_no_useful_work():
    """Three pixels on four columns: a quarter of the multiply-accumulates is not useful."""
    design = Design("count", 1, 4, 2, 2, 1, 2, 2, activation_words=64, weight_entries=64, load_entries=64, layers=1)
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 1, 3), 8), "a": tensor("a", (1, 1, 3), 8)}
    conv = layer("one", "x", "a", np.full((1, 2, 1, 1), 5), rng, 8)
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (conv,), (), 8, 8, "none"), design)
    actions = count_actions(program.layers[0], design, 100)
    assert (actions.macs, actions.useful_macs) == (8, 6)


def test_fillers_read_but_do_not_multiply():
    """Two rows, of which one has no weight in the only window: it issues a filler for each entry of the other."""
    design = Design("count", 2, 4, 2, 2, 1, 2, 2, activation_words=64, weight_entries=64, load_entries=64, layers=1)
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 1, 4), 8), "a": tensor("a", (2, 1, 4), 8)}
    weights = np.array([5, 0, 0, 0]).reshape(2, 2, 1, 1)
    conv = layer("one", "x", "a", weights, rng, 8)
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (conv,), (), 8, 8, "none"), design)
    actions = count_actions(program.layers[0], design, 100)
    assert actions.macs > 0
    assert actions.weight_reads == 2 * actions.macs // 4
    assert actions.window_reads == actions.accumulator_reads == 4 * actions.weight_reads == 2 * actions.macs


def test_the_drain_reads_every_pe_whenever_its_address_moves():
    """Three accumulators of a row in turn, for each of four pixels: twelve moves before 1 x 4 PEs."""
    design = Design("count", 1, 4, 2, 2, 3, 2, 1, activation_words=64, weight_entries=64, load_entries=64, layers=1)
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 1, 4), 8), "a": tensor("a", (3, 1, 4), 8)}
    conv = layer("one", "x", "a", np.full((3, 2, 1, 1), 5), rng, 8)
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (conv,), (), 8, 8, "none"), design)
    actions = count_actions(program.layers[0], design, 100)
    assert (actions.parameter_reads, actions.drain_reads) == (12, 12 * 4)


def test_input_and_output_cross_the_edge_once():
    """Of two layers, the first has the input's bits and words, the last those of the output: 2 x 1 x 3 values in 3 words, and
    3 x 1 x 3 in 6, words of two lanes."""
    design = Design("count", 1, 4, 2, 2, 3, 2, 1, activation_words=64, weight_entries=64, load_entries=64, layers=2)
    rng = np.random.default_rng(0)
    tensors = {name: tensor(name, (channels, 1, 3), 8) for name, channels in (("x", 2), ("a", 2), ("b", 3))}
    first = layer("one", "x", "a", np.full((2, 2, 1, 1), 5), rng, 8)
    second = layer("two", "a", "b", np.full((3, 2, 1, 1), 5), rng, 8)
    network = QuantizedNetwork("two", "x", ("b",), tensors, (first, second), (), 8, 8, "none")
    program = compile_network(network, design)
    first, last = network_actions(program, network_cycles(program))
    assert (first.off_chip_read_bits, first.off_chip_write_bits) == (6 * 8, 0)
    assert (last.off_chip_read_bits, last.off_chip_write_bits) == (0, 9 * 8)
    assert (first.host_writes, last.host_reads) == (program.input.words, program.outputs[0].words) == (3, 6)
    cycles = [cost.cycles for cost in network_cycles(program)]
    plain = [count_actions(*pair) for pair in zip(program.layers, (design, design), cycles, strict=True)]
    on_chip = dataclasses.replace(first, off_chip_read_bits=0, host_writes=0, activation_bits=0)
    assert on_chip == plain[0]
