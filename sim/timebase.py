"""Where the array's cycles lie in simulated time: from what the network bench does before each start. A wave file and the
timeline of the cycle model have one time base by this, without a simulation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from skipstone.mapper.lowering.tensor_words import write_words
from skipstone.mapper.program import Placement, Program
from skipstone.sim.jobs import PERIOD_NS, RESET_CYCLES
from skipstone.sim.segments import host_placements, segment_stops


def start_times_ns(program: Program, cycles: tuple[int, ...]) -> tuple[int, ...]:
    """Simulated times at which cycle 0 begins, the cycle in which ``start`` is seen, in a session's first run of a program.

    The bench writes one word a cycle (the program's memories, then the input), changes signals at falling edges, raises
    ``start`` in the same falling edge in which it has written the last word, and reads tensors, one word a cycle, from
    the falling edge after ``done`` on.

    Args:
        program: the program that the session loaded.
        cycles: of all its layers.

    Returns:
        Nanoseconds, one number for every start of the array: more than one where the host works between layers.
    """
    before = 2 * RESET_CYCLES + sum(len(words) for words in program.memory_images().values())
    times = []
    # Cycle 0 is the one around the falling edge that raises ``start``; the clock's first edges are at 0 (rising) and
    # half a period (falling).
    edge = before * PERIOD_NS - PERIOD_NS // 2
    for start, stop in pairwise(segment_stops(program)):
        outputs = [step.output for step in program.host_steps if step.after == start]
        writes = sum(_written_words(tensor, program) for tensor in (*outputs, *([] if start else [program.input])))
        edge += writes * PERIOD_NS
        times.append(edge - PERIOD_NS // 2)
        reads = sum(tensor.words for tensor in host_placements(program, stop).values())
        # ``done`` rises as the cycle ends that writes the last result.
        edge += (sum(cycles[start:stop]) + 1 + reads) * PERIOD_NS
    return tuple(times)


def _written_words(tensor: Placement, program: Program) -> int:
    """Words that the host writes for a tensor."""
    zeros = np.zeros((tensor.channels, tensor.height, tensor.width), np.int64)
    return len(write_words(tensor, program.design, zeros))
