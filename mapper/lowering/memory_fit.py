"""Memory sizes: what a program needs of each memory, and designs whose memories are large enough for a network."""

from __future__ import annotations

from collections.abc import Mapping

from skipstone.errors import DesignError, MappingError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.limits import accumulator_bits
from skipstone.mapper.lowering.memory_sizes import ROOMY, memories_needed, unbounded
from skipstone.mapper.results.network import ENLARGED
from skipstone.models.quantization.network import QuantizedNetwork

MEMORIES = (*ROOMY, "accumulator_bits")
"""The parameters that a network's weights, tensors and numbers may overflow."""

COUNTED = ("tables", "codebooks", "accumulator_bits")
"""What gets exactly as much as is needed. All others get a power of two of words."""


def memory_size(need: int) -> int:
    """The least power of two, from 2 on, that holds ``need`` words."""
    return 1 << max(1, (need - 1).bit_length())


def memory_sizes(needed: Mapping[str, int]) -> dict[str, int]:
    """Sizes for memories that hold ``needed``: powers of two, but for those in ``COUNTED``."""
    return {name: need if name in COUNTED else memory_size(need) for name, need in needed.items()}


def with_memories_for(network: QuantizedNetwork, design: Design) -> Design:
    """Enlarges the memories of a design that a network overflows, and accumulators that are too narrow for it.

    Args:
        network: The quantized network.
        design: The array.

    Returns:
        ``design`` with these memories enlarged to the next power of two, accumulators as wide as is needed and a name
        that lists them, or ``design`` itself where nothing overflows.

    Raises:
        MappingError: The network does not fit, however large the memories are.
    """
    needed = _needed(network, design)
    enlarged = {name: size for name, size in memory_sizes(needed).items() if needed[name] > getattr(design, name)}
    if not enlarged:
        return design
    changes = ", ".join(f"{name} {getattr(design, name)} -> {size}" for name, size in enlarged.items())
    try:
        return design.replace(name=f"{design.name}{ENLARGED}{changes})", **enlarged)
    except DesignError as error:
        raise MappingError(f"design '{design.name}': {error}", parameter=error.parameter) from None


def all_too_small(network: QuantizedNetwork, design: Design, error: MappingError) -> MappingError:
    """The error that a network does not fit a memory, with all other memories that are too small for it.

    Args:
        network: The quantized network.
        design: The array.
        error: What mapping it said: ``error`` itself is returned where it is about no memory or tells all.
    """
    if error.parameter not in MEMORIES:
        return error
    try:
        needed = _needed(network, design)
    except MappingError:
        return error
    short = {name: need for name, need in needed.items() if need > getattr(design, name)}
    if len(short) < 2:
        return error
    sizes = ", ".join(f"{name} {need} (it has {getattr(design, name)})" for name, need in short.items())
    text = f"the network needs more than design '{design.name}' has; raise {sizes}"
    return MappingError(text, layer=error.layer, parameter=error.parameter, need=error.need, have=error.have)


def _needed(network: QuantizedNetwork, design: Design) -> dict[str, int]:
    """What the network needs of each of ``MEMORIES`` where all hold anything."""
    needed = memories_needed(compile_network(network, unbounded(design)))
    bits = max((accumulator_bits(layer, network) for layer in network.array_layers), default=0)
    return needed | {"accumulator_bits": bits}
