"""Ranges of tensors that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.calibrate import calibrate
from models.errors import SkipstoneError
from models.graph import Affine, Graph
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
    ranges = calibrate(doubled(), ramp(), "percentile:99")
    # Half a percent of 9,999 steps at each end.
    assert ranges.limits["x"] == pytest.approx((49.995, 9949.005))
    assert ranges.description == "99th percentile on 100 images"
    assert calibrate(doubled(), ramp(), "percentile:100").limits == calibrate(doubled(), ramp()).limits


def test_random_input_is_seeded_and_said() -> None:
    first, again, other = (calibrate(doubled(), seed=seed, low=-2, high=3) for seed in (1, 1, 2))
    assert first == again != other
    assert -2 <= first.limits["x"][0] < -1.9
    assert 2.9 < first.limits["x"][1] < 3
    assert first.description == "min-max on 16 seeded random inputs in -2,3"


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
def test_methods_that_are_none(method: str, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        calibrate(doubled(), ramp(1), method)
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
