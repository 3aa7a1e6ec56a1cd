"""Ranges of every tensor of a float graph, from real images or, without any, from seeded random ones.

The network runs in ONNX Runtime with all its tensors as outputs. The quantizer turns ranges into scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import SkipstoneError
from models.evaluate import run_onnx
from models.graph import Graph
from models.images import Images, fit_images
from models.onnx_export import to_onnx

SAMPLES = 1 << 20
"""Values of a tensor that a percentile looks at, at most: evenly spaced ones, the same number from each batch."""
BATCH = 32


@dataclass(frozen=True)
class Ranges:
    """``limits`` (low, high) of every tensor, the input's included; ``description`` is for reports."""

    limits: dict[str, tuple[float, float]]
    description: str


def calibrate(
    graph: Graph,
    images: Images | None = None,
    method: str = "minmax",
    *,
    seed: int = 0,
    low: float = 0.0,
    high: float = 1.0,
    random_images: int = 16,
) -> Ranges:
    """Ranges on ``images`` (N x channels x height x width); without, on uniform ones from ``low`` to ``high``.

    ``method`` is ``minmax``, or ``percentile:P``, which leaves out the outer ``100 - P`` percent of values, half at
    each end. A random input says nothing about accuracy; it serves cycles and energy.
    """
    percentile = _percentile(method)
    if images is None:
        if not low < high:
            raise SkipstoneError(f"random input needs low below high, not {low:g} and {high:g}")
        rng = np.random.default_rng(seed)
        images = rng.uniform(low, high, (random_images, *graph.input_shape)).astype(np.float32)
        source = f"{random_images} seeded random inputs in {low:g},{high:g}"
    else:
        images = fit_images(graph, images)
        source = f"{len(images)} images"
    model = to_onnx(graph, all_tensors=True)
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    kept: dict[str, list[NDArray[np.generic]]] = {}
    quota = SAMPLES // -(-len(images) // BATCH)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for name, values in {graph.input: batch, **run_onnx(model, {graph.input: batch})}.items():
            lows[name] = min(lows.get(name, np.inf), float(values.min()))
            highs[name] = max(highs.get(name, -np.inf), float(values.max()))
            if percentile is not None:
                kept.setdefault(name, []).append(values.ravel()[:: -(-values.size // quota)].copy())
    for name in lows:
        if not (np.isfinite(lows[name]) and np.isfinite(highs[name])):
            raise SkipstoneError(
                f"layer '{name}' gives NaN or infinity on the calibration input; is the input scaled as in training?"
            )
    if percentile is None:
        return Ranges({name: (lows[name], highs[name]) for name in lows}, f"min-max on {source}")
    outer = (100 - percentile) / 2
    limits = {}
    for name, parts in kept.items():
        bounds = np.percentile(np.concatenate(parts).astype(np.float64), (outer, 100 - outer))
        limits[name] = (float(bounds[0]), float(bounds[1]))
    return Ranges(limits, f"{percentile:g}th percentile on {source}")


def _percentile(method: str) -> float | None:
    name, separator, value = method.partition(":")
    if method == "minmax":
        return None
    if name != "percentile" or not separator:
        raise SkipstoneError(
            f"no calibration method '{method}'; the methods are minmax, percentile:P (as percentile:99.99)"
        )
    try:
        percentile = float(value)
    except ValueError:
        percentile = np.nan
    if not 50 < percentile <= 100:
        raise SkipstoneError(f"calibration '{method}': the percentile must be above 50 and at most 100, not {value}")
    return percentile
