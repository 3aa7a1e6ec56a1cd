"""Layers of different codes, as grids that the quantizer keeps."""

from __future__ import annotations

import numpy as np

from skipstone.models.ptq.codes import coded
from skipstone.models.ptq.weight_range import with_weight_range
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import conv_layer, graph_of, random_images


def test_each_layer_keeps_its_code() -> None:
    layers = [conv_layer(name, before, (3, 3, 1, 1)) for name, before in zip("abcd", "xabc", strict=True)]
    layers[1].weights[0, 1] = 0
    layers[2].weights[2] = 0
    graph = graph_of(*layers, shape=(3, 4, 4))
    mixed = coded(graph, QuantizationScheme(2, weight_code="ternary"), layers=["a"])
    mixed = coded(mixed, QuantizationScheme(4, weight_code="power_of_two"), layers=["b"])
    mixed = coded(mixed, QuantizationScheme(8, weight_code="codebook", codebook_entries=2), layers=["c"])
    mixed = with_weight_range(mixed, 5)
    grids = [layer.grid for layer in mixed.convs]
    assert [(grid.code, grid.bits) for grid in grids if grid] == [
        ("ternary", 2),
        ("power_of_two", 4),
        ("codebook", 8),
        ("linear", 5),
    ]
    for layer, original in zip(mixed.convs, graph.convs, strict=True):
        assert layer.grid is not None
        assert not layer.weights[original.weights == 0].any()
    images = random_images(graph, 4)
    network = quantize(mixed, calibrate(mixed, images))
    for layer, made in zip(mixed.convs, network.array_layers, strict=True):
        assert layer.grid is not None
        assert np.array_equal(made.weights, layer.grid.integers)
