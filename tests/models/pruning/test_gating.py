"""Gating against a slow computation of its own; threshold 0 changes no bit; gating a channel gives the same as pruning it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.data.zoo import carried_networks
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, AveragePool, Concat, ConvTranspose
from skipstone.models.pruning.gating import GatingResult, gate, gated_layers, run_gated, typical_means
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, floats, graph_of, quantized, random_images, slow_layer

RELU = (0.0, math.inf)


def residual(channels: int = 3, groups: int = 1, size: tuple[int, int] = (4, 5)) -> Graph:
    """A stem, a convolution to whose output its own input is added, and a classifier."""
    return graph_of(
        conv_layer("stem", "x", (channels, 2, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        conv_layer("body", "stem", (channels, channels // groups, 3, 3), padding=(1, 1, 1, 1), groups=groups),
        Add(name="sum", inputs=("body", "stem"), clamp=RELU),
        AveragePool(name="pool", inputs=("sum",), kernel=size),
        conv_layer("scores", "pool", (4, channels, 1, 1), gemm=True),
        shape=(2, *size),
    )


def branching() -> Graph:
    """A concatenation that a depthwise and a transposed convolution read."""
    return graph_of(
        conv_layer("a", "x", (2, 1, 1, 1), clamp=RELU),
        conv_layer("b", "x", (3, 1, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        Concat(name="both", inputs=("a", "b")),
        conv_layer("depthwise", "both", (5, 1, 3, 3), groups=5),
        ConvTranspose(
            name="wide", inputs=("depthwise",), weights=np.sign(floats(2, 5, 2, 2)), bias=floats(2), stride=(2, 2)
        ),
        shape=(1, 5, 4),
    )


def slowly(
    network: QuantizedNetwork, image: np.ndarray, threshold: float, means: dict[str, float]
) -> tuple[dict[str, np.ndarray], dict[str, list[bool]]]:
    """One image through a network without concatenations, element by element."""
    tensors, masks = {network.input: image}, {}
    for layer in network.layers:
        assert isinstance(layer, QuantizedLayer)
        x = tensors[layer.input].copy()
        if layer.kind in ("conv", "depthwise", "gemm") and layer.input != network.input:
            source = network.tensors[layer.input]
            masks[layer.name] = []
            for channel in range(len(x)):
                values = [abs(int(value) - source.zero_point) for value in x[channel].ravel()]
                masks[layer.name].append(sum(values) / len(values) * source.scale < threshold * means[layer.input])
                if masks[layer.name][-1]:
                    x[channel] = source.zero_point
        tensors[layer.output] = slow_layer(layer, x, None if layer.other is None else tensors[layer.other])
    return tensors, masks


def setting(graph: Graph, count: int = 5) -> tuple[QuantizedNetwork, np.ndarray, dict[str, float]]:
    network = quantized(graph)
    images = random_images(graph, count, seed=7)
    return network, images, typical_means(network, random_images(graph, 4))


@given(
    st.sampled_from([(1, 1), (3, 1), (4, 2), (4, 4)]), st.tuples(st.integers(1, 5), st.integers(1, 5)), st.floats(0, 2)
)
@settings(max_examples=15)
def test_gating_is_that_computed_element_by_element(
    channels: tuple[int, int], size: tuple[int, int], threshold: float
) -> None:
    network, images, means = setting(residual(*channels, size), count=2)
    integers = reference.quantize_input(network, images)
    tensors, masks = run_gated(network, integers, threshold, means)
    for index, image in enumerate(integers):
        slow_tensors, slow_masks = slowly(network, image, threshold, means)
        assert {name: array[index].tolist() for name, array in tensors.items()} == {
            name: array.tolist() for name, array in slow_tensors.items()
        }
        assert {name: mask[index].tolist() for name, mask in masks.items()} == slow_masks


@pytest.mark.parametrize("graph", [residual(), residual(4, 4), branching()])
def test_threshold_0_changes_no_bit(graph: Graph) -> None:
    network, images, means = setting(graph)
    integers = reference.quantize_input(network, images)
    tensors, masks = run_gated(network, integers, 0.0, means)
    expected = reference.run(network, integers)
    assert {name: array.tolist() for name, array in tensors.items()} == {
        name: expected[name].tolist() for name in tensors
    }
    assert not any(mask.any() for mask in masks.values())


@pytest.mark.parametrize("graph", [residual(), residual(4, 2), branching()])
def test_gating_a_channel_gives_the_same_as_pruning_it(graph: Graph) -> None:
    """With the weights of the gated channels zero, and the zero point's part taken out of the bias, the output is the same."""
    network, images, means = setting(graph, count=1)
    tensors, masks = run_gated(network, reference.quantize_input(network, images), 0.9, means)
    assert any(mask.any() for mask in masks.values())
    for layer in gated_layers(network):
        gated = masks[layer.name][0]
        outputs, inputs = layer.weights.shape[:2]
        removed = np.zeros_like(layer.weights)
        for k, c in itertools.product(range(outputs), range(inputs)):
            if gated[k // (outputs // layer.groups) * inputs + c]:
                removed[k, c] = layer.weights[k, c]
        zero = network.tensors[layer.input].zero_point
        pruned = replace(
            layer, weights=layer.weights - removed, bias=layer.bias + zero * removed.sum(axis=(1, 2, 3)), input="read"
        )
        x = np.concatenate([tensors[leaf] for leaf in network.leaves(layer.input)], axis=1)
        ungated = reference.run_layers(network, (pruned,), {**tensors, "read": x})[layer.output]
        assert ungated.tolist() == tensors[layer.output].tolist()


def result(graph: Graph, threshold: float) -> GatingResult:
    network, images, means = setting(graph, count=40)
    outputs = math.prod(network.tensors[network.outputs[0]].shape)
    return gate(network, images, np.arange(40) % outputs, threshold, means)


def test_counts_of_a_result() -> None:
    """Each nonzero weight of a channel that is not gated is one multiplication for every output pixel."""
    graph = residual(4, 2)
    body = graph.layer("body").weights.copy()  # type: ignore[attr-defined]
    body[0, 1] = 0
    body[3, :, 0] = 0
    graph = graph.with_weights({"body": body})
    network = quantized(graph)
    gating = result(graph, 1.0)
    layers = {layer.name: layer for layer in network.array_layers}
    for entry in gating.layers:
        layer = layers[entry.name]
        outputs, inputs = layer.weights.shape[:2]
        height, width = network.size_of(layer)
        saved = total = 0
        for k, c, i, j in zip(*np.nonzero(layer.weights), strict=True):
            assert layer.weights[k, c, i, j] != 0
            total += height * width
            saved += height * width * int(entry.gated[:, k // (outputs // layer.groups) * inputs + c].sum())
        assert (entry.macs, entry.saved_macs) == (total, pytest.approx(saved / 40, rel=1e-12))
        assert entry.gated_share == entry.gated.sum() / entry.gated.size
    assert [(entry.name, entry.input) for entry in gating.layers] == [("body", "stem"), ("scores", "pool")]
    assert gating.images == 40
    assert gating.notes == ("layer 'stem' reads the network's input, which is never gated",)
    assert gating.saved_macs_share == pytest.approx(
        sum(entry.saved_macs for entry in gating.layers) / sum(entry.macs for entry in gating.layers)
    )
    assert 0 < gating.saved_macs_share < 1


def test_phases_of_a_transposed_convolution_are_gated_alike() -> None:
    gating = result(branching(), 0.8)
    assert gating.layers[0].name == "depthwise"
    phases = gating.layers[1:]
    assert len(phases) == 4
    assert {phase.gated.tobytes() for phase in phases} == {phases[0].gated.tobytes()}
    # 5 x 2 x 2 x 2 weights for each of the depthwise output's 3 x 2 pixels.
    assert sum(phase.macs for phase in phases) == 40 * 6


@given(st.lists(st.floats(0, 3), min_size=2, max_size=2))
@settings(max_examples=10)
def test_a_higher_threshold_gates_more(thresholds: list[float]) -> None:
    """Checked for the first gated layer; the layers after it read other values then."""
    low, high = (result(residual(), threshold).layers[0] for threshold in sorted(thresholds))
    assert (high.gated | ~low.gated).all()
    assert high.saved_macs >= low.saved_macs


def test_a_high_threshold_leaves_the_bias_alone() -> None:
    network, images, means = setting(residual())
    integers = reference.quantize_input(network, images)
    tensors, masks = run_gated(network, integers, 1e9, means)
    assert all(mask.all() for mask in masks.values())
    assert len({scores.tobytes() for scores in tensors[network.outputs[0]]}) == 1


def test_typical_means() -> None:
    network, images, means = setting(residual())
    tensors = reference.run(network, reference.quantize_input(network, images))
    ours = typical_means(network, images)
    assert sorted(ours) == sorted(means) == ["pool", "stem"]
    for name in ours:
        tensor = network.tensors[name]
        real = (tensors[name] - tensor.zero_point) * tensor.scale
        assert ours[name] == pytest.approx(np.abs(real).mean(), rel=1e-9)


def test_refusals() -> None:
    network, images, means = setting(residual())
    labels = np.zeros(len(images), np.int64)
    for threshold in (-0.1, math.nan, math.inf):
        with pytest.raises(
            SkipstoneError, match=rf"^the gating threshold must be a number from 0 on, not {threshold:g}$"
        ):
            gate(network, images, labels, threshold, means)
    with pytest.raises(
        SkipstoneError, match=r"^gating needs the typical mean of tensors pool; take typical_means of this"
    ):
        gate(network, images, labels, 1.0, {"stem": 1.0})
    with pytest.raises(SkipstoneError, match="label 4 is out of range"):
        gate(network, images, labels + 4, 1.0, means)


@pytest.mark.parametrize("name", carried_networks())
def test_gating_weak_channels_costs_little_accuracy(name: str) -> None:
    from skipstone.models.data.images import load_images
    from skipstone.models.onnx_io.reader import load
    from skipstone.models.quantization.quantize import quantize
    from skipstone.models.quantization.ranges import calibrate

    carried, graph = carried_networks()[name], load(name)
    calibration = load_images(carried.calibration)[0]
    images, labels = load_images(carried.evaluation)
    assert labels is not None
    network = quantize(graph, calibrate(graph, calibration), QuantizationScheme(8, 8))
    means = typical_means(network, calibration[:64])
    gating = gate(network, images[:100], labels[:100], 0.1, means)
    assert gating.accuracy == reference.accuracy(network, images[:100], labels[:100])
    assert gating.gated_accuracy >= gating.accuracy - 0.05
    assert gating.saved_macs_share > 0.005
