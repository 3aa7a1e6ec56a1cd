"""One root for every error that a user can put right, and fields that survive pickling."""

from __future__ import annotations

import pickle

import pytest

from skipstone import errors


def test_every_error_has_one_root():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 1
    assert all(issubclass(kind, errors.SkipstoneError) for kind in kinds)


@pytest.mark.parametrize("fields", [{}, {"layer": "first", "parameter": "layers", "need": 2, "have": 1}])
def test_a_mapping_error_keeps_its_fields_when_pickled(fields):
    error = pickle.loads(pickle.dumps(errors.MappingError("too small", **fields)))
    assert str(error) == "too small"
    none = dict.fromkeys(("layer", "parameter", "need", "have"))
    assert vars(error) == none | fields
