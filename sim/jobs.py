"""What passes between a session and the simulator's process: plain data, pickled over a socket."""

from __future__ import annotations

from dataclasses import dataclass

PERIOD_NS = 2
"""The bench's clock: it rises at 0 ns of simulated time and every period after."""

RESET_CYCLES = 3
"""Cycles of a reset: one when the simulation begins, one before a program is written."""


@dataclass(frozen=True)
class Load:
    """Reset the array and write memory images through the host port.

    Attributes:
        images: (``select`` code, words from address 0) of each memory.
    """

    images: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class RunInput:
    """Write words of activation memory, start the array, and read tensors as its layers end.

    Attributes:
        input: (address, word) pairs to write.
        reads: for each layer, (first address, words) of every tensor that is complete after it; read from the memory itself.
        host_reads: (first address, words) of tensors to read through the host port after ``done``.
        limit: cycles without a finished layer that are an error.
    """

    input: tuple[tuple[int, int], ...]
    reads: tuple[tuple[tuple[int, int], ...], ...]
    host_reads: tuple[tuple[int, int], ...]
    limit: int


@dataclass(frozen=True)
class RunResult:
    """What the array did with one ``RunInput``.

    Attributes:
        cycles: of each layer, from the end of the layer before (or from ``start``): simulated time between changes of the
            ``layer`` port, divided by the clock's period.
        words: of each layer, the words of each tensor of ``RunInput.reads``.
        host_words: the words of each tensor of ``RunInput.host_reads``; none without ``done``.
        done: whether the array said so.
        seconds: wall time that the simulator took for the cycles alone, without writing and reading memories.
        error: why the run ended early, or None.
    """

    cycles: tuple[int, ...]
    words: tuple[tuple[tuple[int, ...], ...], ...]
    host_words: tuple[tuple[int, ...], ...]
    done: bool
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class Stop:
    """End the simulation."""
