"""What calibration images say about each layer: input and output moments, zeros after the ReLU, second moments of inputs.

The network runs in ONNX Runtime. Activation-based criteria read :func:`measure`; second-order pruning and reconstruction
read :func:`input_moments`. Padding counts as the zeros that the layer sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import run_onnx
from skipstone.models.data.images import Images, check_images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, ClampLayer, Conv, ConvTranspose, Layer
from skipstone.models.graph.to_onnx import to_onnx

BATCH = 16
"""Images that are unfolded at a time, which bounds memory."""
Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Of a Conv or Gemm layer with C input and K output channels, over all images and pixels.

    ``input_square`` is the mean square of what each input channel and tap sees (C x kh x kw). ``output_std`` is the
    standard deviation of the output before its clamp (K). ``zeros`` is the share of zeros (K) after the ReLU that the output
    goes through, the layer's own or that of the single Add or clamp that reads it; None without a ReLU.
    """

    input_square: Real
    output_std: Real
    zeros: Real | None


@dataclass(frozen=True, eq=False)
class Moments:
    """Means over all images and output pixels of a layer's unfolded input x, D = C/groups * kh * kw values in the order of
    the weights: ``mean`` of x (groups x D), ``second`` of x x^T (groups x D x D). With z as what a reference network's
    layer sees, ``reference_mean`` is of z and ``cross`` of z x^T; without a reference z is x."""

    mean: Real
    second: Real
    reference_mean: Real
    cross: Real


def measure(graph: Graph, images: Images) -> dict[str, LayerStatistics]:
    """Statistics of every layer with trained weights, in execution order."""
    images = check_images(graph, images)
    probed = _unclamped(graph)
    activation = {layer.name: _activation(graph, layer) for layer in graph.convs}
    model = to_onnx(probed, all_tensors=True)
    square: dict[str, Real] = {}
    sums: dict[str, Real] = {}
    squares: dict[str, Real] = {}
    zeros: dict[str, Real] = {}
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        tensors = {graph.input: batch, **run_onnx(model, {graph.input: batch})}
        for layer in graph.convs:
            seen = unfold(layer, tensors[layer.inputs[0]].astype(np.float32), graph.shapes[layer.name][1:])
            _add(square, layer.name, np.square(seen, dtype=np.float64).mean(axis=(4, 5)).sum(axis=0))
            output = tensors[_before_clamp(layer)].astype(np.float64)
            _add(sums, layer.name, output.mean(axis=(2, 3)).sum(axis=0))
            _add(squares, layer.name, np.square(output).mean(axis=(2, 3)).sum(axis=0))
            tensor = activation[layer.name]
            if tensor is not None:
                _add(zeros, layer.name, (tensors[tensor] == 0).mean(axis=(2, 3)).sum(axis=0))
    count = len(images)
    return {
        layer.name: LayerStatistics(
            square[layer.name] / count,
            np.sqrt(np.maximum(squares[layer.name] / count - np.square(sums[layer.name] / count), 0)),
            zeros[layer.name] / count if layer.name in zeros else None,
        )
        for layer in graph.convs
    }


def input_moments(graph: Graph, layer: Conv, images: Images, reference: Graph | None = None) -> Moments:
    """First and second moments of a layer's unfolded input, for each group of the convolution, in float64.

    Args:
        graph: The network.
        layer: The layer.
        images: Calibration images.
        reference: The network with other weights, whose layer of that name gives the cross moments.
    """
    output = graph.shapes[layer.name][1:]
    size = int(np.prod(layer.weights.shape[1:]))
    mean, reference_mean = np.zeros((2, layer.groups, size))
    second, cross = np.zeros((2, layer.groups, size, size))
    pixels = 0
    others = input_batches(reference, layer, images) if reference else repeat(None)
    for x, z in zip(input_batches(graph, layer, images), others, strict=False):
        columns = columns_of(layer, x, output)
        pixels += columns.shape[2]
        mean += columns.sum(axis=2)
        second += columns @ columns.swapaxes(1, 2)
        if z is not None:
            seen = columns_of(layer, z, output)
            reference_mean += seen.sum(axis=2)
            cross += seen @ columns.swapaxes(1, 2)
    if reference is None:
        return Moments(mean / pixels, second / pixels, mean / pixels, second / pixels)
    return Moments(mean / pixels, second / pixels, reference_mean / pixels, cross / pixels)


def input_batches(graph: Graph, layer: Conv, images: Images) -> Iterator[NDArray[np.float32]]:
    """The tensor that ``layer`` reads, a few images at a time: N x C x H x W. Only what it needs is run."""
    images = check_images(graph, images)
    tensor = layer.inputs[0]
    before = None if tensor == graph.input else to_onnx(_ancestors(graph, tensor))
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        yield batch if before is None else run_onnx(before, {graph.input: batch})[tensor].astype(np.float32)


def columns_of(layer: Conv, x: NDArray[np.float32], output: tuple[int, ...]) -> Real:
    """``layer``'s input ``x`` unfolded to groups x D x (images * pixels), so that outputs of a group are weights @ columns."""
    seen = unfold(layer, x, output)
    images, channels, kh, kw, oh, ow = seen.shape
    grouped = seen.reshape(images, layer.groups, channels // layer.groups, kh, kw, oh * ow)
    columns: Real = grouped.transpose(1, 2, 3, 4, 0, 5).reshape(layer.groups, -1, images * oh * ow).astype(np.float64)
    return columns


def unfold(layer: Conv, x: NDArray[np.float32], output: tuple[int, ...]) -> NDArray[np.float32]:
    """What each tap sees: N x C x kh x kw x oh x ow of an input N x C x H x W, ``output`` being (oh, ow)."""
    kh, kw = layer.weights.shape[2:]
    top, left, bottom, right = layer.padding
    stride, dilation = layer.stride, layer.dilation
    reach = (dilation[0] * (kh - 1) + 1, dilation[1] * (kw - 1) + 1)
    if not isinstance(layer, ConvTranspose):
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        windows = sliding_window_view(padded, reach, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
        taps = windows[:, :, : output[0], : output[1], :: dilation[0], :: dilation[1]]
        return taps.transpose(0, 1, 4, 5, 2, 3)
    # A transposed convolution is one with the taps reversed over pixels that stand stride apart.
    spread = np.zeros((*x.shape[:2], *(stride[a] * (x.shape[a + 2] - 1) + 1 for a in range(2))), x.dtype)
    spread[:, :, :: stride[0], :: stride[1]] = x
    for axis, before in ((2, top), (3, left)):
        missing = reach[axis - 2] - 1 - before
        length = output[axis - 2] + reach[axis - 2] - 1
        start = max(0, -missing)
        spread = np.take(spread, range(start, spread.shape[axis]), axis=axis)
        first = max(0, missing)
        spread = np.take(spread, range(min(spread.shape[axis], length - first)), axis=axis)
        pads = [(0, 0)] * 4
        pads[axis] = (first, length - first - spread.shape[axis])
        spread = np.pad(spread, pads)
    windows = sliding_window_view(spread, reach, axis=(2, 3))[..., :: dilation[0], :: dilation[1]]
    return windows[..., ::-1, ::-1].transpose(0, 1, 4, 5, 2, 3)


def _add(totals: dict[str, Real], name: str, part: Real) -> None:
    totals[name] = totals[name] + part if name in totals else part


def _ancestors(graph: Graph, tensor: str) -> Graph:
    needed = graph.needed([tensor])
    layers = tuple(layer for layer in graph.layers if layer.name in needed)
    return replace(graph.with_outputs((tensor,)), layers=layers)


def _before_clamp(layer: Conv) -> str:
    return layer.name if layer.clamp is None else f"{layer.name}.unclamped"


def _unclamped(graph: Graph) -> Graph:
    """The same network in which every clamp of a Conv is a layer of its own."""
    layers: list[Layer] = []
    for layer in graph.layers:
        if isinstance(layer, Conv) and layer.clamp is not None:
            layers.append(replace(layer, name=_before_clamp(layer), clamp=None))
            layers.append(ClampLayer(name=layer.name, inputs=(_before_clamp(layer),), clamp=layer.clamp))
        else:
            layers.append(layer)
    return replace(graph, layers=tuple(layers))


def _activation(graph: Graph, layer: Layer) -> str | None:
    """The tensor in which ``layer``'s channels have gone through a ReLU."""
    if layer.clamp is not None:
        return layer.name if layer.clamp[0] == 0 else None
    readers = set(graph.readers(layer.name))
    if len(readers) != 1 or layer.name in graph.outputs:
        return None
    reader = graph.layer(readers.pop())
    return _activation(graph, reader) if isinstance(reader, Add | ClampLayer) else None


def statistics_of(statistics: Mapping[str, LayerStatistics], layer: Conv) -> LayerStatistics:
    """The entry of ``layer``, refused where there is none or it is of another shape."""
    entry = statistics.get(layer.name)
    if entry is None:
        raise SkipstoneError(f"layer '{layer.name}': no activation statistics; measure them on this graph")
    shape = (layer.weights.shape[1] * layer.groups, *layer.weights.shape[2:])
    if entry.input_square.shape != shape or entry.output_std.shape != (len(layer.weights),):
        raise SkipstoneError(
            f"layer '{layer.name}': activation statistics of another shape; measure them on this graph"
        )
    return entry
