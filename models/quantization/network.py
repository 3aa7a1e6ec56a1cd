"""The quantized network: what the array computes, in integers, layer by layer.

The quantizer makes it from a float graph, the integer reference runs it, the mapper turns it into a program, and the
QDQ writer turns it back into ONNX. Every layer is in the array's own terms: a (sparse) linear map or a maximum over
windows of one input tensor, a requantization, and optionally a second tensor added in the drain.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.ends import Arrangement, End, Ends, FileShape
from skipstone.models.graph.grids import WeightCode
from skipstone.models.graph.layers import ArgMax, Join, OnHost, Shape
from skipstone.models.graph.names import Names

if TYPE_CHECKING:
    from skipstone.models.graph.graph import Graph

Operation = Literal["multiply_add", "max"]


@dataclass(frozen=True)
class QuantizedTensor:
    """An activation tensor: ``real = scale * (q - zero_point)``, ``shape`` is (channels, height, width)."""

    name: str
    shape: tuple[int, int, int]
    scale: float
    zero_point: int
    bits: int


@dataclass(frozen=True)
class Lattice:
    """The output pixels that one layer writes: ``size`` (height, width) pixels, the first at ``offset``, ``step``
    apart.

    The phases of a transposed convolution, the copies of an upsampling and the borders of a pool are layers that write
    one tensor together.
    """

    offset: tuple[int, int]
    step: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """One layer of the array: ``q = clamp(zero_point + ((acc + bias) * multiplier + (other - other_zero_point) *
    other_multiplier + (1 << (shift - 1))) >> shift, low, high)`` for each output channel, with one rounding and an
    arithmetic shift.

    For ``multiply_add``, ``acc`` is the cross-correlation of ``weights`` with the *raw* input integers, where pixels
    outside the image are ``pad_value``. ``bias`` therefore already contains ``-input_zero_point * sum(weights)``. For
    ``max``, ``acc`` is the maximum of the input integers at the taps with a nonzero weight. A channel without any
    nonzero weight has ``acc = 0``.

    Attributes:
        name: The layer's name.
        kind: The word that reports show: conv, depthwise, gemm, average_pool, max_pool, add, affine, clamp, table,
            transposed_conv, upsample, copy, select.
        input: The tensor that it reads.
        output: The tensor that it writes.
        operation: ``multiply_add`` or ``max``.
        weights: K x C/groups x kh x kw, signed integers; a pruned weight is exactly 0.
        stride: Vertical and horizontal.
        padding: Top, left, bottom and right; negative, which crops the input, only with a lattice.
        dilation: Vertical and horizontal.
        groups: Groups of channels.
        pad_value: The integer of pixels outside the image.
        bias: K, int64.
        multiplier: K, int64, 0 to 2**16 - 1.
        shift: K, int64, 1 to 47.
        zero_point: Zero point of the result, before a table.
        low: Lower bound of the result.
        high: Upper bound of the result.
        other: The tensor that the drain adds, of the output's shape; None for none.
        other_zero_point: Its zero point.
        other_multiplier: K, int64, 0 to 2**32 - 1; 0 without ``other``.
        weight_scale: K, the scales of the weights.
        lattice: The pixels of the output tensor that the layer computes; None for all.
        table: 2**bits integers, looked up after the clamp at ``q + 2**(bits - 1)``: any pointwise function of the
            clamped value; None for none.
        sources: Names of the float graph's layers that this layer computes.
        table_scale: The scale of what a table is looked up with. The integers need only its zero point, ``zero_point``.
        weight_bits: Bits of trained weights; None without them.
        weight_code: Code of trained weights; None without them.
        reads: The channels of ``input`` that the layer sees as its input's channels, each at most once, in order; None for
            all. They are addressed where they lie.
    """

    name: str
    kind: str
    operation: Operation
    input: str
    output: str
    weights: NDArray[np.int64]
    groups: int
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    pad_value: int
    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    zero_point: int
    low: int
    high: int
    other: str | None
    other_zero_point: int
    other_multiplier: NDArray[np.int64]
    weight_scale: NDArray[np.float64]
    sources: tuple[str, ...]
    lattice: Lattice | None = None
    table: NDArray[np.int64] | None = None
    table_scale: float = 1.0
    weight_bits: int | None = None
    weight_code: WeightCode | None = None
    reads: NDArray[np.int64] | None = None

    @property
    def channels_read(self) -> NDArray[np.int64]:
        """The channel of ``input`` that each weight reads: K x C/groups."""
        outputs, inputs = self.weights.shape[:2]
        first = np.arange(outputs, dtype=np.int64) // (outputs // self.groups) * inputs
        seen: NDArray[np.int64] = first[:, None] + np.arange(inputs)
        return seen if self.reads is None else self.reads[seen]

    @cached_property
    def nnz(self) -> int:
        """Nonzero weights."""
        return int(np.count_nonzero(self.weights))

    @property
    def trained(self) -> bool:
        """Whether the weights come from the network. Those of pools, copies and lone additions do not."""
        return self.weight_bits is not None


@dataclass(frozen=True)
class HostProduct:
    """The product of two activation tensors, which the host computes in integers between two runs of the array.

    ``q = clamp(zero_point + (((a - zero_a) * (b - zero_b)) * multiplier + (1 << (shift - 1))) >> shift, low, high)``.
    ``inputs`` are (a, b); ``b`` has a's shape, or one pixel for each channel.
    """

    name: str
    inputs: tuple[str, str]
    output: str
    multiplier: int
    shift: int
    zero_points: tuple[int, int]
    zero_point: int
    low: int
    high: int
    elements: int
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostLayer:
    """A layer that the host computes in floats after the array, which cannot compute it.

    Attributes:
        layer: What it computes, of which tensors or other such layers' results.
        elements: Values of its result.
    """

    layer: OnHost
    elements: int

    @property
    def name(self) -> str:
        """The layer's name, which is also its result's."""
        return self.layer.name

    @property
    def operator(self) -> str:
        """ONNX's name of what it computes."""
        return self.layer.operator

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors that it reads."""
        return self.layer.inputs


@dataclass(frozen=True)
class QuantizedNetwork:
    """Layers in execution order, all tensors by name, and how the network's float input and output relate to them.

    ``layers`` run in order, those that the host computes between them. ``concats`` are tensors that are only a name for
    several others side by side (name -> parts, in channel order): all parts have the scale and zero point of the whole, lie
    in one place in memory, and each belongs to one whole at most. ``weight_code``: the code that all weights keep
    to (``linear`` where layers differ), and ``weight_bits`` the most that any of them has in it.
    ``outputs`` are array tensors; ``host_layers`` run on them afterwards, in order; ``results`` are the network's own outputs in
    order, each one of the outputs, what a host layer makes, or the input (empty: the outputs). ``file_ends`` is how the network's
    file sees the input and the results (None: as they are). ``calibration`` says where the ranges come from, in words for reports
    (for example "min-max on 128 images" or "seeded random input in 0,1"). ``graph`` is the float network it was made from, whose
    operators the QDQ writer names where the integers alone don't tell them.
    """

    name: str
    input: str
    outputs: tuple[str, ...]
    tensors: dict[str, QuantizedTensor]
    layers: tuple[QuantizedLayer | HostProduct, ...]
    host_layers: tuple[HostLayer, ...]
    weight_bits: int
    activation_bits: int
    calibration: str
    results: tuple[str, ...] = ()
    concats: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weight_code: WeightCode = "linear"
    graph: Graph | None = None
    file_ends: Ends | None = None

    @property
    def ends(self) -> Ends:
        """How the network's file sees the input and the results."""
        if self.file_ends is not None:
            return self.file_ends
        names = Names()
        outputs = (End(names.take(name), Arrangement(self.file_shape(name))) for name in self.results or self.outputs)
        return Ends(End(self.input, Arrangement((1, *self.tensors[self.input].shape))), tuple(outputs))

    def file_shape(self, name: str) -> FileShape:
        """ONNX's shape of a tensor, or of what a host layer makes, as it is."""
        host = next((host.layer for host in self.host_layers if host.name == name), None)
        if host is None:
            return (1, *self.tensors[name].shape)
        return host.result_shape(tuple(self.tensor_shape(source) for source in host.inputs))

    def is_integer(self, name: str) -> bool:
        """Whether the host makes integers of ``name``."""
        host = next((host.layer for host in self.host_layers if host.name == name), None)
        return isinstance(host, ArgMax) or (isinstance(host, Join) and self.is_integer(host.inputs[0]))

    def tensor_shape(self, name: str) -> Shape:
        """Channels, height and width of a tensor, or of what a host layer makes."""
        host = next((host.layer for host in self.host_layers if host.name == name), None)
        if host is None:
            return self.tensors[name].shape
        return host.output_shape(tuple(self.tensor_shape(source) for source in host.inputs))

    @property
    def scores(self) -> tuple[str, NDArray[np.int64] | None]:
        """The array's tensor whose values are the scores of classes, and the order in which the file has them (None for their
        own): the first result that is not the input, or what host layers make it of."""
        results = self.results or self.outputs
        chosen = next((number for number, name in enumerate(results) if name != self.input), 0)
        tensor, order = results[chosen], self.ends.outputs[chosen].arrangement.index
        hosts = {host.name: host.layer for host in self.host_layers}
        while tensor in hosts:
            tensor, order = hosts[tensor].scored(order)
        return tensor, order

    @property
    def array_layers(self) -> tuple[QuantizedLayer, ...]:
        """The layers that the array computes, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, QuantizedLayer))

    def leaves(self, name: str) -> tuple[str, ...]:
        """The tensors that hold ``name`` in memory, in channel order: itself, or the parts of a concatenation,
        recursively."""
        parts = self.concats.get(name)
        return (name,) if parts is None else tuple(leaf for part in parts for leaf in self.leaves(part))

    def size_of(self, layer: QuantizedLayer) -> tuple[int, int]:
        """Height and width of the pixels that ``layer`` computes."""
        if layer.lattice is not None:
            return layer.lattice.size
        _, height, width = self.tensors[layer.output].shape
        return height, width


def without_zeros(network: QuantizedNetwork) -> QuantizedNetwork:
    """The dense network: ``network`` with every trained weight nonzero.

    This is the only definition of "dense" behind a speed-up or a saving. It does not matter where zeros come from:
    pruning here or elsewhere, or rounding. Weights that the network did not bring (of pools, copies and lone additions)
    stay as they are. The result is for mapping only: its weights say where a nonzero stands, and all are 1.
    """

    def full(layer: QuantizedLayer | HostProduct) -> QuantizedLayer | HostProduct:
        if isinstance(layer, HostProduct) or not layer.trained:
            return layer
        return replace(layer, weights=np.broadcast_to(np.int64(1), layer.weights.shape))

    return replace(network, layers=tuple(full(layer) for layer in network.layers))


def requantize(
    accumulator: NDArray[np.int64],
    bias: NDArray[np.int64],
    multiplier: NDArray[np.int64],
    shift: NDArray[np.int64],
    zero_point: int,
    low: int,
    high: int,
    other: NDArray[np.int64] | None = None,
    other_multiplier: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Requantizes accumulators. This is the only definition of the arithmetic. Arrays broadcast.

    Args:
        accumulator: The accumulators.
        bias: Added to them.
        multiplier: Multiplies the sum.
        shift: Bits of the rounding shift.
        zero_point: Zero point of the result.
        low: Lower bound of the result.
        high: Upper bound of the result.
        other: The second operand, without its zero point.
        other_multiplier: Multiplies ``other``.
    """
    # In place after the first sum: for whole batches, temporary arrays would cost most of the time.
    total: NDArray[np.int64] = np.asarray(accumulator + bias)
    total *= multiplier
    total += np.int64(1) << (shift - 1)
    if other is not None and other_multiplier is not None:
        total += other * other_multiplier
    total >>= shift
    total += zero_point
    return np.clip(total, low, high, out=total)
