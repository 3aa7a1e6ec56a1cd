"""Folding and merging do not change results: workloads, evaluated as plain sparse sums, are compared with the layer's own
definition in the integer reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skipstone.mapper.lowering.workload import UNFOLDED, Fold, Workload, can_fold, folded_shape, lower, merge
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import Lattice, QuantizedLayer, QuantizedNetwork
from tests.sim.networks import layer, tensor

BITS = 6


def fold_of(values: np.ndarray, fold: Fold) -> np.ndarray:
    """A tensor (channels x height x width) folded: pixel by pixel, channel ``(c * fy + i) * fx + j`` is pixel (i, j) of c."""
    (fy, fx), (channels, height, width) = fold, values.shape
    folded = np.zeros((channels * fy * fx, height // fy, width // fx), np.int64)
    for c, y, x in np.ndindex(values.shape):
        folded[(c * fy + y % fy) * fx + x % fx, y // fy, x // fx] = values[c, y, x]
    return folded


def workload_sums(workload: Workload, x: np.ndarray) -> np.ndarray:
    """The accumulators of a workload for the folded input ``x``, by definition: one product (or candidate of a maximum) for
    each nonzero and output pixel; outside the image is the padding value."""
    maximum = workload.layer.operation == "max"
    nonzeros, geometry = workload.nonzeros, workload.geometry
    height, width = workload.size
    result = np.full((workload.channels, height, width), np.iinfo(np.int64).min if maximum else 0)
    rows = np.arange(height) * geometry.stride[0] - geometry.padding[0]
    columns = np.arange(width) * geometry.stride[1] - geometry.padding[1]
    for channel, source, ky, kx, value in zip(
        nonzeros.channel, nonzeros.position, nonzeros.ky, nonzeros.kx, nonzeros.value, strict=True
    ):
        assert 0 <= ky < geometry.kernel[0]
        assert 0 <= kx < geometry.kernel[1]
        y, x_ = rows + ky * geometry.dilation[0], columns + kx * geometry.dilation[1]
        inside = ((y >= 0) & (y < x.shape[1]))[:, None] & ((x_ >= 0) & (x_ < x.shape[2]))
        read = x[source][np.clip(y, 0, x.shape[1] - 1)[:, None], np.clip(x_, 0, x.shape[2] - 1)]
        read = np.where(inside, read, workload.layer.pad_value)
        result[channel] = np.maximum(result[channel], read) if maximum else result[channel] + value * read
    empty = np.bincount(nonzeros.channel, minlength=workload.channels) == 0
    result[empty] = 0
    return result


def reference_sums(layer: QuantizedLayer, x: np.ndarray) -> np.ndarray:
    return reference.accumulate(layer, x[None])[0].astype(np.int64)


@st.composite
def axes(draw) -> tuple[int, int, int, int, int, int, int]:
    """Outputs, kernel, stride, padding before, input size, dilation and the (possibly negative) padding after."""
    kernel, stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    outputs = draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    size = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16]))
    before = draw(st.integers(-3, 4))
    after = (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size - before + draw(st.integers(0, stride - 1))
    return outputs, kernel, stride, before, size, dilation, after


@st.composite
def layers(draw) -> tuple[QuantizedNetwork, np.ndarray]:
    """One layer of any geometry: grouped, depthwise, strided, dilated, padded on one side, cropped, of any density; and a
    random input."""
    (out_h, ky, sy, top, height, dy, bottom), (out_w, kx, sx, left, width, dx, right) = draw(axes()), draw(axes())
    groups, inputs, outputs = draw(st.sampled_from([(1, 3, 4), (1, 1, 5), (2, 2, 1), (3, 1, 1), (2, 1, 3), (1, 6, 1)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    maximum = draw(st.booleans())
    shape = (groups * outputs, inputs, ky, kx)
    keep = rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    weights = np.where(keep, rng.integers(-20, 21, shape), 0)
    if maximum:
        groups, outputs, inputs = groups * outputs, 1, 1
        weights = np.ones((groups, 1, ky, kx), np.int64)
    tensors = {
        "x": tensor("x", (groups * inputs, height, width), BITS),
        "y": tensor("y", (groups * outputs, out_h, out_w), BITS),
    }
    conv = layer(
        "one", "x", "y", weights, rng, BITS, groups=groups, stride=(sy, sx), padding=(top, left, bottom, right),
        dilation=(dy, dx), maximum=maximum,
    )  # fmt: skip
    if min(top, left, bottom, right) < 0:
        # Only layers that write a lattice crop; this one writes all of its tensor.
        conv = replace(conv, lattice=Lattice((0, 0), (1, 1), (out_h, out_w)))
    network = QuantizedNetwork("one", "x", ("y",), tensors, (conv,), (), BITS, BITS, "none")
    return network, rng.integers(-32, 32, tensors["x"].shape)


def divisors(size: int) -> st.SearchStrategy[int]:
    return st.sampled_from([fold for fold in range(1, size + 1) if size % fold == 0])


@settings(max_examples=150)
@given(layers())
def test_a_layer_without_folds_computes_the_same(drawn):
    network, x = drawn
    (conv,) = network.array_layers
    workload = lower(network, conv)
    np.testing.assert_array_equal(workload_sums(workload, x), reference_sums(conv, x))
    assert workload.size == network.size_of(conv)
    assert (workload.channels, workload.name) == (conv.weights.shape[0], "one")


@settings(max_examples=300)
@given(layers(), st.data())
def test_a_folded_layer_computes_the_same(drawn, data):
    """For every pair of folds that the layer can have, of input and output alone and together."""
    network, x = drawn
    (conv,) = network.array_layers
    out = network.size_of(conv)
    source = tuple(data.draw(divisors(size)) for size in x.shape[1:])
    target = tuple(data.draw(divisors(size)) for size in out)
    assume(all(can_fold(out[axis], _stride(network, conv)[axis], source[axis], target[axis]) for axis in (0, 1)))
    workload = lower(network, conv, source, target)
    got = workload_sums(workload, fold_of(x, source))
    np.testing.assert_array_equal(got, fold_of(reference_sums(conv, x), target))
    assert workload.size == (out[0] // target[0], out[1] // target[1])
    assert len(workload.nonzeros.channel) == conv.nnz * target[0] * target[1]
    (part,) = workload.parts
    assert part.of_layer.tolist() == [c for c in range(conv.weights.shape[0]) for _ in range(target[0] * target[1])]


def _stride(network: QuantizedNetwork, layer: QuantizedLayer) -> tuple[int, int]:
    """An axis with one output pixel gets stride 1, since its stride does not matter."""
    return tuple(step if size > 1 else 1 for step, size in zip(layer.stride, network.size_of(layer), strict=True))


@settings(max_examples=150)
@given(layers(), st.data())
def test_can_fold_refuses_exactly_the_folds_that_do_not_fit(drawn, data):
    """``can_fold`` is false exactly where the folded layer would have to move by a fraction of a pixel."""
    network, x = drawn
    (conv,) = network.array_layers
    stride = _stride(network, conv)
    for axis, (size, of_input) in enumerate(zip(network.size_of(conv), x.shape[1:], strict=True)):
        source, target = data.draw(divisors(of_input)), data.draw(divisors(size))
        steps = {stride[axis] * target * pixel / source for pixel in range(size // target)}
        assert can_fold(size, stride[axis], source, target) == all(step == int(step) for step in steps)


@st.composite
def alike(draw) -> tuple[QuantizedNetwork, np.ndarray, Fold, Fold]:
    """Two layers that read one tensor with the same stride and output size, and folds that suit both."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([(4, 4), (6, 8), (2, 12), (8, 3)]))
    stride = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    source = tuple(draw(divisors(side)) for side in size)
    out = tuple(-(-side // step) for side, step in zip(size, stride, strict=True))
    target = tuple(draw(divisors(side)) for side in out)
    assume(all(can_fold(out[axis], stride[axis], source[axis], target[axis]) for axis in (0, 1)))
    made, tensors = [], {"x": tensor("x", (3, *size), BITS)}
    for name in "ab":
        kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
        before = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        after = [
            (out[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - size[axis] - before[axis]
            for axis in (0, 1)
        ]
        channels = draw(st.integers(1, 4))
        tensors[name] = tensor(name, (channels, *out), BITS)
        weights = rng.integers(-9, 10, (channels, 3, *kernel)) * (rng.random((channels, 3, *kernel)) < 0.6)
        padding = (*before, *after)
        conv = layer(name, "x", name, weights, rng, BITS, stride=stride, padding=padding, dilation=dilation)
        conv = replace(conv, pad_value=5)
        if min(padding) < 0:
            conv = replace(conv, lattice=Lattice((0, 0), (1, 1), out))
        made.append(conv)
    network = QuantizedNetwork("two", "x", ("b",), tensors, tuple(made), (), BITS, BITS, "none")
    return network, rng.integers(-32, 32, tensors["x"].shape), source, target


@settings(max_examples=200)
@given(alike())
def test_merged_layers_compute_what_each_computes(drawn):
    """The first layer's channels, then the second one's, folded or not."""
    network, x, source, target = drawn
    first, second = network.array_layers
    workload = merge(lower(network, first, source, target), lower(network, second, source, target))
    expected = np.concatenate([fold_of(reference_sums(conv, x), target) for conv in (first, second)])
    np.testing.assert_array_equal(workload_sums(workload, fold_of(x, source)), expected)
    assert workload.name == "a+b"
    spans = [(part.first, part.channels) for part in workload.parts]
    channels = [conv.weights.shape[0] * target[0] * target[1] for conv in (first, second)]
    assert spans == [(0, channels[0]), (channels[0], channels[1])]
    assert workload.layer is first


def test_a_strided_layer_becomes_an_unstrided_one():
    """3x3 at stride 2 with padding 1 on 8x8: folded by 2x2 it is a 2x2 kernel at stride 1 on 4x4 of four times the channels, and
    reads one folded pixel before the image; nothing is added to its nonzeros."""
    rng = np.random.default_rng(0)
    tensors = {"x": tensor("x", (3, 8, 8), BITS), "y": tensor("y", (5, 4, 4), BITS)}
    strided = layer("one", "x", "y", np.ones((5, 3, 3, 3)), rng, BITS, stride=(2, 2), padding=(1, 1, 1, 1))
    workload = lower(
        QuantizedNetwork("n", "x", ("y",), tensors, (strided,), (), BITS, BITS, "none"), strided, (2, 2), UNFOLDED
    )
    geometry = workload.geometry
    assert (geometry.kernel, geometry.stride, geometry.padding) == ((2, 2), (1, 1), (1, 1))
    assert (geometry.low, geometry.high) == ((-1, -1), (0, 0))
    assert len(workload.nonzeros.channel) == 5 * 3 * 9
    assert folded_shape((3, 8, 8), (2, 2)) == (12, 4, 4)
