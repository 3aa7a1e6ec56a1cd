"""Random ONNX networks whose layers read parts of tensors, in other orders: what Split, Slice, Gather, channel shuffles and Focus
make of them."""

from __future__ import annotations

import math

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.models.builders import Array, node, onnx_model

Tensor = tuple[str, tuple[int, int, int]]


class _Builder:
    """Nodes and constants of a network that grows; every tensor has a name and (channels, height, width)."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.size = (1, 1, 1)

    def choose(self, *options: object) -> object:
        return self.draw(st.sampled_from(options))

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def constant(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def floats(self, *shape: int) -> str:
        return self.constant(self.rng.normal(size=shape).astype(np.float32) / math.sqrt(max(1, math.prod(shape[1:]))))

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def add(self, operator: str, inputs: list[str], **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, name, **attributes))
        return name

    # Parts and orders

    def shuffle(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        channels, height, width = shape
        groups = self.choose(*[g for g in range(1, channels + 1) if channels % g == 0])
        split = self.add("Reshape", [x, self.ints(1, groups, channels // groups, height, width)])
        swapped = self.add("Transpose", [split], perm=[0, 2, 1, 3, 4])
        return self.add("Reshape", [swapped, self.ints(1, channels, height, width)]), shape

    def split(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        channels, height, width = shape
        if channels < 2:
            return x, shape
        cut = self.number(1, channels - 1)
        names = [f"t{len(self.nodes)}.{number}" for number in range(2)]
        made = onnx.helper.make_node("Split", [x, self.ints(cut, channels - cut)], names, axis=1)
        self.nodes.append(made)
        which = self.number(0, 1)
        return names[which], ((cut, channels - cut)[which], height, width)

    def channels(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        """A Slice along the channels, perhaps backwards or every other one."""
        start, step = self.number(0, shape[0] - 1), self.choose(1, 1, 2, -1)
        end = -shape[0] - 1 if step == -1 else self.number(start + 1, shape[0])
        size = len(range(shape[0])[start : None if step == -1 else end : step])
        cut = self.add("Slice", [x, self.ints(start), self.ints(end), self.ints(1), self.ints(step)])
        return cut, (size, *shape[1:])

    def pixels(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        """A Slice along both pixel axes."""
        starts = [self.number(0, size - 1) for size in shape[1:]]
        ends = [self.number(start + 1, size) for start, size in zip(starts, shape[1:], strict=True)]
        steps = [self.choose(1, 1, 2, 3) for _ in range(2)]
        sizes = [len(range(*cut)) for cut in zip(starts, ends, steps, strict=True)]
        cut = self.add("Slice", [x, self.ints(*starts), self.ints(*ends), self.ints(2, 3), self.ints(*steps)])
        return cut, (shape[0], sizes[0], sizes[1])

    def gather(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        order = self.rng.permutation(shape[0])[: self.number(1, shape[0])]
        if self.draw(st.booleans()):
            order = self.rng.integers(0, shape[0], self.number(1, shape[0]))
        return self.add("Gather", [x, self.ints(*order)], axis=1), (len(order), *shape[1:])

    def focus(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        channels, height, width = shape
        if height % 2 or width % 2:
            return x, shape
        parts = []
        for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
            axes = [self.ints(2, 3), self.ints(2, 2)]
            parts.append(self.add("Slice", [x, self.ints(row, column), self.ints(height, width), *axes]))
        return self.add("Concat", parts, axis=1), (4 * channels, height // 2, width // 2)

    # What computes

    def conv(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        channels, height, width = shape
        groups = self.choose(1, 1, channels, *[g for g in range(1, channels + 1) if channels % g == 0])
        outputs = groups * self.number(1, 3)
        kernel, stride, before = self.number(1, 3), self.number(1, 2), self.number(0, 1)
        sizes = [(size + 2 * before - kernel) // stride + 1 for size in (height, width)]
        if min(sizes) < 1:
            kernel, stride, before, sizes = 1, 1, 0, [height, width]
        weights = [self.floats(outputs, channels // groups, kernel, kernel), self.floats(outputs)]
        made = self.add("Conv", [x, *weights], group=groups, strides=[stride] * 2, pads=[before] * 4)
        return made, (outputs, sizes[0], sizes[1])

    def pool(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        kernel = min(2, *shape[1:])
        operator = self.choose("MaxPool", "AveragePool")
        return self.add(operator, [x], kernel_shape=[kernel] * 2), (shape[0], *(s - kernel + 1 for s in shape[1:]))

    def affine(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        return self.add("Mul", [x, self.floats(shape[0], 1, 1)]), shape

    def relu(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        return self.add("Relu", [x]), shape

    def sigmoid(self, x: str, shape: tuple[int, int, int]) -> Tensor:
        return self.add("Sigmoid", [x]), shape

    def join(self, operator: str, first: Tensor, second: Tensor) -> Tensor:
        """An Add, Mul or Concat of two tensors, where their shapes fit."""
        (x, shape), (other, others) = first, second
        if shape[1:] != others[1:]:
            return first
        if operator == "Concat":
            return self.add("Concat", [x, other], axis=1), (shape[0] + others[0], *shape[1:])
        if shape[0] != others[0]:
            return first
        return self.add(operator, [x, other]), shape


MOVES = ("shuffle", "split", "channels", "pixels", "gather", "focus")
LAYERS = ("conv", "conv", "conv", "pool", "affine", "relu", "sigmoid")


@st.composite
def partial_networks(draw: st.DrawFn, tables: bool = True, products: bool = True) -> onnx.ModelProto:
    """Two to six random moves and layers, some of several tensors, and a convolution that ends it."""
    build = _Builder(draw)
    shape = (build.number(1, 8), build.number(1, 8), build.number(1, 8))
    tensors: list[Tensor] = [("x", shape)]
    if draw(st.booleans()):
        tensors.append(build.conv("x", shape))
    layers = [layer for layer in LAYERS if tables or layer != "sigmoid"]
    joins = ["Add", "Concat", "Mul"] if products else ["Add", "Concat"]
    for _ in range(build.number(1, 3)):
        tensors.append(getattr(build, draw(st.sampled_from(MOVES)))(*tensors[-1]))
        if draw(st.booleans()):
            joined = draw(st.sampled_from(tensors))
            tensors.append(build.join(draw(st.sampled_from(joins)), tensors[-1], joined))
        if draw(st.booleans()):
            tensors.append(getattr(build, draw(st.sampled_from(layers)))(*tensors[-1]))
    last, _ = build.conv(*tensors[-1])
    made = {name for each in build.nodes for name in each.output}
    read = {name for each in build.nodes for name in each.input}
    # What nothing reads is an output too: parts of tensors leave the network as they are.
    outputs = (last, *sorted(made - read - {last})[: build.number(0, 1)])
    return onnx_model(build.nodes, (1, *shape), build.constants, outputs)
