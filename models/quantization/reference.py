"""The integer reference: the result of every layer of a quantized network, bit for bit. The RTL is compared with it.

Plain NumPy. Products and sums use floating-point matrix multiplication for speed. It is in float32 or float64 only
where the weights prove that all partial sums are integers which the type holds exactly.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Labels, check_labels
from skipstone.models.graph.layers import output_size
from skipstone.models.quantization.network import (
    HostProduct,
    Lattice,
    QuantizedLayer,
    QuantizedNetwork,
    QuantizedTensor,
    requantize,
)

Integers = NDArray[np.int64]
_Number = TypeVar("_Number", bound=np.generic)

BATCH_IMAGES = 16
"""Images that ``scores`` runs at once in a thread; few, so that a layer's unfolded input stays near the caches."""

BATCH_BYTES = 1 << 25
"""Memory for the unfolded input of a batch."""


def quantize_input(network: QuantizedNetwork, images: NDArray[np.floating]) -> Integers:
    """Rounds float images (N x channels x height x width) to the input's integers: ``rint(x / scale) + z``, clipped."""
    tensor = network.tensors[network.input]
    if images.shape[1:] != tensor.shape:
        raise SkipstoneError(
            f"images of shape {'x'.join(map(str, images.shape[1:]))} don't fit network '{network.name}', "
            f"whose input is {'x'.join(map(str, tensor.shape))}"
        )
    return quantize_tensor(tensor, images)


def quantize_tensor(tensor: QuantizedTensor, values: NDArray[np.floating]) -> Integers:
    """Rounds real ``values`` to integers of ``tensor``, to nearest (ties to even, as ONNX), and clips them to its bits."""
    limit = 1 << (tensor.bits - 1)
    # ONNX divides in float32; so must this, or values at a tie could fall on the other side.
    steps = np.rint(values.astype(np.float32) / np.float32(tensor.scale))
    integers: Integers = np.clip(steps + tensor.zero_point, -limit, limit - 1).astype(np.int64)
    return integers


def run(network: QuantizedNetwork, images: Integers) -> dict[str, Integers]:
    """Computes all tensors of a network.

    Args:
        network: The quantized network.
        images: Quantized images, N x channels x height x width.

    Returns:
        The integers of every tensor, by name.
    """
    tensors = run_layers(network, network.layers, {network.input: images})
    for name in network.concats:
        _tensor(network, tensors, name)
    return tensors


def run_layers(
    network: QuantizedNetwork, layers: Iterable[QuantizedLayer | HostProduct], start: dict[str, Integers]
) -> dict[str, Integers]:
    """Computes ``layers`` in order, from the tensors in ``start``. The result has these tensors, too."""
    tensors = dict(start)
    for layer in layers:
        if isinstance(layer, HostProduct):
            a, b = (_tensor(network, tensors, name) for name in layer.inputs)
            tensors[layer.output] = run_product(layer, a, b)
            continue
        x = _tensor(network, tensors, layer.input)
        other = _tensor(network, tensors, layer.other) if layer.other is not None else None
        if layer.lattice is None:
            tensors[layer.output] = run_layer(network, layer, x, other)
            continue
        if layer.output not in tensors:
            tensors[layer.output] = np.zeros((len(x), *network.tensors[layer.output].shape), np.int64)
        chosen = (..., *pixels(layer.lattice))
        some = other[chosen] if other is not None else None
        tensors[layer.output][chosen] = run_layer(network, layer, x, some)
    return tensors


def _tensor(network: QuantizedNetwork, tensors: dict[str, Integers], name: str) -> Integers:
    """Tensor ``name``, joined from its parts (which are all complete) where it is not there yet."""
    if name not in tensors:
        parts = [_tensor(network, tensors, part) for part in network.concats[name]]
        tensors[name] = np.concatenate(parts, axis=1)
    return tensors[name]


def pixels(lattice: Lattice) -> tuple[slice, slice]:
    """The rows and columns of a tensor that lie on ``lattice``."""
    top, left = (
        slice(offset, offset + step * (size - 1) + 1, step)
        for offset, step, size in zip(lattice.offset, lattice.step, lattice.size, strict=True)
    )
    return top, left


def run_product(product: HostProduct, a: Integers, b: Integers) -> Integers:
    """The product of integers ``a`` and ``b`` (of a's shape, or one pixel for each channel)."""
    exact = (a - product.zero_points[0]) * (b - product.zero_points[1])
    none, multiplier, shift = (np.array(value, np.int64) for value in (0, product.multiplier, product.shift))
    return requantize(exact, none, multiplier, shift, product.zero_point, product.low, product.high)


def class_scores(network: QuantizedNetwork, images: Integers) -> Integers:
    """Computes the scores of classes (``network.scores``) for quantized images, N x classes in the order of the network's file.

    Batches run in parallel threads, each with single-threaded BLAS. Most of the time goes into moving memory, for which
    BLAS alone would use one core.
    """

    def batch(start: int) -> Integers:
        return scores_of(network, run(network, images[start : start + BATCH_IMAGES]))

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(list(threads.map(batch, range(0, len(images), BATCH_IMAGES))))


def scores_of(network: QuantizedNetwork, tensors: dict[str, Integers]) -> Integers:
    """The scores of classes among ``tensors``, N x classes in the order of the network's file."""
    name, order = network.scores
    flat = tensors[name].reshape(len(tensors[name]), -1)
    return flat if order is None else flat[:, order]


def real_scores(network: QuantizedNetwork, images: NDArray[np.floating]) -> NDArray[np.float64]:
    """:func:`class_scores` of float images as real values, ``scale * (q - zero_point)``."""
    tensor = network.tensors[network.scores[0]]
    integers = class_scores(network, quantize_input(network, images))
    result: NDArray[np.float64] = tensor.scale * (integers - tensor.zero_point).astype(np.float64)
    return result


def predict(network: QuantizedNetwork, images: NDArray[np.floating]) -> Integers:
    """The class of each float image. Of equal scores the first wins."""
    classes: Integers = class_scores(network, quantize_input(network, images)).argmax(axis=1)
    return classes


def accuracy(network: QuantizedNetwork, images: NDArray[np.floating], labels: Labels) -> float:
    """Top-1 accuracy, 0 to 1."""
    result = class_scores(network, quantize_input(network, images))
    check_labels(labels, len(result), result.shape[1])
    return float(np.mean(result.argmax(axis=1) == labels))


def run_layer(network: QuantizedNetwork, layer: QuantizedLayer, x: Integers, other: Integers | None = None) -> Integers:
    """Computes the pixels of one layer (``network.size_of(layer)``).

    Args:
        network: The quantized network.
        layer: One of its layers.
        x: The input's integers, N x channels x height x width.
        other: The integers of the added tensor at these pixels, where the layer adds one.
    """
    if (other is None) != (layer.other is None):
        raise SkipstoneError(f"layer '{layer.name}' adds {'no tensor' if layer.other is None else repr(layer.other)}")

    def column(values: Integers) -> Integers:
        return values[:, None, None]

    result = requantize(
        accumulate(layer, x),
        column(layer.bias),
        column(layer.multiplier),
        column(layer.shift),
        layer.zero_point,
        layer.low,
        layer.high,
        other - layer.other_zero_point if other is not None else None,
        column(layer.other_multiplier),
    )
    if layer.table is None:
        return result
    looked_up: Integers = layer.table[result + len(layer.table) // 2]
    return looked_up


def accumulate(layer: QuantizedLayer, x: Integers) -> Integers:
    """The accumulators (N x K x height x width) before bias and requantization."""
    if layer.reads is not None:
        x = x[:, layer.reads]
    if layer.operation == "max":
        return _maximum(layer, _padded(layer, x))
    activation = max(1, abs(layer.pad_value), int(x.max(initial=0)), -int(x.min(initial=0)))
    largest = int(np.abs(layer.weights).sum(axis=(1, 2, 3)).max()) * activation
    if largest >= 1 << 53:
        raise SkipstoneError(f"layer '{layer.name}': its accumulators need more than 53 bits")
    kind = np.float32 if largest < 1 << 24 else np.float64
    return _multiply_add(layer, _padded(layer, x.astype(kind)))


def _padded(layer: QuantizedLayer, x: NDArray[_Number]) -> NDArray[_Number]:
    """``x`` with ``layer``'s padding around it; a negative one crops."""
    top, left, bottom, right = layer.padding
    sides = ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))
    padded = np.pad(x, sides, constant_values=layer.pad_value) if any(map(any, sides)) else x
    height, width = padded.shape[2:]
    return padded[:, :, max(-top, 0) : height + min(bottom, 0), max(-left, 0) : width + min(right, 0)]


def _taps(layer: QuantizedLayer, padded: NDArray[np.generic]) -> NDArray[np.generic]:
    """A view of ``padded`` as N x C x kernel height x kernel width x output height x output width."""
    kh, kw = layer.weights.shape[2:]
    (sv, sh), (dv, dh) = layer.stride, layer.dilation
    n, c, height, width = padded.shape
    oh, ow = output_size(height, kh, sv, 0, 0, dv), output_size(width, kw, sh, 0, 0, dh)
    a, b, y, x = padded.strides
    shape, strides = (n, c, kh, kw, oh, ow), (a, b, y * dv, x * dh, y * sv, x * sh)
    return np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)


def _multiply_add(layer: QuantizedLayer, padded: NDArray[np.floating]) -> Integers:
    outputs, inputs, kh, kw = layer.weights.shape
    taps = _taps(layer, padded)
    n, oh, ow = len(padded), *taps.shape[4:]
    weights = layer.weights.astype(padded.dtype)
    if inputs == 1 and layer.groups == outputs:
        total = np.zeros((n, outputs, oh, ow), padded.dtype)
        for i, j in np.ndindex(kh, kw):
            total += taps[:, :, i, j] * weights[:, 0, i, j, None, None]
        return total.astype(np.int64)
    groups = layer.groups
    matrix = weights.reshape(groups, outputs // groups, -1)
    result = np.empty((n, outputs, oh, ow), np.int64)
    batch = max(1, BATCH_BYTES // max(1, taps[:1].size * padded.dtype.itemsize))
    for start in range(0, n, batch):
        # Images side by side in one long product: one for each image would spend its time waking BLAS threads.
        some = taps[start : start + batch]
        unfolded = some.transpose(1, 2, 3, 0, 4, 5).reshape(groups, matrix.shape[2], -1)
        product = np.matmul(matrix, unfolded).reshape(outputs, len(some), oh, ow)
        result[start : start + batch] = product.transpose(1, 0, 2, 3)
    return result


def _maximum(layer: QuantizedLayer, padded: Integers) -> Integers:
    outputs, inputs, kh, kw = layer.weights.shape
    taps = _taps(layer, padded)
    lowest = np.iinfo(np.int64).min
    result = np.full((len(padded), outputs, *taps.shape[4:]), lowest)
    first = np.arange(outputs) // (outputs // layer.groups) * inputs
    for c, i, j in np.ndindex(inputs, kh, kw):
        used = np.flatnonzero(layer.weights[:, c, i, j])
        result[:, used] = np.maximum(result[:, used], taps[:, first[used] + c, i, j])
    return np.where(result == lowest, 0, result)
