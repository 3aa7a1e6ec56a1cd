"""Random quantized networks: layers of every supported shape, with weights and constants drawn freely."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.models.graph.layers import output_size
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork, QuantizedTensor


def tensor(name: str, shape: tuple[int, int, int], bits: int) -> QuantizedTensor:
    return QuantizedTensor(name, shape, 1.0, 0, bits)


def layer(
    name: str,
    source: str,
    target: str,
    weights: np.ndarray,
    rng: np.random.Generator,
    bits: int,
    *,
    groups: int = 1,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    maximum: bool = False,
    other: str | None = None,
    table: np.ndarray | None = None,
) -> QuantizedLayer:
    """A layer with random requantization whose outputs spread over the activations' range."""
    channels = weights.shape[0]
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    reach = np.abs(weights.reshape(channels, -1)).sum(axis=1) * (1 << (bits - 1)) + 1
    shift = rng.integers(16, 40, channels)
    # (reach * multiplier) >> shift is about the range of an activation.
    multiplier = np.clip((float(1 << bits) / reach) * 2.0**shift * rng.uniform(0.3, 3, channels), 0, (1 << 16) - 1)
    edges = np.sort(rng.integers(low, high + 1, 2)) if rng.random() < 0.3 else np.array([low, high])
    return QuantizedLayer(
        name=name,
        kind="max_pool" if maximum else "conv",
        operation="max" if maximum else "multiply_add",
        input=source,
        output=target,
        weights=weights.astype(np.int64),
        groups=groups,
        stride=stride,
        padding=padding,
        dilation=dilation,
        pad_value=low if maximum else int(rng.integers(low, high + 1)),
        bias=rng.integers(-(1 << (bits + 2)), 1 << (bits + 2), channels),
        multiplier=multiplier.astype(np.int64),
        shift=shift.astype(np.int64),
        zero_point=int(rng.integers(low, high + 1)),
        low=int(edges[0]),
        high=int(edges[1]),
        other=other,
        other_zero_point=int(rng.integers(low, high + 1)) if other else 0,
        other_multiplier=(2.0 ** (shift - 1) * rng.uniform(0, 1.5, channels)).astype(np.int64) % (1 << 32)
        if other
        else np.zeros(channels, np.int64),
        weight_scale=np.ones(channels),
        sources=(name,),
        table=table,
    )


def weight_values(rng: np.random.Generator, shape: tuple[int, ...], design: Design) -> np.ndarray:
    """Nonzero integers that the multipliers of ``design`` can say: any, powers of two, sums of them, signs, or a few a layer."""
    high = (1 << (design.weight_bits - 1)) - 1
    if design.multiplier == "shift":
        return rng.choice((-1, 1), shape) << rng.integers(0, 1 << (design.weight_bits - 1), shape)
    if design.multiplier == "additive":
        terms = (design.weight_bits - 1) // 2
        # Each term 0 or one of three powers; where all are 0, the least weight.
        exponents = terms * rng.integers(-1, 3, (terms, *shape)) + np.arange(terms).reshape(-1, *[1] * len(shape))
        magnitudes = np.where(exponents < 0, 0, 2 ** np.maximum(exponents, 0)).sum(axis=0)
        return rng.choice((-1, 1), shape) * np.maximum(magnitudes, 1)
    if design.multiplier == "sign":
        return rng.choice((-1, 1), shape)
    if design.multiplier == "codebook":
        values = np.setdiff1d(rng.integers(-high - 1, high + 1, design.codebook_entries), [0])
        return rng.choice(values, shape) if len(values) else np.ones(shape, np.int64)
    weights = rng.integers(-high, high + 1, shape)
    weights[weights == 0] = 1
    return weights


@st.composite
def weight_arrays(draw, shape: tuple[int, int, int, int], design: Design, rng: np.random.Generator) -> np.ndarray:
    """Unstructured, N:M, whole-filter, whole-input-channel, whole-tap sparsity, or dense; densities 0 to 1."""
    weights = weight_values(rng, shape, design)
    density = draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.6, 1.0]))
    pattern = draw(st.sampled_from(["unstructured", "two_of_four", "filters", "inputs", "taps"]))
    if pattern == "unstructured":
        mask = rng.random(shape) < density
    elif pattern == "two_of_four":
        mask = np.argsort(np.argsort(rng.random(shape), axis=1), axis=1) % 4 < 2
    elif pattern == "filters":
        mask = np.broadcast_to(rng.random((shape[0], 1, 1, 1)) < density, shape)
    elif pattern == "inputs":
        mask = np.broadcast_to(rng.random((1, shape[1], 1, 1)) < density, shape)
    else:
        mask = np.broadcast_to(rng.random((1, 1, *shape[2:])) < density, shape)
    return np.where(mask, weights, 0)


@st.composite
def networks(draw, design: Design, max_channels: int = 40, max_size: int = 40) -> QuantizedNetwork:
    """One layer; or two that read the same input, the second adding the first's output in its drain; or a chain of two; or
    one whose drain adds the network's input itself. Weights are such as ``design`` can say; where it has tables, half of the
    layers look up one.
    """
    activation_bits = design.activation_bits
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = st.one_of(st.integers(1, 9), st.integers(1, max_size))
    channel_counts = st.one_of(st.integers(1, 9), st.integers(1, max_channels))
    channels, height, width = draw(channel_counts), draw(sizes), draw(sizes)
    shape = draw(st.sampled_from(["single", "added", "chain", "input_added"]))
    kind = draw(st.sampled_from(["conv", "conv", "conv", "depthwise", "grouped", "max"]))

    def axis(size: int) -> tuple[int, int, int, int, int]:
        kernel = draw(st.integers(1, 5))
        dilation = draw(st.sampled_from([1, 1, 1, 2, 3])) if kernel > 1 else 1
        before, after = draw(st.integers(0, kernel)), draw(st.integers(0, kernel))
        extent = dilation * (kernel - 1) + 1
        if size + before + after < extent:
            kernel, dilation = 1, 1
        return kernel, draw(st.integers(1, 3)), before, after, dilation

    ky, sy, top, bottom, dy = axis(height)
    kx, sx, left, right, dx = axis(width)
    geometry = {"stride": (sy, sx), "padding": (top, left, bottom, right), "dilation": (dy, dx)}
    out = (output_size(height, ky, sy, top, bottom, dy), output_size(width, kx, sx, left, right, dx))
    if kind == "conv":
        groups, outputs = 1, draw(channel_counts)
    elif kind == "grouped":
        groups = draw(st.integers(1, 4))
        channels = groups * draw(st.integers(1, 6))
        outputs = groups * draw(st.integers(1, 6))
    else:
        groups = outputs = channels
    per_group = channels // groups
    maximum = kind == "max"

    def weights() -> np.ndarray:
        if maximum:
            return np.ones((outputs, 1, ky, kx), np.int64)
        return draw(weight_arrays((outputs, per_group, ky, kx), design, rng))

    def table() -> np.ndarray | None:
        if not design.tables or draw(st.booleans()):
            return None
        half = 1 << (activation_bits - 1)
        return rng.integers(-half, half, 2 * half)

    tensors = {"x": tensor("x", (channels, height, width), activation_bits)}
    tensors["a"] = tensor("a", (outputs, *out), activation_bits)
    geometry |= {"groups": groups, "maximum": maximum}
    layers = [layer("first", "x", "a", weights(), rng, activation_bits, table=table(), **geometry)]
    if shape == "added":
        tensors["b"] = tensor("b", (outputs, *out), activation_bits)
        layers.append(layer("second", "x", "b", weights(), rng, activation_bits, other="a", table=table(), **geometry))
    elif shape == "input_added":
        tensors["b"] = tensor("b", (channels, height, width), activation_bits)
        pointwise = draw(weight_arrays((channels, channels, 1, 1), design, rng))
        layers.append(layer("second", "x", "b", pointwise, rng, activation_bits, other="x", table=table()))
    elif shape == "chain":
        last = draw(st.integers(1, 12))
        tensors["b"] = tensor("b", (last, *out), activation_bits)
        chained = draw(weight_arrays((last, outputs, 1, 1), design, rng))
        layers.append(layer("second", "a", "b", chained, rng, activation_bits, table=table()))
    return QuantizedNetwork(
        name="random",
        input="x",
        outputs=(layers[-1].output,),
        tensors=tensors,
        layers=tuple(layers),
        host_layers=(),
        weight_bits=design.weight_bits,
        activation_bits=activation_bits,
        calibration="none",
    )
