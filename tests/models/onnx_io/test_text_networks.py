"""PP-OCR's networks: hard swish as PaddlePaddle spells it, squeeze and excitation, upsampling, transposed convolutions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from tests.models.builders import run_ort
from tests.models.quantization.onnx_runtime import compare_with_onnxruntime
from tests.real_networks import TEXT_DETECTION, TEXT_DIRECTION, needs_rapidocr

pytestmark = needs_rapidocr


def strokes(graph: Graph, count: int, seed: int) -> NDArray[np.float32]:
    """Dark strokes on a light background, values from -1 to 1: no text, but with statistics closer to text than to noise."""
    rng = np.random.default_rng(seed)
    images = np.full((count, *graph.input_shape), 0.8, np.float32)
    height, width = graph.input_shape[1:]
    for image in images:
        for left in range(4, width - 8, 9):
            top, bottom = sorted(rng.integers(4, height - 4, 2).tolist())
            thick = int(rng.integers(2, 5))
            image[:, top : bottom + thick, left : left + thick] = -0.7
            image[:, bottom : bottom + thick, left : left + 7] = -0.7
    return images + rng.normal(0, 0.03, images.shape).astype(np.float32)


def imported(path: Path, shape: tuple[int, ...]) -> tuple[Graph, QuantizedNetwork, NDArray[np.float32]]:
    """The network, its integers, and images; checks that the import keeps ONNX Runtime's floats."""
    import onnx

    graph = load(path, shape)
    images = strokes(graph, 8, seed=1)
    expected = run_ort(onnx.load(path), images)
    got = run_onnx(to_onnx(graph), {graph.ends.input.name: images})[graph.ends.outputs[0].name]
    np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=1e-4)
    return graph, quantize(graph, calibrate(graph, images)), images


def test_text_direction() -> None:
    graph, network, images = imported(TEXT_DIRECTION, (1, 3, 48, 192))
    kinds = Counter(getattr(layer, "kind", "product") for layer in network.layers)
    assert kinds == {"conv": 42, "depthwise": 11, "average_pool": 10, "product": 9, "max_pool": 1, "gemm": 1}
    # 18 hard swishes and 9 hard sigmoids, each the table of the convolution before it.
    assert sum(layer.table is not None for layer in network.array_layers) == 27
    assert [host.operator for host in network.host_layers] == ["Softmax"]
    integers = reference.quantize_input(network, images)
    result = compare_with_onnxruntime(network, integers)
    assert result.max_steps <= 1
    assert result.min_equal_fraction >= 0.99
    target = network.tensors[network.outputs[0]]
    real = (reference.class_scores(network, integers) - target.zero_point) * target.scale
    floats = run_onnx(to_onnx(graph, all_tensors=True), {graph.input: images})[target.name].reshape(real.shape)
    # 74 layers of 8 bits; the networks decide alike wherever the float one is sure.
    sure = np.abs(floats[:, 0] - floats[:, 1]) > 0.5 * np.abs(floats).max()
    assert sure.any()
    assert (real.argmax(axis=1) == floats.argmax(axis=1))[sure].all()


def test_text_detection() -> None:
    _, network, images = imported(TEXT_DETECTION, (1, 3, 64, 64))
    groups = {layer.output: layer.kind for layer in network.array_layers if layer.lattice is not None}
    assert Counter(groups.values()) == {"upsample": 6, "transposed_conv": 2}
    assert [len(parts) for parts in network.concats.values()] == [4]
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images[:2]))
    assert result.max_steps <= 1
    assert result.min_equal_fraction >= 0.99
