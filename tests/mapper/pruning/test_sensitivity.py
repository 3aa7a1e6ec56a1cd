"""Sensitivity of layers: one layer changes at a time, by exactly what was asked."""

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.mapper.pruning.sensitivity import compressed_layers, magnitude, measure, with_bits
from skipstone.models.data.float_execution import float_accuracy
from tests.models.builders import conv_layer, graph_of, quantized, random_images

GRAPH = graph_of(
    conv_layer("a", "x", (4, 2, 3, 3)), conv_layer("b", "a", (3, 4, 3, 3)), shape=(2, 5, 5), outputs=("b",)
)
IMAGES = random_images(GRAPH, 20)
LABELS = np.arange(20) % 3


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.5, 1.0])
def test_magnitude_is_torchs(amount):
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    module = torch.nn.Conv2d(2, 4, 3)
    module.weight.data = torch.from_numpy(GRAPH.layer("a").weights.copy())
    prune.l1_unstructured(module, "weight", round(amount * 72))
    np.testing.assert_array_equal(magnitude(GRAPH, "a", amount).layer("a").weights, module.weight.detach().numpy())


def test_bits_are_the_quantizers():
    """The 4-bit weights in float are the integers of a 4-bit quantization times their scale."""
    layer = quantized(GRAPH, 4, 8).array_layers[0]
    expected = layer.weights * layer.weight_scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(with_bits(GRAPH, "a", 4).layer("a").weights, expected, rtol=1e-6)


def test_each_point_changes_one_layer():
    points = list(compressed_layers(GRAPH, (0.25, 0.5), (3,)))
    assert [point[:3] for point in points] == [
        (name, quantity, value)
        for name in ("a", "b")
        for quantity, value in (("sparsity", 0.25), ("sparsity", 0.5), ("bits", 3.0))
    ]
    for name, _, _, changed in points:
        other = "b" if name == "a" else "a"
        assert changed.layer(other).weights is GRAPH.layer(other).weights


def test_points_hold_the_accuracy_that_onnx_runtime_measures():
    accuracy, cycles, points = measure(
        GRAPH, IMAGES, LABELS, (0.5,), (2,), cycles=lambda graph: sum(np.count_nonzero(c.weights) for c in graph.convs)
    )
    assert accuracy == float_accuracy(GRAPH, IMAGES, LABELS)
    assert cycles == 72 + 108
    pruned = points[0]
    assert pruned.accuracy == float_accuracy(magnitude(GRAPH, "a", 0.5), IMAGES, LABELS)
    assert (pruned.accuracy_lost, pruned.cycles_saved, pruned.density) == (accuracy - pruned.accuracy, 36, 0.5)


def test_bits_sparsities_and_layers_out_of_range_are_refused():
    with pytest.raises(SkipstoneError, match="weight bits must be from 2 to 16, not 1"):
        with_bits(GRAPH, "a", 1)
    with pytest.raises(SkipstoneError, match=r"sparsities must be from 0 to 1, not 1\.5"):
        list(compressed_layers(GRAPH, (1.5,), ()))
    with pytest.raises(SkipstoneError, match="no layer 'c'"):
        magnitude(GRAPH, "c", 0.5)
