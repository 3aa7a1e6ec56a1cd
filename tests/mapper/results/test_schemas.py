"""The carried schemas are those of the current results."""

from __future__ import annotations

from pathlib import Path

from skipstone.mapper.results.document import KINDS
from skipstone.mapper.results.network import NetworkResult
from skipstone.mapper.results.schemas import DOCUMENTS, main, schema_files, schema_of

CARRIED = Path(__file__).parents[3] / "docs" / "schemas"


def test_every_kind_has_a_schema() -> None:
    assert sorted(document.KIND for document in DOCUMENTS) == sorted(KINDS)
    assert list(KINDS) == sorted(KINDS)


def test_the_carried_schemas_are_current() -> None:
    """``python -m skipstone.mapper.results.schemas --out docs/schemas`` makes them again. Where one changes, raise its SCHEMA."""
    texts = {Path(path).name: text for path, text in schema_files(CARRIED).items()}
    assert texts == {path.name: path.read_text() for path in CARRIED.iterdir()}


def test_the_command_writes_them(tmp_path: Path) -> None:
    main(["--out", str(tmp_path / "new")])
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == {
        path.name: path.read_text() for path in CARRIED.iterdir()
    }


def test_all_fields_are_required_and_no_others_allowed() -> None:
    for document in DOCUMENTS:
        schema = schema_of(document)
        for each in (schema, *(nested for nested in schema.get("$defs", {}).values() if "properties" in nested)):
            assert each["required"] == list(each["properties"])
            assert each["additionalProperties"] is False
        assert schema["properties"]["kind"]["const"] == document.KIND
        assert schema["properties"]["schema"]["const"] == document.SCHEMA


def test_the_attributes_of_a_docstring_describe_the_fields() -> None:
    """Every field of every class in a schema has its own description, and the class has the summary of its docstring."""
    result = schema_of(NetworkResult)
    assert result["description"] == "One network on one design."
    assert result["properties"]["latency_us"]["description"] == "Time of one inference."
    weight_code = result["properties"]["weight_code"]["description"]
    assert weight_code.startswith("How weights were quantized (")
    assert weight_code.endswith("are in ``parameters``.")
    for document in DOCUMENTS:
        schema = schema_of(document)
        for each in (schema, *(nested for nested in schema.get("$defs", {}).values() if "properties" in nested)):
            assert "Attributes:" not in each["description"]
            missing = [name for name, field in each["properties"].items() if "description" not in field]
            assert missing == [], each["description"]
