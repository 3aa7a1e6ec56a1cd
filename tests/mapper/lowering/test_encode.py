"""Encoded lists, unpacked again: every nonzero once, windows left exactly once, lists start in the first window."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.mapper.lowering.encode import encode_loads, encode_pass, pack
from skipstone.mapper.lowering.windows import Words

DESIGN = Design("test", 3, 6, 20, 2, 4, 4, 2, leave_bits=1)


@settings(max_examples=200)
@given(st.integers(1, 9), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_lists_hold_every_nonzero_and_leave_every_window(windows, count, seed):
    rng = np.random.default_rng(seed)
    row, window = rng.integers(0, 3, count), rng.integers(0, windows, count)
    slot, lane = rng.integers(0, 5, count), rng.integers(0, 4, count)
    accumulator, value = rng.integers(0, 4, count), rng.integers(1, 128, count)
    encoded = encode_pass(DESIGN, windows, row, window, slot, lane, accumulator, value)
    listed = []
    for r, words in enumerate(encoded.weights):
        entries = [DESIGN.weight_entry.unpack(int(word)) for word in words]
        assert entries, "a row without nonzeros still has an entry that ends its tile"
        at, counts = 0, np.zeros(windows, int)
        for index, entry in enumerate(entries):
            counts[at] += 1
            if entry["value"]:
                listed.append((r, at, entry["slot"], entry["lane"], entry["accumulator"], entry["value"]))
            assert entry["last"] == (index == len(entries) - 1)
            at += entry["leave"]
        assert at == windows
        assert counts[0] > 0
        assert counts.tolist() == encoded.counts[:, r].tolist()
    expected = zip(*(v.tolist() for v in (row, window, slot, lane, accumulator, value)), strict=True)
    assert sorted(listed) == sorted(expected)


@settings(max_examples=200)
@given(
    st.sampled_from(["linear", "additive", "sign"]),
    st.integers(1, 9),
    st.integers(1, 6),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_deltas_walk_to_every_nonzero(kind, delta_bits, windows, density, seed):
    """A walk like the row's, which adds up deltas from -1 in every window, meets every nonzero once, and fillers only where no
    delta reaches further."""
    design = DESIGN.replace(multiplier=kind, weight_bits=7, index_coding="delta", delta_bits=delta_bits)
    rng = np.random.default_rng(seed)
    places = np.array(np.nonzero(rng.random((3, windows, 4, 5, 4)) < density))
    row, window, accumulator, slot, lane = places
    codes = {"linear": (1, 64), "additive": (1, 128), "sign": (0, 2)}
    code = rng.integers(*codes[kind], len(row))
    encoded = encode_pass(design, windows, row, window, slot, lane, accumulator, code)
    listed = []
    for r, words in enumerate(encoded.weights):
        at, counts, index, fillers = 0, np.zeros(windows, int), -1, 0
        for word in words:
            entry = design.weight_entry.unpack(int(word))
            counts[at] += 1
            index += entry["delta"] + 1
            # Lanes of 4 in two bits, slots of 5 in three.
            place = (r, at, index >> 5, index >> 2 & 7, index & 3)
            if entry["filler"] if kind == "sign" else entry["value"] == 0:
                fillers += 1
                assert entry["delta"] == (1 << delta_bits) - 1 or place[2:] == (0, 0, 0)
            else:
                listed.append((*place, entry["value"]))
                fillers = 0
            if entry["leave"]:
                at, index = at + entry["leave"], -1
        assert at == windows
        assert counts.tolist() == encoded.counts[:, r].tolist()
    assert listed == list(zip(*places.tolist(), code.tolist(), strict=True))


def test_escapes_by_hand():
    """Indices 0, 1, 8 and 31 with 2 bits, which reach 4 further at once: gaps of 0, 0, 6 and 22 take 0, 0, 1 and 5 escapes."""
    design = DESIGN.replace(index_coding="delta", delta_bits=2)
    index = np.array([0, 1, 8, 31])
    same = np.zeros(4, np.int64)
    encoded = encode_pass(design, 1, same, same, index >> 2 & 7, index & 3, index >> 5, np.array([7, 8, 9, 10]))
    entries = [design.weight_entry.unpack(int(word)) for word in encoded.weights[0]]
    assert [(entry["delta"], entry["value"]) for entry in entries] == [
        (0, 7), (0, 8), (3, 0), (2, 9), *[(3, 0)] * 5, (2, 10),
    ]  # fmt: skip
    assert encoded.counts.tolist() == [[10, 1, 1]]
    assert [entry["last"] for entry in entries] == [0] * 9 + [1]


def test_a_row_without_work_leaves_as_many_windows_an_entry_as_fit():
    """leave_bits 1 leaves at most one window at once: 4 windows need 4 fillers, and with 3 bits only one."""
    empty = np.zeros(0, np.int64)
    assert [len(w) for w in encode_pass(DESIGN, 4, *[empty] * 6).weights] == [4, 4, 4]
    roomy = DESIGN.replace(leave_bits=3)
    assert [len(w) for w in encode_pass(roomy, 4, *[empty] * 6).weights] == [1, 1, 1]


def test_load_list_addresses_count_from_the_regions_origin():
    index = np.array([0, 0, 1])
    words = Words(
        window=index,
        group=np.array([0, 2, 1]),
        slot=index,
        y=np.array([0, 1, 3]),
        x=np.array([0, 2, 1]),
        dy=index,
        dx=index,
    )
    entries = [DESIGN.load_entry.unpack(int(word)) for word in encode_loads(DESIGN, words, width=10, groups=3)]
    assert [entry["offset"] for entry in entries] == [0, (1 * 10 + 2) * 3 + 2, (3 * 10 + 1) * 3 + 1]
    assert [(entry["last_of_window"], entry["last_of_tile"]) for entry in entries] == [(0, 0), (1, 0), (1, 1)]


def test_words_wider_than_64_bits_are_packed_too():
    wide = DESIGN.replace(activation_words=1 << 28, max_dimension=1 << 15, max_stride=16)
    assert wide.load_entry.width > 64
    values = {field.name: np.array([1]) for field in wide.load_entry.fields}
    packed = int(pack(wide.load_entry, values)[0])
    assert set(wide.load_entry.unpack(packed).values()) == {1}
