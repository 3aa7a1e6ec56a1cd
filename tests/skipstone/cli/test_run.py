"""``skipstone run`` from the command line: results in JSON, and one message and exit code 2 for every mistake."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from tests.skipstone.builders import TINY_DESIGN, small_data, small_network
from tests.skipstone.cli.place import invoke, mistake, place

__all__ = ["place"]


LAYER_KEYS = {
    "name",
    "kind",
    "macs",
    "nnz",
    "model_cycles",
    "rtl_cycles",
    "outputs_equal",
    "bound",
    "utilization",
    "energy_pj",
}


def test_run_writes_json_and_report(place):
    done = invoke(
        *("run", "small.onnx", "--design", "small.toml", "--prune", "unstructured:0.5", "--evaluation", "data.npz"),
        *("--calibration", "data.npz", "--json", "r.json", "--out", "o"),
    )
    assert done.exit_code == 0, done.output
    result = json.loads((place / "r.json").read_text())
    assert set(result) >= {
        "network",
        "design",
        "layers",
        "total_cycles",
        "total_energy_pj",
        "dense_total_cycles",
        "accuracy",
    }
    assert [layer["name"] for layer in result["layers"]] == ["first", "second", "pool", "dense", "softmax"]
    assert all(set(layer) >= LAYER_KEYS for layer in result["layers"])
    host = result["layers"][-1]
    assert (host["on_host"], host["bound"], host["model_cycles"]) == (True, "host", None)
    assert result["total_cycles"] == sum(layer["model_cycles"] or 0 for layer in result["layers"])
    assert result["dense_total_cycles"] > result["total_cycles"]
    assert all(0 <= result["accuracy"][key] <= 1 for key in ("float", "quantized", "compressed"))
    for layer in result["layers"][:-1]:
        assert sum(layer["cycles_by_cause"].values()) == pytest.approx(layer["model_cycles"])
        assert min(layer["cycles_by_cause"].values()) >= 0
        assert sum(layer["energy_by_part"].values()) == pytest.approx(layer["energy_pj"])
        assert layer["rtl_cycles"] is None
        assert layer["skipped_macs"] == layer["macs"] - layer["actions"]["useful_macs"]
        assert layer["loaded_words"] == layer["actions"]["load_list_reads"]
        assert layer["skipped_words"] >= 0
        causes = layer["cycles_by_cause"]
        assert layer["stall_cycles"] == pytest.approx(
            sum(causes[c] for c in ("balance", "load", "drain", "fill", "overlap"))
        )
    assert host["skipped_macs"] is None
    assert "where the cycles go" in done.stdout
    assert (place / "o" / "report.html").stat().st_size > 100_000
    # 9 x 7 pixels, 5 filters of 2 x 3 x 3, padded to 9 x 6 outputs.
    assert result["layers"][0]["macs"] == 9 * 6 * 5 * 18


def test_a_pruned_input_channel_is_not_loaded(place):
    """Two input channels, each in a word of its own; the second is pruned, so the loader takes half of the words."""
    weights = np.random.default_rng(0).uniform(0.5, 1, (5, 2, 3, 3)).astype(np.float32)
    weights[:, 1] = 0
    small_network(place / "half.onnx", weights=weights)
    design = TINY_DESIGN.replace("load_width = 2", "load_width = 1").replace("lanes = 2", "lanes = 1")
    (place / "one.toml").write_text(design)
    done = invoke("run", "half.onnx", "--design", "one.toml", "--json", "r.json")
    assert done.exit_code == 0, done.output
    first = json.loads((place / "r.json").read_text())["layers"][0]
    assert first["skipped_words"] == first["loaded_words"] > 0
    assert first["skipped_macs"] == first["macs"] // 2


def test_calibration_without_images_says_so(place):
    done = invoke("run", "small.onnx", "--design", "small.toml", "--input-range", "-1,1")
    assert done.exit_code == 0, done.output
    assert "random" in done.output
    assert "random" in (place / "out" / "report.html").read_text()


def test_a_design_file_without_widths_takes_those_of_the_options(place):
    assert invoke("run", "small.onnx", "--design", "small.toml", "--activation-bits", 6).exit_code == 0
    (place / "small.toml").write_text(TINY_DESIGN + "activation_bits = 8\n")
    message = mistake(place, "run", "small.onnx", "--design", "small.toml", "--activation-bits", 6, "--out", "p")
    assert "6-bit activations, design 'small' 8-bit ones" in message


def test_not_onnx(place):
    (place / "text.onnx").write_text("this is not a network")
    assert "text.onnx is not an ONNX file" in mistake(place, "run", "text.onnx")


def test_truncated(place):
    content = (place / "small.onnx").read_bytes()
    (place / "cut.onnx").write_bytes(content[: len(content) // 2])
    assert "cut.onnx" in mistake(place, "run", "cut.onnx")


def test_missing_file(place):
    assert "no file 'absent.onnx'" in mistake(place, "run", "absent.onnx")


def test_dynamic_shape_asks_for_input_shape(place):
    import onnx

    model = onnx.load(place / "small.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    (place / "dynamic.onnx").write_bytes(model.SerializeToString())
    assert "--input-shape" in mistake(place, "run", "dynamic.onnx")
    done = invoke("run", "dynamic.onnx", "--input-shape", "1,2,9,7", "--design", "small.toml")
    assert done.exit_code == 0, done.output


def test_unsupported_operator_is_named(place):
    small_network(place / "odd.onnx", extra="Sin")
    message = mistake(place, "run", "odd.onnx")
    assert "Sin" in message
    assert "odd_one" in message


def test_nan_weights_are_named(place):
    weights = np.ones((5, 2, 3, 3), np.float32)
    weights[1, 1, 1, 1] = np.nan
    small_network(place / "nan.onnx", weights=weights)
    assert "'first'" in mistake(place, "run", "nan.onnx")


@pytest.mark.parametrize("bits", [3, 5, 7])
def test_the_design_gets_the_multiplier_of_additive_powers_of_two(place, bits):
    done = invoke("run", "small.onnx", "--weight-code", "additive_power_of_two", "--weight-bits", bits)
    assert done.exit_code == 0
    assert f"weights additive_power_of_two (additive multipliers, codes of {bits} bits)" in " ".join(
        done.output.split()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--design", "huge"), "unknown design 'huge'; built in are tiny, edge, square, wide, or name a .toml file"),
        (("--design", "absent.toml"), "can't read design file absent.toml: No such file or directory"),
        (("--prune", "unstructured:1.5"), "sparsity must be at least 0 and below 1, not 1.5"),
        (("--prune", "5:4"), "N:M keeps N of M weights, so N must be from 1 to M"),
        (("--prune", "hope:0.5"), "no pruning method 'hope:0.5'"),
        (("--weight-bits", "1"), "weight_bits must be 2 to 16, not 1"),
        (
            ("--weight-code", "additive_power_of_two"),
            "weight_bits must be 3, 5 or 7 with weight code additive_power_of_two (a sign and terms of 2 bits), not 8",
        ),
        (
            ("--weight-code", "additive"),
            "weight_code must be linear, power_of_two, additive_power_of_two, ternary, binary, or codebook:N, not 'additive'",
        ),
        (("--input-range", "1,0"), "--input-range must be LOW,HIGH with LOW below HIGH, both within 1e30, not 1,0"),
        (("--input-range", "0,inf"), "--input-range must be LOW,HIGH with LOW below HIGH, both within 1e30, not 0,inf"),
        (("--evaluation", "unlabelled.npz"), "unlabelled.npz has no array 'labels'"),
        (("--json", "."), "cannot read or write .: Is a directory"),
        (("--input-range", "0"), "--input-range must be LOW,HIGH, not '0'"),
        (("--calibration", "absent.npz"), "no file 'absent.npz'"),
        (("--calibration", "wrong.npz"), "images of shape 3x9x7 don't fit network 'small', whose input is 2x9x7"),
        (("--calibration", "small.onnx"), "small.onnx is not an .npz file"),
        (("--evaluation", "labels.npz"), "label 9 is out of range; the network has 4 classes, 0 to 3"),
    ],
)
def test_wrong_options(place, arguments, message):
    small_data(place / "wrong.npz", shape=(3, 9, 7))
    small_data(place / "unlabelled.npz", labels=False)
    np.savez(place / "labels.npz", images=np.zeros((2, 2, 9, 7), np.float32), labels=np.array([1, 9]))
    assert message in mistake(place, "run", "small.onnx", *arguments)


def test_layer_that_does_not_fit_names_the_parameter(place):
    (place / "small.toml").write_text(TINY_DESIGN.replace("weight_entries = 1024", "weight_entries = 64"))
    message = mistake(place, "run", "small.onnx", "--design", "small.toml")
    assert "raise weight_entries to " in message
    needed = int(message.split("raise weight_entries to ")[1].split()[0])
    for size, code in ((needed, 0), (needed - 1, 2)):
        (place / "small.toml").write_text(TINY_DESIGN.replace("weight_entries = 1024", f"weight_entries = {size}"))
        assert invoke("run", "small.onnx", "--design", "small.toml").exit_code == code


MEMORIES = {"activation_words": 1024, "weight_entries": 1024, "load_entries": 1024, "parameter_words": 32, "layers": 8}


@pytest.mark.parametrize("memory", MEMORIES)
def test_memories_that_do_not_fit_can_be_enlarged(place, memory):
    """Without the option, the refusal names it. With it, the tables and the JSON say which memories grew, and from what
    size."""
    small = TINY_DESIGN.replace(f"{memory} = {MEMORIES[memory]}", f"{memory} = 2")
    assert small != TINY_DESIGN
    (place / "little.toml").write_text(small)
    assert mistake(place, "run", "small.onnx", "--design", "little.toml").endswith(
        "; --fit-memories enlarges the memories to what the network needs"
    )
    done = invoke("run", "small.onnx", "--design", "little.toml", "--fit-memories", "--json", "r.json")
    assert done.exit_code == 0, done.output
    result = json.loads((place / "r.json").read_text())
    assert result["design"] == f"little (memories enlarged: {memory} 2 -> {result['parameters'][memory]})"
    assert f"{memory} 2 -> " in done.stdout
    assert invoke("run", "small.onnx", "--design", "small.toml", "--json", "s.json").exit_code == 0
    assert result["total_cycles"] == json.loads((place / "s.json").read_text())["total_cycles"]


def test_other_refusals_do_not_promise_that_memories_help(place):
    (place / "little.toml").write_text(TINY_DESIGN + "max_dimension = 4\n")
    assert "--fit-memories" not in mistake(place, "run", "small.onnx", "--design", "little.toml")


def test_folder_that_cannot_be_written(place):
    """A file in the folder's place and, unless root runs the tests, a read-only folder."""
    (place / "file").write_text("")
    assert "file" in mistake(place, "run", "small.onnx", "--out", "file/o")
    if os.geteuid() != 0:
        (place / "closed").mkdir(mode=0o500)
        assert "closed" in mistake(place, "run", "small.onnx", "--out", "closed")


def test_json_that_cannot_be_written(place):
    message = mistake(place, "run", "small.onnx", "--design", "small.toml", "--json", "absent/r.json")
    assert message == "cannot read or write absent: No such file or directory"
