"""A program in words, for users who write their own host: ``program.json`` of ``skipstone export``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skipstone.mapper.results.document import Document, Number


@dataclass(frozen=True)
class FieldDescription:
    """A field of a memory's words. The first field of a list has the lowest bits.

    Attributes:
        name: The field's name.
        bits: Its width.
        signed: It is a two's complement number.
    """

    name: str
    bits: int
    signed: bool


@dataclass(frozen=True)
class TensorDescription:
    """Where a tensor lies in activation memory.

    Attributes:
        tensor: The tensor's name.
        shape: Channels, height and width.
        fold: Rows and columns of pixels that lie together as channels.
        base: Address of its first word.
        words_per_pixel: Memory words of a folded pixel.
        positions: The place of each folded channel in these words.
        scale: A value is ``scale`` times (integer minus ``zero_point``).
        zero_point: The integer that stands for 0.
    """

    tensor: str
    shape: tuple[int, int, int]
    fold: tuple[int, int]
    base: int
    words_per_pixel: int
    positions: tuple[int, ...]
    scale: Number
    zero_point: int


@dataclass(frozen=True)
class LayerDescription:
    """A layer of the array.

    Attributes:
        name: The layer's name.
        layers: The network's layers that run together as this one.
        kind: The layer's kind.
        cycles: Its cycles.
        nnz: Nonzero weights.
        macs: Multiply-accumulates of the dense layer.
        tile: Height and width of a tile.
        input: The tensor that it reads.
        other: The second operand of a residual addition.
        outputs: The tensors that it writes.
        descriptor: The fields of its word in the memory of layers.
    """

    name: str
    layers: tuple[str, ...]
    kind: str
    cycles: int
    nnz: int
    macs: int
    tile: tuple[int, int]
    input: TensorDescription
    other: TensorDescription | None
    outputs: tuple[TensorDescription, ...]
    descriptor: Mapping[str, int]


@dataclass(frozen=True)
class HostStepDescription:
    """A product of two tensors that the host computes while the array waits.

    Attributes:
        after_layers: The number of the array's layers that have run.
        product: The layer: its tensors, and the integers of its arithmetic.
        inputs: The tensors that the host reads.
        output: The tensor that the host writes.
    """

    after_layers: int
    product: Mapping[str, Any]
    inputs: tuple[TensorDescription, ...]
    output: TensorDescription


@dataclass(frozen=True)
class ArrangementDescription:
    """How ONNX sees a tensor, which is flat in channel, height, width order before.

    Attributes:
        shape: ONNX's shape, with a batch of 1 where there is one.
        axes: The flat tensor is first reshaped to these sizes.
        perm: Then its axes come in this order, as in NumPy's ``transpose``. Then it is reshaped to ``shape``.
        places: Where no transposition gives it: for each of ONNX's elements in order, its place in the flat tensor; ``axes`` and
            ``perm`` are then empty.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    perm: tuple[int, ...]
    places: tuple[int, ...] | None


@dataclass(frozen=True)
class EndDescription:
    """The network's input, an output of it, or an input of a host layer, as ONNX sees it.

    Attributes:
        name: ONNX's name.
        tensor: The tensor that it is: the input's, one of the array's outputs, or a host layer's result.
        arrangement: How ONNX sees its elements.
    """

    name: str
    tensor: str
    arrangement: ArrangementDescription


@dataclass(frozen=True)
class HostLayerDescription:
    """A layer after the array's last one, which the host computes in floats. Its result has its name.

    Attributes:
        name: The layer's name.
        operator: Its ONNX operator.
        attributes: The operator's attributes.
        inputs: What it reads, as the operator sees it.
    """

    name: str
    operator: str
    attributes: Mapping[str, int]
    inputs: tuple[EndDescription, ...]


@dataclass(frozen=True)
class ProgramDescription(Document):
    """A network's program on a design.

    Attributes:
        network: The network's name.
        calibration: Where activation ranges come from.
        design: The design's parameters.
        host_select: The code of each memory at the host port.
        fields: The fields of the words of each memory.
        weight_values: The weights that the codes 0, 1, ... of an entry's value stand for; None where the value is the weight, or
            its place in the layer's codebook.
        input: Where the host writes the input.
        outputs: Where the host reads the outputs.
        activation_words: The highest word of activation memory that is used, plus one.
        total_cycles: Cycles of one inference.
        layers: The array's layers in execution order.
        host_steps: What the host computes between layers.
        host_layers: What the host computes after the array's last layer, in order.
        file_input: The input as the network's file has it.
        file_outputs: The outputs as the network's file has them, in its order.
    """

    KIND: ClassVar[str] = "program"
    SCHEMA: ClassVar[int] = 2

    network: str
    calibration: str
    design: Mapping[str, Any]
    host_select: Mapping[str, int]
    fields: Mapping[str, tuple[FieldDescription, ...]]
    weight_values: tuple[int, ...] | None
    input: TensorDescription
    outputs: tuple[TensorDescription, ...]
    activation_words: int
    total_cycles: int
    layers: tuple[LayerDescription, ...]
    host_steps: tuple[HostStepDescription, ...]
    host_layers: tuple[HostLayerDescription, ...]
    file_input: EndDescription
    file_outputs: tuple[EndDescription, ...]
