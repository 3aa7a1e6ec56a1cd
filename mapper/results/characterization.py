"""The tables of a characterization, by the names of their files, as ``skipstone characterize --json`` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skipstone.mapper.results.document import Document


@dataclass(frozen=True)
class CharacterizationResult(Document):
    """The tables of a characterization.

    Attributes:
        documents: The content of each file by its name, as technology files name it.
    """

    KIND: ClassVar[str] = "characterization"
    SCHEMA: ClassVar[int] = 1

    documents: Mapping[str, Mapping[str, Any]]
