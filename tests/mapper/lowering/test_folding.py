"""The search for folds and merges: every proposal is possible, there is one where it pays, and results repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.mapper.lowering.compile import _dense, compile_network
from skipstone.mapper.lowering.folding import WORDS_FILLED, choose_folds, merge_candidates
from skipstone.mapper.lowering.workload import UNFOLDED, can_fold, effective_stride, lower
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork
from tests.mapper.laid_out import DESIGNS
from tests.sim.graphs import graphs
from tests.sim.networks import layer, tensor

drawn_networks = st.sampled_from(DESIGNS).flatmap(lambda design: st.tuples(st.just(design), graphs(design)))
random_networks = settings(max_examples=60, suppress_health_check=list(HealthCheck))

DESIGN = Design(
    "fold", 4, 16, 144, 3, 8, 16, 16,
    activation_words=8192, weight_entries=16384, load_entries=4096, parameter_words=256, layers=8, max_stride=2,
)  # fmt: skip


@random_networks
@given(drawn_networks)
def test_every_fold_can_be_done(drawn):
    design, network = drawn
    folds = choose_folds(network, design)[0]
    assert UNFOLDED not in folds.values()
    for name, fold in folds.items():
        channels, height, width = network.tensors[name].shape
        assert height % fold[0] == width % fold[1] == 0
        assert channels * fold[0] * fold[1] <= WORDS_FILLED * design.load_width
    for quantized in network.array_layers:
        source, target = folds.get(quantized.input, UNFOLDED), folds.get(quantized.output, UNFOLDED)
        size, stride = network.size_of(quantized), effective_stride(network, quantized)
        assert all(can_fold(size[axis], stride[axis], source[axis], target[axis]) for axis in (0, 1))
        assert quantized.lattice is None or target == UNFOLDED
        assert max(lower(network, quantized, source, target).geometry.stride) <= design.max_stride


@random_networks
@given(drawn_networks)
def test_tensors_that_share_an_order_share_a_fold(drawn):
    design, network = drawn
    folds = choose_folds(network, design)[0]
    for quantized in network.array_layers:
        if quantized.other is not None:
            assert folds.get(quantized.other) == folds.get(quantized.output)
    for joined, parts in network.concats.items():
        assert {folds.get(part) for part in parts} == {folds.get(joined)}


@random_networks
@given(drawn_networks)
def test_merged_layers_read_one_tensor_and_add_nothing_made_later(drawn):
    """A layer moves up to an earlier one that no other layer has joined. It reads the same tensor with the same stride, and the
    tensor that it adds exists by then."""
    design, network = drawn
    folds = choose_folds(network, design)[0]
    merges = merge_candidates(network, design, folds)
    order = {layer.name: step for step, layer in enumerate(network.layers)}
    made = {network.input: -1} | {layer.output: order[layer.name] for layer in network.layers}
    by_name = {layer.name: layer for layer in network.array_layers}
    assert len(set(merges.values())) == len(merges)
    assert not set(merges) & set(merges.values())
    for later, earlier in merges.items():
        first, second = by_name[earlier], by_name[later]
        assert order[earlier] < order[later]
        assert first.input == second.input
        assert network.size_of(first) == network.size_of(second)
        assert effective_stride(network, first) == effective_stride(network, second)
        assert folds.get(first.output) == folds.get(second.output)
        assert first.pad_value == second.pad_value
        assert second.other is None or made[second.other] < order[earlier]
        channels = [layer.weights.shape[0] * np.prod(folds.get(layer.output, UNFOLDED)) for layer in (first, second)]
        assert sum(-(-count // design.rows) for count in channels) <= design.accumulators


@random_networks
@given(drawn_networks)
def test_the_search_is_deterministic(drawn):
    design, network = drawn
    first = choose_folds(network, design)[0]
    assert first == choose_folds(network, design)[0]
    assert merge_candidates(network, design, first) == merge_candidates(network, design, first)


def chain(shapes: list[tuple[int, int, int]], strides: list[int], density: float = 0.2) -> QuantizedNetwork:
    """3x3 convolutions with 'same' padding."""
    rng = np.random.default_rng(0)
    tensors = {f"t{index}": tensor(f"t{index}", shape, 8) for index, shape in enumerate(shapes)}
    layers = []
    for index, stride in enumerate(strides):
        weights = (rng.random((shapes[index + 1][0], shapes[index][0], 3, 3)) < density).astype(np.int64)
        geometry = {"stride": (stride, stride), "padding": (1, 1, 1, 1)}
        layers.append(layer(f"l{index}", f"t{index}", f"t{index + 1}", weights, rng, 8, **geometry))
    return QuantizedNetwork("chain", "t0", (f"t{len(strides)}",), tensors, tuple(layers), (), 8, 8, "none")


def cycles_of(network: QuantizedNetwork, design: Design) -> int:
    return sum(layer.cycles for layer in network_cycles(compile_network(network, design)))


def test_few_channels_fold_to_fill_a_word(monkeypatch):
    """Four channels in words of 16, one weight in five nonzero: unfolded, the loader would bring 36 words for each 16 pixels.
    Folded, words are full and it brings fewer; a chain is folded as one. 16 channels fill the words without a fold."""
    network = chain([(4, 16, 16)] * 3, [1, 1])
    folds = choose_folds(network, DESIGN)[0]
    assert set(folds) == {"t0", "t1", "t2"}
    program = compile_network(network, DESIGN)
    assert all(placed.fold == folds[placed.name] for layer in program.layers for placed in layer.outputs)
    folded = cycles_of(network, DESIGN)
    # The program of the dense network is cached.
    monkeypatch.setattr("skipstone.mapper.lowering.compile._dense", _dense.__wrapped__)
    monkeypatch.setattr("skipstone.mapper.lowering.compile.choose_folds", lambda network, design: ({}, 0))
    assert folded < 0.6 * cycles_of(network, DESIGN)
    assert choose_folds(chain([(16, 16, 16)] * 3, [1, 1]), DESIGN)[0] == {}


def test_a_fold_that_does_not_pay_is_not_taken(monkeypatch):
    """The program is never slower than the one without folds."""
    network = chain([(4, 16, 16)] * 3, [1, 1], density=1.0)
    plain = cycles_of(network, DESIGN)
    for fold in ((2, 2), (1, 2), (4, 2)):
        monkeypatch.setattr(
            "skipstone.mapper.lowering.compile.choose_folds",
            lambda *_, fold=fold: ({"t0": fold, "t1": fold, "t2": fold}, 0),
        )
        assert cycles_of(network, DESIGN) <= plain


def test_sizes_without_a_divisor_stay_as_they_are():
    """7 x 11: a fold would have to take a whole side, which is more than two words hold."""
    folds = choose_folds(chain([(6, 7, 11), (6, 7, 11)], [1]), DESIGN)[0]
    assert folds == {}


def test_a_strided_layer_folds_its_input_alone():
    """Stride 2, from 4 to 16 channels: the input is folded by 2 x 2 and read without a stride; the output need not be
    folded."""
    network = chain([(4, 16, 16), (16, 8, 8)], [2])
    assert choose_folds(network, DESIGN)[0] == {"t0": (2, 2)}


def shortcut(padding: int) -> QuantizedNetwork:
    """A block: 3x3 and 1x1 read x, and the last adds the 1x1."""
    network = chain([(16, 8, 8), (8, 8, 8)], [1])
    rng = np.random.default_rng(1)
    first = network.array_layers[0]
    short = layer("short", "t0", "s", np.ones((8, 16, 1, 1)), rng, 8)
    short = replace(short, pad_value=padding)
    last = layer("last", "t1", "y", np.ones((8, 8, 1, 1)), rng, 8, other="s")
    tensors = network.tensors | {name: tensor(name, (8, 8, 8), 8) for name in "sy"}
    return replace(network, tensors=tensors, layers=(first, short, last), outputs=("y",))


def test_a_shortcut_runs_with_the_layer_beside_it():
    """Except where the two layers pad with different values."""
    network = shortcut(0)
    first = network.array_layers[0]
    assert merge_candidates(shortcut(first.pad_value), DESIGN, {}) == {"short": "l0"}
    assert merge_candidates(shortcut(first.pad_value ^ 1), DESIGN, {}) == {}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("groups", lambda short: replace(short, groups=2, weights=short.weights[:, :8])),
        ("maximum", lambda short: replace(short, operation="max")),
        ("adds what is made later", lambda short: replace(short, other="t1")),
        ("another input", lambda short: replace(short, input="t1", weights=np.ones((8, 8, 1, 1), np.int64))),
    ],
)
def test_layers_that_cannot_be_merged(name, change):
    network = shortcut(0)
    pad = network.array_layers[0].pad_value
    first, short, last = shortcut(pad).array_layers
    assert isinstance(short, QuantizedLayer)
    assert merge_candidates(replace(network, layers=(first, change(short), last)), DESIGN, {}) == {}, name


def test_too_many_channels_for_one_pass_stay_apart():
    """8 + 8 channels on 4 rows take four accumulators of each PE, where the drain reads one at a time; where it reads four at
    once, each layer takes four."""
    network = shortcut(shortcut(0).array_layers[0].pad_value)
    one_at_a_time = DESIGN.replace(load_width=8, requantizer_lanes=4)
    assert merge_candidates(network, one_at_a_time.replace(accumulators=4), {}) == {"short": "l0"}
    assert merge_candidates(network, one_at_a_time.replace(accumulators=3), {}) == {}
    assert merge_candidates(network, DESIGN.replace(accumulators=8), {}) == {"short": "l0"}
    assert merge_candidates(network, DESIGN.replace(accumulators=7), {}) == {}
