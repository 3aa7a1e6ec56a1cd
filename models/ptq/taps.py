"""The input of a layer with weights, tap by tap, for methods that fit weights to images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.layers import Conv, ConvTranspose, Padding

Floats = NDArray[np.float32]


def taps(layer: Conv, x: Floats) -> Floats:
    """A view of the input in which a layer's outputs, without bias and clamp, are products of weights and taps.

    Args:
        layer: The layer.
        x: Its input, N x C x height x width.

    Returns:
        N x C x kernel height x kernel width x output height x output width.
    """
    kh, kw = layer.weights.shape[2:]
    dilation, stride, padding = layer.dilation, layer.stride, layer.padding
    if isinstance(layer, ConvTranspose):
        x, padding = _spread(layer, x)
        stride = (1, 1)
    top, left, bottom, right = padding
    sides = ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))
    padded = np.pad(x, sides)
    padded = padded[
        :, :, max(-top, 0) : padded.shape[2] + min(bottom, 0), max(-left, 0) : padded.shape[3] + min(right, 0)
    ]
    n, c, height, width = padded.shape
    oh, ow = (
        (size - step * (kernel - 1) - 1) // by + 1
        for size, step, kernel, by in ((height, dilation[0], kh, stride[0]), (width, dilation[1], kw, stride[1]))
    )
    a, b, v, h = padded.strides
    shape, strides = (n, c, kh, kw, oh, ow), (a, b, v * dilation[0], h * dilation[1], v * stride[0], h * stride[1])
    view = np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)
    return view[:, :, ::-1, ::-1] if isinstance(layer, ConvTranspose) else view


def mean_taps(layer: Conv, x: Floats) -> NDArray[np.float64]:
    """The mean of each tap over images and output pixels.

    Args:
        layer: The layer.
        x: Its input, N x C x height x width.

    Returns:
        Groups x (C/groups * kh * kw), in the weights' order.
    """
    view = taps(layer, x)
    mean = np.empty(view.shape[1:4])
    for i, j in np.ndindex(view.shape[2], view.shape[3]):
        mean[:, i, j] = view[:, :, i, j].mean(axis=(0, 2, 3), dtype=np.float64)
    return mean.reshape(layer.groups, -1)


def sampled_taps(layer: Conv, x: Floats, pixels: NDArray[np.int64]) -> Floats:
    """The taps of some output pixels.

    Args:
        layer: The layer.
        x: Its input, N x C x height x width.
        pixels: Flat indices into N x output height x output width.

    Returns:
        Groups x pixels x (C/groups * kh * kw), contiguous, in the weights' order.
    """
    view = taps(layer, x)
    image, row, column = np.unravel_index(pixels, (view.shape[0], *view.shape[4:]))
    chosen = view[image, :, :, :, row, column].reshape(len(pixels), layer.groups, -1)
    return np.ascontiguousarray(chosen.swapaxes(0, 1))


def _spread(layer: ConvTranspose, x: Floats) -> tuple[Floats, Padding]:
    """A transposed convolution's input with ``stride - 1`` zeros between its pixels, and a padding.

    With this padding a plain convolution with the turned kernel computes the same.
    """
    n, c, height, width = x.shape
    spread = np.zeros((n, c, layer.stride[0] * (height - 1) + 1, layer.stride[1] * (width - 1) + 1), x.dtype)
    spread[:, :, :: layer.stride[0], :: layer.stride[1]] = x
    reach = [step * (kernel - 1) for step, kernel in zip(layer.dilation, layer.weights.shape[2:], strict=True)]
    top, left, bottom, right = layer.padding
    after = [layer.output_padding[axis] + reach[axis] for axis in range(2)]
    return spread, (reach[0] - top, reach[1] - left, after[0] - bottom, after[1] - right)
