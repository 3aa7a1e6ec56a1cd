"""Random networks of several layers: chains, residual blocks, tensors side by side, partial outputs, host products.

Tensors are folded, and layers merged and overlapped, for such networks; most sizes and channel counts make that pay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.models.graph.layers import output_size
from skipstone.models.quantization.network import HostProduct, Lattice, QuantizedLayer, QuantizedNetwork
from tests.sim.networks import layer, tensor, weight_arrays


class Builder:
    """Grows a network layer by layer; every tensor has one padding value, as a zero point would give it."""

    def __init__(self, draw, design: Design) -> None:
        self.draw = draw
        self.design = design
        self.bits = design.activation_bits
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.tensors = {}
        self.layers: list[QuantizedLayer | HostProduct] = []
        self.concats: dict[str, tuple[str, ...]] = {}
        self.pads: dict[str, int] = {}

    def tensor(self, shape: tuple[int, int, int]) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = tensor(name, shape, self.bits)
        half = 1 << (self.bits - 1)
        self.pads[name] = int(self.rng.integers(-half, half))
        return name

    def conv(
        self,
        source: str,
        channels: int,
        kernel: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        other: str | None = None,
        target: str | None = None,
    ) -> str:
        """A convolution, mostly with 'same' padding; a strided one only where no stride is given and the image is large."""
        draw, (inputs, height, width) = self.draw, self.tensors[source].shape
        ky, kx = kernel or (draw(st.sampled_from([1, 2, 3, 3])), draw(st.sampled_from([1, 2, 3, 3])))
        sy, sx = stride or (draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 1, 2])))
        padding = (ky // 2, kx // 2, (ky - 1) // 2, (kx - 1) // 2)
        size = (
            output_size(height, ky, sy, padding[0], padding[2], 1),
            output_size(width, kx, sx, padding[1], padding[3], 1),
        )
        name = target or self.tensor((channels, *size))
        weights = draw(weight_arrays((channels, inputs, ky, kx), self.design, self.rng))
        table = None
        if (
            self.design.tables
            and draw(st.booleans())
            and not any(getattr(earlier, "table", None) is not None for earlier in self.layers)
        ):
            half = 1 << (self.bits - 1)
            table = self.rng.integers(-half, half, 2 * half)
        convolution = layer(
            f"l{len(self.layers)}", source, name, weights, self.rng, self.bits, stride=(sy, sx), padding=padding,
            other=other, table=table,
        )  # fmt: skip
        self.layers.append(replace(convolution, pad_value=self.pads[source]))
        return name

    def network(self, output: str) -> QuantizedNetwork:
        return QuantizedNetwork(
            name="graph",
            input="t0",
            outputs=(output,),
            tensors=self.tensors,
            layers=tuple(self.layers),
            host_layers=(),
            weight_bits=self.design.weight_bits,
            activation_bits=self.bits,
            calibration="none",
            concats=self.concats,
        )


def channel_counts(design: Design) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(1, design.load_width), st.integers(1, 2 * design.rows))


@st.composite
def graphs(draw, design: Design, first: str | None = None) -> QuantizedNetwork:
    """A stem, then one to three parts of random kinds (the first one a ``first``, one of ``PARTS``), then perhaps one more
    convolution."""
    build = Builder(draw, design)
    counts = channel_counts(design)
    even = st.sampled_from([2, 4, 6, 8, 12, 16])
    sizes = st.one_of(even, even, st.integers(1, 13))
    at = build.tensor((draw(st.integers(1, 4)), draw(sizes), draw(sizes)))
    if draw(st.booleans()):
        at = build.conv(at, draw(counts))
    for index in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from(sorted(PARTS))) if first is None or index else first
        at = PARTS[part](build, draw, counts, at)
    if draw(st.booleans()) or not any(isinstance(earlier, QuantizedLayer) for earlier in build.layers):
        at = build.conv(at, draw(counts))
    return build.network(at)


def _chain(build: Builder, draw, counts, at: str) -> str:
    for _ in range(draw(st.integers(1, 3))):
        at = build.conv(at, draw(counts))
    return at


def _block(build: Builder, draw, counts, at: str) -> str:
    """A residual block; the shortcut is a 1x1 convolution that reads what the first convolution reads, or nothing. Half of the
    blocks have so few channels that both can run in one pass."""
    if draw(st.booleans()):
        counts = st.integers(1, build.design.rows)
    channels, stride = draw(counts), draw(st.sampled_from([(1, 1), (2, 2), (1, 2)]))
    shape = build.tensors[at].shape
    # A concatenation can't be added: the quantizer copies it first.
    if draw(st.booleans()) and stride == (1, 1) and at not in build.concats:
        channels, shortcut = shape[0], at
        inner = build.conv(at, draw(counts), (3, 3), stride)
    else:
        inner = build.conv(at, draw(counts), (3, 3), stride)
        shortcut = build.conv(at, channels, (1, 1), stride)
    return build.conv(inner, channels, draw(st.sampled_from([(1, 1), (3, 3)])), (1, 1), other=shortcut)


def _beside(build: Builder, draw, counts, at: str) -> str:
    """Two convolutions of one tensor, of few channels; the second adds an earlier tensor, so that only a part of what one pass
    computes is added to."""
    few = st.integers(1, build.design.rows)
    earlier = build.conv(at, draw(few), stride=(1, 1))
    source = build.conv(earlier, draw(counts), stride=(1, 1))
    first = build.conv(source, draw(few), (3, 3), (1, 1))
    channels = build.tensors[earlier].shape[0]
    second = build.conv(source, channels, (1, 1), (1, 1), other=earlier)
    return build.conv(first, channels, (1, 1), (1, 1), other=second)


def _siblings(build: Builder, draw, counts, at: str) -> str:
    """Two layers that read one tensor alike and both add another one, then a layer that adds one of them to the other."""
    at = build.conv(at, draw(counts))
    channels = build.tensors[at].shape[0]
    first = build.conv(at, channels, (1, 1), (1, 1), other=at)
    second = build.conv(at, channels, (3, 3), (1, 1), other=at)
    return build.conv(second, channels, (1, 1), (1, 1), other=first)


def _side_by_side(build: Builder, draw, counts, at: str) -> str:
    """Two or three tensors concatenated, one of them perhaps a concatenation itself; sometimes one part is read before others,
    which stand before it in the concatenation, are there."""
    parts = [build.conv(at, draw(counts), stride=(1, 1))]
    if draw(st.booleans()):
        parts.append(build.conv(parts[0], draw(counts), (1, 1), (1, 1)))
    parts += [build.conv(at, draw(counts), stride=(1, 1)) for _ in range(draw(st.integers(1, 3 - len(parts))))]
    parts = draw(st.permutations(parts))
    _, height, width = build.tensors[parts[0]].shape
    if len(parts) == 3 and draw(st.booleans()):
        inner = build.tensor((sum(build.tensors[name].shape[0] for name in parts[:2]), height, width))
        build.concats[inner] = tuple(parts[:2])
        parts = [inner, parts[2]]
    joined = build.tensor((sum(build.tensors[name].shape[0] for name in parts), height, width))
    build.concats[joined] = tuple(parts)
    return joined


def _partial(build: Builder, draw, counts, at: str) -> str:
    """The phases of an upsampling by a transposed convolution, or the halves of an image, as layers that write one tensor."""
    channels, (inputs, height, width) = draw(counts), build.tensors[at].shape
    if draw(st.booleans()):
        sy, sx = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        lattices = [Lattice((y, x), (sy, sx), (height, width)) for y in range(sy) for x in range(sx)]
        shape = (channels, height * sy, width * sx)
    else:
        cut = draw(st.integers(1, height))
        lattices = [Lattice((0, 0), (1, 1), (cut, width))]
        if cut < height:
            lattices.append(Lattice((cut, 0), (1, 1), (height - cut, width)))
        shape = (channels, height, width)
    target = build.tensor(shape)
    for lattice in lattices:
        top = -lattice.offset[0] if lattice.step == (1, 1) else draw(st.integers(-1, 1))
        kernel = draw(st.integers(1, 2))
        weights = draw(weight_arrays((channels, inputs, kernel, kernel), build.design, build.rng))
        bottom, right = lattice.size[0] - 1 + kernel - height - top, lattice.size[1] - 1 + kernel - width
        padding = (top, 0, bottom, right)
        convolution = layer(f"l{len(build.layers)}", at, target, weights, build.rng, build.bits, padding=padding)
        build.layers.append(replace(convolution, lattice=lattice, pad_value=build.pads[at]))
    return target


def _product(build: Builder, draw, counts, at: str) -> str:
    """A tensor times another one, or times one value for each channel, on the host."""
    source = at
    channels, height, width = build.tensors[source].shape
    of_equal_shape = draw(st.booleans())
    gate = build.conv(source, channels, (1, 1) if of_equal_shape else (min(3, height), 1), (1, 1))
    if not of_equal_shape:
        gate = build.tensor((channels, 1, 1))
        pool = np.zeros((channels, 1, height, width), np.int64)
        pool[:, :, 0, 0] = 1
        convolution = layer(f"l{len(build.layers)}", source, gate, pool, build.rng, build.bits, groups=channels)
        build.layers.append(replace(convolution, pad_value=build.pads[source]))
    target = build.tensor((channels, height, width))
    half = 1 << (build.bits - 1)
    low, high = sorted(build.rng.integers(-half, half, 2).tolist())
    build.layers.append(
        HostProduct(
            f"l{len(build.layers)}", (source, gate), target, int(build.rng.integers(1, 1 << 16)),
            int(build.rng.integers(10, 24)), (3, -2), 1, low, high, channels * height * width,
        )
    )  # fmt: skip
    return target


def _selected(build: Builder, draw, counts, at: str) -> str:
    """A convolution of some channels of a tensor, in any order."""
    source = build.conv(at, draw(counts))
    _, height, width = build.tensors[source].shape
    channels = build.tensors[source].shape[0]
    reads = build.rng.permutation(channels)[: draw(st.integers(1, channels))]
    target = build.tensor((draw(counts), height, width))
    weights = draw(weight_arrays((build.tensors[target].shape[0], len(reads), 1, 1), build.design, build.rng))
    convolution = layer(f"l{len(build.layers)}", source, target, weights, build.rng, build.bits)
    build.layers.append(replace(convolution, pad_value=build.pads[source], reads=reads))
    return target


PARTS = {
    "chain": _chain,
    "block": _block,
    "beside": _beside,
    "side by side": _side_by_side,
    "partial": _partial,
    "siblings": _siblings,
    "product": _product,
    "selected": _selected,
}
