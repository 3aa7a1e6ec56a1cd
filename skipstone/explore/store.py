"""What an exploration has computed and must not compute again, in a SQLite file beside the study: a value under each key.

Keys are digests of all that determines a value, so nothing ever has to be thrown away. Several processes may share a file.
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
            rows = self._query("SELECT value FROM known WHERE key = ?", key)
            if rows:
                self._known[key] = rows[0][0]
        return self._known.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Keeps ``value``; a key that is there already has the same value."""
        self._known[key] = value
        if self._path is not None:
            self._query("INSERT OR IGNORE INTO known VALUES (?, ?)", key, value)

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
        except sqlite3.Error as error:
            # Not a SkipstoneError, which an evaluation takes for a choice that can't be built.
            message = f"can't keep what was computed ({error}); free the disk, or delete the file: it is made anew"
            raise OSError(errno.EIO, message, self._path) from None


def digest(*parts: bytes | str) -> str:
    """A key of all ``parts``, each with its length, so that no two lists of parts run into each other."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
