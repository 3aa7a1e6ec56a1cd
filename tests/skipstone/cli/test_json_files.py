"""Every JSON file that a command writes names its kind, follows its schema, and is read back to the same text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.files import json_text
from skipstone.mapper.results.document import HEADER
from skipstone.mapper.results.schemas import DOCUMENTS
from tests.skipstone.compress.small import small_place, write_recipe

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / "docs" / "schemas"
SPACE = """
design = { rows = [2, 4], cols = [4], load_width = [2], slots = [9], windows = [2], accumulators = [4], requantizer_lanes = [2] }
compression = { prune = ["none", "unstructured:0.5"] }
"""
RECIPE = """
[[step]]
do = "prune"
amount = 0.5
amounts = { first = 0.25 }
[[step]]
do = "balance_rows"
[[step]]
do = "quantize"
"""
KIND_OF = {document.KIND: document for document in DOCUMENTS}


def run(*arguments: object) -> None:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Kind, values and text of each file, by its name."""
    place = small_place(tmp_path_factory.mktemp("written"))
    network, data, design = place / "small.onnx", place / "data.npz", ("--design", place / "small.toml")
    write_recipe(place, RECIPE)
    (place / "space.toml").write_text(SPACE)
    common = (network, *design, "--out", place)
    run("run", *common, "--prune", "unstructured:0.5", "--json", place / "run.json")
    run("run", *common, "--weight-bits", 4, "--json", place / "four.json")
    run("compare", place / "run.json", place / "four.json", "--out", place, "--json", place / "compare.json")
    run("compress", *common, "--recipe", place / "recipe.toml", "--data", data, "--json", place / "compress.json")
    run(
        "sensitivity", *common, "--data", data, "--sparsities", "0.5", "--bits", "4", "--json", place / "sensitive.json"
    )
    run("explore", network, "--space", place / "space.toml", "--trials", 4, "--jobs", 1, "--write", "none", "--out",
        place, "--json", place / "explore.json")  # fmt: skip
    run("sweep", *common, "--set", "rows=2,4", "--set", "weight_entries=2,1024", "--device",
        "ecp5", "--jobs", 1, "--json", place / "swept.json")  # fmt: skip
    run("export", *common)
    run("trace", *common)
    kinds = {"run": "network", "four": "network", "compare": "comparison", "compress": "compression"}
    kinds |= {"sensitive": "sensitivity", "explore": "exploration", "program": "program", "swept": "sweep"}
    kinds |= {name: name for name in ("compression", "sensitivity", "exploration", "sweep")}
    texts = {f"{name}.json": (kind, (place / f"{name}.json").read_text()) for name, kind in kinds.items()}
    other = json.loads((place / "trace.json").read_text())["otherData"]
    texts["trace.json"] = ("trace", json_text(other))
    return {name: (kind, json.loads(text), text) for name, (kind, text) in texts.items()}


NAMES = (
    "run",
    "four",
    "compare",
    "compress",
    "sensitive",
    "explore",
    "program",
    "compression",
    "sensitivity",
    "exploration",
    "swept",
    "sweep",
)


@pytest.mark.parametrize("name", [f"{name}.json" for name in (*NAMES, "trace")])
def test_a_file_keeps_to_its_schema_and_is_read_back(written, name: str) -> None:
    kind, values, text = written[name]
    assert tuple(values)[:3] == HEADER
    assert values["kind"] == kind
    schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
    assert schema["title"]
    Draft202012Validator.check_schema(schema)
    errors = [
        f"{list(error.absolute_path)}: {error.message[:200]}"
        for error in Draft202012Validator(schema).iter_errors(values)
    ]
    assert not errors
    assert json_text(KIND_OF[kind].from_dict(values).to_dict()) == text


def test_the_folder_and_the_json_option_get_the_same_file(written) -> None:
    for option, file in (
        ("compress", "compression"),
        ("sensitive", "sensitivity"),
        ("explore", "exploration"),
        ("swept", "sweep"),
    ):
        assert written[f"{option}.json"][2] == written[f"{file}.json"][2]


def test_a_schema_refuses_what_is_not_in_it(written) -> None:
    kind, values, _ = written["run.json"]
    validator = Draft202012Validator(json.loads((SCHEMAS / f"{kind}.schema.json").read_text()))
    for changed in ({"colour": 1}, {"total_cycles": "many"}, {"schema": 1}, {"kind": "program"}):
        assert not validator.is_valid({**values, **changed})
    assert not validator.is_valid({name: value for name, value in values.items() if name != "layers"})
