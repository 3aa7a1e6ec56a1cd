"""Packs a pass's nonzeros into the rows' entry lists, and words into load lists, as the memories hold them.

The callers have checked that every value fits its field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.hw.design import Design
from skipstone.hw.fields import Fields
from skipstone.mapper.lowering.windows import Words

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
    """The lists of one tile of a pass.

    ``counts`` (windows x rows) are the entries issued, fillers included. Cycles need only them, so the words are packed
    when they are first asked for. ``row`` to ``code`` are the nonzeros' fields, ``fillers`` the rows and windows of the
    fillers where a row has no nonzero.
    """

    design: Design
    counts: Ints
    row: Ints
    window: Ints
    slot: Ints
    lane: Ints
    accumulator: Ints
    code: Ints
    fillers: tuple[Ints, Ints]

    @cached_property
    def weights(self) -> tuple[NDArray[Any], ...]:
        """The packed list of each row."""
        design, windows = self.design, len(self.counts)
        row, window, index, order = _ordered(design, windows, self)
        nothing = np.zeros(len(self.fillers[0]), np.int64)
        code = np.concatenate([self.code, nothing])[order]
        filler = np.concatenate([np.zeros_like(self.row), nothing + 1])[order]
        delta = np.zeros(len(row), np.int64)
        if design.index_coding == "delta":
            delta, escapes = _deltas(design, row, window, index)
            # An escape is a filler that goes the longest way there is.
            ends = np.cumsum(escapes + 1) - 1
            row, window, index = (np.repeat(column, escapes + 1) for column in (row, window, index))
            longest_way = (1 << design.delta_bits) - 1
            delta, code, filler = (
                _spread(column, ends, len(row), of_escape)
                for column, of_escape in ((delta, longest_way), (code, 0), (filler, 1))
            )
        last = np.append(row[1:] != row[:-1], True)
        following = np.where(last, windows, np.append(window[1:], 0))
        words = pack(
            design.weight_entry,
            {
                "value": code,
                "filler": filler,
                **_parted(design, index),
                "delta": delta,
                "leave": following - window,
                "last": last.astype(np.int64),
            },
        )
        bounds = np.searchsorted(row, np.arange(design.rows + 1))
        return tuple(words[bounds[r] : bounds[r + 1]] for r in range(design.rows))


def encode_pass(
    design: Design, windows: int, row: Ints, window: Ints, slot: Ints, lane: Ints, accumulator: Ints, code: Ints
) -> EncodedPass:
    """Makes the lists of one tile of a pass.

    An entry leaves all windows up to the one of the row's next entry, or to the end of the tile. A filler entry is
    added where a row has no nonzero in the first window, where it would have to leave more windows at once than
    ``leave_bits`` can represent, and where the next index is further away than ``delta_bits`` can represent.
    """
    counts = np.bincount(window * design.rows + row, minlength=windows * design.rows).reshape(windows, design.rows)
    fillers = _fillers(counts, (1 << design.leave_bits) - 1)
    counts[fillers[::-1]] += 1
    encoded = EncodedPass(design, counts, row, window, slot, lane, accumulator, code, fillers)
    if design.index_coding == "delta":
        row, window, index, _ = _ordered(design, windows, encoded)
        np.add.at(counts, (window, row), _deltas(design, row, window, index)[1])
    return encoded


def filled(design: Design, counts: Ints) -> Ints:
    """Entries that rows issue in each window (windows x rows) for so many nonzeros, with absolute indices."""
    filled_counts = counts.copy()
    filled_counts[_fillers(counts, (1 << design.leave_bits) - 1)[::-1]] += 1
    return filled_counts


def _fillers(counts: Ints, longest: int) -> tuple[Ints, Ints]:
    """Rows and windows of the fillers that lists with ``counts`` (windows x rows) nonzeros need, if an entry can leave
    ``longest`` windows at once. In none of these windows the row has a nonzero."""
    windows = len(counts)
    needy = counts[0] == 0
    if windows > longest:
        needy = needy | (counts == 0).any(axis=0)
    rows, places = [], []
    for r in np.flatnonzero(needy).tolist():
        at = 0
        if not counts[0, r]:
            rows.append(r)
            places.append(0)
        for stop in [*np.flatnonzero(counts[:, r]).tolist(), windows]:
            while stop - at > longest:
                at += longest
                rows.append(r)
                places.append(at)
            at = stop
    return np.array(rows, np.int64), np.array(places, np.int64)


def _ordered(design: Design, windows: int, encoded: EncodedPass) -> tuple[Ints, Ints, Ints, Ints]:
    """Row, window and index of all entries but escapes, as they stand in the lists, and the order that brings nonzeros
    and then fillers there."""
    nothing = np.zeros(len(encoded.fillers[0]), np.int64)
    row, window = (
        np.concatenate([encoded.row, encoded.fillers[0]]),
        np.concatenate([encoded.window, encoded.fillers[1]]),
    )
    fields = {"lane": encoded.lane, "slot": encoded.slot, "accumulator": encoded.accumulator}
    index = _joined(design, {name: np.concatenate([values, nothing]) for name, values in fields.items()})
    # No two entries have the same key: a filler stands only where its row has no other entry in the window.
    order = np.argsort((row * windows + window) << design.weight_index.width | index)
    return row[order], window[order], index[order], order


def _joined(design: Design, parts: dict[str, Ints]) -> Ints:
    """The fields of an index as one number."""
    joined, offset = np.zeros_like(parts["lane"]), 0
    for field in design.weight_index.fields:
        joined = joined | parts[field.name] << offset
        offset += field.width
    return joined


def _parted(design: Design, index: Ints) -> dict[str, Ints]:
    """The inverse of ``_joined``."""
    parts, offset = {}, 0
    for field in design.weight_index.fields:
        parts[field.name] = index >> offset & (1 << field.width) - 1
        offset += field.width
    return parts


def _deltas(design: Design, row: Ints, window: Ints, index: Ints) -> tuple[Ints, Ints]:
    """The delta of each of the sorted entries, and how many escapes go before it."""
    same = np.append(False, (row[1:] == row[:-1]) & (window[1:] == window[:-1]))
    gap = index - np.where(same, np.append(0, index[:-1]) + 1, 0)
    return gap & (1 << design.delta_bits) - 1, gap >> design.delta_bits


def _spread(column: Ints, places: Ints, length: int, elsewhere: int) -> Ints:
    """``column`` at ``places`` of an array of ``length``, ``elsewhere`` between them."""
    wide = np.full(length, elsewhere, np.int64)
    wide[places] = column
    return wide


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
