"""Ranges of tensors that can be worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Affine
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.quantization.range_methods import (
    entropy_limits,
    entropy_threshold,
    mse_limits,
    percentile_limits,
)
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scales import activation_scale
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.builders import graph_of


def doubled() -> Graph:
    """2 x - 1, at least 0."""
    layer = Affine(name="a", inputs=("x",), scale=np.float32([2]), bias=np.float32([-1]), clamp=(0.0, math.inf))
    return graph_of(layer, shape=(1, 10, 10))


def ramp(count: int = 100) -> np.ndarray:
    """Images that together hold 0, 1, ... each once."""
    return np.arange(count * 100, dtype=np.float32).reshape(count, 1, 10, 10)


def test_minmax_spans_all_batches() -> None:
    ranges = calibrate(doubled(), ramp())
    assert ranges.limits == {"x": (0.0, 9999.0), "a": (0.0, 2 * 9999.0 - 1)}
    assert ranges.description == "min-max on 100 images"


def test_percentile_leaves_out_both_ends() -> None:
    ranges = calibrate(doubled(), ramp(), QuantizationScheme(calibration_method="percentile:99"))
    # Half a percent of 9,999 steps at each end.
    assert ranges.limits["x"] == pytest.approx((49.995, 9949.005))
    assert ranges.description == "99th percentile on 100 images"
    assert (
        calibrate(doubled(), ramp(), QuantizationScheme(calibration_method="percentile:100")).limits
        == calibrate(doubled(), ramp()).limits
    )


def test_random_input_is_seeded_and_described() -> None:
    first, again, other = (calibrate(doubled(), seed=seed, low=-2, high=3) for seed in (1, 1, 2))
    assert first == again != other
    assert -2 <= first.limits["x"][0] < -1.9
    assert 2.9 < first.limits["x"][1] < 3
    assert first.description == "min-max on 20 seeded random inputs in -2,3"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("kl", "no calibration method 'kl'; the methods are minmax, percentile:P (as percentile:99.99), mse, entropy"),
        (
            "percentile",
            "no calibration method 'percentile'; the methods are minmax, percentile:P (as percentile:99.99), mse, entropy",
        ),
        ("percentile:50", "calibration 'percentile:50': the percentile must be above 50 and at most 100, not 50"),
        ("percentile:x", "calibration 'percentile:x': the percentile must be above 50 and at most 100, not x"),
    ],
)
def test_unknown_methods_are_refused(method: str, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        calibrate(doubled(), ramp(1), QuantizationScheme(calibration_method=method))
    assert str(error.value) == message


def test_other_errors() -> None:
    with pytest.raises(
        SkipstoneError, match=r"^images of shape 1x10x9 don't fit network 'test', whose input is 1x10x10$"
    ):
        calibrate(doubled(), np.zeros((2, 1, 10, 9), np.float32))
    with pytest.raises(SkipstoneError, match=r"^random input needs low below high, not 1 and 1$"):
        calibrate(doubled(), low=1, high=1)
    with pytest.raises(
        SkipstoneError, match=r"^layer 'a' gives NaN or infinity on the calibration input; is the input"
    ):
        calibrate(doubled(), np.full((1, 1, 10, 10), 3e38, np.float32))


def test_symmetric_ranges_have_zero_point_0() -> None:
    images = ramp(2)
    for method in ("minmax", "percentile:99", "mse", "entropy"):
        ranges = calibrate(
            doubled(), images, QuantizationScheme(calibration_method=method, symmetric=True, activation_bits=6)
        )
        for low, high in ranges.limits.values():
            assert low == -high
            assert activation_scale(low, high, 6, True) == (float(np.float32(high / 31)), 0)
    assert ranges.description == "least divergence at 6 bits, symmetric, on 2 images"


@settings(max_examples=15)
@given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 0.5, 3.0]))
def test_least_error_against_a_grid_of_ranges(bits: int, seed: int, symmetric: bool, offset: float) -> None:
    """No range of a 16 x 16 grid is much better, by the error of each value on its own."""
    values = (np.random.default_rng(seed).standard_t(2, 400) + offset).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    limits = mse_limits(values, low, high, bits, symmetric)

    def error(low: float, high: float) -> float:
        scale, zero_point = activation_scale(low, high, bits, symmetric)
        integers = np.clip(np.rint(values / scale) + zero_point, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return float(np.square(values - scale * (integers - zero_point)).mean())

    most = max(abs(low), abs(high))
    shares = np.linspace(0.05, 1, 16)
    if symmetric:
        candidates = [(-most * share, most * share) for share in shares]
    else:
        candidates = [(min(low, 0) * left, max(high, 0) * right) for left in shares for right in shares]
    assert error(*limits) <= 1.05 * min(error(*candidate) for candidate in candidates)
    unclipped = (-most, most) if symmetric else (low, high)
    assert error(*limits) <= error(*unclipped) * (1 + 1e-4)


def test_least_error_clips_an_outlier() -> None:
    values = np.concatenate([np.linspace(0, 1, 10_000), [4.0]]).astype(np.float32)
    low, high = mse_limits(values, 0.0, 4.0, 4)
    assert low == 0
    assert 0.9 < high < 1.2
    assert mse_limits(values, 0.0, 4.0, 12)[1] == pytest.approx(4, rel=0.01)


def test_entropy_by_hand() -> None:
    """Two levels of two bins each say 4, 4, 2, 2 as it is; 8 at the end would be lost among the outliers before."""
    assert entropy_threshold(np.array([4, 4, 2, 2]), 2) == 4
    assert entropy_threshold(np.array([5, 5, 5, 5, 0, 0, 0, 0, 0, 0]), 2) == 4


def test_entropy_sides_and_limits() -> None:
    values = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    values[0] = 40
    low, high = entropy_limits(values, float(values.min()), 40.0, 8)
    assert low >= values.min()
    assert 2.5 < high < 10
    assert entropy_limits(np.zeros(5, np.float32), 0.0, 0.0, 8) == (0.0, 0.0)
    low, high = entropy_limits(-np.abs(values), -40.0, 0.0, 8)
    assert high == 0
    assert -10 < low < -2.5
    with pytest.raises(
        SkipstoneError, match=r"^entropy calibration takes activations of up to 10 bits, not 12; take mse"
    ):
        entropy_limits(values, -1.0, 1.0, 12)


def theirs(
    folder: Path, graph: Graph, images: np.ndarray, method: str, **options: Any
) -> dict[str, tuple[float, float]]:
    """Ranges that ONNX Runtime computes."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    path = folder / "float.onnx"
    path.write_bytes(to_onnx(graph).SerializeToString())
    calibrator = create_calibrator(
        str(path),
        ["Mul", "Add", "Relu"],
        str(folder / "augmented.onnx"),
        calibrate_method=CalibrationMethod[method],
        extra_options=options,
    )

    class Reader:
        def __init__(self) -> None:
            self.batches = [{"x": images}]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.batches.pop() if self.batches else None

    calibrator.collect_data(Reader())
    computed = calibrator.compute_data()
    return {name: tuple(float(np.ravel(limit)[0]) for limit in computed[name].range_value) for name in ("x", "a")}


def tailed(seed: int = 0, count: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, (count, 1, 10, 10)).astype(np.float32)


def test_minmax_and_percentile_are_onnxruntimes(tmp_path: Path) -> None:
    """Min-max is the same; their percentile is read off a histogram, so it is ours within a bin of it."""
    graph, images = doubled(), tailed()
    assert calibrate(graph, images).limits == theirs(tmp_path, graph, images, "MinMax")
    mine = calibrate(graph, images, QuantizationScheme(calibration_method="percentile:99")).limits
    other = theirs(tmp_path, graph, images, "Percentile", num_bins=4096, percentile=99, symmetric=False)
    for name, ours in mine.items():
        width = 2 * float(np.abs(calibrate(graph, images).limits[name]).max()) / 4096
        assert ours == pytest.approx(other[name], abs=1.01 * width)
    assert percentile_limits(images, 99, True)[1] == pytest.approx(np.percentile(np.abs(images), 99))


def test_entropy_is_near_onnxruntimes_on_symmetric_tensors(tmp_path: Path) -> None:
    """For a symmetric tensor of both signs, with as many bins and levels. Their histogram has both signs, its levels are whole
    bins, and its counts are cut to integers; ours folds the signs. Both cut the same tail off, within a level or two. On a
    tensor of one sign they differ by design: half of their levels lie where no value is."""
    images = np.random.default_rng(0).laplace(size=(100, 1, 10, 10)).astype(np.float32)
    images = np.concatenate([images, -images])
    most = float(images.max())
    _, other = theirs(tmp_path, doubled(), images, "Entropy", num_bins=255, num_quantized_bins=31)["x"]
    histogram, edges = np.histogram(np.abs(images), 128, (0.0, most))
    mine = edges[entropy_threshold(histogram, 16)]
    assert mine < 0.95 * most
    assert other < 0.95 * most
    assert mine == pytest.approx(other, abs=most / 8)
