"""The store of an exploration: a value comes back as it was stored, or counts as missing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from skipstone.explore.store import Store

DAMAGES = ["zeroblob(8)", "x''", "'text'", "NULL", "3", "substr(value, 2)", "value || x'00'",
           "(SELECT value FROM known WHERE key = 'other')"]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_value_counts_as_missing_and_is_replaced(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.db"
    Store(path).put("key", b"\xff value")
    Store(path).put("other", b"another")
    assert Store(path).get("key") == b"\xff value"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(f"UPDATE known SET value = {damage} WHERE key = 'key'")
    if damage != "NULL":
        assert Store(path).get("key") is None
    Store(path).put("key", b"new")
    assert Store(path).get("key") == b"new"
    assert Store(path).get("other") == b"another"
