"""The tables that a characterization makes, by the names of their files: what ``skipstone characterize --json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skipstone.mapper.results.document import Document


@dataclass(frozen=True)
class CharacterizationResult(Document):
    """``documents``: the content of each file by its name, as technology files name it."""

    KIND: ClassVar[str] = "characterization"
    SCHEMA: ClassVar[int] = 1

    documents: Mapping[str, Mapping[str, Any]]
