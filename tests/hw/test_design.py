"""Every parameter's range, every rule between parameters, and what the gateware and the mapper derive from them."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import DesignError
from skipstone.hw.design import Design, built_in_designs, load_design, parse_design

SMALL = Design("small", 2, 2, 8, 2, 2, 4, 2)
RANGES = {
    "rows": (1, 256),
    "cols": (1, 1024),
    "window_depth": (1, 1 << 16),
    "windows": (2, 64),
    "accumulators": (1, 128),
    "load_width": (1, 1024),
    "requantizer_lanes": (1, 1024),
    "weight_bits": (2, 16),
    "activation_bits": (2, 16),
    "accumulator_bits": (8, 46),
    "activation_words": (2, 1 << 28),
    "weight_entries": (2, 1 << 28),
    "load_entries": (2, 1 << 28),
    "parameter_words": (2, 1 << 24),
    "layers": (1, 1 << 16),
    "reach": (1, 64),
    "leave_bits": (1, 8),
    "max_stride": (1, 16),
    "max_dimension": (1, 1 << 15),
    "codebook_entries": (4, 256),
    "codebooks": (1, 64),
    "delta_bits": (1, 24),
    "tables": (0, 64),
}
# What must change with a parameter at the end of its range, so that the rules between parameters hold.
TOGETHER = {
    ("window_depth", "low"): {"load_width": 1, "requantizer_lanes": 1},
    ("load_width", "low"): {"requantizer_lanes": 1},
    ("load_width", "high"): {"window_depth": 1024},
    ("requantizer_lanes", "high"): {"load_width": 1024, "window_depth": 1024},
    ("weight_bits", "high"): {"accumulator_bits": 24},
    ("activation_bits", "high"): {"accumulator_bits": 24},
    ("accumulator_bits", "low"): {"weight_bits": 4, "activation_bits": 4},
}


@st.composite
def designs(draw):
    """Small designs of every proportion: more rows than lanes, more lanes than rows, lanes that divide nothing."""
    lanes = draw(st.integers(1, 12))
    width = lanes * draw(st.integers(1, 3))
    return Design(
        "drawn",
        rows=draw(st.integers(1, 17)),
        cols=draw(st.integers(1, 24)),
        window_depth=width * draw(st.integers(1, 4)),
        windows=draw(st.integers(2, 5)),
        accumulators=draw(st.integers(1, 9)),
        load_width=width,
        requantizer_lanes=lanes,
    )


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_every_range(name):
    """The ends are accepted; one step beyond is refused, and the text names the parameter, the range and the value."""
    low, high = RANGES[name]
    for end, value in (("low", low), ("high", high)):
        assert getattr(SMALL.replace(**{name: value}, **TOGETHER.get((name, end), {})), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(DesignError, match=f"^{name} must be {low} to {high}, not {value}$"):
            SMALL.replace(**{name: value})


@pytest.mark.parametrize(
    ("kind", "weight_bits", "code_bits", "product_bits", "values"),
    [
        ("linear", 8, 8, 16, None),
        ("shift", 2, 2, 8 + 1 + 1, (1, 2, -1, -2)),
        ("shift", 3, 3, 8 + 1 + 3, (1, 2, 4, 8, -1, -2, -4, -8)),
        ("shift", 5, 5, 8 + 1 + 15, (*(2**e for e in range(16)), *(-(2**e) for e in range(16)))),
        ("additive", 3, 3, 8 + 3, (0, 1, 2, 4, 0, -1, -2, -4)),
        ("additive", 5, 5, 8 + 6, tuple(s * (a + b) for s in (1, -1) for b in (0, 2, 8, 32) for a in (0, 1, 4, 16))),
        (
            "additive", 7, 7, 8 + 9,
            tuple(
                s * (a + b + c) for s in (1, -1) for c in (0, 4, 32, 256) for b in (0, 2, 16, 128) for a in (0, 1, 8, 64)
            ),
        ),
        ("sign", 8, 1, 9, (1, -1)),
        ("codebook", 8, 4, 16, None),
    ],
)  # fmt: skip
def test_kinds(kind, weight_bits, code_bits, product_bits, values):
    """The widest product, the lowest activation times the lowest weight, needs exactly ``product_bits``; and an entry has a
    filler's bit where no code says 0: 1 + 2 + 1 + 1 of the index, 3 to leave and 1 for the last one are with it."""
    design = SMALL.replace(multiplier=kind, weight_bits=weight_bits)
    assert (design.products.code_bits, design.products.product_bits) == (code_bits, product_bits)
    assert design.products.values == values
    assert design.weight_entry.width == code_bits + (kind not in ("linear", "additive")) + 4 + 4
    lowest = min(values) if values else -(1 << (weight_bits - 1))
    assert (-128 * lowest).bit_length() + 1 == product_bits
    assert design.replace(accumulator_bits=product_bits).accumulator_bits == product_bits
    with pytest.raises(DesignError, match=f"cannot hold one product; raise it to {product_bits}$"):
        design.replace(accumulator_bits=product_bits - 1)


def test_an_entry_with_a_delta():
    """8 bits of value, 5 of delta, 3 to leave and 1 for the last one."""
    assert SMALL.replace(index_coding="delta", delta_bits=5).weight_entry.width == 17


def test_tables_are_in_the_parameter_word_only_where_there_are_any():
    """Bias 24, multiplier 16, shift 6, the other multiplier 32, three activations; of five tables one is named by 3 bits."""
    assert SMALL.parameter.width == 24 + 16 + 6 + 32 + 3 * 8
    assert SMALL.replace(tables=5).parameter.width == SMALL.parameter.width + 3 + 1
    assert (SMALL.table_words, SMALL.replace(tables=5).table_words) == (0, 5 * 256)


def test_every_integer_parameter_has_a_tested_range():
    assert set(RANGES) == set(SMALL.to_dict()) - {"name", "description", "multiplier", "index_coding"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rows": 2.0}, "rows must be an integer, not 2.0"),
        ({"cols": "4"}, "cols must be an integer, not '4'"),
        ({"windows": True}, "windows must be an integer, not True"),
        ({"layers": None}, "layers must be an integer, not None"),
        ({"name": 3}, "name must be a string, not 3"),
        ({"description": None}, "description must be a string, not None"),
        ({"window_depth": 10}, "window_depth 10 must be a multiple of load_width 4; the next one is 12"),
        ({"requantizer_lanes": 3}, "requantizer_lanes 3 must divide load_width 4, so that a result fits one activation word"),
        ({"requantizer_lanes": 8}, "requantizer_lanes 8 must divide load_width 4, so that a result fits one activation word"),
        (
            {"weight_bits": 9, "accumulator_bits": 16},
            "accumulator_bits 16 cannot hold one product; raise it to 17",
        ),
        ({"multiplier": "booth"}, "multiplier must be linear or shift or additive or sign or codebook, not 'booth'"),
        ({"multiplier": 2}, "multiplier must be a string, not 2"),
        ({"index_coding": "huffman"}, "index_coding must be absolute or delta, not 'huffman'"),
        (
            {"multiplier": "shift"},
            "weight_bits must be 2 to 5 with multiplier shift (a sign and an exponent), not 8",
        ),
        *(
            (
                {"multiplier": "additive", "weight_bits": bits},
                f"weight_bits must be 3, 5 or 7 with multiplier additive (a sign and terms of 2 bits), not {bits}",
            )
            for bits in (2, 4, 6, 8, 9)
        ),
        ({"codebook_entries": 12}, "codebook_entries must be a power of two, not 12"),
        (
            {"tables": 1, "activation_bits": 11},
            "tables 1 needs activation_bits 10 or fewer, not 11: every requantizer lane would hold 2048 entries a table",
        ),
    ],
)  # fmt: skip
def test_refused(changes, text):
    with pytest.raises(DesignError, match=f"^{re.escape(text)}$"):
        SMALL.replace(**changes)


def test_values_that_messages_suggest_are_accepted():
    assert SMALL.replace(window_depth=12).slots == 3
    assert SMALL.replace(weight_bits=9, accumulator_bits=17).accumulator_bits == 17
    assert SMALL.replace(requantizer_lanes=4).requantizer_lanes == 4


def test_a_design_is_frozen():
    with pytest.raises(AttributeError):
        SMALL.rows = 3


@settings(max_examples=300)
@given(designs())
def test_positions_are_a_bijection_per_pass(design):
    """For every number of accumulators used, channels get places of their own, inside of the words that the drain writes,
    and the place of a channel does not depend on how many follow."""
    for used in range(1, design.accumulators + 1):
        places = {design.position(row, accumulator) for row in range(design.rows) for accumulator in range(used)}
        assert len(places) == design.rows * used
        assert min(places) >= 0
        assert max(places) < design.steps(used) * design.requantizer_lanes


@settings(max_examples=300)
@given(designs())
def test_positions_follow_the_drain(design):
    """Walking the drain's steps as its document says (``lanes`` channels a step: several accumulators of all rows, or a part
    of the rows of one accumulator) visits every channel once, at ``step * lanes + lane``."""
    lanes, rows = design.requantizer_lanes, design.rows
    places = {}
    for step in range(design.steps(design.accumulators)):
        for lane in range(lanes):
            if lanes >= rows:
                accumulator = step * design.accumulators_per_step + lane // rows
                if lane // rows >= design.accumulators_per_step:
                    continue
                row = lane % rows
            else:
                accumulator, part = divmod(step, design.steps_per_accumulator)
                row = part * lanes + lane
            if row < rows and accumulator < design.accumulators:
                places[row, accumulator] = step * lanes + lane
    assert places == {(r, a): design.position(r, a) for r in range(rows) for a in range(design.accumulators)}


@settings(max_examples=200)
@given(designs())
def test_banks_hold_whole_steps(design):
    assert design.accumulators <= design.bank_depth < design.accumulators + design.accumulators_per_step
    assert design.bank_depth % design.accumulators_per_step == 0
    assert design.accumulators_per_step * design.rows <= max(design.requantizer_lanes, design.rows)


@pytest.mark.parametrize(
    ("cols", "shapes"),
    [
        (1, ((1, 1),)),
        (5, ((1, 5), (5, 1))),
        (12, ((1, 12), (2, 6), (3, 4), (4, 3), (6, 2), (12, 1))),
        (16, ((1, 16), (2, 8), (4, 4), (8, 2), (16, 1))),
    ],
)
def test_tile_shapes(cols, shapes):
    assert SMALL.replace(cols=cols).tile_shapes == shapes


def test_derived_sizes():
    """Worked out by hand for 3 x 6 PEs, windows of 20 in words of 4, 2 lanes, reach 3 and stride 3."""
    design = Design("odd", 3, 6, 20, 2, 2, 4, 2, reach=3, max_stride=3, leave_bits=1, activation_words=100)
    assert (design.pes, design.slots, design.activation_word_bits) == (18, 5, 32)
    # Three rows through two lanes: two steps an accumulator.
    assert (design.accumulators_per_step, design.steps_per_accumulator, design.bank_depth) == (1, 2, 2)
    # The last column's pixel starts 5 * 3 after the first one's, and its taps reach 3 further.
    assert (design.region_extent, design.region_bits, design.address_bits) == (18, 5, 7)
    # Value 8, slot of 5: 3, lane of 4: 2, accumulator of 2: 1, leave 1, last 1.
    assert design.weight_entry.width == 16


# Files ----------------------------------------------------------------------------------------------------------------


def test_built_in_designs():
    """At least these four, named by their file, in the order of their size."""
    designs = built_in_designs()
    shapes = {name: (design.rows, design.cols) for name, design in designs.items()}
    assert {"tiny": (4, 4), "edge": (8, 8), "wide": (8, 32), "square": (16, 16)}.items() <= shapes.items()
    assert [design.pes for design in designs.values()] == sorted(design.pes for design in designs.values())
    for name, design in designs.items():
        assert design.name == name
        assert design.description
        assert load_design(name) == design


def test_a_design_file_round_trips(tmp_path):
    path = tmp_path / "mine.toml"
    values = {name: value for name, value in SMALL.to_dict().items() if name not in ("name", "description")}
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    assert load_design(str(path)) == SMALL.replace(name="mine")


def test_a_name_in_the_file_wins():
    design = parse_design('name = "called"\n' + _REQUIRED, "file", "file.toml")
    assert design.name == "called"


_REQUIRED = "rows=2\ncols=2\nwindow_depth=8\nwindows=2\naccumulators=2\nload_width=4\nrequantizer_lanes=2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_REQUIRED + "row=3", r"^d\.toml: unknown key 'row' \(do you mean 'rows'\?\); it takes name, .*, description$"),
        (_REQUIRED + "b=3\na=3", r"^d\.toml: unknown keys 'b', 'a'; it takes name, "),
        ("rows = 2\ncols = 2\nwindow_depth = 8\nwindows = 2\n",
         r"^d\.toml: keys 'accumulators', 'load_width', 'requantizer_lanes' are missing$"),
        (_REQUIRED.replace("rows=2", "rows=0"), r"^d\.toml: rows must be 1 to 256, not 0$"),
        (_REQUIRED.replace("rows=2", "rows=2.5"), r"^d\.toml: rows must be a whole number, not 2\.5$"),
        (_REQUIRED.replace("rows=2", "rows=true"), r"^d\.toml: rows must be a whole number, not True$"),
        (_REQUIRED + "reach", r"^d\.toml is not TOML: "),
        (_REQUIRED + "rows=3", r"^d\.toml is not TOML: "),
        ("", r"^d\.toml: keys 'rows', 'cols', 'window_depth', 'windows', 'accumulators', .*, 'requantizer_lanes' are missing$"),
    ],
)  # fmt: skip
def test_bad_files(text, message):
    with pytest.raises(DesignError, match=message):
        parse_design(text, "d", "d.toml")


def test_unknown_names():
    with pytest.raises(DesignError, match=r"^unknown design 'huge'; built in are tiny, .*, or name a \.toml file$"):
        load_design("huge")


def test_unreadable_files(tmp_path):
    missing, binary = tmp_path / "no.toml", tmp_path / "binary.toml"
    with pytest.raises(
        DesignError, match=rf"^can't read design file {re.escape(str(missing))}: No such file or directory$"
    ):
        load_design(str(missing))
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DesignError, match=rf"^design file {re.escape(str(binary))} is not text$"):
        load_design(str(binary))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(DesignError, match=r"^can't read design file .*: Is a directory$"):
        load_design(str(folder))
