"""``python -m skipstone.mapper.results.schemas --out docs/schemas``: a JSON Schema for every kind of file of results."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from skipstone.files import json_text, write_files
from skipstone.mapper.results.characterization import CharacterizationResult
from skipstone.mapper.results.comparison import ComparisonResult
from skipstone.mapper.results.compression import CompressionResult
from skipstone.mapper.results.document import HEADER, KINDS, Document
from skipstone.mapper.results.exploration import ExplorationResult
from skipstone.mapper.results.network import NetworkResult
from skipstone.mapper.results.program import ProgramDescription
from skipstone.mapper.results.sensitivity import SensitivityResult
from skipstone.mapper.results.sweep import SweepResult
from skipstone.mapper.results.technology_tables import DramTable, FpgaTable, GatewareTable, MemoryTable
from skipstone.mapper.results.timeline import TraceDescription

DOCUMENTS: tuple[type[Document], ...] = (
    CharacterizationResult,
    ComparisonResult,
    CompressionResult,
    DramTable,
    ExplorationResult,
    FpgaTable,
    GatewareTable,
    NetworkResult,
    ProgramDescription,
    SensitivityResult,
    MemoryTable,
    SweepResult,
    TraceDescription,
)
"""Every kind of file."""

INTEGER, NUMBER = {"type": "integer"}, {"type": "number"}


def schema_of(document: type[Document]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what ``document.to_dict()`` gives; no other keys are allowed."""
    from pydantic import TypeAdapter

    schema = _strict(TypeAdapter(document).json_schema(mode="serialization"))
    header = (
        {"const": document.KIND, "description": "what the file is"},
        {"const": document.SCHEMA, "description": "the version of the fields"},
        {"type": "string", "description": "the version of Skipstone that wrote the file"},
    )
    properties = {**dict(zip(HEADER, header, strict=True)), **schema["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": KINDS[document.KIND],
        **{key: value for key, value in schema.items() if key not in ("title", "properties", "required")},
        "properties": properties,
        "required": list(properties),
    }


def schema_files(folder: Path) -> dict[str | Path, str]:
    """The text of every schema by its path in ``folder``."""
    return {folder / f"{each.KIND}.schema.json": json_text(schema_of(each)) for each in DOCUMENTS}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m skipstone.mapper.results.schemas", description="Write the JSON Schemas of results."
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write them to")
    folder = parser.parse_args(arguments).out
    folder.mkdir(parents=True, exist_ok=True)
    write_files(schema_files(folder))


def _strict(schema: Any) -> Any:
    """Every object has all its fields and no others. Titles, which repeat names, and defaults are left out."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            strict[key] = {name: _strict(each) for name, each in value.items()}
        elif key == "anyOf" and NUMBER in value:  # which every integer is
            kinds = [_strict(each) for each in value if each != INTEGER]
            strict |= kinds[0] if len(kinds) == 1 else {key: kinds}
        elif key not in ("title", "default", "readOnly", "required"):
            strict[key] = _strict(value)
    text, attributes = _attributes(strict.pop("description", ""))
    if text:
        strict["description"] = text
    for name, meaning in attributes.items():
        strict["properties"][name]["description"] = meaning
    if "properties" in strict:
        strict |= {"required": list(strict["properties"]), "additionalProperties": False}
    return strict


def _attributes(docstring: str) -> tuple[str, dict[str, str]]:
    """The text of a class's docstring without its section "Attributes:", and the meaning of each attribute by name."""
    text, _, section = docstring.partition("\nAttributes:\n")
    attributes = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return " ".join(text.split()), {name: " ".join(meaning.split()) for name, meaning in attributes}


if __name__ == "__main__":
    main()
