"""``skipstone sweep``: the table, the page and the JSON; one message for every mistake."""

from __future__ import annotations

import json

import pytest

from tests.skipstone.cli.place import invoke, mistake, place

__all__ = ["place"]


def test_table_page_and_json(place) -> None:
    arguments = ("sweep", "small.onnx", "--design", "small.toml", "--set", "load_width=2,4", "--jobs", "1")
    done = invoke(*arguments, "--out", "out", "--json", "-")
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert values == json.loads((place / "out" / "sweep.json").read_text())
    assert values["kind"] == "sweep"
    assert [point["values"] for point in values["points"]] == [{"load_width": 2}, {"load_width": 4}]
    assert (place / "out" / "sweep.html").exists()
    assert "2 of 2 points" in done.stderr
    again = invoke(*arguments, "--out", "out")
    assert "load_width 4: " in again.stdout
    assert "over load_width 2; all else is the same" in again.stdout


def test_a_run_of_a_point_has_its_cycles(place) -> None:
    shared = ("small.onnx", "--design", "small.toml", "--out", "out")
    invoke("sweep", *shared, "--set", "weight_bits=4,8", "--set", "prune=none,2:4", "--jobs", "1")
    invoke("run", *shared, "--weight-bits", "4", "--prune", "2:4", "--json", "run.json")
    point = json.loads((place / "out" / "sweep.json").read_text())["points"][1]
    assert point["values"] == {"weight_bits": 4, "prune": "2:4"}
    assert point["metrics"]["cycles"] == json.loads((place / "run.json").read_text())["total_cycles"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "rows"), "'rows' must be PARAMETER=VALUE"),
        (("--set", "rows=2,4", "--device", "lattice"), "unknown FPGA 'lattice'"),
        (("--set", "rows=2,4", "--jobs", "0"), "jobs must be at least 1, not 0 (option --jobs)"),
        (("--set", "weight_entries=2,4"), "no point of the sweep can be built or mapped; weight_entries 2: "),
        (("--set", "rows=2,4", "--technology", "7"), "no technology for a node of 7 nm"),
    ],
)
def test_a_mistake_is_one_message(place, arguments: tuple[str, ...], message: str) -> None:
    shared = ("sweep", "small.onnx", "--design", "small.toml", "--out", "out", "--jobs", "1")
    assert message in mistake(place, *shared, *arguments)
