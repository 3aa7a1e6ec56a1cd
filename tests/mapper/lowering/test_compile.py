"""Compiling networks: refusals name the parameter and the value that would be enough, and orders and addresses are checked."""

from dataclasses import replace

import numpy as np
import pytest

from skipstone.errors import MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.limits import accumulator_range, too_small
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.quantization.network import QuantizedNetwork
from tests.sim.networks import layer, tensor

DESIGN = Design(
    "small",
    2,
    4,
    18,
    2,
    3,
    2,
    2,
    activation_words=512,
    weight_entries=512,
    load_entries=256,
    parameter_words=16,
    layers=2,
    max_stride=2,
)


def residual(channels: int = 5, stride: int = 1) -> QuantizedNetwork:
    """x -> a; x -> b with a added in b's drain."""
    rng = np.random.default_rng(1)
    out = -(-6 // stride)
    tensors = {"x": tensor("x", (3, 6, 6), 8)}
    tensors |= {name: tensor(name, (channels, out, out), 8) for name in "ab"}
    weights = rng.integers(-127, 128, (2, channels, 3, 3, 3))
    geometry = {"padding": (1, 1, 1, 1), "stride": (stride, stride)}
    layers = (
        layer("first", "x", "a", weights[0], rng, 8, **geometry),
        layer("second", "x", "b", weights[1], rng, 8, other="a", **geometry),
    )
    return QuantizedNetwork("residual", "x", ("b",), tensors, layers, (), 8, 8, "none")


def refused(network: QuantizedNetwork, design: Design = DESIGN) -> str:
    with pytest.raises(MappingError) as caught:
        compile_network(network, design)
    return str(caught.value)


def needed(message: str, parameter: str) -> int:
    return int(message.split(f"raise {parameter} to ")[1].split()[0])


@pytest.mark.parametrize(
    ("network", "changes", "layer", "parameter", "need"),
    [
        (residual(), {"weight_entries": 4}, "first", "weight_entries", None),
        (residual(), {"load_entries": 4}, "first", "load_entries", None),
        (residual(), {"parameter_words": 4}, "first", "parameter_words", None),
        (residual(), {"activation_words": 4}, None, "activation_words", None),
        (residual(), {"layers": 1}, None, "layers", 2),
        (residual(stride=3), {}, "first", "max_stride", 3),
        (replace(residual(), activation_bits=6), {}, None, "activation_bits", 6),
    ],
)
def test_a_refusal_has_the_parameter_and_the_values_of_its_text(network, changes, layer, parameter, need):
    design = DESIGN.replace(**changes)
    with pytest.raises(MappingError) as caught:
        compile_network(network, design)
    error = caught.value
    assert (error.layer, error.parameter, error.have) == (layer, parameter, getattr(design, parameter))
    assert error.need == (needed(str(error), parameter) if need is None else need)


@pytest.mark.parametrize("parameter", ["weight_entries", "load_entries", "parameter_words", "activation_words"])
def test_memories_too_small_by_one_are_refused_and_the_named_value_fits(parameter):
    """The value in the message is the smallest that does: it compiles, one less does not."""
    message = refused(residual(), DESIGN.replace(**{parameter: 4}))
    value = needed(message, parameter)
    compile_network(residual(), DESIGN.replace(**{parameter: value}))
    assert needed(refused(residual(), DESIGN.replace(**{parameter: value - 1})), parameter) == value


def test_stride_beyond_the_design():
    assert refused(residual(stride=3)) == (
        "layer 'first': stride 3 needs max_stride 3, the design has 2; raise max_stride to 3"
    )


def test_a_refusal_does_not_ask_for_an_impossible_design():
    assert str(too_small("a", "stride 20", 20, "max_stride", 4)) == (
        "layer 'a': stride 20 needs max_stride 20; no design can have more than 16"
    )


def test_size_beyond_the_design():
    assert refused(residual(), DESIGN.replace(max_dimension=5)) == (
        "layer 'first': size 6 needs max_dimension 6, the design has 5; raise max_dimension to 6"
    )


def test_too_many_layers():
    assert refused(residual(), DESIGN.replace(layers=1)) == (
        "the network has 2 layers for the array, the design 1; raise layers to 2"
    )


def test_bits_that_do_not_match():
    network = replace(residual(), activation_bits=6)
    assert "has 6-bit activations, design 'small' 8-bit ones; quantize to activation_bits 8" in refused(network)


def with_weights(network: QuantizedNetwork, *weights: np.ndarray) -> QuantizedNetwork:
    layers = tuple(replace(layer, weights=array) for layer, array in zip(network.layers, weights, strict=True))
    return replace(network, layers=layers)


def test_weights_that_the_multiplier_cannot_represent():
    """The actual values decide, not the network's declared bits; each refusal names a layer, a value and a remedy."""
    network, shape = replace(residual(), weight_bits=16), residual().layers[0].weights.shape
    unit, three, wide = np.ones(shape, int), np.full(shape, 3), np.full(shape, -129)
    compile_network(network, DESIGN)
    assert refused(with_weights(network, unit, wide)) == (
        "layer 'second' has the weight -129, of 9 bits, design 'small' takes 8; quantize to weight_bits 8 or set "
        "the design's to 9"
    )
    compile_network(with_weights(network, unit, np.full(shape, -128)), DESIGN)
    shift = DESIGN.replace(multiplier="shift", weight_bits=4)
    assert refused(with_weights(network, unit, three), shift) == (
        "layer 'second' has the weight 3, design 'small' with multiplier = 'shift' takes powers of two, plus or minus 1 to 128; "
        "quantize with weight code power_of_two of 4 bits or use a design with multiplier = 'linear'"
    )
    compile_network(with_weights(network, unit, np.full(shape, -128)), shift)
    assert "has the weight 256" in refused(with_weights(network, unit, np.full(shape, 256)), shift)
    additive = DESIGN.replace(multiplier="additive", weight_bits=5)
    assert refused(with_weights(network, unit, np.full(shape, 5)), additive) == (
        "layer 'second' has the weight 5, design 'small' with multiplier = 'additive' takes additive powers of two of 5 bits, "
        "plus or minus 1 to 48; quantize with weight code additive_power_of_two of 5 bits or use a design with "
        "multiplier = 'linear'"
    )
    compile_network(with_weights(network, unit, np.resize([48, -36, 0, 3], shape)), additive)
    sign = DESIGN.replace(multiplier="sign")
    assert refused(with_weights(network, -2 * unit, -unit), sign) == (
        "layer 'first' has the weight -2, design 'small' with multiplier = 'sign' takes 1 or -1; quantize with weight code "
        "ternary or use a design with multiplier = 'linear'"
    )
    compile_network(with_weights(network, unit, -unit), sign)


def test_codebooks():
    """Layers with the same values share a codebook. Too many values or codebooks are refused, and the size that the refusal
    names fits."""
    network, shape = residual(), residual().layers[0].weights.shape
    design = DESIGN.replace(multiplier="codebook", codebook_entries=4, codebooks=1)
    four = np.resize([5, -7, 0, 100, 3], shape)
    program = compile_network(with_weights(network, four, four[::-1]), design)
    assert program.codebooks == ((-7, 3, 5, 100),)
    assert program.memory_images()["codebooks"] == [249, 3, 5, 100]
    five = np.resize([5, -7, 0, 100, 3, 4], shape)
    assert refused(with_weights(network, five, four), design) == (
        "layer 'first' has 5 different weights (such as 100), the codebooks of design 'small' have 4; quantize with "
        "weight code codebook:4, raise codebook_entries to 8, or use a design with multiplier = 'linear'"
    )
    both = with_weights(network, five, four)
    assert refused(both, design.replace(codebook_entries=8)) == (
        "the network's layers need 2 different codebooks, design 'small' has 1; raise codebooks to 2"
    )
    program = compile_network(both, design.replace(codebook_entries=8, codebooks=2))
    assert program.codebooks == ((-7, 3, 4, 5, 100, 0, 0, 0), (-7, 3, 5, 100, 0, 0, 0, 0))
    numbers = [program.design.descriptor.unpack(layer.descriptor)["codebook"] for layer in program.layers]
    assert numbers == [0, 1]


def test_tables():
    """Equal tables are stored once; a design with too few is refused with the number that is enough."""
    identity, reverse = np.arange(-128, 128), np.arange(127, -129, -1)
    network = residual()

    def looking_up(*tables: np.ndarray | None) -> QuantizedNetwork:
        layers = tuple(replace(layer, table=table) for layer, table in zip(network.layers, tables, strict=True))
        return replace(network, layers=layers)

    program = compile_network(looking_up(reverse, reverse.copy()), DESIGN.replace(tables=1))
    assert program.tables == (tuple(reverse.tolist()),)
    assert program.memory_images()["tables"][:129] == [*range(127, -1, -1), 255]
    assert [layer.uses_table for layer in program.layers] == [True, True]
    assert refused(looking_up(reverse, identity), DESIGN.replace(tables=1)) == (
        "the network looks up 2 different tables (layers 'first', 'second'), design 'small' has tables = 1; raise tables to 2"
    )
    assert needed(refused(looking_up(None, identity)), "tables") == 1
    program = compile_network(looking_up(None, identity), DESIGN.replace(tables=2))
    used = [program.design.parameter.unpack(layer.parameters[0])["use_table"] for layer in program.layers]
    assert used == [0, 1]
    assert "tables" not in compile_network(network, DESIGN.replace(tables=2)).memory_images()


def test_encoded_bits():
    """A dense layer's nonzeros times the entry: 8 bits of value, 4 + 1 + 2 of the index, 3 to leave, 1 for the last one."""
    shape = residual().layers[0].weights.shape
    program = compile_network(with_weights(residual(), np.full(shape, 3), np.full(shape, 3)), DESIGN)
    assert program.layers[0].encoded_bits == 5 * 27 * (8 + 4 + 1 + 2 + 3 + 1)


def test_accumulators_are_proved_from_the_actual_weights():
    """One filter of 27 weights of 127: 27 * 127 * 128 = 438,912 below zero, which 20 bits hold and 19 do not."""
    network = residual(1)
    weights = np.full((1, 3, 3, 3), 127)
    first = replace(network.layers[0], weights=weights)
    network = replace(network, layers=(first, replace(network.layers[1], weights=weights)))
    assert accumulator_range(first, network) == (-27 * 127 * 128, 27 * 127 * 127)
    compile_network(network, DESIGN.replace(accumulator_bits=20))
    message = refused(network, DESIGN.replace(accumulator_bits=19))
    assert message.startswith("layer 'first': an accumulator range of -438912 to 435483 with biases of ")
    assert message.endswith(
        "(activation ranges: none) needs accumulator_bits 20, the design has 19; raise accumulator_bits to 20"
    )


def test_tensors_that_meet_in_an_add_share_their_order():
    program = compile_network(residual(), DESIGN)
    first, second = program.layers
    assert second.other is not None
    assert (
        first.outputs[0].positions.tolist() == second.outputs[0].positions.tolist() == second.other.positions.tolist()
    )
    assert sorted(first.outputs[0].positions.tolist()) == sorted(set(first.outputs[0].positions.tolist()))


def test_compiling_is_deterministic():
    a, b = (compile_network(residual(), DESIGN).memory_images() for _ in range(2))
    assert a == b


def test_a_zero_costs_no_cycle_and_no_storage():
    """Of a fully dense layer, every second weight becomes zero: half the entries, and about half the cycles."""
    network = residual()
    weights = np.full_like(network.layers[0].weights, 3)
    dense = replace(network, layers=(replace(network.layers[0], weights=weights),), outputs=("a",))
    mask = np.arange(weights.size).reshape(weights.shape) % 2
    sparse = replace(dense, layers=(replace(dense.layers[0], weights=weights * mask),))
    programs = [compile_network(variant, DESIGN) for variant in (dense, sparse)]
    entries = [sum(len(row) for row in program.layers[0].weights) for program in programs]
    assert entries == [weights.size, int(mask.sum())]
    cycles = [network_cycles(program)[0].cycles for program in programs]
    assert cycles[1] < 0.65 * cycles[0]


def test_all_zero_filters_take_no_entries():
    network = residual()
    weights = network.layers[0].weights.copy()
    weights[weights == 0] = 1
    weights[2] = 0
    alone = replace(network, layers=(replace(network.layers[0], weights=weights),), outputs=("a",))
    program = compile_network(alone, DESIGN)
    assert sum(len(row) for row in program.layers[0].weights) == int(np.count_nonzero(weights))


def test_the_stride_of_a_global_pool_does_not_matter():
    """A kernel as large as the image has one output pixel; a stride of 8 needs no max_stride of 8."""
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (3, 8, 8), 8), "a": tensor("a", (3, 1, 1), 8)}
    pool = layer("pool", "x", "a", np.ones((3, 1, 8, 8), int), rng, 8, groups=3, stride=(8, 8))
    program = compile_network(QuantizedNetwork("pool", "x", ("a",), tensors, (pool,), (), 8, 8, "none"), DESIGN)
    assert program.layers[0].schedule.tiles == 1
