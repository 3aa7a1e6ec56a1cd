"""A program in words, for those who write their own host: what ``skipstone export`` writes as ``program.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skipstone.mapper.results.document import Document, Number


@dataclass(frozen=True)
class FieldDescription:
    """A field of a memory's words; the first field of a list has the lowest bits."""

    name: str
    bits: int
    signed: bool


@dataclass(frozen=True)
class TensorDescription:
    """Where a tensor of ``shape`` (channels, height, width) lies in activation memory, from word ``base`` on.

    ``fold``: rows and columns of pixels that lie together as channels. ``words_per_pixel``: memory words of a folded pixel.
    ``positions``: each folded channel's place in these words. A value is ``scale`` times (integer minus ``zero_point``)."""

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
    """A layer of the array. ``layers``: the network's layers that run together as this one. ``tile``: height and width.
    ``other``: the second operand of a residual addition. ``descriptor``: its word in the memory of layers, by field."""

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
    """A product of two tensors that the host computes when the array has stopped after ``after_layers`` layers."""

    after_layers: int
    product: Mapping[str, Any]
    inputs: tuple[TensorDescription, ...]
    output: TensorDescription


@dataclass(frozen=True)
class HostLayerDescription:
    """A layer after the array's last one, which the host computes in floats."""

    name: str
    operator: str
    input: str


@dataclass(frozen=True)
class ProgramDescription(Document):
    """A network's program on a design. ``design``: its parameters. ``host_select``: the code of each memory at the host port.
    ``fields``: of the words of each memory."""

    KIND: ClassVar[str] = "program"
    SCHEMA: ClassVar[int] = 1

    network: str
    calibration: str
    design: Mapping[str, Any]
    host_select: Mapping[str, int]
    fields: Mapping[str, tuple[FieldDescription, ...]]
    input: TensorDescription
    outputs: tuple[TensorDescription, ...]
    activation_words: int
    total_cycles: int
    layers: tuple[LayerDescription, ...]
    host_steps: tuple[HostStepDescription, ...]
    host_layers: tuple[HostLayerDescription, ...]
