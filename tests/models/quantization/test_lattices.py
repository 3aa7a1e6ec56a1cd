"""Runs of transposed convolutions and average pools along one axis, against loops from ONNX's definitions."""

from __future__ import annotations

from collections import Counter

from hypothesis import assume, example, given
from hypothesis import strategies as st

from skipstone.models.quantization.lattices import AxisLattice, average_runs, transposed_runs


def reads(run: AxisLattice, inputs: int) -> dict[int, Counter[tuple[int, int]]]:
    """For each output position, how often it reads which (tap, input pixel)."""
    assert run.before > -inputs, "a whole image cropped away"
    assert run.after > -inputs
    assert run.dilation >= 1
    assert run.stride >= 1
    taps = max(1, len(run.taps))
    reach = (run.size - 1) * run.stride + (taps - 1) * run.dilation + 1
    assert run.before + inputs + run.after == reach, "exactly the pixels that the window passes over"
    result = {}
    for t in range(run.size):
        seen: Counter[tuple[int, int]] = Counter()
        for place, tap in enumerate(run.taps):
            pixel = t * run.stride + place * run.dilation - run.before
            if 0 <= pixel < inputs:
                seen[tap, pixel] += 1
        result[run.offset + t * run.step] = seen
    return result


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.integers(0, 4))
@example(2, 2, 3, 1, 0, 0)
@example(1, 2, 4, 3, 3, 0)
def test_phases_of_a_transposed_convolution(
    inputs: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> None:
    outputs = stride * (inputs - 1) + dilation * (kernel - 1) + 1 - before - after
    assume(outputs > 0)
    expected: dict[int, Counter[tuple[int, int]]] = {y: Counter() for y in range(outputs)}
    for pixel in range(inputs):
        for tap in range(kernel):
            y = pixel * stride + tap * dilation - before
            if 0 <= y < outputs:
                expected[y][tap, pixel] += 1
    got: dict[int, Counter[tuple[int, int]]] = {}
    for run in transposed_runs(inputs, outputs, kernel, stride, dilation, before):
        part = reads(run, inputs)
        assert not got.keys() & part.keys()
        got |= part
    assert got == expected


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.tuples(*[st.integers(0, 3)] * 4))
def test_runs_of_equal_divisors(
    inputs: int, kernel: int, stride: int, dilation: int, padding: tuple[int, int, int, int]
) -> None:
    before, after, counted_before, counted_after = padding
    counted = min(before, counted_before), min(after, counted_after)
    outputs = (inputs + before + after - dilation * (kernel - 1) - 1) // stride + 1
    assume(outputs > 0)
    seen: dict[int, Counter[tuple[int, int]]] = {}
    for run in average_runs(inputs, outputs, kernel, stride, dilation, before, counted):
        part = reads(run, inputs)
        assert not seen.keys() & part.keys()
        seen |= part
        for y, read in part.items():
            places = [y * stride + i * dilation - before for i in range(kernel)]
            assert Counter(pixel for _, pixel in read.elements()) == Counter(p for p in places if 0 <= p < inputs)
            assert run.divisor == sum(-counted[0] <= place < inputs + counted[1] for place in places)
    assert sorted(seen) == list(range(outputs))
