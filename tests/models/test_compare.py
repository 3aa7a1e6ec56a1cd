"""Our integers against ONNX Runtime's, on small networks of every layer kind and on both ResNet-8s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import reference
from models.calibrate import calibrate
from models.compare import compare_with_onnxruntime
from models.images import load_images
from models.onnx_import import load
from models.prune import prune
from models.quantize import quantize
from models.zoo import carried_networks
from tests.models.builders import conv_layer, graph_of, quantized, random_images, random_integers
from tests.models.test_onnx_import import resnets
from tests.models.test_quantize import everything


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, 8), (2, 3), (16, 8), (8, 12)])
def test_every_kind_of_layer_within_one_step(weight_bits: int, activation_bits: int) -> None:
    graph = everything()
    images = random_images(graph, 16)
    network = quantize(graph, calibrate(graph, images), weight_bits, activation_bits)
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images))
    assert result.max_steps <= 1
    assert len(result.layers) == len(network.layers)
    assert result.images == result.agreeing + result.near_ties + result.unexplained == 16


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([(1, 3), (3, 1), (2, 2)]), pair, pair, pair, st.tuples(*[st.integers(0, 2)] * 4))
def test_convolutions_within_one_step(
    sizes: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> None:
    groups, inputs = sizes
    layer = conv_layer(
        "c", "x", (4 * groups, inputs, *kernel), groups=groups, stride=stride, dilation=dilation, padding=padding
    )
    network = quantized(graph_of(layer, shape=(groups * inputs, 8, 8)))
    assert compare_with_onnxruntime(network, random_integers(network, "x", 4)).max_steps <= 1


def test_a_wrong_integer_is_seen() -> None:
    """The comparison itself: a multiplier that is 5% off must show as several steps."""
    network = quantized(everything())
    wrong = list(network.layers)
    wrong[4] = replace(wrong[4], multiplier=wrong[4].multiplier * 95 // 100)
    network = replace(network, layers=tuple(wrong))
    result = compare_with_onnxruntime(network, random_integers(network, "x", 4))
    assert [layer.layer for layer in result.layers if layer.max_steps > 1] == ["c"]
    assert result.max_steps == max(layer.max_steps for layer in result.layers) > 1
    assert result.min_equal_fraction == result.layers[4].equal_fraction < 0.9


@pytest.mark.parametrize(("path", "high", "macs"), resnets())
@pytest.mark.parametrize("pruning", ["none", "unstructured:0.5"])
def test_resnet8(path: Callable[[], Path], high: float, macs: int, pruning: str) -> None:
    graph = prune(load(path()), pruning)
    if high == 1.0:
        images = load_images(carried_networks()["resnet8_fashion"].calibration)[0][:64]
    else:
        images = np.random.default_rng(1).uniform(0, high, (32, *graph.input_shape)).astype(np.float32)
    network = quantize(graph, calibrate(graph, images))
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images))
    assert result.max_steps <= 1
    assert result.min_equal_fraction >= 0.99
    assert result.unexplained == 0


def test_int8_keeps_the_carried_networks_accuracy() -> None:
    """Within half a point of float, as int8 should be; the card says 94.1% in float."""
    carried = carried_networks()["resnet8_fashion"]
    graph = load("resnet8_fashion")
    network = quantize(graph, calibrate(graph, load_images(carried.calibration)[0]))
    images, labels = load_images(carried.evaluation)
    assert labels is not None
    assert reference.accuracy(network, images, labels) >= 0.936
