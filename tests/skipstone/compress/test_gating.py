"""Load words that gating saves: none without it, all words with everything gated, otherwise as counted word by word."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.compress.gating import load_savings
from skipstone.hw.design import Design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.program import Program
from skipstone.models.graph.graph import Graph
from skipstone.models.pruning.gating import GatingResult, LayerGating, gate, gated_layers, typical_means
from skipstone.models.quantization.network import QuantizedNetwork
from tests.models.builders import conv_layer, graph_of, quantized, random_images

DESIGN = Design(
    "small", 3, 4, 36, 2, 4, 4, 4, max_stride=3, activation_words=1 << 14, load_entries=1 << 14, weight_entries=1 << 16
)
RELU = (0.0, math.inf)


def network_and_program(graph: Graph, design: Design = DESIGN) -> tuple[QuantizedNetwork, Program]:
    network = quantized(graph)
    return network, compile_network(network, design)


def with_masks(network: QuantizedNetwork, masks: dict[str, np.ndarray]) -> GatingResult:
    """A result with these masks (images x channels) for each tensor."""
    layers = tuple(
        LayerGating(layer.name, layer.input, masks[layer.input], np.zeros(masks[layer.input].shape[1], np.int64))
        for layer in gated_layers(network)
    )
    return GatingResult(1.0, len(next(iter(masks.values()))), 0.0, 0.0, layers, ())


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A stem that two layers read alike: a convolution (dense, grouped or depthwise, strided, with pruned channels) and a
    1x1."""
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    channels = groups * draw(st.integers(1, 3))
    outputs = groups * draw(st.integers(1, 3))
    stride = draw(st.sampled_from([(1, 1), (2, 2)]))
    kernel = draw(st.sampled_from([1, 3]))
    size = draw(st.sampled_from([(6, 5), (8, 8), (4, 12)]))
    padding = (kernel // 2,) * 4
    body = conv_layer(
        "body", "stem", (outputs, channels // groups, kernel, kernel), groups=groups, stride=stride, padding=padding
    )
    graph = graph_of(
        conv_layer("stem", "x", (channels, 1, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        body,
        conv_layer("beside", "stem", (2, channels, 1, 1), stride=stride),
        shape=(1, *size),
        outputs=("body", "beside"),
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mask = rng.random((1, body.weights.shape[1], 1, 1)) < draw(st.sampled_from([0.5, 1.0]))
    return graph.with_weights({"body": (body.weights * mask).astype(np.float32)})


@given(graphs(), st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=25)
def test_savings_are_those_counted_word_by_word(graph: Graph, seed: int, share: float) -> None:
    network, program = network_and_program(graph)
    rng = np.random.default_rng(seed)
    masks = {"stem": rng.random((3, graph.shapes["stem"][0])) < share}
    savings = {layer.name: layer for layer in load_savings(program, network, with_masks(network, masks))}
    layers = {layer.name: layer for layer in network.array_layers}
    for compiled in program.layers:
        if compiled.input.name != "stem":
            assert compiled.name not in savings
            continue
        place, fold = compiled.input, compiled.input.fold
        read = {
            k // (layer.weights.shape[0] // layer.groups) * layer.weights.shape[1] + c
            for layer in (layers[name] for name in compiled.layers)
            for k, c in zip(*np.nonzero(layer.weights.any(axis=(2, 3))), strict=True)
        }
        saved = total = 0
        for mask in masks["stem"]:
            for packed in compiled.loads.tolist():
                entry = DESIGN.load_entry.unpack(packed)
                word = (entry["offset"] - entry["x"] * place.groups - entry["y"] * place.grid[1] * place.groups) * 4
                inside = [
                    index // (fold[0] * fold[1])
                    for index, position in enumerate(place.positions.tolist())
                    if word <= position < word + 4
                ]
                used = [channel for channel in inside if channel in read]
                total += compiled.schedule.tiles
                saved += compiled.schedule.tiles * (bool(used) and all(mask[channel] for channel in used))
        assert savings[compiled.name].words == total / 3
        assert (
            savings[compiled.name].words
            == sum(int(words.sum()) for words in compiled.schedule.words) * compiled.schedule.tiles
        )
        assert savings[compiled.name].saved_words == pytest.approx(saved / 3, rel=1e-12)


def test_savings_by_hand() -> None:
    """Eight channels are two words of four. A word is saved in every image in which all of its channels are gated: seven gated
    channels save only one of the two."""
    graph = graph_of(
        conv_layer("stem", "x", (8, 1, 3, 3), clamp=RELU), conv_layer("body", "stem", (3, 8, 1, 1)), shape=(1, 10, 10)
    )
    network, program = network_and_program(graph, DESIGN.replace(rows=4))
    body = program.layers[-1]
    assert body.input.fold == (1, 1)
    assert sorted(body.input.positions.tolist()) == list(range(8))
    first_word = body.input.positions < 4
    loaded = sum(int(words.sum()) for words in body.schedule.words) * body.schedule.tiles
    for masks, share in [
        ([first_word, first_word & False], 0.25),
        ([first_word, ~first_word], 0.5),
        ([body.input.positions > 0], 0.5),
        ([body.input.positions % 2 == 0], 0),
        ([first_word | True], 1),
    ]:
        (savings,) = load_savings(program, network, with_masks(network, {"stem": np.array(masks)}))
        assert (savings.words, savings.saved_words) == (loaded, share * loaded)


def test_savings_rise_with_the_threshold() -> None:
    graph = graph_of(
        conv_layer("stem", "x", (8, 1, 3, 3), clamp=RELU),
        conv_layer("body", "stem", (8, 8, 3, 3), clamp=RELU),
        conv_layer("scores", "body", (3, 8, 4, 4), gemm=True),
        shape=(1, 8, 8),
    )
    network, program = network_and_program(graph)
    images = random_images(graph, 20)
    means = typical_means(network, images)
    labels = np.zeros(20, np.int64)
    saved = [
        [layer.saved_words for layer in load_savings(program, network, gate(network, images, labels, threshold, means))]
        for threshold in (0.0, 0.5, 1e9)
    ]
    assert saved[0] == [0, 0]
    assert 0 <= saved[1][0] < saved[2][0]
