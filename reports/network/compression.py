"""What compression did: accuracy of the float, quantized and compressed network, and nonzero weights of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from skipstone.mapper.results.network import LayerResult, NetworkResult
from skipstone.reports.network.definitions import WEIGHT_COLUMNS
from skipstone.reports.network.summary import count, decimals, density, percent, share
from skipstone.reports.web.figures import Figure, Grid, Key, Numbers, bar_height, bar_layout, stacked_bars

NORMAL_95 = 1.959964
"""The normal distribution's 97.5% quantile."""


def compression_figures(result: NetworkResult) -> tuple[Figure, ...]:
    """The plots: accuracy, if it was measured, and weights layer by layer."""
    return (*([accuracy_figure(result)] if accuracies(result) else []), weights_figure(result))


def accuracies(result: NetworkResult) -> list[tuple[str, float]]:
    """The measured accuracies (0 to 1) with their networks' names, in the order float, quantized, compressed."""
    named = (
        ("float", result.accuracy.float),
        ("quantized", result.accuracy.quantized),
        ("compressed", result.accuracy.compressed),
    )
    return [(name, value) for name, value in named if value is not None]


def interval(accuracy: float, images: int) -> tuple[float, float]:
    """The 95% confidence interval of an accuracy (0 to 1) measured on ``images`` images; no interval where there are none.

    Wilson's score interval (E. B. Wilson, Journal of the American Statistical Association 22, 1927, 209-212).
    """
    if not images:
        return accuracy, accuracy
    z2 = NORMAL_95**2
    middle = (accuracy + z2 / (2 * images)) / (1 + z2 / images)
    half = NORMAL_95 * math.sqrt(accuracy * (1 - accuracy) / images + z2 / (4 * images**2)) / (1 + z2 / images)
    return max(0.0, middle - half), min(1.0, middle + half)


def accuracy_figure(result: NetworkResult) -> Figure:
    """Top-1 accuracy with its 95% interval."""
    measured = accuracies(result)
    names = [name for name, _ in measured]
    images = result.accuracy.images
    intervals = [interval(value, images) for _, value in measured]
    traces, layout = accuracy_bars(names, [value for _, value in measured], intervals)
    traces[0]["hovertemplate"] = "%{customdata}: %{x:.2f}%<extra></extra>"
    return Figure(
        name="accuracy",
        title="Accuracy",
        caption=f"Top-1 accuracy on {images:,} images: the float network, its integers with all weights, and its integers "
        f"compressed ({result.pruning}). The lines are 95% confidence intervals (Wilson's score) for this number of images; "
        "all networks see the same images, so their differences are more certain than the lines show.",
        height=bar_height(names),
        traces=traces,
        layout=layout,
        keys=(),
        table=Grid(
            ("network", "accuracy", "right", "images", "95% from", "95% to"),
            tuple(
                (name, percent(value, 2), count(value * images), count(images), percent(low, 2), percent(high, 2))
                for (name, value), (low, high) in zip(measured, intervals, strict=True)
            ),
            definitions={
                "accuracy": "right / images",
                "right": "images whose largest output is the label's",
                "95% from": "Wilson's score interval: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.96",
            },
        ),
        numbers=Numbers(
            ("network", "accuracy", "images", "low_95", "high_95"),
            tuple((name, value, images, *ends) for (name, value), ends in zip(measured, intervals, strict=True)),
        ),
    )


def accuracy_bars(
    names: Sequence[str], values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces and layout of horizontal bars of accuracies (0 to 1), each with a line for its confidence interval."""
    traces = stacked_bars(names, [("accuracy", [100 * value for value in values])], "%")
    traces[0]["error_x"] = {
        "type": "data",
        "symmetric": False,
        "array": [100 * (high - value) for value, (_, high) in zip(values, intervals, strict=True)],
        "arrayminus": [100 * (value - low) for value, (low, _) in zip(values, intervals, strict=True)],
        "color": "var(--ink)",
        "thickness": 1.2,
    }
    notes = [(100 * high + 0.5, percent(value, 2)) for value, (_, high) in zip(values, intervals, strict=True)]
    layout = bar_layout(names, "top-1 accuracy, %", notes)
    layout["xaxis"] |= {"range": [0, 112], "tickvals": [0, 20, 40, 60, 80, 100]}
    layout["meta"]["narrow"]["xaxis"] = {"range": [0, 130], "tickvals": [0, 50, 100]}
    return traces, layout


def weights_figure(result: NetworkResult) -> Figure:
    """Nonzero and zero weights of each layer; in the table also their encoded bits."""
    layers = [layer for layer in result.layers if layer.trained]
    names = [layer.name for layer in layers]
    notes = [(float(layer.weights), f"{percent(density(layer))} nonzero") for layer in layers]
    series = [
        ("nonzero", [layer.nnz for layer in layers]),
        ("zero", [layer.weights - layer.nnz for layer in layers]),
    ]
    layout = bar_layout(names, "weights", notes)
    layout["meta"]["narrow"]["xaxis"]["range"] = [0, 1.7 * max((layer.weights for layer in layers), default=1)]
    return Figure(
        name="weights",
        title="Weights of each layer",
        caption="Nonzero weights and zeros. A zero takes no entry in the weight memories, and each nonzero and filler takes one "
        f"of {result.entry_bits} bits, index included: below, beside a dense array of {result.weight_bits}-bit weights."
        if result.entry_bits
        else "Nonzero weights and zeros.",
        height=bar_height(names),
        traces=stacked_bars(names, series, "weights"),
        layout=layout,
        keys=(Key("nonzero", 0, (0,)), Key("zero", 1, (1,))),
        table=Grid(
            ("layer", *WEIGHT_COLUMNS),
            tuple(_row(layer, result.weight_bits) for layer in layers),
            definitions=WEIGHT_COLUMNS,
        ),
        numbers=Numbers(
            ("layer", "weights", "nonzero", "dense_bits", "encoded_bits"),
            tuple(
                (layer.name, layer.weights, layer.nnz, layer.weights * result.weight_bits, layer.encoded_bits)
                for layer in layers
            ),
        ),
    )


def _row(layer: LayerResult, bits: int) -> tuple[str, ...]:
    dense = layer.weights * bits
    return (
        *(layer.name, count(layer.weights), count(layer.nnz), percent(density(layer)), count(dense)),
        *(count(layer.encoded_bits), decimals(share(layer.encoded_bits, layer.nnz), 1)),
        percent(share(layer.encoded_bits, dense)),
    )
