"""``skipstone compare``: writes a page and JSON from result files; refuses other files by name and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from skipstone.cli.compare import labels
from skipstone.cli.main import app
from tests.reports.networks import resnet8


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, design in zip(files, ("wide", "edge"), strict=True):
        file.write_text(json.dumps(resnet8(design=design).to_dict()))
    return files


def test_page_table_and_json(runs: list[Path], tmp_path: Path) -> None:
    done = invoke(*runs, "--out", tmp_path / "out", "--json", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    assert "what differs" in done.output
    assert (tmp_path / "out" / "comparison.html").exists()
    values = json.loads((tmp_path / "c.json").read_text())
    assert values["differences"] == {"design": ["wide", "edge"]}
    again = invoke(*runs, "--out", tmp_path / "out", "--json", "-")
    assert json.loads(again.stdout) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "not a network's result (run --json, verify --json): it has no key 'kind'"),
        ('{"kind": "compression", "schema": 1}', "a compression's result (compression.json, compress --json), not a"),
        ('{"kind": "exploration", "schema": 1}', "an exploration's result (exploration.json, explore --json), not a"),
        ('{"skipstone": "network 1"}', "written by another version of Skipstone ('network 1'); make it again"),
        ('{"kind": "network", "schema": 99, "skipstone": "9.0"}', "another version of Skipstone (9.0, schema 99; this"),
        ("\ud800", "is not JSON"),
    ],
)
def test_files_that_are_no_network_results_are_refused(
    runs: list[Path], tmp_path: Path, text: str, message: str
) -> None:
    runs[1].write_bytes(text.encode("utf-8", "surrogatepass"))
    done = invoke(*runs, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert str(runs[1]) in done.stderr.replace("\n", "")
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_and_a_single_file_are_refused(runs: list[Path], tmp_path: Path) -> None:
    assert "No such file" in invoke(runs[0], tmp_path / "none.json", "--out", tmp_path / "out").stderr
    assert "at least two files" in invoke(runs[0], "--out", tmp_path / "out").stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["x/a.json", "y/b.json"], ["a", "b"]),
        (["x/a.json", "y/a.json"], ["x/a", "y/a"]),
        (["a.json", "a.json"], ["a (1)", "a (2)"]),
    ],
)
def test_labels_tell_files_apart(files: list[str], names: list[str]) -> None:
    assert labels([Path(file) for file in files]) == names
