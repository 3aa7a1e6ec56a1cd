"""What a program needs of each memory, and designs whose memories hold any network, for programs that need not fit."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from skipstone.hw.design import MAX_ACCUMULATOR_BITS, MAX_TABLE_BITS, Design
from skipstone.mapper.program import Program

ROOMY = {
    "activation_words": 1 << 24,
    "weight_entries": 1 << 28,
    "load_entries": 1 << 28,
    "parameter_words": 1 << 20,
    "layers": 1 << 10,
    "tables": 64,
    "codebooks": 64,
}
"""Sizes that hold anything that can be mapped in reasonable time, by the design's parameters."""


def roomy(design: Design, fixed: Collection[str] = ()) -> Design:
    """``design`` with memories that hold anything that can be mapped in reasonable time.

    Args:
        design: The array.
        fixed: Parameters of memories that stay as they are.
    """
    return design.replace(
        **{
            name: max(getattr(design, name), size)
            for name, size in ROOMY.items()
            if name not in fixed and (name != "tables" or design.activation_bits <= MAX_TABLE_BITS)
        }
    )


def unbounded(design: Design) -> Design:
    """``design`` as :func:`roomy` makes it, with accumulators that do not overflow.

    The cycles of a program depend on neither; they only decide which of several programs fit.
    """
    return roomy(design).replace(accumulator_bits=MAX_ACCUMULATOR_BITS)


def memories_needed(program: Program) -> dict[str, int]:
    """The least size of each memory that holds ``program``, by the design's parameter."""
    return {
        "activation_words": program.activation_words,
        "weight_entries": int(np.sum([layer.row_entries for layer in program.layers], axis=0).max()),
        "load_entries": sum(layer.schedule.load_words for layer in program.layers),
        "parameter_words": sum(layer.schedule.passes * layer.schedule.steps for layer in program.layers),
        "layers": len(program.layers),
        "tables": len(program.tables),
        "codebooks": max(1, len(program.codebooks)),
    }
