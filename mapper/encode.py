"""Packs a pass's nonzeros into the rows' entry lists, and words into load lists, as the memories hold them.

The callers have checked that every value fits its field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.design import Design
from hw.fields import Fields
from mapper.windows import Words

Ints = NDArray[np.int64]


def pack(fields: Fields, columns: dict[str, Ints]) -> NDArray[Any]:
    """Packs arrays of field values into words: uint64, or Python integers where a word is wider than 64 bits."""
    kind = np.uint64 if fields.width <= 64 else object
    packed: NDArray[Any] = np.zeros(len(columns[fields.fields[0].name]), kind)
    offset = 0
    for field in fields.fields:
        part = columns[field.name].astype(np.int64) & ((1 << field.width) - 1)
        packed |= part.astype(kind) << (np.uint64(offset) if kind is np.uint64 else offset)
        offset += field.width
    return packed


@dataclass(frozen=True, eq=False)
class EncodedPass:
    """``weights[r]``: the packed list of row r; ``counts`` (windows x rows): entries issued, fillers included."""

    weights: tuple[NDArray[Any], ...]
    counts: Ints


def encode_pass(
    design: Design, windows: int, row: Ints, window: Ints, slot: Ints, lane: Ints, accumulator: Ints, value: Ints
) -> EncodedPass:
    """One tile's lists. An entry leaves as many windows as lie up to the row's next entry (or the end of the tile).

    A filler entry of value zero is put where a row has no nonzero in the first window, and wherever it would have to leave
    more windows at once than ``leave_bits`` can say.
    """
    longest = (1 << design.leave_bits) - 1
    counts = np.bincount(window * design.rows + row, minlength=windows * design.rows).reshape(windows, design.rows)
    filler_rows, filler_windows = [], []
    for r in range(design.rows):
        stops = np.append(np.flatnonzero(counts[:, r]), windows)
        if stops[0] == 0 and (len(stops) == 1 or int(np.diff(stops).max()) <= longest):
            continue
        at = 0
        if stops[0] != 0:
            filler_rows.append(r)
            filler_windows.append(0)
        for stop in stops.tolist():
            while stop - at > longest:
                at += longest
                filler_rows.append(r)
                filler_windows.append(at)
            at = stop
    if filler_rows:
        extra_row, extra_window = np.array(filler_rows, np.int64), np.array(filler_windows, np.int64)
        zero = np.zeros(len(extra_row), np.int64)
        row, window = np.concatenate([row, extra_row]), np.concatenate([window, extra_window])
        slot, lane = np.concatenate([slot, zero]), np.concatenate([lane, zero])
        accumulator, value = np.concatenate([accumulator, zero]), np.concatenate([value, zero])
        counts = counts.copy()
        np.add.at(counts, (extra_window, extra_row), 1)
    order = np.lexsort((slot * design.load_width + lane, accumulator, window, row))
    row, window = row[order], window[order]
    last = np.append(row[1:] != row[:-1], True)
    following = np.where(last, windows, np.append(window[1:], 0))
    words = pack(
        design.weight_entry,
        {
            "value": value[order],
            "slot": slot[order],
            "lane": lane[order],
            "accumulator": accumulator[order],
            "leave": following - window,
            "last": last.astype(np.int64),
        },
    )
    bounds = np.searchsorted(row, np.arange(design.rows + 1))
    return EncodedPass(tuple(words[bounds[r] : bounds[r + 1]] for r in range(design.rows)), counts.astype(np.int64))


def encode_loads(design: Design, words: Words, width: int, groups: int) -> NDArray[Any]:
    """One tile's load list; the input's rows are ``width`` pixels of ``groups`` words."""
    last_of_window = np.append(words.window[1:] != words.window[:-1], True)
    last_of_tile = np.zeros(len(words.window), np.int64)
    last_of_tile[-1] = 1
    return pack(
        design.load_entry,
        {
            "y": words.y,
            "x": words.x,
            "dy": words.dy,
            "dx": words.dx,
            "offset": (words.y * width + words.x) * groups + words.group,
            "slot": words.slot,
            "last_of_window": last_of_window.astype(np.int64),
            "last_of_tile": last_of_tile,
        },
    )
