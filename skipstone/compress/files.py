"""The store of checkpoints from which an interrupted recipe goes on.

A step's key says everything that determines what it gives, so a network is taken from the store only where running the
step would give the same one. Files that are damaged are left aside with a note, and the step is done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.files import write_file
from skipstone.models.graph.files import pack_graph, unpack_graph
from skipstone.models.graph.graph import Graph

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAGIC = b"skipstone checkpoint 1\n"
"""What a checkpoint begins with. Then come the SHA-256 of the rest, the record's length (8 bytes, little-endian), the record
as JSON, and the network."""
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 8


def step_key(previous: str, step: Mapping[str, Any], *, data: str, seed: int, code: str) -> str:
    """The key under which a step's result is kept: a SHA-256 of all that it depends on.

    Args:
        previous: The key of the step before; for the first one the network's fingerprint
            (``skipstone.models.graph.files.graph_fingerprint``).
        step: The step as plain JSON. The order of its entries does not matter.
        data: The fingerprint of the data.
        seed: The recipe's seed.
        code: The version of the code.

    Returns:
        64 hexadecimal digits.

    Raises:
        SkipstoneError: The step is not plain JSON.
    """
    parts = {"previous": previous, "step": step, "data": data, "seed": seed, "code": code}
    try:
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise SkipstoneError(f"a recipe's step must be plain JSON: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Saved:
    """What a checkpoint has for a key: the network and what was recorded with it. Without one ``graph`` is None, and ``note``
    says why where there is a file that can't be used."""

    graph: Graph | None = None
    record: Mapping[str, Json] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with the networks after the steps of recipes, a file each; made when it is first needed. Several programs may
    use it at once."""

    folder: Path

    def save(self, key: str, graph: Graph, record: Mapping[str, Json] | None = None) -> Graph:
        """Keeps a network and a record of it under a key.

        Args:
            key: From :func:`step_key`.
            graph: The network, kept to the bit.
            record: Plain JSON: notes, results.

        Returns:
            The graph as :meth:`load` will give it: equal in every value, but its arrays may lie otherwise in memory, which the
            last bit of a sum can depend on. Who goes on from it gets what a resumed run gets.

        Raises:
            SkipstoneError: ``record`` is not plain JSON.
            OSError: The file can't be written.
        """
        try:
            text = json.dumps(dict(record or {})).encode()
        except (TypeError, ValueError) as error:
            raise SkipstoneError(f"what is recorded with a step must be plain JSON: {error}") from None
        packed = pack_graph(graph)
        content = len(text).to_bytes(_LENGTH, "little") + text + packed
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, MAGIC + hashlib.sha256(content).digest() + content)
        return unpack_graph(packed)

    def load(self, key: str) -> Saved:
        """What :meth:`save` kept under a key.

        Args:
            key: From :func:`step_key`.

        Returns:
            The network and the record; empty where there is none, and where the file can't be used, with the reason.

        Raises:
            SkipstoneError: ``key`` is no step's key.
        """
        path = self.path(key)
        try:
            stored = path.read_bytes()
        except FileNotFoundError:
            return Saved()
        except OSError as error:
            return self._unusable(path, error.strerror or str(error))
        start = len(MAGIC) + _DIGEST
        content = stored[start:]
        if not stored.startswith(MAGIC) or hashlib.sha256(content).digest() != stored[len(MAGIC) : start]:
            return self._unusable(path, "it is damaged")
        end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
        try:
            return Saved(unpack_graph(content[end:]), json.loads(content[_LENGTH:end]))
        except (SkipstoneError, ValueError) as error:
            return self._unusable(path, str(error))

    def path(self, key: str) -> Path:
        """Where the network of a key lies.

        Raises:
            SkipstoneError: ``key`` is no step's key.
        """
        if len(key) != 2 * _DIGEST or not set(key) <= set("0123456789abcdef"):
            raise SkipstoneError(f"'{key}' is not a step's key (64 hexadecimal digits)")
        return Path(self.folder) / f"{key}.step"

    def _unusable(self, path: Path, reason: str) -> Saved:
        return Saved(note=f"checkpoint {path}: {reason}; the step is done again")
