"""Weight scales against brute force, and our int8 weights against ONNX Runtime's quantizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.ptq.weight_range import nearest_grid, weight_scales, with_weight_range
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scales import activation_scale
from tests.models.builders import conv_layer, floats, graph_of, random_images


def squared_error(weights: np.ndarray, scale: float, bits: int) -> float:
    limit = 2 ** (bits - 1) - 1
    return float(np.square(weights - scale * np.clip(np.rint(weights / scale), -limit, limit)).sum())


@settings(max_examples=15)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_least_error_is_near_that_of_many_scales(bits: int, size: int, seed: int) -> None:
    weights = np.random.default_rng(seed).standard_t(3, (1, size, 1, 1)).astype(np.float32)
    mine = squared_error(weights, weight_scales(weights, bits, "mse")[0], bits)
    top = weight_scales(weights, bits)[0]
    least = min(squared_error(weights, top * share, bits) for share in np.linspace(0.02, 1, 600))
    # The error has many minima in the scale; 99 places to begin with may miss the lowest by little.
    assert mine <= least * 1.05 + 1e-9
    assert mine <= squared_error(weights, top, bits) + 1e-12


@settings(max_examples=30)
@given(st.integers(2, 16), st.sampled_from(["max", "mse"]), st.integers(0, 2**32 - 1))
def test_grids_keep_zeros_and_their_bits(bits: int, weight_range: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = conv_layer("a", "x", (4, 3, 1, 3))
    layer.weights[:] *= rng.random(layer.weights.shape) < 0.5
    layer.weights[2] = 0
    grid = nearest_grid(layer, bits, weight_range)  # type: ignore[arg-type]
    assert not grid.integers[layer.weights == 0].any()
    assert np.abs(grid.integers).max() <= 2 ** (bits - 1) - 1
    assert (grid.scale.astype(np.float32) == grid.scale).all()
    assert (grid.scale > 0).all()
    if weight_range == "max":
        assert np.abs(grid.weights - layer.weights).max() <= grid.scale.max() * 0.5001


def test_least_error_by_hand() -> None:
    """Four ones and a six in 2 bits: at scale 6 the ones are lost (4); the best scale is the mean of what stays."""
    weights = np.float32([1, 1, 1, 1, 6]).reshape(1, 5, 1, 1)
    assert squared_error(weights, 6.0, 2) == 4
    assert weight_scales(weights, 2).tolist() == [6.0]
    assert weight_scales(weights, 2, "mse")[0] == pytest.approx(6.0)
    more = np.float32([1] * 40 + [6]).reshape(1, 41, 1, 1)
    # All of them at +1: the mean, 46 / 41.
    assert weight_scales(more, 2, "mse")[0] == pytest.approx(46 / 41)


def test_layers_that_have_a_grid_are_not_changed() -> None:
    graph = graph_of(conv_layer("a", "x", (3, 2, 1, 1)), conv_layer("b", "a", (2, 3, 1, 1)), shape=(2, 4, 4))
    first = with_weight_range(graph, 3, layers=["a"])
    both = with_weight_range(first, {"b": 5})
    assert [layer.grid.bits for layer in both.convs if layer.grid] == [3, 5]
    assert both.layer("a") is first.layer("a")
    with pytest.raises(SkipstoneError, match=r"^layer 'a': no weight bits for it; give each layer its bits$"):
        with_weight_range(graph, {"b": 5})
    with pytest.raises(SkipstoneError, match=r"^layer 'a': weight bits must be from 2 to 16, not 1$"):
        with_weight_range(graph, 1)
    with pytest.raises(SkipstoneError, match=r"^no weight range 'mid'; the ranges are max, mse$"):
        with_weight_range(graph, 4, "mid")  # type: ignore[arg-type]


def test_int8_equals_onnxruntimes_quantizer(tmp_path: Path) -> None:
    """Symmetric weights per channel, min-max activations: ONNX Runtime's integers, scales and zero points are ours.

    Both use -127 to 127 for weights. Scales agree to the last bit of a float32, so an integer may differ by one at a tie.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    first = conv_layer("a", "x", (6, 3, 3, 3), padding=(1, 1, 1, 1), clamp=(0.0, np.inf))
    graph = graph_of(first, conv_layer("b", "a", (5, 6, 1, 1)), shape=(3, 7, 5))
    images = random_images(graph, 8)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = [images]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"x": self.batches.pop()} if self.batches else None

    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    source.write_bytes(to_onnx(graph).SerializeToString())
    options = {"ActivationSymmetric": False, "WeightSymmetric": True}
    quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options=options,
    )
    theirs = {
        initializer.name: numpy_helper.to_array(initializer) for initializer in onnx.load(target).graph.initializer
    }
    ranges = calibrate(graph, images)
    for layer in with_weight_range(graph, 8).convs:
        assert layer.grid is not None
        name = f"{layer.name}.weights"
        np.testing.assert_allclose(layer.grid.scale, theirs[f"{name}_scale"].ravel(), rtol=2e-7)
        difference = np.abs(layer.grid.integers - theirs[f"{name}_quantized"])
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01
    for tensor in ("x", "a", "b"):
        scale, zero_point = activation_scale(*ranges.limits[tensor], 8)
        assert scale == pytest.approx(float(theirs[f"{tensor}_scale"]), rel=2e-7)
        assert zero_point == int(theirs[f"{tensor}_zero_point"])


def test_rounding_twice_changes_nothing() -> None:
    """Weights that lie on the grid stay as they are."""
    layer = conv_layer("a", "x", (3, 2, 2, 2), bias=floats(3))
    graph = with_weight_range(graph_of(layer, shape=(2, 4, 4)), 4)
    again = with_weight_range(graph, 4, layers=["a"])
    assert np.array_equal(graph.convs[0].weights, again.convs[0].weights)
