"""Operators that no single window slides over, as several that do: each computes the output pixels of one lattice.

A transposed convolution is one plain convolution for each phase (output pixels of one remainder modulo the stride). An
average pool whose divisor changes at the border is one for each rectangle of windows with one divisor. Both axes are
worked out alone; a layer is a pair of :class:`Run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Run:
    """Output positions ``offset``, ``offset + step``, ... (``size`` of them) along one axis, and the window over the input
    that gives them: kernel taps ``taps`` in the window's order (taps that only ever see padding are left out; there may be
    none left), ``dilation``, ``stride``, and padding ``before`` and ``after``, negative where the input is cropped.
    ``divisor`` is what a mean divides by."""

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
) -> tuple[Run, ...]:
    """The phases of a transposed convolution along one axis of ``inputs`` pixels; ``padding`` is what it cuts off at
    the start.

    Output ``y`` sums tap ``i`` times input ``(y + padding - i * dilation) / stride`` over the taps where that is whole.
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
) -> tuple[Run, ...]:
    """The runs of equal divisors of an average pool along one axis: pixels from ``-counted[0]`` up to
    ``inputs + counted[1]`` count, ``padding`` is all padding at the start."""

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
) -> Run:
    """``starts`` is the input position that each tap reads first; outer taps that never read the input go."""
    live = [any(0 <= start + t * stride < inputs for t in range(size)) for start in starts]
    if not any(live):
        return Run(offset, step, size, (), 1, 1, 0, size - inputs, divisor)
    first, last = live.index(True), len(live) - live[::-1].index(True)
    before = -starts[first]
    reach = (size - 1) * stride + (last - first - 1) * dilation + 1
    return Run(offset, step, size, tuple(taps[first:last]), stride, dilation, before, reach - inputs - before, divisor)
