"""Action counts of layers small enough to count by hand."""

import numpy as np

from hw.design import Design
from mapper.actions import Actions, count_actions
from mapper.compile import compile_network
from models.quantized import QuantizedNetwork
from tests.sim.networks import layer, tensor


def test_counts_of_a_3x3_layer():
    """A dense 3x3 layer of 2 to 4 channels on an 8 x 8 image, 4 rows of 2x2 pixels, one channel a row: 16 tiles.

    Every tile loads 4 x 4 words, of which each of 4 columns captures 9; every row issues 18 entries a tile.
    """
    design = Design("count", 4, 4, 18, 2, 1, 2, 2, activation_words=512, weight_entries=512, load_entries=256, layers=1)
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 8, 8), 8), "a": tensor("a", (4, 8, 8), 8)}
    one = layer("one", "x", "a", np.full((4, 2, 3, 3), 5), rng, 8, padding=(1, 1, 1, 1))
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (one,), (), 8, 8, "none"), design)
    assert program.layers[0].schedule.tile == (2, 2)
    macs = 64 * 4 * 18
    assert count_actions(program.layers[0], design, 1000) == Actions(
        macs=macs,
        useful_macs=macs,
        window_reads=macs,
        window_writes=16 * 4 * 9 * 4,
        accumulator_reads=macs + 64 * 4,
        accumulator_writes=macs,
        weight_reads=16 * 4 * 18,
        load_list_reads=16 * 16,
        activation_reads=16 * 16,
        activation_writes=64 * 2,
        parameter_reads=64 * 2,
        requantizations=64 * 4,
        table_reads=0,
        cycles=1000,
    )


def test_a_table_is_read_by_every_lane_in_every_step():
    """Four pixels of three channels through two lanes: two steps a pixel."""
    design = Design(
        "count", 4, 4, 2, 2, 1, 2, 2, activation_words=64, weight_entries=64, load_entries=64, layers=1, tables=1
    )
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 1, 4), 8), "a": tensor("a", (3, 1, 4), 8)}
    one = layer("one", "x", "a", np.full((3, 2, 1, 1), 5), rng, 8, table=np.arange(256) - 128)
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (one,), (), 8, 8, "none"), design)
    assert count_actions(program.layers[0], design, 100).table_reads == 4 * 2 * 2


def test_columns_outside_the_image_work_for_nothing():
    """Three pixels on four columns: a quarter of the multiply-accumulates is not useful."""
    design = Design("count", 1, 4, 2, 2, 1, 2, 2, activation_words=64, weight_entries=64, load_entries=64, layers=1)
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (2, 1, 3), 8), "a": tensor("a", (1, 1, 3), 8)}
    one = layer("one", "x", "a", np.full((1, 2, 1, 1), 5), rng, 8)
    program = compile_network(QuantizedNetwork("one", "x", ("a",), tensors, (one,), (), 8, 8, "none"), design)
    actions = count_actions(program.layers[0], design, 100)
    assert (actions.macs, actions.useful_macs) == (8, 6)


def test_actions_add_up():
    one = Actions(*range(14))
    assert one + one == Actions(*(2 * value for value in range(14)))
