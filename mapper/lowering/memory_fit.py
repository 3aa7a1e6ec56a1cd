"""Memory sizes: what a program needs of each memory, and a design whose memories are as large as a network needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from skipstone.errors import DesignError, MappingError
from skipstone.hw.design import MAX_ACCUMULATOR_BITS, MAX_TABLE_BITS, Design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.program import Program
from skipstone.models.quantization.network import QuantizedNetwork

ROOMY = {
    "activation_words": 1 << 24,
    "weight_entries": 1 << 28,
    "load_entries": 1 << 28,
    "parameter_words": 1 << 20,
    "layers": 1 << 10,
    "tables": 64,
    "codebooks": 64,
}
"""Sizes that hold anything that can be mapped in reasonable time; the keys are the design's memory sizes."""


COUNTED = ("tables", "codebooks")
"""Those of which there are as many as are needed; all others have a power of two of words."""


def memories_needed(program: Program) -> dict[str, int]:
    """The least size of each memory that holds ``program``; of ``tables`` the number."""
    return {
        "activation_words": program.activation_words,
        "weight_entries": int(np.sum([layer.row_entries for layer in program.layers], axis=0).max()),
        "load_entries": sum(layer.schedule.load_words for layer in program.layers),
        "parameter_words": sum(layer.schedule.passes * layer.schedule.steps for layer in program.layers),
        "layers": len(program.layers),
        "tables": len(program.tables),
        "codebooks": max(1, len(program.codebooks)),
    }


def memory_size(need: int) -> int:
    """The power of two that holds ``need`` words."""
    return 1 << max(1, (need - 1).bit_length())


def memory_sizes(needed: Mapping[str, int]) -> dict[str, int]:
    """The sizes that memories are given which hold ``needed``: powers of two, but for those that are ``COUNTED``."""
    return {name: need if name in COUNTED else memory_size(need) for name, need in needed.items()}


def roomy(design: Design, fixed: Collection[str] = ()) -> Design:
    """``design`` with memories that hold anything that can be mapped in reasonable time, but for those named in ``fixed``."""
    return design.replace(
        **{
            name: max(getattr(design, name), size)
            for name, size in ROOMY.items()
            if name not in fixed and (name != "tables" or design.activation_bits <= MAX_TABLE_BITS)
        }
    )


def unbounded(design: Design) -> Design:
    """:func:`roomy`, and with accumulators that do not overflow. Cycles depend on neither: only which of several programs
    fits does."""
    return roomy(design).replace(accumulator_bits=MAX_ACCUMULATOR_BITS)


def with_memories_for(network: QuantizedNetwork, design: Design) -> Design:
    """``design`` with every memory that ``network`` overflows enlarged to the next power of two, and with a name that says so;
    ``design`` itself where nothing overflows. Raises MappingError for what no memory size can mend."""
    needed = memories_needed(compile_network(network, roomy(design)))
    enlarged = {name: size for name, size in memory_sizes(needed).items() if needed[name] > getattr(design, name)}
    if not enlarged:
        return design
    changes = ", ".join(f"{name} {getattr(design, name)} -> {size}" for name, size in enlarged.items())
    try:
        return design.replace(name=f"{design.name} (memories enlarged: {changes})", **enlarged)
    except DesignError as error:
        raise MappingError(f"design '{design.name}': {error}") from None
