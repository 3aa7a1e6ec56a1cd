"""The float network: layers in the array's terms, wired as a networkx graph, with shapes and work derived from them.

The ONNX importer makes a graph, pruning makes another one with other weights, calibration and quantization read it.
Nothing here changes after construction. A layer has one output tensor, which carries the layer's name; tensors are
(channels, height, width), without the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.function import Function
from skipstone.models.quantization.network import WeightCode, output_size

Shape = tuple[int, int, int]
"""(channels, height, width) of a tensor."""
Pair = tuple[int, int]
"""(vertical, horizontal)."""
Padding = tuple[int, int, int, int]
"""Pixels added at (top, left, bottom, right)."""
Clamp = tuple[float, float]
"""(low, high) in real units; a side without a bound is infinite. ReLU is (0, inf)."""


@dataclass(frozen=True, eq=False)
class WeightGrid:
    """Weights that are quantized already: ``integers`` (int64, of the weights' shape) times ``scale`` (K float64 of float32
    values, one for each output channel) are the weights, as float32. ``code`` with ``bits`` is what the integers keep to."""

    integers: NDArray[np.int64]
    scale: NDArray[np.float64]
    code: WeightCode = "linear"
    bits: int = 8

    @property
    def weights(self) -> NDArray[np.float32]:
        """What the integers stand for."""
        scale = self.scale.reshape(-1, *[1] * (self.integers.ndim - 1))
        return (self.integers * scale).astype(np.float32)


@dataclass(frozen=True)
class ActivationGrid:
    """How a tensor is quantized: ``real = scale * (q - zero_point)``, ``q`` being signed integers of ``bits``."""

    scale: float
    zero_point: int
    bits: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise SkipstoneError(f"a tensor's grid must have 2 to 16 bits, not {self.bits}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise SkipstoneError(f"a tensor's grid must have a positive scale, not {self.scale:g}")
        low, high = -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        if not low <= self.zero_point <= high:
            raise SkipstoneError(
                f"a zero point of {self.bits} bits lies from {low} to {high}, not at {self.zero_point}"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest real value."""
        low, high = -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return self.scale * (low - self.zero_point), self.scale * (high - self.zero_point)


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
class Layer:
    """What all layers have: a unique name (also its output tensor's), and the tensors it reads, in order.

    ``clamp`` bounds the output, after everything else the layer does; None leaves it as it is.
    """

    name: str
    inputs: tuple[str, ...]
    clamp: Clamp | None = None

    @property
    def kind(self) -> str:
        """The word that reports show."""
        raise NotImplementedError

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
        _check_grid(self.name, self.grid, self.weights)

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
class Affine(Layer):
    """``x * scale + bias`` for each channel (float32): a batch normalization that no convolution could absorb.

    ``grid`` is there where the scales are quantized already; its integers are K x 1 x 1 x 1.
    """

    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    grid: WeightGrid | None = None

    def __post_init__(self) -> None:
        _check_grid(self.name, self.grid, self.scale.reshape(-1, 1, 1, 1))

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
class Softmax(Layer):
    """Softmax over the channels, done on the host."""

    @property
    def kind(self) -> str:
        return "softmax"


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: one input tensor named ``input`` of ``input_shape``, ``layers``, and the names of its output tensors.

    ``layers`` may come in any order without a cycle; :attr:`order` is the execution order. ``grids`` has the tensors whose
    quantization is fixed, and ``grids_from`` where it comes from, in words for reports. Raises SkipstoneError for a cycle,
    a name used twice, a tensor that nobody makes, or shapes that don't fit.
    """

    name: str
    input: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    grids: Mapping[str, ActivationGrid] = field(default_factory=dict)
    grids_from: str = ""

    def __post_init__(self) -> None:
        names = [self.input, *(layer.name for layer in self.layers)]
        known = set(names)
        if len(known) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise SkipstoneError(f"network '{self.name}': layer names used twice: {', '.join(twice)}")
        wanted = {tensor for layer in self.layers for tensor in layer.inputs} | set(self.outputs)
        if wanted - known:
            raise SkipstoneError(f"network '{self.name}': no layer makes {', '.join(sorted(wanted - known))}")
        if self.grids.keys() - known:
            strangers = ", ".join(sorted(self.grids.keys() - known))
            raise SkipstoneError(f"network '{self.name}': grids for tensors that it does not have, {strangers}")
        if not nx.is_directed_acyclic_graph(self.network):
            raise SkipstoneError(f"network '{self.name}' has a cycle")
        self.shapes  # noqa: B018  (computed here so that a misfit is refused at construction)

    @cached_property
    def network(self) -> nx.DiGraph:
        """The layers as a frozen networkx graph: a node for the input and each layer (attribute ``layer``), an edge for
        each tensor read."""
        network = nx.DiGraph()
        network.add_node(self.input, layer=None)
        network.add_nodes_from((layer.name, {"layer": layer}) for layer in self.layers)
        network.add_edges_from((tensor, layer.name) for layer in self.layers for tensor in layer.inputs)
        return nx.freeze(network)

    @cached_property
    def order(self) -> tuple[Layer, ...]:
        """The layers in execution order; where there is a choice, in the order they were given."""
        place = {name: index for index, name in enumerate(self.network)}
        names = nx.lexicographical_topological_sort(self.network, key=place.__getitem__)
        return tuple(self.network.nodes[name]["layer"] for name in names if name != self.input)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every tensor, the input's first."""
        shapes: dict[str, Shape] = {self.input: self.input_shape}
        for layer in self.order:
            shapes[layer.name] = layer.output_shape(tuple(shapes[tensor] for tensor in layer.inputs))
        return shapes

    @cached_property
    def macs(self) -> Mapping[str, int]:
        """Multiplications by a trained weight of every layer (dense, one image), in execution order."""
        return {layer.name: layer.macs(self.shapes[layer.name]) for layer in self.order}

    def layer(self, name: str) -> Layer:
        """The layer called ``name``."""
        if name == self.input or name not in self.network:
            names = ", ".join(layer.name for layer in self.layers)
            raise SkipstoneError(f"network '{self.name}' has no layer '{name}'; it has {names}")
        layer: Layer = self.network.nodes[name]["layer"]
        return layer

    def readers(self, tensor: str) -> tuple[str, ...]:
        """Names of the layers that read ``tensor``; one that reads it twice stands here twice."""
        return tuple(layer.name for layer in self.order for name in layer.inputs if name == tensor)

    @property
    def convs(self) -> tuple[Conv, ...]:
        """The layers with trained weights (Conv and Gemm), in execution order."""
        return tuple(layer for layer in self.order if isinstance(layer, Conv))

    @property
    def quantized(self) -> bool:
        """Whether the weights of any layer, or any tensor, are quantized already."""
        return bool(self.grids) or any(isinstance(one, Conv | Affine) and one.grid is not None for one in self.layers)

    def with_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> Graph:
        """A new graph in which the named Conv and Gemm layers have other weights of the same shape, and no grid."""
        for name, array in weights.items():
            old = self._with_trained_weights(name)
            if array.shape != old.weights.shape:
                raise SkipstoneError(
                    f"layer '{name}': weights of shape {array.shape} can't replace {old.weights.shape}"
                )
        layers = tuple(
            replace(layer, weights=np.asarray(weights[layer.name], dtype=np.float32), grid=None)
            if isinstance(layer, Conv) and layer.name in weights
            else layer
            for layer in self.layers
        )
        return replace(self, layers=layers)

    def with_grids(self, grids: Mapping[str, WeightGrid]) -> Graph:
        """A new graph in which the named Conv and Gemm layers have the weights of these grids, and the grids themselves."""
        for name, grid in grids.items():
            old = self._with_trained_weights(name)
            if grid.integers.shape != old.weights.shape:
                raise SkipstoneError(
                    f"layer '{name}': a grid of shape {grid.integers.shape} can't replace weights of {old.weights.shape}"
                )
        layers = tuple(
            replace(layer, weights=grids[layer.name].weights, grid=grids[layer.name])
            if isinstance(layer, Conv) and layer.name in grids
            else layer
            for layer in self.layers
        )
        return replace(self, layers=layers)

    def _with_trained_weights(self, name: str) -> Conv:
        layer = self.layer(name)
        if not isinstance(layer, Conv):
            raise SkipstoneError(f"layer '{name}' ({layer.kind}) has no weights to replace")
        return layer


def _check_grid(layer: str, grid: WeightGrid | None, weights: NDArray[np.float32]) -> None:
    """Refuses a grid that the weights don't lie on."""
    if grid is None:
        return
    if grid.integers.shape != weights.shape or grid.scale.shape != (len(weights),):
        raise SkipstoneError(
            f"layer '{layer}': a grid of {grid.integers.shape} with {grid.scale.shape} scales does not fit weights of "
            f"{weights.shape}"
        )
    if not 2 <= grid.bits <= 16:
        raise SkipstoneError(f"layer '{layer}': its grid must have 2 to 16 bits, not {grid.bits}")
    wrong = int(np.count_nonzero(grid.weights != weights))
    if wrong:
        raise SkipstoneError(
            f"layer '{layer}': {wrong} of its {weights.size} weights do not lie on its grid; "
            "change weights with Graph.with_weights or with_grids"
        )
