"""What an exploration has computed and must not compute again, in a SQLite file beside the study: a value under each key.

Keys are digests of all that determines a value, so nothing ever has to be thrown away. Several processes may share a file.
Each value is stored behind a digest of its key and itself; one that does not go with its digest is damaged, and counts as
missing: it is computed again and replaced.
"""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from pathlib import Path

WAIT_SECONDS = 60.0
"""For another process that writes."""


class Store:
    """Bytes by key. Without a path, in memory only."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = None if path is None else str(path)
        self._known: dict[str, bytes] = {}
        if self._path is not None:
            self._query("CREATE TABLE IF NOT EXISTS known (key TEXT PRIMARY KEY, value BLOB NOT NULL)")

    def get(self, key: str) -> bytes | None:
        """What is kept under a key, or None."""
        if key not in self._known and self._path is not None:
            rows = self._query("SELECT CAST(value AS BLOB) FROM known WHERE key = ?", key)
            if rows and (value := _intact(key, rows[0][0])) is not None:
                self._known[key] = value
        return self._known.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Keeps ``value``; a key that is there already has the same value."""
        self._known[key] = value
        if self._path is not None:
            self._query("INSERT OR REPLACE INTO known (key, value) VALUES (?, ?)", key, _seal(key, value) + value)

    def _query(self, sql: str, *values: str | bytes) -> list[tuple[bytes]]:
        assert self._path is not None
        try:
            # A connection must not cross a fork; opening one takes less than a millisecond.
            connection = sqlite3.connect(self._path, timeout=WAIT_SECONDS)
            try:
                with connection:
                    return connection.execute(sql, values).fetchall()
            finally:
                connection.close()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # damaged names of tables are decoded as they come
            # Not a SkipstoneError, which an evaluation takes for a choice that can't be built.
            message = f"can't keep what was computed ({error}); free the disk, or delete the file: it is made anew"
            raise OSError(errno.EIO, message, self._path) from None


def _seal(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + value).digest()


def _intact(key: str, stored: bytes) -> bytes | None:
    """The value of what is stored under ``key``; None where it is damaged."""
    size = hashlib.sha256().digest_size
    value = stored[size:]
    return value if stored[:size] == _seal(key, value) else None


def digest(*parts: bytes | str) -> str:
    """A key of all ``parts``, each with its length, so that no two lists of parts run into each other."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
