"""Places tensors in activation memory. A tensor is held from the layer that writes it to the last layer that reads it."""

from __future__ import annotations

from skipstone.errors import MappingError


def place(
    sizes: dict[str, int], spans: dict[str, tuple[int, int]], words: int, design: str
) -> tuple[dict[str, int], int]:
    """Places tensors first-fit by size.

    Args:
        sizes: Words of each tensor.
        spans: The first and the last layer (inclusive) during which each tensor is held. Tensors whose spans overlap
            never overlap in memory.
        words: Words of activation memory.
        design: The design's name, for messages.

    Returns:
        The base address of every tensor, and the number of words used.
    """
    bases: dict[str, int] = {}
    for name in sorted(sizes, key=lambda n: (-sizes[n], spans[n], n)):
        first, last = spans[name]
        taken = sorted(
            (bases[other], bases[other] + sizes[other])
            for other in bases
            if spans[other][0] <= last and first <= spans[other][1]
        )
        base = 0
        for low, high in taken:
            if base + sizes[name] <= low:
                break
            base = max(base, high)
        bases[name] = base
    used = max((bases[name] + sizes[name] for name in bases), default=0)
    if used > words:
        largest = max(sizes, key=lambda n: sizes[n])
        raise MappingError(
            f"the network's activations need activation_words {used}, design '{design}' has {words}; "
            f"raise activation_words to {used} (the largest tensor, '{largest}', takes {sizes[largest]})",
            parameter="activation_words",
            need=used,
            have=words,
        )
    return bases, used
