"""``skipstone verify`` from the command line: exact or not, and where the first difference is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from skipstone.mapper.results.network import NetworkResult
from tests.skipstone.cli.place import invoke, place

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"

__all__ = ["place"]


@pytest.mark.rtl
def test_verify_is_exact_and_says_so_layer_by_layer(place):
    done = invoke("verify", "small.onnx", "--design", "small.toml", "--prune", "2:4", "--images", 2, "--json", "v.json")
    assert done.exit_code == 0, done.output
    assert "EXACT: 2 images" in done.output
    assert "softmax: on the host" in done.output
    result = json.loads((place / "v.json").read_text())
    Draft202012Validator(json.loads((SCHEMAS / "network.schema.json").read_text())).validate(result)
    assert NetworkResult.read(place / "v.json").rtl_total_cycles == result["rtl_total_cycles"]
    for layer in result["layers"][:-1]:
        assert layer["rtl_cycles"] == layer["model_cycles"]
        assert layer["outputs_equal"] is True


@pytest.mark.rtl
def test_verify_exits_with_1_and_names_the_first_difference(place, monkeypatch):
    """The reference is changed by one step in one place: the RTL no longer agrees, and the message names the place."""
    from skipstone.flow import verify

    real = verify.reference.run

    def changed(network, inputs):
        tensors = real(network, inputs)
        tensors[network.layers[0].output][0, 3, 4, 2] += 1
        return tensors

    monkeypatch.setattr(verify.reference, "run", changed)
    done = invoke("verify", "small.onnx", "--design", "small.toml", "--prune", "2:4")
    assert done.exit_code == 1
    assert "first: model" in done.output
    assert "OUTPUTS DIFFER: image 0, channel 3, y 4, x 2: expected" in done.output
    assert "NOT EXACT" in done.output


@pytest.mark.rtl
def test_waves_are_written(place):
    done = invoke("verify", "small.onnx", "--design", "small.toml", "--waves", "w.fst")
    assert done.exit_code == 0, done.output
    assert (place / "w.fst").stat().st_size > 1000


@pytest.mark.rtl
def test_sixteen_bits_on_both_sides_are_exact(place):
    done = invoke("verify", "small.onnx", "--design", "small.toml", "--weight-bits", 16, "--activation-bits", 16)
    assert done.exit_code == 0, done.output
    assert "EXACT: 1 image," in done.output
