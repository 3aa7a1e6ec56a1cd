"""Memory sizes: what a program needs of each memory, and designs whose memories are large enough for a network."""

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
"""Sizes that hold anything that can be mapped in reasonable time, by the design's parameters."""


COUNTED = ("tables", "codebooks")
"""Memories that get exactly as many entries as are needed. All others get a power of two of words."""


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


def memory_size(need: int) -> int:
    """The least power of two, from 2 on, that holds ``need`` words."""
    return 1 << max(1, (need - 1).bit_length())


def memory_sizes(needed: Mapping[str, int]) -> dict[str, int]:
    """Sizes for memories that hold ``needed``: powers of two, but for those in ``COUNTED``."""
    return {name: need if name in COUNTED else memory_size(need) for name, need in needed.items()}


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


def with_memories_for(network: QuantizedNetwork, design: Design) -> Design:
    """Enlarges the memories of a design that a network overflows.

    Args:
        network: The quantized network.
        design: The array.

    Returns:
        ``design`` with these memories enlarged to the next power of two and a name that lists them, or ``design``
        itself
        where nothing overflows.

    Raises:
        MappingError: The network does not fit, however large the memories are.
    """
    needed = memories_needed(compile_network(network, roomy(design)))
    enlarged = {name: size for name, size in memory_sizes(needed).items() if needed[name] > getattr(design, name)}
    if not enlarged:
        return design
    changes = ", ".join(f"{name} {getattr(design, name)} -> {size}" for name, size in enlarged.items())
    try:
        return design.replace(name=f"{design.name} (memories enlarged: {changes})", **enlarged)
    except DesignError as error:
        raise MappingError(f"design '{design.name}': {error}", parameter=error.parameter) from None
