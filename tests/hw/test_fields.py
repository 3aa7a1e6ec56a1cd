"""Bit fields: packing and unpacking are inverse, and the gateware's view of a word is the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.hw.fields import Field, Fields, width_of
from tests.sim.designs import POOL

FIELDS = Fields((Field("count", 3), Field("bias", 5, signed=True), Field("last", 1)))


@st.composite
def fields_and_values(draw):
    widths = draw(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=8))
    fields = Fields(tuple(Field(f"f{index}", width, signed) for index, (width, signed) in enumerate(widths)))
    # Both ends of every range are drawn often.
    values = {
        field.name: draw(st.sampled_from((field.low, field.high)) | st.integers(field.low, field.high))
        for field in fields.fields
    }
    return fields, values


@given(fields_and_values())
def test_round_trip(drawn):
    fields, values = drawn
    word = fields.pack(values)
    assert 0 <= word < 1 << fields.width
    assert fields.unpack(word) == values


@given(fields_and_values())
def test_every_word_is_the_packing_of_its_fields(drawn):
    fields, _ = drawn
    for word in (0, (1 << fields.width) - 1, (1 << fields.width) // 3):
        assert fields.pack(fields.unpack(word)) == word


def test_the_first_field_is_lowest():
    """3 bits of 5, then -3 in 5 bits (29), then 1: 5 + 29 * 8 + 1 * 256."""
    assert FIELDS.width == 9
    assert FIELDS.pack({"count": 5, "bias": -3, "last": 1}) == 5 + 29 * 8 + 256


@given(fields_and_values())
def test_layout_agrees_with_pack(drawn):
    """Amaranth's layout, asked for the constant of the same values, gives the same bits, fields and signs."""
    from amaranth.hdl import Const
    from amaranth.lib import data

    fields, values = drawn
    layout = fields.layout()
    assert layout.size == fields.width
    assert layout.const(values).as_bits() == fields.pack(values)
    view = data.View(layout, Const(fields.pack(values), fields.width))
    for field in fields.fields:
        shape = view[field.name].shape()
        assert (shape.width, shape.signed) == (field.width, field.signed)


@pytest.mark.parametrize("name", sorted(POOL))
def test_layout_of_the_memories(name):
    """Every memory's word of every odd design: field for field the same offsets."""
    design = POOL[name]
    for fields in (design.weight_entry, design.load_entry, design.parameter, design.descriptor):
        layout = fields.layout()
        assert layout.size == fields.width
        for field in fields.fields:
            word = fields.pack(
                {f.name: int(f is field and not f.signed) - int(f is field and f.signed) for f in fields.fields}
            )
            value_bits = (1 << field.width) - 1 if field.signed else 1
            assert word == value_bits << layout[field.name].offset


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"count": 8, "bias": 0, "last": 0}, "^count must be 0 to 7, not 8$"),
        ({"count": -1, "bias": 0, "last": 0}, "^count must be 0 to 7, not -1$"),
        ({"count": 0, "bias": 16, "last": 0}, "^bias must be -16 to 15, not 16$"),
        ({"count": 0, "bias": -17, "last": 0}, "^bias must be -16 to 15, not -17$"),
        ({"count": 0, "bias": 0, "last": 2}, "^last must be 0 to 1, not 2$"),
    ],
)
def test_values_that_do_not_fit(values, text):
    with pytest.raises(ValueError, match=text):
        FIELDS.pack(values)


def test_unknown_and_missing_fields():
    with pytest.raises(KeyError, match="no such fields: a, other"):
        FIELDS.pack({"count": 0, "bias": 0, "last": 0, "other": 0, "a": 1})
    with pytest.raises(KeyError, match="last"):
        FIELDS.pack({"count": 0, "bias": 0})


@pytest.mark.parametrize(("count", "width"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_width_of(count, width):
    assert width_of(count) == width
