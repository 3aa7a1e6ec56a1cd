"""Ranges of every tensor of a float graph, from real images or, without any, from seeded random ones.

The network runs in ONNX Runtime with all its tensors as outputs. The quantizer turns ranges into scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.data.images import Images, check_images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.quantization.range_methods import (
    Limits,
    Values,
    entropy_limits,
    mse_limits,
    parse_method,
    percentile_limits,
    symmetric_limits,
)
from skipstone.models.quantization.scheme import INT8, QuantizationScheme

SAMPLES = 1 << 20
"""Values of a tensor that percentile, mse and entropy look at, at most: evenly spaced ones, the same number from each
batch."""
BATCH = 32


@dataclass(frozen=True)
class Ranges:
    """Ranges of all tensors of a graph.

    Attributes:
        limits: (low, high) of every tensor, the input included.
        description: Where they come from, for reports.
    """

    limits: dict[str, tuple[float, float]]
    description: str


RANDOM_IMAGES = 16
"""How many random images, at least, serve to measure ranges."""
RANDOM_VALUES = 2048
"""How many values they have together, at least: a vector has few."""


def calibrate(
    graph: Graph,
    images: Images | None = None,
    scheme: QuantizationScheme = INT8,
    *,
    seed: int = 0,
    low: float = 0.0,
    high: float = 1.0,
    random_images: int | None = None,
) -> Ranges:
    """Measures the range of every tensor of a graph.

    ``scheme.calibration_method`` is one of:

    - ``minmax``: the smallest and the largest value.
    - ``percentile:P``: all but the outer ``100 - P`` percent of values, half at each end.
    - ``mse``: the least squared error of the values on a grid of ``activation_bits``
      (:func:`skipstone.models.quantization.range_methods.mse_limits`).
    - ``entropy``: the least Kullback-Leibler divergence
      (:func:`skipstone.models.quantization.range_methods.entropy_limits`).

    A symmetric scheme makes every range ``-high`` to ``high``. Only ``mse`` and ``entropy`` use its activation bits.
    Random images say nothing about accuracy; they serve cycles and energy.

    Args:
        graph: The float graph.
        images: N x channels x height x width; None for uniformly random ones.
        scheme: The calibration method, activation bits and symmetry.
        seed: Seed of random images.
        low: Least value of random images.
        high: Greatest value of random images.
        random_images: How many random images; None for 16, and more of few values each, so that there are 2048 values.
    """
    name, percentile = parse_method(scheme.calibration_method)
    activation_bits, symmetric = scheme.activation_bits, scheme.symmetric
    if images is None:
        if not low < high:
            raise SkipstoneError(f"random input needs low below high, not {low:g} and {high:g}")
        rng = np.random.default_rng(seed)
        if random_images is None:
            random_images = max(RANDOM_IMAGES, RANDOM_VALUES // math.prod(graph.input_shape))
        images = rng.uniform(low, high, (random_images, *graph.input_shape)).astype(np.float32)
        source = f"{random_images} seeded random inputs in {low:g},{high:g}"
    else:
        images = check_images(graph, images)
        source = f"{len(images)} images"
    model = to_onnx(graph, all_tensors=True)
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    sampled: dict[str, list[Values]] = {}
    quota = SAMPLES // -(-len(images) // BATCH)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for tensor, values in {graph.input: batch, **run_onnx(model, {graph.input: batch})}.items():
            lows[tensor] = min(lows.get(tensor, np.inf), float(values.min()))
            highs[tensor] = max(highs.get(tensor, -np.inf), float(values.max()))
            if name != "minmax":
                sampled.setdefault(tensor, []).append(
                    np.asarray(values, np.float32).ravel()[:: -(-values.size // quota)].copy()
                )
    for tensor in lows:
        if not (np.isfinite(lows[tensor]) and np.isfinite(highs[tensor])):
            raise SkipstoneError(
                f"layer '{tensor}' gives NaN or infinity on the calibration input; is the input scaled as in training?"
            )
    limits: dict[str, Limits] = {}
    for tensor in lows:
        ends = (lows[tensor], highs[tensor])
        samples: Values = np.concatenate(sampled[tensor]) if sampled else np.empty(0, np.float32)
        match name:
            case "percentile":
                limits[tensor] = percentile_limits(samples, percentile, symmetric)
            case "mse":
                limits[tensor] = mse_limits(samples, *ends, activation_bits, symmetric)
            case "entropy":
                limits[tensor] = entropy_limits(samples, *ends, activation_bits, symmetric)
            case _:
                limits[tensor] = symmetric_limits(*ends) if symmetric else ends
    what = {
        "minmax": "min-max",
        "percentile": f"{percentile:g}th percentile",
        "mse": f"least squared error at {activation_bits} bits",
        "entropy": f"least divergence at {activation_bits} bits",
    }[name]
    return Ranges(limits, f"{what}{', symmetric,' if symmetric else ''} on {source}")
