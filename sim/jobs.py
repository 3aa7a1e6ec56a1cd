"""What passes between a session and the simulator's process: plain data, pickled over a socket."""

from __future__ import annotations

from dataclasses import dataclass, field

PERIOD_NS = 2
"""The bench's clock: it rises at 0 ns of simulated time and every period after."""

RESET_CYCLES = 3
"""Cycles of a reset: one when the simulation begins, one before a program is written."""


@dataclass(frozen=True)
class Load:
    """Write memory images through the host port: ``select`` code and words from address 0."""

    images: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Run:
    """Write words of activation memory, start, and after each layer read the words ``base`` to ``base + words - 1`` of every
    tensor that is complete; after the last one, read ``host_reads`` through the host port.

    ``limit`` cycles without a finished layer are an error.
    """

    input: tuple[tuple[int, int], ...]
    reads: tuple[tuple[tuple[int, int], ...], ...]
    host_reads: tuple[tuple[int, int], ...]
    limit: int


@dataclass(frozen=True)
class RunResult:
    """For each layer, the cycles from the end of the one before (or from ``start``), and the words read back of each tensor.

    Cycles are simulated time between changes of the ``layer`` port divided by the clock's period. ``host_words`` are
    those of ``host_reads``, after ``done``. ``seconds``: wall time that the simulator took for the
    cycles alone, without writing and reading memories.
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

    reason: str = field(default="")
