"""Operators that no single window can compute, as several that windows can: each computes the output pixels of a
lattice.

A transposed convolution becomes one plain convolution for each phase (output pixels of one remainder modulo the
stride). An average pool whose divisor changes at the border becomes one for each rectangle of windows with one divisor.
Both axes are computed independently; a layer is a pair of :class:`AxisLattice`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class AxisLattice:
    """Output positions along one axis, and the window over the input that computes them.

    Attributes:
        offset: The first position.
        step: The distance between positions.
        size: How many positions there are.
        taps: Kernel taps in the window's order. Taps that only see padding are left out; there may be none left.
        dilation: Input pixels between taps.
        stride: Input pixels between windows.
        before: Padding at the start; negative where the input is cropped.
        after: Padding at the end; negative where the input is cropped.
        divisor: What a mean divides by.
    """

    offset: int
    step: int
    size: int
    taps: tuple[int, ...]
    stride: int
    dilation: int
    before: int
    after: int
    divisor: int = 1


def transposed_runs(
    inputs: int, outputs: int, kernel: int, stride: int, dilation: int, padding: int
) -> tuple[AxisLattice, ...]:
    """The phases of a transposed convolution along one axis.

    Output ``y`` sums tap ``i`` times input ``(y + padding - i * dilation) / stride`` over the taps for which that is an
    integer.

    Args:
        inputs: Input pixels.
        outputs: Output pixels.
        kernel: Taps.
        stride: Stride of the transposed convolution.
        dilation: Output pixels between taps.
        padding: Output pixels that are cut off at the start.
    """
    runs = []
    for phase in range(min(stride, outputs)):
        # The largest tap reads the first pixel.
        taps = [i for i in reversed(range(kernel)) if (phase + padding - i * dilation) % stride == 0]
        starts = [(phase + padding - i * dilation) // stride for i in taps]
        apart = starts[1] - starts[0] if len(starts) > 1 else 1
        size = -(-(outputs - phase) // stride)
        runs.append(_trimmed(phase, stride, size, taps, starts, 1, apart, inputs))
    return tuple(runs)


def average_runs(
    inputs: int, outputs: int, kernel: int, stride: int, dilation: int, padding: int, counted: tuple[int, int]
) -> tuple[AxisLattice, ...]:
    """The runs of equal divisors of an average pool along one axis.

    Args:
        inputs: Input pixels.
        outputs: Output pixels.
        kernel: Taps.
        stride: Stride.
        dilation: Input pixels between taps.
        padding: All padding at the start.
        counted: Padding at the start and at the end that counts for the divisor.
    """

    def divisor(position: int) -> int:
        first = position * stride - padding
        return sum(-counted[0] <= first + i * dilation < inputs + counted[1] for i in range(kernel))

    runs = []
    for count, positions in groupby(range(outputs), divisor):
        place = list(positions)
        starts = [place[0] * stride - padding + i * dilation for i in range(kernel)]
        runs.append(_trimmed(place[0], 1, len(place), list(range(kernel)), starts, stride, dilation, inputs, count))
    return tuple(runs)


def _trimmed(
    offset: int,
    step: int,
    size: int,
    taps: list[int],
    starts: list[int],
    stride: int,
    dilation: int,
    inputs: int,
    divisor: int = 1,
) -> AxisLattice:
    """A run without the outer taps that never read the input. ``starts`` is the input position that each tap reads
    first."""
    live = [any(0 <= start + t * stride < inputs for t in range(size)) for start in starts]
    if not any(live):
        return AxisLattice(offset, step, size, (), 1, 1, 0, size - inputs, divisor)
    first, last = live.index(True), len(live) - live[::-1].index(True)
    before = -starts[first]
    reach = (size - 1) * stride + (last - first - 1) * dilation + 1
    return AxisLattice(
        offset, step, size, tuple(taps[first:last]), stride, dilation, before, reach - inputs - before, divisor
    )
