"""Reads signals from an FST wave file, as a wave viewer does, with GTKWave's own reader."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from pathlib import Path

import pylibfst
from pylibfst import lib


@dataclass(frozen=True)
class Signal:
    """The times (ps) at which a signal changes, and its values from then on; unknown bits are 0."""

    times: list[int]
    values: list[int]

    def at(self, time_ps: int) -> int:
        """The value at a time; a change at that time has happened."""
        return self.values[bisect.bisect_right(self.times, time_ps) - 1]


def read_signals(path: Path, names: tuple[str, ...]) -> dict[str, Signal]:
    """The signals ``names`` (scopes with points between, without a range of bits)."""
    file = lib.fstReaderOpen(str(path).encode())
    assert file != pylibfst.ffi.NULL, f"{path} is no FST file"
    try:
        assert lib.fstReaderGetTimescale(file) == -12, "times are not in ps"
        _, signals = pylibfst.get_scopes_signals2(file)
        handles = {name.split(" ")[0]: signal.handle for name, signal in signals.by_name.items()}
        changes: dict[int, tuple[list[int], list[int]]] = {handles[name]: ([], []) for name in names}
        lib.fstReaderClrFacProcessMaskAll(file)
        for handle in changes:
            lib.fstReaderSetFacProcessMask(file, handle)

        def changed(_user, time, handle, value) -> None:
            times, values = changes[handle]
            times.append(time)
            text = pylibfst.string(value)
            values.append(int("".join(bit if bit in "01" else "0" for bit in text), 2))

        pylibfst.fstReaderIterBlocks(file, changed)
        return {name: Signal(*changes[handles[name]]) for name in names}
    finally:
        lib.fstReaderClose(file)
