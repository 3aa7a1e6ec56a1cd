"""``skipstone trace`` from the command line: files, output and mistakes."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pytest

from skipstone.mapper.results.timeline import ISSUE, LOAD
from skipstone.sim.jobs import PERIOD_NS
from tests.sim.waves import read_signals
from tests.skipstone.cli.place import invoke, place

__all__ = ["place"]

NETWORK = ("trace", "small.onnx", "--design", "small.toml")


def slices(folder, name="trace.json"):
    return [e for e in json.loads((folder / name).read_text())["traceEvents"] if e["ph"] == "X"]


def test_all_layers(place):
    done = invoke(*NETWORK, "--out", "o")
    assert done.exit_code == 0, done.output
    events = slices(place / "o")
    layers = [event for event in events if event["cat"] == "layer"]
    assert [event["name"] for event in layers] == ["first", "second", "pool", "dense"]
    for event in layers:
        assert f"{event['name']}: cycles " in done.output
    size = (place / "o" / "trace.json").stat().st_size
    assert f"events in o/trace.json ({size / 1e6:,.2f} MB); open it in ui.perfetto.dev" in done.output
    run = invoke("run", "small.onnx", "--design", "small.toml", "--json", "r.json", "--out", "o")
    assert run.exit_code == 0, run.output
    result = json.loads((place / "r.json").read_text())
    modelled = [layer["model_cycles"] for layer in result["layers"] if not layer["on_host"]]
    assert [event["args"]["cycles"] for event in layers] == modelled


def test_some_layers_compressed(place):
    done = invoke(*NETWORK, "--layer", "dense,first", "--gzip")
    assert done.exit_code == 0, done.output
    events = json.loads(gzip.decompress((place / "out" / "trace.json.gz").read_bytes()))["traceEvents"]
    issued = [event["args"]["layer"] for event in events if event.get("cat") == ISSUE]
    assert set(issued) == {"first", "dense"}
    assert not (place / "out" / "trace.json").exists()


def test_a_limit_is_kept_and_reported(place):
    done = invoke(*NETWORK, "--limit", "40")
    assert done.exit_code == 0, done.output
    cut_layers = re.findall(r"^(\w+): cycles .* us; first (\d+) of (\d+) tiles$", done.output, re.MULTILINE)
    assert "first" in {name for name, *_ in cut_layers}
    omitted = sum(int(tiles) - int(recorded) for _, recorded, tiles in cut_layers)
    assert f"left out by --limit 40: events of {omitted} tiles in {len(cut_layers)} layers;" in done.output
    trace = json.loads((place / "out" / "trace.json").read_text())
    assert trace["otherData"]["left_out"] == [
        f"layer '{name}': the first {recorded} of {tiles} tiles are recorded" for name, recorded, tiles in cut_layers
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "third"), "no layer 'third' on the array; there are first, second, pool, dense; or all (option --layer)"),
        (("--layer", "first,"), "no layer '' on the array; there are first, second, pool, dense; or all (option --layer)"),
        (
            ("--layer", "softmax"),
            "no layer 'softmax' on the array; there are first, second, pool, dense; or all (option --layer)",
        ),
    ],
)  # fmt: skip
def test_an_unknown_layer_is_refused(place, arguments, message):
    done = invoke(*NETWORK, *arguments, "--out", "o")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == f"skipstone: {message}"
    assert not (place / "o").exists()


@pytest.mark.rtl
def test_waves_have_the_times_of_the_trace(place):
    """The loads of the trace begin in exactly the cycles in which the loader begins a window in the waves."""
    done = invoke(*NETWORK, "--waves", "--out", "o")
    assert done.exit_code == 0, done.output
    assert "waves in o/trace.fst: every layer took the model's cycles" in done.output
    loads = [round(event["ts"] * 1000) for event in slices(place / "o") if event["cat"] == LOAD]
    begun = read_signals(place / "o" / "trace.fst", ("skipstone_array.loader.begun",))["skipstone_array.loader.begun"]
    last = begun.times[-1] // 1000 + 2 * PERIOD_NS
    first = min(loads) - 100 * PERIOD_NS
    high = [at for at in range(first, last, PERIOD_NS) if begun.at(at * 1000 + PERIOD_NS * 500)]
    assert len(loads) > 50
    np.testing.assert_array_equal(high, loads)
