"""The layers of a float network in the array's terms, each with its output's shape and its multiplications."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.ends import Arrangement, FileShape
from skipstone.models.graph.function import Function
from skipstone.models.graph.grids import WeightGrid, check_grid

Shape = tuple[int, int, int]
"""(channels, height, width) of a tensor."""


Pair = tuple[int, int]
"""(vertical, horizontal)."""


Padding = tuple[int, int, int, int]
"""Pixels added at (top, left, bottom, right)."""


Clamp = tuple[float, float]
"""(low, high) in real units; a side without a bound is infinite. ReLU is (0, inf)."""


def _window(
    shape: Shape, channels: int, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, name: str
) -> Shape:
    height = output_size(shape[1], kernel[0], stride[0], padding[0], padding[2], dilation[0])
    width = output_size(shape[2], kernel[1], stride[1], padding[1], padding[3], dilation[1])
    if height < 1 or width < 1:
        raise SkipstoneError(
            f"layer '{name}': a {kernel[0]}x{kernel[1]} kernel with dilation {dilation[0]}x{dilation[1]} does not fit "
            f"its {shape[1]}x{shape[2]} input with padding {padding}"
        )
    return (channels, height, width)


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer(ABC):
    """What all layers have: a unique name (also its output tensor's), and the tensors it reads, in order.

    ``clamp`` bounds the output, after everything else the layer does; None leaves it as it is.
    """

    name: str
    inputs: tuple[str, ...]
    clamp: Clamp | None = None

    @property
    @abstractmethod
    def kind(self) -> str:
        """The word that reports show."""

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """Shape of the output for inputs of ``shapes``."""
        return shapes[0]

    def macs(self, output: Shape) -> int:
        """Multiplications by a trained weight, zeros included, for an output of shape ``output``."""
        return 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Layer):
    """Cross-correlation: ``weights`` K x C/groups x kh x kw and ``bias`` K, both float32.

    A fully connected layer is a Conv with ``gemm`` set, whose kernel covers its whole input (or is 1x1, for a matrix
    whose rows are pixels). ``grid`` is there where the weights are quantized already.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    gemm: bool = False
    grid: WeightGrid | None = None

    def __post_init__(self) -> None:
        check_grid(self.name, self.grid, self.weights)

    @property
    def kind(self) -> str:
        if self.gemm:
            return "gemm"
        return "depthwise" if self.groups > 1 and self.weights.shape[1] == 1 else "conv"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        self._check_channels(shapes[0])
        k, _, kh, kw = self.weights.shape
        return _window(shapes[0], k, (kh, kw), self.stride, self.padding, self.dilation, self.name)

    def macs(self, output: Shape) -> int:
        return int(self.weights[0].size) * math.prod(output)

    def _check_channels(self, source: Shape) -> None:
        outputs, inputs = self.weights.shape[:2]
        if inputs * self.groups != source[0]:
            raise SkipstoneError(
                f"layer '{self.name}': weights for {inputs * self.groups} input channels, input has {source[0]}"
            )
        if outputs % self.groups:
            raise SkipstoneError(
                f"layer '{self.name}': {outputs} output channels are not divisible into {self.groups} groups"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvTranspose(Conv):
    """A transposed convolution: input pixels stand ``stride`` apart in the output, each spread by the kernel; ``padding``
    is cut off the result, ``output_padding`` adds at its end. ``weights`` are K x C/groups x kh x kw as a Conv's
    (ONNX has C x K/groups), and as there ``output[y] += weights[i] * input[x]`` where ``y = x * stride + i * dilation``.
    """

    output_padding: Pair = (0, 0)

    @property
    def kind(self) -> str:
        return "transposed_conv"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        self._check_channels(shapes[0])
        k, _, kh, kw = self.weights.shape
        height, width = (
            self.stride[axis] * (shapes[0][axis + 1] - 1) + self._extra((kh, kw), axis) for axis in range(2)
        )
        if height < 1 or width < 1:
            raise SkipstoneError(f"layer '{self.name}': padding {self.padding} leaves nothing of its output")
        return (k, height, width)

    def _extra(self, kernel: Pair, axis: int) -> int:
        """Output pixels along one axis, less ``stride`` for each input pixel but the first."""
        spread = self.dilation[axis] * (kernel[axis] - 1) + 1
        return spread + self.output_padding[axis] - self.padding[axis] - self.padding[axis + 2]

    def macs(self, output: Shape) -> int:
        kernel = (self.weights.shape[2], self.weights.shape[3])
        pixels = [(output[axis + 1] - self._extra(kernel, axis)) // self.stride[axis] + 1 for axis in range(2)]
        return int(self.weights.size) * math.prod(pixels)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Layer):
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        return _window(shapes[0], shapes[0][0], self.kernel, self.stride, self.padding, self.dilation, self.name)


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePool(_Pool):
    """Mean over a window; padding counts as zeros, but for its outermost ``uncounted`` pixels, which leave the mean's
    divisor too: all of it for ONNX's ``count_include_pad=0``, what ``ceil_mode`` added for ``count_include_pad=1``."""

    uncounted: Padding = (0, 0, 0, 0)

    @property
    def kind(self) -> str:
        return "average_pool"


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(_Pool):
    """Maximum over a window; padding never wins."""

    @property
    def kind(self) -> str:
        return "max_pool"


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Layer):
    """Sum of two tensors of one shape (the same tensor twice is legal)."""

    @property
    def kind(self) -> str:
        return "add"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        if shapes[0] != shapes[1]:
            raise SkipstoneError(f"layer '{self.name}': can't add tensors of shapes {shapes[0]} and {shapes[1]}")
        return shapes[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(Layer):
    """Product of two tensors; the second has the first's shape, or one pixel for each channel."""

    @property
    def kind(self) -> str:
        return "product"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        if shapes[1] not in (shapes[0], (shapes[0][0], 1, 1)):
            raise SkipstoneError(f"layer '{self.name}': can't multiply tensors of shapes {shapes[0]} and {shapes[1]}")
        return shapes[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Layer):
    """Tensors side by side along the channels, in order."""

    @property
    def kind(self) -> str:
        return "concat"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        if len({shape[1:] for shape in shapes}) > 1:
            raise SkipstoneError(f"layer '{self.name}': can't put tensors of shapes {shapes} side by side")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


@dataclass(frozen=True, eq=False, kw_only=True)
class Upsample(Layer):
    """Every pixel repeated ``factor`` (vertically, horizontally) times: nearest-neighbour upsampling."""

    factor: Pair

    @property
    def kind(self) -> str:
        return "upsample"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        channels, height, width = shapes[0]
        return (channels, height * self.factor[0], width * self.factor[1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Pointwise(Layer):
    """``function`` of every element."""

    function: Function

    @property
    def kind(self) -> str:
        return "table"


@dataclass(frozen=True, eq=False, kw_only=True)
class Copy(Layer):
    """Its input, elsewhere: the quantizer's, for tensors that can't lie where a Concat needs them."""

    @property
    def kind(self) -> str:
        return "copy"


@dataclass(frozen=True, eq=False, kw_only=True)
class Select(Layer):
    """Channels of its input, in any order, and a regular grid of their pixels.

    Attributes:
        channels: For each output channel, the channel that it is.
        offset: The first pixel (row, column).
        stride: Pixels from one to the next.
        size: Height and width of the output; None for all pixels.
    """

    channels: NDArray[np.int64]
    offset: Pair = (0, 0)
    stride: Pair = (1, 1)
    size: Pair | None = None

    @property
    def kind(self) -> str:
        return "select"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        channels, *sizes = shapes[0]
        height, width = self.size or sizes
        last = [
            first + step * (size - 1)
            for first, step, size in zip(self.offset, self.stride, (height, width), strict=True)
        ]
        inside = self.channels.min(initial=0) >= 0 and self.channels.max(initial=0) < channels
        if not inside or not self.channels.size or last[0] >= sizes[0] or last[1] >= sizes[1]:
            raise SkipstoneError(
                f"layer '{self.name}': it selects elements that its input of {shapes[0]} does not have"
            )
        return (len(self.channels), height, width)


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Layer):
    """``x * scale + bias`` for each channel (float32): a batch normalization that no convolution could absorb.

    ``grid`` is there where the scales are quantized already; its integers are K x 1 x 1 x 1.
    """

    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    grid: WeightGrid | None = None

    def __post_init__(self) -> None:
        check_grid(self.name, self.grid, self.scale.reshape(-1, 1, 1, 1))

    @property
    def kind(self) -> str:
        return "affine"

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        if len(self.scale) != shapes[0][0]:
            raise SkipstoneError(
                f"layer '{self.name}': scales for {len(self.scale)} channels, input has {shapes[0][0]}"
            )
        return shapes[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClampLayer(Layer):
    """A ReLU or Clip that stands alone, because others read the unclamped tensor too; its bounds are in ``clamp``."""

    @property
    def kind(self) -> str:
        return "clamp"


@dataclass(frozen=True, eq=False, kw_only=True)
class OnHost(Layer):
    """What the host computes in floats after the array, as ONNX's ``operator`` does along an axis of ONNX's.

    No layer of the array reads it. The result of an operator that sees its inputs as they are is a tensor as all others.
    Else it is flat, in the order of ONNX's elements: (elements, 1, 1), or what ONNX's four axes are.

    Args:
        views: How the operator sees each input; empty: N x channels x height x width.
        axis: The axis of these views that it works along.
    """

    views: tuple[Arrangement, ...] = ()
    axis: int = 1

    def __post_init__(self) -> None:
        if self.views and len(self.views) != len(self.inputs):
            raise SkipstoneError(f"layer '{self.name}': {len(self.views)} views of {len(self.inputs)} inputs")

    @property
    @abstractmethod
    def operator(self) -> str:
        """ONNX's name of what it computes."""

    @property
    def attributes(self) -> dict[str, int]:
        """ONNX's attributes."""
        return {"axis": self.axis}

    @property
    def kind(self) -> str:
        return self.operator.lower()

    @property
    def batched(self) -> bool:
        """Whether it works on every image of a batch alone."""
        return self.axis > 0 and all(view.batched for view in self.views)

    def scored(self, order: NDArray[np.int64] | None) -> tuple[str, NDArray[np.int64] | None]:
        """The tensor that holds the scores of classes which this makes probabilities or a class of, and their order.

        Args:
            order: The order in which the file has this layer's results; None for their own.
        """
        return self.inputs[0], self.views[0].index if self.views else None

    def seen(self, shapes: tuple[Shape, ...]) -> tuple[FileShape, ...]:
        """The shapes of its inputs in ONNX."""
        return tuple(view.shape for view in self.views) or tuple((1, *shape) for shape in shapes)

    def result_shape(self, shapes: tuple[Shape, ...]) -> FileShape:
        """The shape of its result in ONNX, for inputs whose tensors have ``shapes``."""
        return self.seen(shapes)[0]

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        for view, shape in zip(self.views, shapes, strict=False):
            if view.order.max(initial=0) >= math.prod(shape) or view.order.min(initial=0) < 0:
                raise SkipstoneError(
                    f"layer '{self.name}': it sees elements that its input of shape {shape} does not have"
                )
        for seen in self.seen(shapes):
            if not 0 <= self.axis < len(seen):
                raise SkipstoneError(f"layer '{self.name}': axis {self.axis} of a tensor of shape {seen}")
        batch, *sizes = self.result_shape(shapes)
        if batch == 1 and len(sizes) == 3:
            return (sizes[0], sizes[1], sizes[2])
        return (batch * math.prod(sizes), 1, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(OnHost):
    """Softmax along an axis, the channels unless ``views`` say otherwise; its logarithm if ``log``."""

    log: bool = False

    @property
    def operator(self) -> str:
        return "LogSoftmax" if self.log else "Softmax"

    def scored(self, order: NDArray[np.int64] | None) -> tuple[str, NDArray[np.int64] | None]:
        if not self.views:
            return self.inputs[0], order
        return self.inputs[0], self.views[0].index if order is None else self.views[0].order[order]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArgMax(OnHost):
    """The place of the largest value along an axis, which stays with size 1 if ``keep``; of equal ones the first, or the
    last if ``last``."""

    keep: bool = True
    last: bool = False

    @property
    def operator(self) -> str:
        return "ArgMax"

    @property
    def attributes(self) -> dict[str, int]:
        return {"axis": self.axis, "keepdims": int(self.keep), "select_last_index": int(self.last)}

    def result_shape(self, shapes: tuple[Shape, ...]) -> FileShape:
        (seen,) = self.seen(shapes)
        return (*seen[: self.axis], *((1,) if self.keep else ()), *seen[self.axis + 1 :])


@dataclass(frozen=True, eq=False, kw_only=True)
class Join(OnHost):
    """Tensors side by side along any axis of ONNX's: the results of several heads."""

    @property
    def operator(self) -> str:
        return "Concat"

    @property
    def kind(self) -> str:
        return "join"

    def result_shape(self, shapes: tuple[Shape, ...]) -> FileShape:
        seen = self.seen(shapes)
        others = {(shape[: self.axis], shape[self.axis + 1 :]) for shape in seen}
        if len(others) > 1:
            raise SkipstoneError(f"layer '{self.name}': can't put tensors of shapes {seen} side by side")
        return (*seen[0][: self.axis], sum(shape[self.axis] for shape in seen), *seen[0][self.axis + 1 :])


LAYER_TYPES: tuple[type[Layer], ...] = (
    Add, Affine, ArgMax, AveragePool, ClampLayer, Concat, Conv, ConvTranspose, Copy, Join, MaxPool, Pointwise, Product, Select,
    Softmax, Upsample,
)  # fmt: skip
"""Every kind of layer; quantizer, trainer and mapper know these and no others."""


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """Output pixels along one axis, ``floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1``."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
