"""A small network, small data of four classes that it can learn, and the command line on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.compress.recipe import parse_recipe
from skipstone.compress.run import Compressed, compress
from skipstone.models.data.datasets import load_dataset
from skipstone.models.graph.graph import Graph
from skipstone.models.onnx_io import reader as onnx_import
from tests.skipstone.builders import TINY_DESIGN, small_network

TRAIN, TEST = 96, 40


def small_place(folder: Path) -> Path:
    """``folder`` with small.onnx, data.npz and small.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    small_network(folder / "small.onnx")
    labelled_data(folder / "data.npz")
    (folder / "small.toml").write_text(TINY_DESIGN)
    return folder


def labelled_data(path: Path, **changed: np.ndarray | None) -> Path:
    """Random training and test images and labels. Arrays in ``changed`` replace those of the same name; None leaves one out."""
    rng = np.random.default_rng(1)
    images = rng.random((TRAIN + TEST, 2, 9, 7), dtype=np.float32)
    labels = rng.integers(0, 4, TRAIN + TEST)
    arrays = {
        "train_images": images[:TRAIN],
        "train_labels": labels[:TRAIN],
        "test_images": images[TRAIN:],
        "test_labels": labels[TRAIN:],
    } | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def answered_data(path: Path, network: Path) -> Path:
    """As :func:`labelled_data`, but each label is the class that the network computes, so that its accuracy is 100%."""
    from skipstone.models.data.float_execution import float_scores

    graph = onnx_import.load(network)
    rng = np.random.default_rng(1)
    images = rng.normal(0, 1.5, (TRAIN + TEST, 2, 9, 7)).astype(np.float32)
    labels = float_scores(graph, images).argmax(axis=1)
    return labelled_data(
        path,
        train_images=images[:TRAIN],
        train_labels=labels[:TRAIN],
        test_images=images[TRAIN:],
        test_labels=labels[TRAIN:],
    )


def run(place: Path, *steps: dict[str, Any], out: str = "out", design: Any = None, **keys: Any) -> Compressed:
    """Compresses the small network by ``steps``."""
    recipe = parse_recipe({"name": "test", "step": list(steps), **keys})
    return compress(place / "small.onnx", recipe, str(place / "data.npz"), out=place / out, design=design)


def float_network(place: Path) -> Graph:
    return onnx_import.load(place / "small.onnx")


def dataset(place: Path):
    return load_dataset(str(place / "data.npz"))


def invoke(place: Path, *arguments: object):
    """``skipstone compress small.onnx`` with these arguments."""
    return CliRunner().invoke(app, ["compress", str(place / "small.onnx"), *map(str, arguments)])


def write_recipe(place: Path, text: str) -> Path:
    path = place / "recipe.toml"
    path.write_text(text)
    return path


def outputs(folder: Path) -> dict[str, Any]:
    """The files that a run wrote, without the times, which differ from run to run."""
    result = json.loads((folder / "compression.json").read_text())
    for step in result["steps"]:
        del step["seconds"]
    return {"json": result} | {name: (folder / name).read_bytes() for name in ("compressed.onnx", "quantized.onnx")}
